/* paint.c: see paint.h. The order of noises is diffusers': with a start picture the VAE's sample
 * comes first (latents need none), then the initial noise, then (inpainting) the sample of the
 * masked picture, which we skip over, then what the sampler asks for. Each is of the latents' size.
 */
#include "draw/paint.h"
#include "base/rng.h"
#include "base/sys.h"
#include "draw/checkpoint.h"
#include "draw/guide.h"
#include "draw/start.h"
#include "image/pixels.h"
#include "weights/safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define CHECKPOINT_SECONDS 1.0 /* between checkpoints, at least */

/* One picture while it is painted. */
struct canvas {
    const struct painting *painting;
    const struct paint *p;
    uint32_t sampler_from; /* index of the sampler's first own noise */
    float *latents, *noise, *init, *known, *mask;
    struct text_embeds embeds;
    struct sampler *sampler;
    struct sampler_eval eval; /* what the sampler wants at this moment */
};

struct painting {
    struct paint_config config;
    int64_t channels, h, w; /* of the latents */
    size_t size;            /* floats of the latents */
    struct painting_time time;
    uint8_t *look; /* [h, w, 3]: what emerges; NULL: cannot be shown */
    size_t count;
    struct canvas *canvas;
    struct checkpoint *checkpoints; /* of the canvases */
    double saved;                   /* when they were saved last */
};

/* From something that was there, not from noise alone. */
static bool begins(const struct paint *p) {
    return p->init || p->start;
}

static kadr_status canvas_open(struct canvas *c, const struct painting *g, const struct paint *p,
                               kadr_error *err) {
    c->painting = g;
    c->p = p;
    c->sampler_from = p->mask ? 3 : p->init ? 2 : 1;
    struct mem *m = g->config.ctx->mem;
    c->noise = mem_array(m, g->size, sizeof(float));
    c->latents = mem_array(m, g->size, sizeof(float));
    bool ok = c->noise && c->latents;
    if (begins(p)) ok = ok && (c->init = mem_array(m, g->size, sizeof(float)));
    if (p->mask) {
        ok = ok && (c->known = mem_array(m, g->size, sizeof(float)));
        ok = ok && (c->mask = mem_array(m, (size_t)(g->h * g->w), sizeof(float)));
    }
    if (!ok) return err_nomem(err, "latents", g->size * sizeof(float));
    return text_embeds_make(&c->embeds, m, g->config.model, p->text, err);
}

static void canvas_close(struct canvas *c) {
    mem_free(c->latents);
    mem_free(c->noise);
    mem_free(c->init);
    mem_free(c->known);
    mem_free(c->mask);
    text_embeds_free(&c->embeds);
    sampler_close(c->sampler);
}

kadr_status painting_open(struct painting **out, const struct paint_config *config,
                          const struct paint *pictures, size_t count, kadr_error *err) {
    struct mem *m = config->ctx->mem;
    const struct stages_shape *shape = &config->stages->shape;
    struct painting *g = mem_alloc(m, sizeof *g);
    if (!g) return err_nomem(err, "pictures", sizeof *g);
    g->config = *config;
    int64_t scale = vae_scale(&config->model->vae);
    g->channels = config->model->vae.latent_channels;
    g->h = shape->height / scale;
    g->w = shape->width / scale;
    g->size = (size_t)(g->channels * g->h * g->w);
    g->canvas = mem_array(m, count, sizeof *g->canvas);
    g->checkpoints = mem_array(m, count, sizeof *g->checkpoints);
    bool shown = config->model->vae.has_look;
    if (shown) g->look = mem_alloc(m, count * (size_t)(g->h * g->w) * 3);
    bool ok = g->canvas && g->checkpoints && (g->look || !shown);
    kadr_status st = ok ? KADR_OK : err_nomem(err, "pictures", count * sizeof *g->canvas);
    for (; !st && g->count < count; g->count++)
        st = canvas_open(&g->canvas[g->count], g, &pictures[g->count], err);
    if (st) painting_close(g);
    else *out = g;
    return st;
}

void painting_close(struct painting *g) {
    if (!g) return;
    for (size_t i = 0; i < g->count; i++) {
        canvas_close(&g->canvas[i]);
        mem_free(g->checkpoints[i].path);
    }
    mem_free(g->checkpoints);
    mem_free(g->canvas);
    mem_free(g->look);
    mem_free(g);
}

/* ---- Where the samples of a picture lie in the lanes of the UNet */

