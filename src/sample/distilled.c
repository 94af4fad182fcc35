/* distilled.c: samplers of models distilled to few steps: LCM (arXiv 2310.04378) and TCD (arXiv
 * 2402.19159). */
#include "sample/sampler.h"

#include <math.h>

#define SIGMA_DATA 0.5
#define TIME_SCALING 10.0

/* Product of alphas at the next step's time; `end` after the last. */
static double next_alpha(const struct sampler *s, int end) {
    return schedule_alpha(&s->schedule, sampler_last(s) ? end : (int)s->schedule.time[s->step + 1]);
}

static void lcm(struct sampler *s, const float *out) {
    (void)out;
    double t = s->schedule.time[s->step] * TIME_SCALING, base = t * t + SIGMA_DATA * SIGMA_DATA;
    double skip = SIGMA_DATA * SIGMA_DATA / base, keep = t / sqrt(base);
    bool last = sampler_last(s);
    double p = last ? 1 : next_alpha(s, 0);
    const float *noise = last ? NULL : sampler_noise(s);
    for (size_t i = 0; i < s->count; i++) {
        double x = keep * s->denoised[i] + skip * s->x[i];
        s->x[i] = (float)(noise ? sqrt(p) * x + sqrt(1 - p) * noise[i] : x);
    }
}

static void tcd(struct sampler *s, const float *out) {
    (void)out;
    double gamma = s->config.eta < 0 ? 0.3 : s->config.eta;
    int next = sampler_last(s) ? 0 : (int)s->schedule.time[s->step + 1];
    double a = schedule_alpha(&s->schedule, (int)s->schedule.time[s->step]);
    double p = schedule_alpha(&s->schedule, next),
           q = schedule_alpha(&s->schedule, (int)floor((1 - gamma) * next));
    const float *noise = gamma > 0 && !sampler_last(s) ? sampler_noise(s) : NULL;
    double keep = noise ? sqrt(p / q) : 1, fresh = noise ? sqrt(1 - p / q) : 0;
    for (size_t i = 0; i < s->count; i++) {
        double epsilon = sampler_epsilon(s, sqrt(a), sqrt(1 - a), i);
        double x = keep * (sqrt(q) * s->denoised[i] + sqrt(1 - q) * epsilon);
        s->x[i] = (float)(noise ? x + fresh * noise[i] : x);
    }
}

const struct sampler_kind sampler_lcm = {.name = "lcm",
                                         .a1111 = "LCM",
                                         .about = "for LCM models and LoRAs, 2 to 8 steps",
                                         .space = SPACE_VARIANCE,
                                         .timing = TIMING_DISTILLED,
                                         .evaluations = 1,
                                         .noisy = true,
                                         .advance = lcm};

const struct sampler_kind sampler_tcd = {.name = "tcd",
                                         .a1111 = "TCD",
                                         .about = "for TCD LoRAs, 2 to 8 steps; --eta is its gamma",
                                         .space = SPACE_VARIANCE,
                                         .timing = TIMING_DISTILLED,
                                         .evaluations = 1,
                                         .noisy = true,
                                         .advance = tcd};
