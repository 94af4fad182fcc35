/* euler.c: Euler's method along the probability flow, and its ancestral form (arXiv 2206.00364;
 * k-diffusion). */
#include "sample/sampler.h"

#include <math.h>

static void to_level(struct sampler *s, double sigma, double next) {
    float dt = (float)(next - sigma), by = (float)sigma;
    for (size_t i = 0; i < s->count; i++) s->x[i] += (s->x[i] - s->denoised[i]) / by * dt;
}

static void euler(struct sampler *s, const float *out) {
    (void)out;
    to_level(s, sampler_sigma(s, 0), sampler_sigma(s, 1));
}

static void euler_a(struct sampler *s, const float *out) {
    (void)out;
    double from = sampler_sigma(s, 0), to = sampler_sigma(s, 1);
    double up = sqrt(to * to * (from * from - to * to) / (from * from));
    to_level(s, from, sqrt(to * to - up * up));
    const float *noise = sampler_noise(s);
    for (size_t i = 0; i < s->count; i++) s->x[i] += noise[i] * (float)up;
}

const struct sampler_kind sampler_euler = {.name = "euler",
                                           .a1111 = "Euler",
                                           .about = "plain and steady; the default",
                                           .space = SPACE_SIGMA,
                                           .timing = TIMING_EULER,
                                           .evaluations = 1,
                                           .advance = euler};

const struct sampler_kind sampler_euler_a = {.name = "euler_a",
                                             .a1111 = "Euler a",
                                             .about = "adds fresh noise at each step",
                                             .space = SPACE_SIGMA,
                                             .timing = TIMING_HEUN,
                                             .evaluations = 1,
                                             .noisy = true,
                                             .advance = euler_a};