static struct sample_place place_of(const struct canvas *c, int branch) {
    const struct stages_shape *s = &c->painting->config.stages->shape;
    int sample = (int)(c - c->painting->canvas) * s->branches + branch, rows = stages_rows(s);
    return (struct sample_place){.run = c->painting->config.run,
                                 .lane = sample / rows,
                                 .row = sample % rows,
                                 .negative = s->branches == 2 && branch == 0};
}

/* A sample's row of a buffer whose rows have `size` floats (or i32). */
static void *sample_row(const struct canvas *c, const char *name, int branch, size_t size) {
    struct sample_place at = place_of(c, branch);
    return (char *)run_buffer(at.run, name, at.lane) + (size_t)at.row * size * 4;
}

static double seconds_waited(const struct painting *g) {
    struct run_stats stats;
    run_get_stats(g->config.run, &stats);
    return stats.seconds_waited;
}

static kadr_status run_stage(const struct painting *g, enum stage stage, bool again,
                             kadr_error *err) {
    return run_segment(g->config.run, g->config.stages->segment[stage], 0, again, err);
}

/* ---- Noise */

static void normals(const struct canvas *c, uint32_t index, float *to) {
    bool philox = strcmp(c->p->rq->rng, "philox") == 0;
    rng_normals(philox ? RNG_PHILOX : RNG_TORCH, c->p->seed, index, c->painting->size, to);
}

static void sampler_normals(void *user, uint32_t index, float *to, size_t count) {
    const struct canvas *c = user;
    (void)count;
    normals(c, c->sampler_from + index, to);
}

/* The tensor `noise` [n, channels, h, w] of a file. */
static kadr_status read_noise(const struct canvas *c, const char *path, kadr_error *err) {
    const struct painting *g = c->painting;
    struct safetensors file;
    kadr_status st = safetensors_open(&file, g->config.ctx->mem, path, err);
    if (st) return st;
    const struct safetensors_tensor *t = safetensors_find(&file, "noise");
    if (!t || t->dtype != SAFETENSORS_F32 || t->rank != 4 || t->dim[1] != g->channels ||
        t->dim[2] != g->h || t->dim[3] != g->w || t->dim[0] <= (int64_t)c->p->index)
        st = err_set(err, KADR_EUSAGE,
                     "%s: expected a tensor \"noise\" of F32 [%zu or more, %d, %d, %d]", path,
                     c->p->index + 1, (int)g->channels, (int)g->h, (int)g->w);
    else
        st = file_read_at(&file.file, t->begin + c->p->index * g->size * sizeof(float), c->noise,
                          g->size * sizeof(float), err);
    safetensors_close(&file);
    return st;
}

static kadr_status initial_noise(const struct canvas *c, kadr_error *err) {
    if (c->p->rq->noise) return read_noise(c, c->p->rq->noise, err);
    normals(c, c->p->init ? 1 : 0, c->noise);
    return KADR_OK;
}

/* ---- Before the first step */

/* The start picture as latents: a sample of the VAE's distribution, as diffusers takes it. */
static kadr_status encode_init(const struct canvas *c, kadr_error *err) {
    const struct painting *g = c->painting;
    struct run *run = g->config.run;
    kadr_status st = pixels_prepare(c->p->init, g->config.ctx->mem, (int)c->p->rq->width,
                                    (int)c->p->rq->height, run_buffer(run, "vae.picture", 0), err);
    if (!st) st = run_stage(g, STAGE_ENCODE, false, err);
    if (st) return st;
    const float *moments = run_buffer(run, "vae.moments", 0);
    normals(c, 0, c->init);
    for (size_t i = 0; i < g->size; i++) {
        float logvar = fminf(fmaxf(moments[g->size + i], -30.0f), 20.0f);
        c->init[i] = moments[i] + expf(0.5f * logvar) * c->init[i];
    }
    vae_rescale(&g->config.model->vae, c->init, 1, g->h * g->w);
    return KADR_OK;
}

static kadr_status prepare_mask(const struct canvas *c, kadr_error *err) {
    struct mem *m = c->painting->config.ctx->mem;
    int width = (int)c->p->rq->width, height = (int)c->p->rq->height;
    float *full = mem_array(m, (size_t)width * (size_t)height, sizeof *full);
    if (!full) return err_nomem(err, "mask", (size_t)width * (size_t)height * sizeof *full);
    kadr_status st = pixels_prepare_mask(c->p->mask, m, width, height, full, err);
    if (!st)
        pixels_mask_to_latents(full, width, height, (int)c->painting->w, (int)c->painting->h,
                               c->mask);
    mem_free(full);
    return st;
}

