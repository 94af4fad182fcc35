/* paint.c: see paint.h. The order of noises is diffusers': with a start picture the VAE's sample
 * comes first, then the initial noise, then (inpainting) the sample of the masked picture, which we
 * skip over, then what the sampler asks for. Each is of the latents' size.
 */
#include "draw/paint.h"
#include "base/rng.h"
#include "base/sys.h"
#include "draw/guide.h"
#include "image/pixels.h"
#include "weights/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct canvas {
    const struct paint *p;
    int64_t channels, h, w;
    size_t count;          /* floats of the latents */
    uint32_t sampler_from; /* index of the sampler's first own noise */
    float *noise, *init, *known, *mask;
};

static kadr_status canvas_open(struct canvas *c, const struct paint *p, kadr_error *err) {
    *c = (struct canvas){.p = p, .channels = p->model->vae.latent_channels};
    int64_t scale = vae_scale(&p->model->vae);
    c->h = p->rq->height / scale;
    c->w = p->rq->width / scale;
    c->count = (size_t)(c->channels * c->h * c->w);
    c->sampler_from = p->mask ? 3 : p->init ? 2 : 1;
    struct mem *m = p->ctx->mem;
    c->noise = mem_array(m, c->count, sizeof(float));
    bool ok = c->noise;
    if (p->init) ok = ok && (c->init = mem_array(m, c->count, sizeof(float)));
    if (p->mask) {
        ok = ok && (c->known = mem_array(m, c->count, sizeof(float)));
        ok = ok && (c->mask = mem_array(m, (size_t)(c->h * c->w), sizeof(float)));
    }
    return ok ? KADR_OK : err_nomem(err, "latents", c->count * sizeof(float));
}

static void canvas_close(struct canvas *c) {
    mem_free(c->noise);
    mem_free(c->init);
    mem_free(c->known);
    mem_free(c->mask);
}

static void normals(const struct canvas *c, uint32_t index, float *to) {
    bool philox = strcmp(c->p->rq->rng, "philox") == 0;
    rng_normals(philox ? RNG_PHILOX : RNG_TORCH, c->p->seed, index, c->count, to);
}

static void sampler_normals(void *user, uint32_t index, float *to, size_t count) {
    const struct canvas *c = user;
    (void)count;
    normals(c, c->sampler_from + index, to);
}

/* The tensor `noise` [n, channels, h, w] of a file. */
static kadr_status read_noise(const struct canvas *c, const char *path, kadr_error *err) {
    struct safetensors file;
    kadr_status st = safetensors_open(&file, c->p->ctx->mem, path, err);
    if (st) return st;
    const struct safetensors_tensor *t = safetensors_find(&file, "noise");
    if (!t || t->dtype != SAFETENSORS_F32 || t->rank != 4 || t->dim[1] != c->channels ||
        t->dim[2] != c->h || t->dim[3] != c->w || t->dim[0] <= (int64_t)c->p->index)
        st = err_set(err, KADR_EUSAGE,
                     "%s: expected a tensor \"noise\" of F32 [%zu or more, %d, %d, %d]", path,
                     c->p->index + 1, (int)c->channels, (int)c->h, (int)c->w);
    else
        st = file_read_at(&file.file, t->begin + c->p->index * c->count * sizeof(float), c->noise,
                          c->count * sizeof(float), err);
    safetensors_close(&file);
    return st;
}

static kadr_status initial_noise(const struct canvas *c, kadr_error *err) {
    if (c->p->rq->noise) return read_noise(c, c->p->rq->noise, err);
    normals(c, c->p->init ? 1 : 0, c->noise);
    return KADR_OK;
}

/* The start picture as latents: a sample of the VAE's distribution, as diffusers takes it. */
static kadr_status encode_init(const struct canvas *c, kadr_error *err) {
    const struct paint *p = c->p;
    float *picture = run_buffer(p->run, "vae.picture");
    kadr_status st =
        pixels_prepare(p->init, p->ctx->mem, (int)p->rq->width, (int)p->rq->height, picture, err);
    if (!st) st = run_segment(p->run, p->stages->segment[STAGE_ENCODE], err);
    if (st) return st;
    const float *moments = run_buffer(p->run, "vae.moments");
    normals(c, 0, c->init);
    for (size_t i = 0; i < c->count; i++) {
        float logvar = fminf(fmaxf(moments[c->count + i], -30.0f), 20.0f);
        c->init[i] = moments[i] + expf(0.5f * logvar) * c->init[i];
    }
    vae_rescale(&p->model->vae, c->init, 1, c->h * c->w);
    return KADR_OK;
}

