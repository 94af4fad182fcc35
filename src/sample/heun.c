/* heun.c: Heun's second-order method: two evaluations a step but for the last (arXiv 2206.00364,
 * algorithm 1). */
#include "sample/sampler.h"

#include <string.h>

static void heun(struct sampler *s, const float *out) {
    (void)out;
    float *slope = s->history[0], *start = s->history[1];
    double from = sampler_sigma(s, 0), to = sampler_sigma(s, 1);
    float dt = (float)(to - from);
    if (s->phase == 0) {
        memcpy(start, s->x, s->count * sizeof *start);
        for (size_t i = 0; i < s->count; i++) {
            slope[i] = (s->x[i] - s->denoised[i]) / (float)from;
            s->x[i] += slope[i] * dt;
        }
        s->phase = sampler_last(s) ? 0 : 1;
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        float second = (s->x[i] - s->denoised[i]) / (float)to;
        s->x[i] = start[i] + (slope[i] + second) / 2 * dt;
    }
    s->phase = 0;
}

const struct sampler_kind sampler_heun = {.name = "heun",
                                          .a1111 = "Heun",
                                          .about = "second order: two evaluations a step",
                                          .space = SPACE_SIGMA,
                                          .timing = TIMING_HEUN,
                                          .evaluations = 2,
                                          .history = 2,
                                          .advance = heun};