static kadr_status encode_texts(const struct painting *g, kadr_error *err) {
    struct mem *m = g->config.ctx->mem;
    struct text_embeds **embeds = mem_array(m, g->count, sizeof *embeds);
    const struct text_request **texts = mem_array(m, g->count, sizeof *texts);
    kadr_status st = embeds && texts ? KADR_OK : err_nomem(err, "prompts", g->count);
    for (size_t i = 0; i < g->count && !st; i++) {
        embeds[i] = &g->canvas[i].embeds;
        texts[i] = g->canvas[i].p->text;
    }
    if (!st)
        st = text_encode(embeds, texts, g->count, g->config.run, g->config.stages, g->config.model,
                         err);
    mem_free(embeds);
    mem_free((void *)texts);
    for (size_t i = 0; i < g->count && !st; i++) {
        const struct paint *p = g->canvas[i].p;
        if (p->rq->save_embeds && p->index == 0)
            st =
                text_embeds_save(&g->canvas[i].embeds, m, g->config.model, p->rq->save_embeds, err);
    }
    return st;
}

/* Prompt's keys and values and the constant part of the time embedding. */
static kadr_status condition(const struct painting *g, kadr_error *err) {
    const struct unet_config *u = &g->config.model->unet;
    for (size_t i = 0; i < g->count; i++) {
        const struct canvas *c = &g->canvas[i];
        const struct text_embeds *e = &c->embeds;
        const kadr_request *rq = c->p->rq;
        const int64_t sizes[6] = {rq->original_height, rq->original_width, rq->crop_top,
                                  rq->crop_left,       rq->target_height,  rq->target_width};
        size_t hidden = (size_t)(e->tokens * u->cross), pooled = (size_t)u->pooled;
        for (int b = 0; b < e->branches; b++) {
            memcpy(sample_row(c, "unet.prompt_embeds", b, hidden), e->hidden + (size_t)b * hidden,
                   hidden * sizeof(float));
            memcpy(sample_row(c, "unet.text_embeds", b, pooled), e->pooled + (size_t)b * pooled,
                   pooled * sizeof(float));
            float *ids = sample_row(c, "unet.time_ids", b, 6);
            for (int j = 0; j < 6; j++) ids[j] = (float)sizes[j];
        }
    }
    kadr_status st = run_stage(g, STAGE_CONDITION, false, err);
    for (size_t i = 0; i < g->count && !st; i++) {
        const struct text_embeds *e = &g->canvas[i].embeds;
        for (int b = 0; b < e->branches && !st; b++) {
            const struct canvas *c = &g->canvas[i];
            *(int32_t *)sample_row(c, "unet.prompt_lengths", b, 1) = e->lengths[b];
            st = castings_put(c->p->castings, g->config.ctx->mem, g->config.model,
                              &g->config.stages->shape, place_of(c, b), err);
        }
    }
    return st;
}

/* ---- Checkpoints */

static void hash_floats(XXH3_state_t *h, const float *x, size_t count) {
    if (x) XXH3_64bits_update(h, x, count * sizeof *x);
}

/* Of all that decides the pixels: the settings, and what texts, pictures and casts became. */
static kadr_status identify(const struct canvas *c, struct checkpoint *to, kadr_error *err) {
    const struct painting *g = c->painting;
    const struct paint *p = c->p;
    const struct text_embeds *e = &c->embeds;
    struct mem *m = g->config.ctx->mem;
    struct buf text;
    if (!p->rq->checkpoint) return KADR_OK;
    buf_init(&text, m);
    buf_puts(&text, p->rq->checkpoint);
    if (p->rq->count > 1) buf_printf(&text, ".%zu", p->index);
    to->path = buf_take(&text);
    buf_init(&text, m);
    json_t *settings = request_to_json(p->rq);
    json_put(&text, settings, REQUEST_JSON_FLAGS);
    json_decref(settings);
    buf_printf(&text, "|%s|%s|%d|%" PRIu64, kadr_version(), weights_path(g->config.model->weights),
               (int)g->config.stages->shape.dtype, p->seed);
    castings_describe(p->castings, &text);
    bool ok = to->path && buf_ok(&text);
    XXH3_state_t h;
    XXH3_64bits_reset(&h);
    XXH3_64bits_update(&h, text.data, text.size);
    hash_floats(&h, e->hidden, (size_t)(e->branches * e->tokens * g->config.model->unet.cross));
    hash_floats(&h, c->noise, g->size);
    hash_floats(&h, c->init, g->size);
    hash_floats(&h, c->mask, (size_t)(g->h * g->w));
    to->id = XXH3_64bits_digest(&h);
    buf_free(&text);
    return ok ? KADR_OK : err_nomem(err, "a checkpoint", 0);
}

