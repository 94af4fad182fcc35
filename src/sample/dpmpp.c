/* dpmpp.c: DPM-Solver++(2M) and its SDE form (arXiv 2211.01095): multistep, midpoint, first order
 * at the first step, at the last of fewer than 15, and wherever the noise ends at 0. */
#include "sample/sampler.h"

#include <math.h>
#include <string.h>

/* Half the logarithm of the signal-to-noise ratio; infinite without noise. */
static double lambda(double sigma) {
    return -log(sigma);
}

static double signal_of(double sigma) {
    return 1 / sqrt(sigma * sigma + 1);
}

static void advance(struct sampler *s, bool sde) {
    double from = sampler_sigma(s, 0), to = sampler_sigma(s, 1);
    double a_to = signal_of(to), b_to = to * a_to, b_from = from * signal_of(from);
    double h = lambda(to) - lambda(from);
    double shrink = sde ? exp(-h) : 1, gain = sde ? 1 - exp(-2 * h) : 1 - exp(-h);
    float of_x = (float)(b_to / b_from * shrink), of_m = (float)(a_to * gain), of_d = 0;
    bool lower = sampler_last(s) && (s->schedule.steps < 15 || to == 0);
    if (s->given > 0 && !lower) {
        double r = (lambda(from) - lambda(sampler_sigma(s, -1))) / h;
        of_d = (float)(0.5 * a_to * gain / r);
    }
    const float *noise = sde ? sampler_noise(s) : NULL;
    float of_n = (float)(b_to * sqrt(1 - exp(-2 * h)));
    float *previous = s->history[0];
    for (size_t i = 0; i < s->count; i++) {
        float m = s->denoised[i], x = of_x * s->x[i] + of_m * m;
        if (of_d != 0) x += of_d * (m - previous[i]);
        s->x[i] = noise ? x + of_n * noise[i] : x;
    }
    memcpy(previous, s->denoised, s->count * sizeof *previous);
}

static void dpmpp_2m(struct sampler *s, const float *out) {
    (void)out;
    advance(s, false);
}

static void dpmpp_2m_sde(struct sampler *s, const float *out) {
    (void)out;
    advance(s, true);
}

const struct sampler_kind sampler_dpmpp_2m = {
    .name = "dpmpp_2m",
    .a1111 = "DPM++ 2M",
    .about = "second order from the step before; good in few steps",
    .space = SPACE_VARIANCE,
    .timing = TIMING_DPM,
    .evaluations = 1,
    .history = 1,
    .advance = dpmpp_2m};

const struct sampler_kind sampler_dpmpp_2m_sde = {.name = "dpmpp_2m_sde",
                                                  .a1111 = "DPM++ 2M SDE",
                                                  .about = "the same with fresh noise at each step",
                                                  .space = SPACE_VARIANCE,
                                                  .timing = TIMING_DPM,
                                                  .evaluations = 1,
                                                  .history = 1,
                                                  .noisy = true,
                                                  .advance = dpmpp_2m_sde};
