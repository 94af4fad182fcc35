/* sampler.c: the registry, and the state machine around the samplers. */
#include "sample/sampler.h"

#include <math.h>
#include <string.h>

#define SAMPLER_REFER(name) &sampler_##name,
static const struct sampler_kind *const kinds[] = {SAMPLER_KINDS(SAMPLER_REFER)};
#undef SAMPLER_REFER
#define KINDS (sizeof kinds / sizeof *kinds)

static const struct sampler_kind *find(const char *name) {
    for (size_t i = 0; i < KINDS; i++)
        if (strcmp(kinds[i]->name, name) == 0) return kinds[i];
    return NULL;
}

const struct sample_name *sampler_at(size_t index, struct sample_name *out) {
    if (index >= KINDS) return NULL;
    *out = (struct sample_name){kinds[index]->name, kinds[index]->a1111, kinds[index]->about};
    return out;
}

static int arrays(const struct sampler_kind *k) {
    return 3 + k->history + k->noisy;
}

size_t sampler_bytes(const struct sampler_config *c) {
    const struct sampler_kind *k = find(c->sampler);
    size_t lists = ((size_t)c->steps * 2 + (size_t)c->training.train_steps + 1) * sizeof(double);
    return k ? (size_t)arrays(k) * c->count * sizeof(float) + lists + sizeof(struct sampler) + 256
             : 0;
}

kadr_status sampler_check(const struct sampler_config *c, kadr_error *err) {
    const struct sampler_kind *kind = find(c->sampler);
    if (!kind) return err_set(err, KADR_EUSAGE, "unknown sampler \"%s\"", c->sampler);
    return schedule_check(c, kind->timing, err);
}

kadr_status sampler_open(struct sampler **out, struct mem *m, const struct sampler_config *c,
                         kadr_error *err) {
    const struct sampler_kind *kind = find(c->sampler);
    if (!kind) return err_set(err, KADR_EUSAGE, "unknown sampler \"%s\"", c->sampler);
    struct sampler *s = mem_alloc(m, sizeof *s);
    if (!s) return err_nomem(err, "sampler", sizeof *s);
    s->kind = kind;
    s->config = *c;
    s->count = c->count;
    kadr_status st = schedule_make(&s->schedule, m, c, kind->timing, err);
    float *block = st ? NULL : mem_array(m, (size_t)arrays(kind) * c->count, sizeof *block);
    if (!st && !block) st = err_nomem(err, "sampler", c->count * sizeof *block);
    if (st) {
        sampler_close(s);
        return st;
    }
    s->x = block;
    s->input = block + c->count;
    s->denoised = block + 2 * c->count;
    for (int i = 0; i < kind->history; i++) s->history[i] = block + (size_t)(3 + i) * c->count;
    if (kind->noisy) s->noise = block + (size_t)(3 + kind->history) * c->count;
    /* Diffusers' get_timesteps: int(steps * strength) steps are made. */
    int made = (int)(c->steps * c->strength);
    s->begin = made >= c->steps ? 0 : c->steps - made;
    s->step = s->begin;
    *out = s;
    return KADR_OK;
}

void sampler_close(struct sampler *s) {
    if (!s) return;
    schedule_free(&s->schedule);
    mem_free(s->x);
    mem_free(s);
}

double sampler_sigma(const struct sampler *s, int ahead) {
    int i = s->step + ahead;
    return s->schedule.sigma[i < s->schedule.steps ? i : s->schedule.steps];
}

bool sampler_last(const struct sampler *s) {
    return s->step == s->schedule.steps - 1;
}

const float *sampler_noise(struct sampler *s) {
    s->config.noise.normals(s->config.noise.user, s->noises++, s->noise, s->count);
    return s->noise;
}

void sampler_start(struct sampler *s, const float *noise) {
    float by = s->kind->space == SPACE_SIGMA ? (float)s->schedule.initial : 1.0f;
    for (size_t i = 0; i < s->count; i++) s->x[i] = noise[i] * by;
}

/* Parts of signal and noise, squares adding to 1; pure noise has an infinite sigma. */
struct level {
    double signal, noise;
};

static struct level level_of(double sigma) {
    if (isinf(sigma)) return (struct level){0, 1};
    double a = 1 / sqrt(sigma * sigma + 1);
    return (struct level){a, a * sigma};
}