/* Between steps, where nothing is kept that is not the samplers' own. A drawing that cannot be
 * saved goes on. */
static void save(struct painting *g) {
    kadr_error why = {0};
    double now = sys_seconds();
    if (!g->canvas[0].p->rq->checkpoint || now - g->saved < CHECKPOINT_SECONDS) return;
    for (size_t i = 0; i < g->count; i++) g->checkpoints[i].sampler = g->canvas[i].sampler;
    if (checkpoints_save(g->checkpoints, g->count, g->config.ctx->mem, &why) != KADR_OK)
        log_print(&g->config.ctx->log, LOG_WARN, "no checkpoint: %s", why.message);
    g->saved = sys_seconds();
}

void painting_delivered(const struct painting *g, size_t i) {
    checkpoint_remove(&g->checkpoints[i]);
}

/* ---- Texts, start pictures and masks */

static kadr_status prepare(const struct painting *g, kadr_error *err) {
    kadr_status st = encode_texts(g, err);
    for (size_t i = 0; i < g->count && !st; i++) {
        const struct canvas *c = &g->canvas[i];
        if (c->p->init) st = encode_init(c, err);
        if (!st && c->p->start)
            st = start_read(g->config.ctx->mem, c->p->start, g->channels, g->h, g->w, c->init, err);
        if (!st && c->p->mask) st = prepare_mask(c, err);
        if (!st) st = initial_noise(c, err);
    }
    for (size_t i = 0; i < g->count && !st; i++)
        st = identify(&g->canvas[i], &g->checkpoints[i], err);
    if (!st) st = condition(g, err);
    for (size_t i = 0; i < g->count; i++) text_embeds_free(&g->canvas[i].embeds);
    return st;
}

/* ---- Steps */

static struct sampler_config sampler_for(const struct draw_model *model, const kadr_request *rq,
                                         bool init) {
    int64_t scale = vae_scale(&model->vae);
    struct sampler_config s = {
        .sampler = rq->sampler,
        .schedule = rq->schedule,
        .training = model->training,
        .steps = (int)rq->steps,
        .strength = init ? rq->strength : 1.0,
        .eta = request_has(rq, OPTION_eta) ? rq->eta : -1.0,
        .count = (size_t)(model->vae.latent_channels * (rq->height / scale) * (rq->width / scale))};
    return s;
}

static kadr_status open_sampler(struct canvas *c, kadr_error *err) {
    const struct paint *p = c->p;
    struct sampler_config config = sampler_for(c->painting->config.model, p->rq, begins(p));
    config.noise = (struct noise_source){sampler_normals, c};
    kadr_status st = sampler_open(&c->sampler, c->painting->config.ctx->mem, &config, err);
    if (st) return st;
    if (begins(p) && !(p->mask && p->rq->strength >= 1))
        sampler_start_from(c->sampler, c->init, c->noise);
    else sampler_start(c->sampler, c->noise);
    return KADR_OK;
}

/* Where a drawing that was cut off had come to, or at the beginning. */
static kadr_status open_samplers(struct painting *g, kadr_error *err) {
    kadr_status st = KADR_OK;
    for (int again = 0; again < 2 && !st; again++) {
        for (size_t i = 0; i < g->count && !st; i++) {
            sampler_close(g->canvas[i].sampler);
            g->canvas[i].sampler = NULL;
            st = open_sampler(&g->canvas[i], err);
            g->checkpoints[i].sampler = g->canvas[i].sampler;
        }
        if (st || again || !g->canvas[0].p->rq->checkpoint) break;
        if (checkpoints_load(g->checkpoints, g->count, g->config.ctx->mem)) break;
    }
    g->saved = sys_seconds();
    return st;
}

/* What the samplers want; false when they are done. Pictures of a group have samplers of the same
 * steps. */
static bool next_evaluation(const struct painting *g) {
    bool more = true;
    for (size_t i = 0; i < g->count; i++)
        more = sampler_next(g->canvas[i].sampler, &g->canvas[i].eval) && more;
    return more;
}

