/* sample.h: noise schedules and samplers. Pure functions over latents: a sampler is a state machine
 * that says which evaluation it wants, is handed the model's output and steps on; it never calls a
 * model. Every sampler equals its namesake in diffusers over a whole trajectory.
 *
 *     struct sampler *s; sampler_open(&s, mem, &config, err);
 *     sampler_start(s, noise);                      // or sampler_start_from(s, init, noise)
 *     struct sampler_eval e;
 *     while (sampler_next(s, &e))                   // e.input is the scaled latents to feed,
 * e.timestep the time { run the model on e.input -> out;  sampler_give(s, out); } const float
 * *latents = sampler_latents(s);
 */
#ifndef KADR_SAMPLE_SAMPLE_H
#define KADR_SAMPLE_SAMPLE_H

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

enum prediction { PREDICTION_EPSILON, PREDICTION_V, PREDICTION_SAMPLE };

/* How the model was trained: scheduler_config.json. */
struct noise_training {
    int train_steps; /* 1000 */
    double beta_start, beta_end;
    int beta_schedule; /* enum in schedule.c: linear, scaled_linear, squaredcos_cap_v2 */
    enum prediction prediction;
    bool zero_terminal_snr; /* rescale_betas_zero_snr */
    int steps_offset;
    int spacing;          /* the model's default: leading, trailing, linspace */
    int shape;            /* the same: none, karras, exponential, beta */
    bool final_sigma_min; /* final_sigmas_type: the last step stops at the first training level */
    bool ends_at_first_alpha; /* set_alpha_to_one is false: DDIM does so too */
};

/* Fills from a scheduler_config.json (`config` may be NULL: SDXL's defaults). */
kadr_status noise_training_read(const json_t *config, struct noise_training *out, kadr_error *err);

/* Gives `count` standard normals: the index-th noise, from 0, that an ancestral or SDE sampler asks
 * for after its initial noise. Must give the same numbers each time it is asked. */
struct noise_source {
    void (*normals)(void *user, uint32_t index, float *to, size_t count);
    void *user;
};

struct sampler_config {
    const char *sampler;  /* a name in the registry: "euler", ... */
    const char *schedule; /* "model" (as the scheduler config says), "normal" ..., see
                             sampler_schedule_names */
    struct noise_training training;
    int steps;
    double strength; /* 1: from noise; less: img2img starts later (diffusers' get_timesteps) */
    double eta;      /* DDIM's, TCD's gamma; negative: the sampler's own */
    size_t count;    /* floats in the latents */
    struct noise_source noise;
};

struct sampler;
kadr_status sampler_open(struct sampler **out, struct mem *m, const struct sampler_config *config,
                         kadr_error *err);
void sampler_close(struct sampler *s); /* `s` may be NULL */

/* Whether sampler_open would take it, memory aside: looked at before anything is computed. `count`,
 * `strength`, `eta` and `noise` do not matter. KADR_EUSAGE: sampler, schedule and steps that do not
 * go together; KADR_EMODEL: a sampler that the model's training rules out. */
kadr_status sampler_check(const struct sampler_config *config, kadr_error *err);

/* Bytes that sampler_open will take for this configuration, for the plan. */
size_t sampler_bytes(const struct sampler_config *config);

/* Begins from unit normals (scaled here by the initial sigma), or from clean latents noised to the
 * first sigma. */
void sampler_start(struct sampler *s, const float *noise);
void sampler_start_from(struct sampler *s, const float *clean, const float *noise);

struct sampler_eval {
    const float *input; /* latents as the model wants them (already scaled) */
    float timestep;
    float sigma;     /* noise level of the unscaled latents (sigma of x = x0 + sigma n, or its
                        equivalent); infinite where they are pure noise */
    int step, steps; /* which step this evaluation belongs to, of how many */
    int evaluation, evaluations; /* counting each evaluation (Heun wants two a step) */
};
/* False when done. Asking again without giving repeats the same wish. */
bool sampler_next(struct sampler *s, struct sampler_eval *e);
/* The model's output (after guidance) for the wish. */
void sampler_give(struct sampler *s, const float *model_output);

/* The present latents, on the scale that the VAE wants when done. */
float *sampler_latents(struct sampler *s);
/* The sampler's latest estimate of the clean latents, for previews; NULL before the first. */
const float *sampler_denoised(const struct sampler *s);
/* Noises clean latents to the level that the next evaluation has (inpainting's known part). */
void sampler_noise_to_level(const struct sampler *s, const float *clean, const float *noise,
                            float *to);

/* A sampler's whole state, for a drawing that is continued later: this and the floats, which are
 * the sampler's own memory. Between sampler_give and sampler_next. */
struct sampler_state {
    int32_t step, phase, given, has_denoised;
    uint32_t noises, unused;
    double scalar[4];
};
void sampler_get_state(const struct sampler *s, struct sampler_state *state);
/* False, and nothing is done, when it is of no sampler like this one. */
bool sampler_set_state(struct sampler *s, const struct sampler_state *state);
float *sampler_floats(struct sampler *s, size_t *count);

/* Names for help, config check and the APIs. */
struct sample_name {
    const char *name, *a1111; /* what A1111 calls it, "" when it has no such */
    const char *about;        /* one line */
};
/* The index-th sampler, in *out, which is also returned; NULL after the last. */
const struct sample_name *sampler_at(size_t index, struct sample_name *out);
/* Ends with a NULL name. */
const struct sample_name *sampler_schedule_names(void);

#endif
