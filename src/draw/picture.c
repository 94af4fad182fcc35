/* picture.c: see picture.h. The PNG holds what determines the pixels and nothing else, so the same
 * request gives the same bytes; what was measured goes into the report.
 */
#include "draw/picture.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/sys.h"
#include "image/parameters.h"
#include "weights/safetensors.h"

#include <string.h>

/* ---- Settings as kadr's JSON */
static kadr_status settings_json(const struct paint *p, const struct picture_facts *facts,
                                 char **out, kadr_error *err) {
    json_t *settings = request_to_json(p->rq);
    int bad = !settings ||
              json_object_set_new(settings, "seed", json_integer((json_int_t)p->seed)) ||
              json_object_set_new(settings, "precision", json_string(dtype_name(facts->dtype)));
    struct buf b;
    buf_init(&b, facts->ctx->mem);
    bad = bad || !json_put(&b, settings, REQUEST_JSON_FLAGS);
    json_decref(settings);
    *out = bad ? NULL : buf_take(&b);
    buf_free(&b);
    return *out ? KADR_OK : err_nomem(err, "settings", 4096);
}

/* ---- Settings as A1111 writes them */
static const char *a1111_sampler(const char *name, struct sample_name *n) {
    for (size_t i = 0; sampler_at(i, n); i++)
        if (strcmp(n->name, name) == 0) return n->a1111;
    return name;
}

static kadr_status parameters_text(const struct paint *p, const struct picture_facts *facts,
                                   char **out, kadr_error *err) {
    const kadr_request *rq = p->rq;
    struct arena a;
    arena_init(&a, facts->ctx->mem);
    struct image_text list[12];
    size_t n = 0;
#define PUT(k, ...) list[n++] = (struct image_text){k, arena_printf(&a, __VA_ARGS__)}
    PUT("Steps", "%d", (int)rq->steps);
    struct sample_name name;
    PUT("Sampler", "%s", a1111_sampler(rq->sampler, &name));
    PUT("Schedule type", "%s", rq->schedule);
    PUT("CFG scale", "%g", rq->guidance);
    PUT("Seed", "%llu", (unsigned long long)p->seed);
    PUT("Size", "%dx%d", (int)rq->width, (int)rq->height);
    PUT("Model", "%s", file_name(rq->model ? rq->model : weights_path(facts->model->weights)));
    if (rq->init) PUT("Denoising strength", "%g", rq->strength);
    if (rq->clip_skip) PUT("Clip skip", "%d", (int)rq->clip_skip + 2);
    PUT("RNG", "%s", strcmp(rq->rng, "philox") == 0 ? "NV" : "CPU");
    PUT("Version", "kadr %s", kadr_version());
#undef PUT
    struct parameters parameters = {.prompt = rq->prompt,
                                    .negative = rq->negative ? rq->negative : "",
                                    .list = list,
                                    .count = n};
    bool ok = true;
    for (size_t i = 0; i < n; i++) ok = ok && list[i].value;
    struct buf b;
    buf_init(&b, facts->ctx->mem);
    if (ok) parameters_write(&parameters, &b);
    *out = ok ? buf_take(&b) : NULL;
    buf_free(&b);
    arena_free(&a);
    return *out ? KADR_OK : err_nomem(err, "settings", 4096);
}

/* ---- What was measured */
static kadr_status report_json(const struct painted *q, const struct picture_facts *facts,
                               char **out, kadr_error *err) {
    struct buf b;
    buf_init(&b, facts->ctx->mem);
    double total = q->seconds_encode + q->seconds_denoise + q->seconds_decode;
    buf_printf(&b,
               "{\"seconds\":%.3f,\"predicted_seconds\":%.3f,\"seconds_encode\":%.3f,\"seconds_"
               "denoise\":%.3f,\"seconds_"
               "decode\":%.3f,",
               total, facts->predicted, q->seconds_encode, q->seconds_denoise, q->seconds_decode);
    buf_printf(&b, "\"steps\":%d,\"seconds_per_step\":%.4f,\"precision\":\"%s\",\"threads\":%d,",
               q->steps, q->steps ? q->seconds_denoise / q->steps : 0.0, dtype_name(facts->dtype),
               pool_threads(facts->ctx->pool));
    buf_printf(&b,
               "\"planned_peak_bytes\":%zu,\"measured_peak_bytes\":%llu,\"budget_bytes\":%llu,"
               "\"weight_bytes_read\":%llu}",
               facts->planned, (unsigned long long)sys_memory_peak(),
               (unsigned long long)facts->budget, (unsigned long long)facts->bytes_read);
    *out = buf_take(&b);
    return *out ? KADR_OK : err_nomem(err, "report", 1024);
}

static kadr_status save_latents(const struct paint *p, const struct painted *q,
                                const struct picture_facts *facts, kadr_error *err) {
    int64_t scale = vae_scale(&facts->model->vae);
    const struct safetensors_out t = {
        .name = "latents",
        .dtype = SAFETENSORS_F32,
        .rank = 4,
        .dim = {1, facts->model->vae.latent_channels, p->rq->height / scale, p->rq->width / scale},
        .data = q->latents};
    return safetensors_write(facts->ctx->mem, p->rq->save_latents, &t, 1, NULL, err);
}

kadr_status picture_deliver(const struct paint *p, const struct painted *q, size_t request,
                            const struct picture_facts *facts, const kadr_observer *observer,
                            kadr_error *err) {
    char *settings = NULL, *parameters = NULL, *report = NULL;
    int64_t scale = vae_scale(&facts->model->vae);
    kadr_status st = settings_json(p, facts, &settings, err);
    if (!st) st = parameters_text(p, facts, &parameters, err);
    if (!st) st = report_json(q, facts, &report, err);
    if (!st && p->rq->save_latents && p->index == 0) st = save_latents(p, q, facts, err);
    if (!st && observer && observer->picture) {
        const kadr_picture out = {.request = request,
                                  .index = p->index,
                                  .width = (int)p->rq->width,
                                  .height = (int)p->rq->height,
                                  .rgb = q->rgb,
                                  .seed = p->seed,
                                  .parameters = parameters,
                                  .settings = settings,
                                  .report = report,
                                  .latents = q->latents,
                                  .latent_channels = (int)facts->model->vae.latent_channels,
                                  .latent_height = (int)(p->rq->height / scale),
                                  .latent_width = (int)(p->rq->width / scale)};
        if (observer->picture(observer->user, &out))
            st = err_set(err, KADR_EINTERRUPTED, "interrupted");
    }
    mem_free(settings);
    mem_free(parameters);
    mem_free(report);
    return st;
}

kadr_status kadr_picture_write(const kadr_picture *picture, const char *path, kadr_error *err) {
    struct mem *m = mem_open(0);
    if (!m) return err_nomem(err, "picture", 0);
    const struct image im = {.width = picture->width,
                             .height = picture->height,
                             .channels = 3,
                             .data = (uint8_t *)(uintptr_t)picture->rgb};
    const struct image_text texts[2] = {{"parameters", picture->parameters},
                                        {"kadr", picture->settings}};
    kadr_status st = image_write_png(&im, m, path, texts, 2, err);
    mem_close(m);
    return st;
}