static void put_inputs(const struct canvas *c) {
    size_t size = c->painting->size;
    for (int b = 0; b < c->painting->config.stages->shape.branches; b++) {
        memcpy(sample_row(c, "unet.latents", b, size), c->eval.input, size * sizeof(float));
        *(float *)sample_row(c, "unet.timestep", b, 1) = c->eval.timestep;
        castings_weigh(c->p->castings, c->painting->config.model, place_of(c, b),
                       (double)c->eval.step / c->eval.steps);
    }
}

/* Gives the UNet's output, guided where it is the turn of both branches, to the sampler. */
static void take_output(struct canvas *c, struct turn turn) {
    const struct painting *g = c->painting;
    bool two = g->config.stages->shape.branches == 2;
    float *out = sample_row(c, "unet.output", two && !turn.guided ? 1 : 0, g->size);
    if (two && turn.guided)
        guide(out, sample_row(c, "unet.output", 1, g->size), g->size, c->p->rq->guidance,
              c->p->rq->guidance_rescale);
    sampler_give(c->sampler, out);
    if (!c->mask) return;
    sampler_noise_to_level(c->sampler, c->init, c->noise, c->known);
    guide_blend(sampler_latents(c->sampler), c->known, c->mask, (size_t)g->channels,
                (size_t)(g->h * g->w));
}

static kadr_status step(const struct painting *g, kadr_error *err) {
    const struct sampler_eval *e = &g->canvas[0].eval;
    struct progress *progress = g->config.progress;
    const struct stages_shape *shape = &g->config.stages->shape;
    const struct turn turn = stages_turn(shape, e->step, e->steps, e->evaluation);
    double from = sys_seconds();
    run_use_part(g->config.run, stages_part(shape, turn));
    for (size_t i = 0; i < g->count; i++) put_inputs(&g->canvas[i]);
    kadr_status st = run_stage(g, STAGE_DENOISE, e->evaluation + 1 < e->evaluations, err);
    if (st) return st;
    for (size_t i = 0; i < g->count; i++) take_output(&g->canvas[i], turn);
    progress_measure(progress, sys_seconds() - from);
    const struct preview preview = {g->look, (int)g->w, (int)g->h};
    bool shown = g->look && sampler_denoised(g->canvas[0].sampler);
    for (size_t i = 0; i < g->count && shown; i++)
        vae_look(&g->config.model->vae, sampler_denoised(g->canvas[i].sampler), g->h * g->w,
                 g->look + i * (size_t)(g->h * g->w) * 3);
    return progress_tell(progress, "denoise", e->evaluation + 1, e->step + 1, e->steps,
                         shown ? &preview : NULL, err);
}

kadr_status painting_denoise(struct painting *g, kadr_error *err) {
    double start = sys_seconds(), waited = seconds_waited(g);
    int planned = (int)g->canvas[0].p->rq->steps;
    run_use_lanes(g->config.run, (int)g->count, g->config.stages->shape.pictures);
    run_use_part(g->config.run, (struct segment_part){0});
    kadr_status st = progress_tell(g->config.progress, "encode", 0, 0, planned, NULL, err);
    if (!st) st = prepare(g, err);
    g->time.encode = sys_seconds() - start;
    g->time.encode_waited = seconds_waited(g) - waited;
    if (!st) st = open_samplers(g, err);
    while (!st && next_evaluation(g)) {
        const struct sampler_eval *e = &g->canvas[0].eval;
        g->config.progress->evaluations = e->evaluations;
        if (!stages_turn(&g->config.stages->shape, e->step, e->steps, e->evaluation).reuse) save(g);
        st = step(g, err);
        g->time.evaluations++;
    }
    if (!st) save(g);
    for (size_t i = 0; i < g->count && !st; i++) {
        struct canvas *c = &g->canvas[i];
        memcpy(c->latents, sampler_latents(c->sampler), g->size * sizeof(float));
        sampler_close(c->sampler);
        c->sampler = NULL;
    }
    g->time.denoise = sys_seconds() - start - g->time.encode;
    g->time.denoise_waited = seconds_waited(g) - waited - g->time.encode_waited;
    return st;
}

/* ---- After the last step */

/* Weights that are broken, or numbers beyond what f32 holds, end in NaN: no picture, rather than a
 * grey one that looks like a result. */
