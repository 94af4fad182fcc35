/* ddim.c: DDIM (arXiv 2010.02502); eta 0 is deterministic, 1 as random as DDPM. */
#include "sample/sampler.h"

#include <math.h>

static void ddim(struct sampler *s, const float *out) {
    (void)out;
    int time = (int)s->schedule.time[s->step];
    int previous = time - s->schedule.train_steps / s->schedule.steps;
    double a = schedule_alpha(&s->schedule, time), p = schedule_alpha(&s->schedule, previous);
    double eta = s->config.eta < 0 ? 0 : s->config.eta;
    double deviation = eta * sqrt((1 - p) / (1 - a) * (1 - a / p));
    double of_x0 = sqrt(p), of_epsilon = sqrt(fmax(1 - p - deviation * deviation, 0));
    const float *noise = eta > 0 ? sampler_noise(s) : NULL;
    for (size_t i = 0; i < s->count; i++) {
        double epsilon = sampler_epsilon(s, sqrt(a), sqrt(1 - a), i);
        double x = of_x0 * s->denoised[i] + of_epsilon * epsilon;
        s->x[i] = (float)(noise ? x + deviation * noise[i] : x);
    }
}

const struct sampler_kind sampler_ddim = {.name = "ddim",
                                          .a1111 = "DDIM",
                                          .about = "the classic; --eta makes it random",
                                          .space = SPACE_VARIANCE,
                                          .timing = TIMING_DDIM,
                                          .evaluations = 1,
                                          .noisy = true,
                                          .advance = ddim};