/* Clean latents and noise at a level, in the sampler's space. */
static void mix(const struct sampler *s, double sigma, const float *clean, const float *noise,
                float *to) {
    struct level v = level_of(sigma);
    bool plain = s->kind->space == SPACE_SIGMA;
    float fa = plain ? 1 : (float)v.signal, fb = (float)(plain ? sigma : v.noise);
    for (size_t i = 0; i < s->count; i++) to[i] = fa * clean[i] + fb * noise[i];
}

void sampler_start_from(struct sampler *s, const float *clean, const float *noise) {
    if (s->step >= s->schedule.steps) memcpy(s->x, clean, s->count * sizeof *clean);
    else mix(s, sampler_sigma(s, 0), clean, noise, s->x);
}

void sampler_noise_to_level(const struct sampler *s, const float *clean, const float *noise,
                            float *to) {
    if (s->step >= s->schedule.steps) memcpy(to, clean, s->count * sizeof *clean);
    else mix(s, sampler_sigma(s, s->phase), clean, noise, to);
}

static int evaluations_of(const struct sampler *s, int steps) {
    return s->kind->evaluations == 1 || steps == 0 ? steps : 2 * steps - 1;
}

bool sampler_next(struct sampler *s, struct sampler_eval *e) {
    if (s->step >= s->schedule.steps) return false;
    double sigma = sampler_sigma(s, s->phase);
    int at = s->step + s->phase;
    float scale = s->kind->space == SPACE_SIGMA ? (float)sqrt(sigma * sigma + 1) : 1.0f;
    for (size_t i = 0; i < s->count; i++) s->input[i] = s->x[i] / scale;
    int done = s->step - s->begin;
    *e = (struct sampler_eval){.input = s->input,
                               .timestep = (float)s->schedule.time[at],
                               .sigma = (float)sigma,
                               .step = done,
                               .steps = s->schedule.steps - s->begin,
                               .evaluation = done * s->kind->evaluations + s->phase,
                               .evaluations = evaluations_of(s, s->schedule.steps - s->begin)};
    s->asked = true;
    return true;
}

/* What the model takes the clean latents to be. */
static void predict(struct sampler *s, const float *out) {
    double sigma = sampler_sigma(s, s->phase);
    struct level v = level_of(sigma);
    bool plain = s->kind->space == SPACE_SIGMA;
    double of_x, of_out;
    switch (s->config.training.prediction) {
    case PREDICTION_V:
        of_x = plain ? v.signal * v.signal : v.signal;
        of_out = -v.noise;
        break;
    case PREDICTION_SAMPLE:
        of_x = 0;
        of_out = 1;
        break;
    default: of_x = plain ? 1 : 1 / v.signal; of_out = -sigma;
    }
    for (size_t i = 0; i < s->count; i++)
        s->denoised[i] = (float)(of_x * s->x[i] + of_out * out[i]);
    s->has_denoised = true;
}

void sampler_give(struct sampler *s, const float *out) {
    if (!s->asked) return;
    s->asked = false;
    predict(s, out);
    int before = s->step;
    s->kind->advance(s, out);
    /* A kind that wants a second evaluation sets the phase; else the step is done. */
    if (s->phase == 0 && s->step == before) s->step++, s->given++;
}

float *sampler_latents(struct sampler *s) {
    return s->x;
}

const float *sampler_denoised(const struct sampler *s) {
    return s->has_denoised ? s->denoised : NULL;
}

/* ---- State */

void sampler_get_state(const struct sampler *s, struct sampler_state *state) {
    *state = (struct sampler_state){.step = s->step,
                                    .phase = s->phase,
                                    .given = s->given,
                                    .has_denoised = s->has_denoised,
                                    .noises = s->noises};
    memcpy(state->scalar, s->scalar, sizeof state->scalar);
}

bool sampler_set_state(struct sampler *s, const struct sampler_state *state) {
    if (state->step < s->begin || state->step > s->schedule.steps || state->phase < 0 ||
        state->phase >= s->kind->evaluations || state->given < 0 || state->given > state->step)
        return false;
    s->step = state->step;
    s->phase = state->phase;
    s->given = state->given;
    s->has_denoised = state->has_denoised != 0;
    s->noises = state->noises;
    s->asked = false;
    memcpy(s->scalar, state->scalar, sizeof s->scalar);
    return true;
}

float *sampler_floats(struct sampler *s, size_t *count) {
    *count = (size_t)arrays(s->kind) * s->count;
    return s->x;
}