static kadr_status check_finite(const struct painting *g, const float *x, size_t count,
                                const char *what, kadr_error *err) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(x[i]))
            return err_set(err, KADR_EMODEL,
                           "%s: the %s gives values that are no numbers; expected weights that are "
                           "whole, and no extreme guidance or prompt weights",
                           weights_path(g->config.model->weights), what);
    return KADR_OK;
}

kadr_status painting_decode(struct painting *g, size_t i, struct painted *out, kadr_error *err) {
    const struct canvas *c = &g->canvas[i];
    const struct sampler_eval *e = &c->eval;
    struct run *run = g->config.run;
    struct progress *progress = g->config.progress;
    size_t pixels = (size_t)(c->p->rq->width * c->p->rq->height * 3);
    double start = sys_seconds(), waited = seconds_waited(g), share = 1.0 / (double)g->count;
    *out = (struct painted){.latents = c->latents,
                            .steps = e->steps,
                            .seconds_encode = g->time.encode * share,
                            .seconds_denoise = g->time.denoise * share};
    out->rgb = mem_alloc(g->config.ctx->mem, pixels);
    if (!out->rgb) return err_nomem(err, "picture", pixels);
    kadr_status st =
        progress_tell(progress, "decode", progress->evaluations, e->steps, e->steps, NULL, err);
    if (!st) st = check_finite(g, c->latents, g->size, "unet", err);
    if (!st) {
        float *latents = run_buffer(run, "vae.latents", 0);
        memcpy(latents, c->latents, g->size * sizeof(float));
        vae_unscale(&g->config.model->vae, latents, 1, g->h * g->w);
        st = run_stage(g, STAGE_DECODE, i + 1 < g->count, err);
    }
    if (!st) st = check_finite(g, run_buffer(run, "vae.picture", 0), pixels, "vae", err);
    if (!st) pixels_from_floats(run_buffer(run, "vae.picture", 0), pixels, out->rgb);
    else painted_free(out);
    g->time.decode = out->seconds_decode = sys_seconds() - start;
    g->time.decode_waited = seconds_waited(g) - waited;
    progress->outside = out->seconds_encode + out->seconds_decode;
    return st;
}

void painting_get_time(const struct painting *g, struct painting_time *out) {
    *out = g->time;
}

void painted_free(struct painted *out) {
    mem_free(out->rgb);
    out->rgb = NULL;
}

size_t paint_bytes(const struct draw_model *model, const kadr_request *rq,
                   const struct text_request *text) {
    struct sampler_config s = sampler_for(model, rq, rq->init);
    size_t pixels = (size_t)(rq->width * rq->height);
    size_t bytes = sampler_bytes(&s) + 5 * s.count * sizeof(float) + text_embeds_bytes(model, text);
    bytes += pixels / 16; /* its preview */
    if (rq->mask) bytes += pixels * sizeof(float) + pixels * 4;
    if (rq->init) bytes += pixels * 4;
    return bytes;
}

/* The picture, and its encoded form while it is written. */
size_t paint_bytes_once(const kadr_request *rq) {
    return (size_t)(rq->width * rq->height) * 3 * 2;
}

/* "a, b, c" of the samplers (schedules: false) or the schedules. */
static void list_names(bool schedules, char *list, size_t size) {
    struct sample_name n;
    size_t used = 0;
    list[0] = 0;
    for (size_t i = 0; used < size; i++) {
        if (schedules) n = sampler_schedule_names()[i];
        else if (!sampler_at(i, &n)) break;
        if (!n.name) break;
        used += (size_t)snprintf(list + used, size - used, "%s%s", i ? ", " : "", n.name);
    }
}

static bool known(const char *name, bool schedules) {
    struct sample_name n;
    for (size_t i = 0;; i++) {
        if (schedules) n = sampler_schedule_names()[i];
        else if (!sampler_at(i, &n)) return false;
        if (!n.name) return false;
        if (strcmp(name, n.name) == 0) return true;
    }
}

kadr_status paint_check_sampler(const struct draw_model *model, const kadr_request *rq,
                                kadr_error *err) {
    char list[512];
    if (!known(rq->sampler, false)) {
        list_names(false, list, sizeof list);
        return err_set(err, KADR_EUSAGE, "unknown sampler \"%s\"; there are: %s", rq->sampler,
                       list);
    }
    if (!known(rq->schedule, true)) {
        list_names(true, list, sizeof list);
        return err_set(err, KADR_EUSAGE, "unknown schedule \"%s\"; there are: %s", rq->schedule,
                       list);
    }
    const struct sampler_config config = sampler_for(model, rq, false);
    return sampler_check(&config, err);
}
