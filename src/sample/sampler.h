/* sampler.h: what the samplers share; seen by this room only. A sampler is one file with one struct
 * sampler_kind, and one line in the registry (sampler.c).
 */
#ifndef KADR_SAMPLE_SAMPLER_H
#define KADR_SAMPLE_SAMPLER_H

#include "sample/schedule.h"

/* What the latents are: with s = noise over signal and a = 1 / sqrt(s^2 + 1), */
enum space {
    SPACE_SIGMA,    /* x0 + s n, scaled by a when the model is fed */
    SPACE_VARIANCE, /* a x0 + a s n, fed as it is */
};

#define SAMPLER_HISTORY 3

struct sampler_kind {
    const char *name, *a1111, *about;
    enum space space;
    enum timing timing;
    int evaluations; /* a step wants: 1, or 2 but for the last step */
    int history;     /* arrays of the latents' size that it keeps */
    bool noisy;      /* asks for noise */
    /* Steps on: `out` is the model's output at step s->step (phase s->phase); s->denoised has been
     * filled. */
    void (*advance)(struct sampler *s, const float *out);
};

struct sampler {
    const struct sampler_kind *kind;
    struct sampler_config config;
    struct schedule schedule;
    int begin, step, phase; /* the first step, the present one, evaluation within it */
    int given;              /* steps since the beginning, for multistep methods */
    uint32_t noises;        /* asked for so far */
    size_t count;
    float *x, *input, *denoised, *noise, *history[SAMPLER_HISTORY];
    double scalar[4]; /* a kind's own */
    bool asked, has_denoised;
};

/* Noise level at a step counted from the present one. */
double sampler_sigma(const struct sampler *s, int ahead);
bool sampler_last(const struct sampler *s);
/* Fresh unit normals. */
const float *sampler_noise(struct sampler *s);
/* The predicted noise from x and the predicted clean latents, at index i. */
static inline float sampler_epsilon(const struct sampler *s, double a, double b, size_t i) {
    return (float)((s->x[i] - a * s->denoised[i]) / b);
}

#define SAMPLER_KINDS(X)                                                                           \
    X(euler) X(euler_a) X(dpmpp_2m) X(dpmpp_2m_sde) X(unipc) X(ddim) X(heun) X(lcm) X(tcd)
#define SAMPLER_DECLARE(name) extern const struct sampler_kind sampler_##name;
SAMPLER_KINDS(SAMPLER_DECLARE)
#undef SAMPLER_DECLARE

#endif
