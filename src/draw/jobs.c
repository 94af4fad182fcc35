/* jobs.c: see jobs.h.
 *
 * Invariants: a model or a program that two jobs share is owned by the first job that has it; the
 * context keeps the last model for the next drawing.
 */
#include "draw/jobs.h"
#include "base/sys.h"
#include "draw/choose.h"
#include "draw/paint.h"
#include "draw/start.h"

#include <string.h>

/* The model of an earlier job, the one that the context kept, or a new one. */
static kadr_status find_model(struct jobs *j, struct job *job, struct weights **opened,
                              kadr_error *err) {
    for (const struct job *other = j->job; other < job; other++)
        if (draw_model_serves(other->model, job->rq)) {
            job->model = other->model;
            return KADR_OK;
        }
    kadr_context *ctx = j->ctx;
    job->model = context_take_model(ctx, job->rq);
    if (job->model) return KADR_OK;
    return draw_model_open(ctx->mem, &ctx->log, job->rq, opened, &job->model, err);
}

static kadr_status read_pictures(struct jobs *j, struct job *job, kadr_error *err) {
    const kadr_request *rq = job->rq;
    kadr_status st = KADR_OK;
    bool latents = start_is_latents(rq->init);
    if (latents && rq->mask)
        return err_set(err, KADR_EUSAGE, "mask: expected a picture as init, not latents");
    if (rq->init && !latents)
        st = image_read(&job->init, j->ctx->mem, rq->init, IMAGE_KEEP_ALPHA, NULL, err);
    if (!st && rq->mask)
        st = image_read(&job->mask, j->ctx->mem, rq->mask, IMAGE_KEEP_ALPHA, NULL, err);
    return st;
}

static kadr_status resolve(struct jobs *j, struct job *job, struct weights **opened,
                           kadr_error *err) {
    const char *path = request_model_path(job->rq);
    if (!path) return err_set(err, KADR_EUSAGE, "no model: name one with --model");
    json_t *defaults;
    kadr_status st = draw_model_defaults(j->ctx->mem, &j->ctx->log, path, opened, &defaults, err);
    const uint64_t memory = sys_memory_total();
    const char *preset = request_preset_for(memory);
    if (!st) st = request_resolve(job->rq, defaults, preset, err);
    json_decref(defaults);
    if (!st && job->request == 0 && job->rq->origin[OPTION_steps].source == SOURCE_DEFAULT_PRESET)
        log_print(&j->ctx->log, LOG_INFO,
                  "preset %s, as none is named and this machine has %.0f GiB of memory", preset,
                  (double)memory / (1 << 30));
    if (st) return st;
    if (!job->rq->prompt) return err_set(err, KADR_EUSAGE, "no prompt: say what to draw");
    return KADR_OK;
}

/* Sizes that the VAE and the UNet can do. */
static kadr_status check_size(const struct job *job, kadr_error *err) {
    int64_t scale = vae_scale(&job->model->vae);
    const kadr_request *rq = job->rq;
    if (rq->width % scale || rq->height % scale)
        return err_set(err, KADR_EUSAGE,
                       "%dx%d: width and height must be multiples of %d with this model",
                       (int)rq->width, (int)rq->height, (int)scale);
    if (rq->clip_skip >= job->model->text[0].layers || rq->clip_skip >= job->model->text[1].layers)
        return err_set(err, KADR_EUSAGE,
                       "--clip-skip %d: a text encoder of this model has only %d layers",
                       (int)rq->clip_skip, (int)job->model->text[0].layers);
    if (rq->step_cache > 1 && job->model->unet.levels < 2)
        return err_set(err, KADR_EUSAGE,
                       "--step-cache %d: the UNet of this model has one level, nothing to keep",
                       (int)rq->step_cache);
    return KADR_OK;
}

/* A packed model is what it was packed for. */
static kadr_status check_packing(const struct jobs *j, const struct job *job, kadr_error *err) {
    const char *layout, *wish = job->rq->precision, *path = weights_path(job->model->weights);
    enum dtype dtype;
    if (!weights_packing(job->model->weights, &layout, &dtype)) return KADR_OK;
    if (strcmp(layout, j->ctx->backend->layout) != 0)
        return err_set(err, KADR_EMODEL,
                       "%s: packed as %s, this machine computes with %s: pack it "
                       "again",
                       path, layout, j->ctx->backend->layout);
    if (strcmp(wish, "auto") != 0 && strcmp(wish, dtype_name(dtype)) != 0)
        return err_set(err, KADR_EUSAGE,
                       "%s: packed in %s; leave --precision out or pack the model "
                       "in %s",
                       path, dtype_name(dtype), wish);
    return KADR_OK;
}