static kadr_status prepare_mask(const struct canvas *c, kadr_error *err) {
    const struct paint *p = c->p;
    int width = (int)p->rq->width, height = (int)p->rq->height;
    float *full = mem_array(p->ctx->mem, (size_t)width * (size_t)height, sizeof *full);
    if (!full) return err_nomem(err, "mask", (size_t)width * (size_t)height * sizeof *full);
    kadr_status st = pixels_prepare_mask(p->mask, p->ctx->mem, width, height, full, err);
    if (!st) pixels_mask_to_latents(full, width, height, (int)c->w, (int)c->h, c->mask);
    mem_free(full);
    return st;
}

/* Prompt's keys and values and the constant part of the time embedding. */
static kadr_status condition(const struct paint *p, const struct text_embeds *e, kadr_error *err) {
    const kadr_request *rq = p->rq;
    const struct unet_config *u = &p->model->unet;
    memcpy(run_buffer(p->run, "unet.prompt_embeds"), e->hidden,
           (size_t)(e->branches * e->tokens * u->cross) * sizeof(float));
    memcpy(run_buffer(p->run, "unet.text_embeds"), e->pooled,
           (size_t)(e->branches * u->pooled) * sizeof(float));
    float *ids = run_buffer(p->run, "unet.time_ids");
    const int64_t sizes[6] = {rq->original_height, rq->original_width, rq->crop_top,
                              rq->crop_left,       rq->target_height,  rq->target_width};
    for (int64_t i = 0; i < e->branches * 6; i++) ids[i] = (float)sizes[i % 6];
    kadr_status st = run_segment(p->run, p->stages->segment[STAGE_CONDITION], err);
    if (!st)
        memcpy(run_buffer(p->run, "unet.prompt_lengths"), e->lengths,
               (size_t)e->branches * sizeof(int32_t));
    return st;
}

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

/* One evaluation of the UNet, with guidance. */
static kadr_status evaluate(const struct canvas *c, const struct sampler_eval *e, kadr_error *err) {
    const struct paint *p = c->p;
    int branches = p->stages->shape.branches;
    float *latents = run_buffer(p->run, "unet.latents"),
          *time = run_buffer(p->run, "unet.timestep");
    for (int b = 0; b < branches; b++) {
        memcpy(latents + (size_t)b * c->count, e->input, c->count * sizeof(float));
        time[b] = e->timestep;
    }
    kadr_status st = run_segment(p->run, p->stages->segment[STAGE_DENOISE], err);
    if (st) return st;
    if (branches == 2)
        guide(run_buffer(p->run, "unet.output"), c->count, p->rq->guidance,
              p->rq->guidance_rescale);
    return KADR_OK;
}

static kadr_status denoise_step(const struct canvas *c, struct sampler *s,
                                const struct sampler_eval *e, kadr_error *err) {
    double from = sys_seconds();
    kadr_status st = evaluate(c, e, err);
    if (st) return st;
    sampler_give(s, run_buffer(c->p->run, "unet.output"));
    if (c->mask) {
        sampler_noise_to_level(s, c->init, c->noise, c->known);
        guide_blend(sampler_latents(s), c->known, c->mask, (size_t)c->channels,
                    (size_t)(c->h * c->w));
    }
    progress_measure(c->p->progress, sys_seconds() - from);
    return progress_tell(c->p->progress, "denoise", e->evaluation + 1, e->step + 1, e->steps, NULL,
                         err);
}