static kadr_status prepare_job(struct jobs *j, struct job *job, kadr_error *err) {
    kadr_context *ctx = j->ctx;
    struct weights *opened = NULL;
    kadr_status st = resolve(j, job, &opened, err);
    if (!st) st = find_model(j, job, &opened, err);
    weights_close(opened);
    if (!st) st = check_size(job, err);
    if (!st) st = check_packing(j, job, err);
    if (!st) st = paint_check_sampler(job->model, job->rq, err);
    if (!st) st = read_pictures(j, job, err);
    if (!st) st = castings_open(&job->castings, &j->shelf, job->rq, job->model, err);
    if (!st) st = text_tokenize(&j->arena, &ctx->log, job->model, job->rq, &job->text, err);
    if (st) return st;
    job->host =
        paint_bytes(job->model, job->rq, &job->text) + castings_bytes(&job->castings, job->rq);
    return KADR_OK;
}

kadr_status jobs_describe(struct jobs *j, kadr_context *ctx, kadr_request *const *requests,
                          size_t count, kadr_error *err) {
    *j = (struct jobs){.ctx = ctx, .shelf = {.mem = ctx->mem}};
    arena_init(&j->arena, ctx->mem);
    j->budget = context_budget(ctx, &j->why);
    j->job = mem_array(ctx->mem, count ? count : 1, sizeof *j->job);
    if (!j->job) return err_nomem(err, "requests", count * sizeof *j->job);
    for (size_t i = 0; i < count; i++) {
        struct job *job = &j->job[i];
        job->request = i;
        job->rq = kadr_request_copy(requests[i]);
        if (!job->rq) return err_nomem(err, "request", sizeof *job->rq);
        j->count = i + 1;
        kadr_status st = prepare_job(j, job, err);
        if (st == KADR_EMEMORY && ctx->config.memory)
            err_context(err, "--memory %lluM is too little to look at the model, let alone to plan",
                        (unsigned long long)(ctx->config.memory >> 20));
        if (st) return st;
        j->pictures += (size_t)job->rq->count;
    }
    if (!ctx->config.memory && j->budget)
        log_print(&ctx->log, LOG_INFO, "may take %.1f GiB of memory, %s (--memory says otherwise)",
                  (double)j->budget / (1 << 30), j->why);
    sys_trim(); /* what reading models left behind */
    j->before = (size_t)sys_memory_now();
    j->idle = j->before + (size_t)ctx->config.reserve;
    j->growth = context_growth(ctx, j->before);
    for (size_t i = 0; i < count; i++) {
        kadr_status st = choose_plan(j, i, err);
        if (st) return st;
    }
    return KADR_OK;
}

kadr_status jobs_prepare(struct jobs *j, kadr_context *ctx, kadr_request *const *requests,
                         size_t count, kadr_error *err) {
    kadr_status st = jobs_describe(j, ctx, requests, count, err);
    const double mib = 1 << 20;
    for (size_t i = 0; i < count && !st; i++) {
        const struct job *job = &j->job[i];
        if (!choose_fits(j, job)) st = choose_refuse(j, job, err);
        log_print(&ctx->log, LOG_DEBUG,
                  "plan: %.1f MiB (arena %.1f, idle %.1f, host %.1f), %s %.1f MiB",
                  (double)job->planned / mib, (double)job->stages->plan.bytes / mib,
                  (double)j->idle / mib, (double)job->host / mib, j->why, (double)j->budget / mib);
    }
    return st;
}

void jobs_close(struct jobs *j) {
    if (!j->job) return;
    for (size_t i = j->count; i-- > 0;) {
        struct job *job = &j->job[i];
        bool owner = job->model != NULL;
        for (struct job *other = j->job; other < job; other++)
            owner = owner && other->model != job->model;
        choose_drop(j, i);
        image_free(&job->init);
        image_free(&job->mask);
        castings_close(&job->castings);
        kadr_request_free(job->rq);
        if (owner) context_keep_model(j->ctx, job->model);
    }
    cast_shelf_close(&j->shelf);
    arena_free(&j->arena);
    mem_free(j->job);
    j->job = NULL;
    j->count = 0;
}