static kadr_status denoise(const struct canvas *c, struct painted *out, kadr_error *err) {
    const struct paint *p = c->p;
    struct sampler_config config = sampler_for(p->model, p->rq, p->init);
    config.noise = (struct noise_source){sampler_normals, (void *)(uintptr_t)c};
    struct sampler *s;
    kadr_status st = sampler_open(&s, p->ctx->mem, &config, err);
    if (st) return st;
    if (p->init && !(p->mask && p->rq->strength >= 1)) sampler_start_from(s, c->init, c->noise);
    else sampler_start(s, c->noise);
    struct sampler_eval e;
    while (!st && sampler_next(s, &e)) {
        p->progress->evaluations = e.evaluations;
        out->steps = e.steps;
        st = denoise_step(c, s, &e, err);
    }
    if (!st) memcpy(out->latents, sampler_latents(s), c->count * sizeof(float));
    sampler_close(s);
    return st;
}

static kadr_status decode(const struct canvas *c, struct painted *out, kadr_error *err) {
    const struct paint *p = c->p;
    float *latents = run_buffer(p->run, "vae.latents");
    memcpy(latents, out->latents, c->count * sizeof(float));
    vae_unscale(&p->model->vae, latents, 1, c->h * c->w);
    kadr_status st = run_segment(p->run, p->stages->segment[STAGE_DECODE], err);
    if (st) return st;
    pixels_from_floats(run_buffer(p->run, "vae.picture"),
                       (size_t)(p->rq->width * p->rq->height * 3), out->rgb);
    return KADR_OK;
}

/* Text, start picture and mask: everything before the first step. */
static kadr_status prepare(const struct canvas *c, kadr_error *err) {
    const struct paint *p = c->p;
    struct text_embeds e;
    kadr_status st = text_embeds_make(&e, p->ctx->mem, p->model, p->text, err);
    if (!st) st = text_encode(&e, p->run, p->stages, p->model, p->text, err);
    if (!st && p->rq->save_embeds && p->index == 0)
        st = text_embeds_save(&e, p->ctx->mem, p->model, p->rq->save_embeds, err);
    if (!st && p->init) st = encode_init(c, err);
    if (!st && p->mask) st = prepare_mask(c, err);
    if (!st) st = initial_noise(c, err);
    if (!st) st = condition(p, &e, err);
    text_embeds_free(&e);
    return st;
}

kadr_status paint(const struct paint *p, struct painted *out, kadr_error *err) {
    struct canvas c;
    memset(out, 0, sizeof *out);
    double start = sys_seconds(), encoded = 0, denoised = 0;
    kadr_status st = canvas_open(&c, p, err);
    size_t pixels = (size_t)(p->rq->width * p->rq->height * 3);
    out->latents = st ? NULL : mem_array(p->ctx->mem, c.count, sizeof(float));
    out->rgb = st ? NULL : mem_alloc(p->ctx->mem, pixels);
    if (!st && (!out->latents || !out->rgb)) st = err_nomem(err, "picture", pixels);
    if (!st) st = progress_tell(p->progress, "encode", 0, 0, (int)p->rq->steps, NULL, err);
    if (!st) st = prepare(&c, err);
    encoded = sys_seconds();
    if (!st) st = denoise(&c, out, err);
    denoised = sys_seconds();
    if (!st)
        st = progress_tell(p->progress, "decode", p->progress->evaluations, out->steps, out->steps,
                           NULL, err);
    if (!st) st = decode(&c, out, err);
    double done = sys_seconds();
    out->seconds_encode = encoded - start;
    out->seconds_denoise = denoised - encoded;
    out->seconds_decode = done - denoised;
    p->progress->outside = out->seconds_encode + out->seconds_decode;
    canvas_close(&c);
    if (st) painted_free(out);
    return st;
}

void painted_free(struct painted *out) {
    mem_free(out->latents);
    mem_free(out->rgb);
    out->latents = NULL;
    out->rgb = NULL;
}

size_t paint_bytes(const struct draw_model *model, const kadr_request *rq,
                   const struct text_request *text) {
    struct sampler_config s = sampler_for(model, rq, rq->init);
    size_t pixels = (size_t)(rq->width * rq->height);
    size_t bytes = sampler_bytes(&s) + 5 * s.count * sizeof(float) + text_embeds_bytes(model, text);
    /* The picture, and its encoded form while it is written. */
    bytes += pixels * 3 * 2;
    if (rq->mask) bytes += pixels * sizeof(float) + pixels * 4;
    if (rq->init) bytes += pixels * 4;
    return bytes;
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

kadr_status paint_check_sampler(const kadr_request *rq, kadr_error *err) {
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
    return KADR_OK;
}
