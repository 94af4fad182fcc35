/* cast_make.c: kadr_cast_make: reference pictures through image encoder and IP-Adapter, once. All
 * in f32: it is done once and its rounding would stay. The run is planned like a drawing. */
#include "base/file.h"
#include "draw/cast.h"
#include "draw/cast_parts.h"
#include "image/pixels.h"
#include "image/scale.h"
#include "image/subject.h"
#include "model/describe.h"
#include "run/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REFERENCES 32
#define PIECE 1024
#define THUMBNAIL_SIDE 128

enum { ENCODE, PROJECT, IMAGE, GRAPHS };

struct making {
    kadr_context *ctx;
    const kadr_request *rq;
    struct cast_parts parts;
    struct graph graph[GRAPHS];
    struct program program;
    struct cast_run cast_run;
    struct run *run;
    struct arena arena;
    size_t references;
    bool average;
    struct safetensors_out *out; /* keys, values, then looks and thumbnail */
    size_t attentions;
    float *looks;
    struct image thumbnail;
};

/* ---- The run */

static kadr_status describe(struct making *k, kadr_error *err) {
    struct mem *m = k->ctx->mem;
    for (int i = 0; i < GRAPHS; i++) graph_init(&k->graph[i], m, "cast", DTYPE_F32);
    program_init(&k->program, m);
    clip_vision_graph(&k->graph[ENCODE], &k->parts.encoder,
                      (struct clip_vision_wish){true, k->parts.config.kind == IP_ADAPTER_CLASSIC});
    ip_adapter_graph(&k->graph[PROJECT], &k->parts.config, clip_vision_tokens(&k->parts.encoder));
    unet_image_graph(&k->graph[IMAGE], &k->parts.model->unet, k->parts.config.tokens,
                     ip_adapter_norm(&k->parts.config));
    for (int i = 0; i < GRAPHS; i++)
        if (program_add(&k->program, "cast", &k->graph[i], 1, 1, err) < 0)
            return graph_failed(&k->graph[i]) ? k->graph[i].error.status : KADR_EMEMORY;
    return KADR_OK;
}

/* Of keys and values of both branches until they are written. */
static size_t held_bytes(const struct making *k) {
    struct unet_transformer t = {0};
    size_t row = 0;
    while (unet_next_transformer(&k->parts.model->unet, &t)) row += (size_t)(t.width * t.depth) * 2;
    return row * (size_t)k->parts.config.tokens * (k->average ? 2 : k->references + 1) *
           sizeof(float);
}

static kadr_status plan(struct making *k, kadr_error *err) {
    return cast_run_open(&k->run, &k->cast_run, &k->parts, &k->program, held_bytes(k), err);
}

static float *buffer(struct making *k, const char *name, size_t *count) {
    int i = program_find(&k->program, name);
    *count = 0;
    if (i < 0) return NULL;
    *count = k->program.buffers[i].bytes / sizeof(float);
    return run_buffer(k->run, name, 0);
}

/* ---- Tensors of the file */

/* Part j of attention i: k, v, uncond_k, uncond_v. */
static kadr_status make_tensors(struct making *k, kadr_error *err) {
    static const char *const parts[] = {"k", "v", "uncond_k", "uncond_v"};
    struct unet_transformer t = {0};
    char attention[128];
    while (unet_next_transformer(&k->parts.model->unet, &t)) k->attentions += (size_t)t.depth;
    k->out = arena_array(&k->arena, k->attentions * 4 + 2, sizeof *k->out);
    if (!k->out) return err_nomem(err, "cast", k->attentions * sizeof *k->out);
    struct safetensors_out *o = k->out;
    t = (struct unet_transformer){0};
    while (unet_next_transformer(&k->parts.model->unet, &t))
        for (int i = 0; i < t.depth * 4; i++, o++) {
            int64_t tokens = k->parts.config.tokens;
            if (i % 4 < 2 && !k->average) tokens *= (int64_t)k->references;
            unet_attention_name(attention, sizeof attention, &t, i / 4);
            *o = (struct safetensors_out){
                .name = arena_printf(&k->arena, "%s.%s", attention, parts[i % 4]),
                .dtype = SAFETENSORS_F16,
                .rank = 2,
                .dim = {tokens, t.width},
                .data = arena_array(&k->arena, (size_t)(tokens * t.width), sizeof(float))};
            if (!o->name || !o->data)
                return err_nomem(err, "cast", (size_t)(tokens * t.width) * sizeof(float));
        }
    int64_t rows = cast_cells(&k->parts) * (int64_t)k->references, width = k->parts.encoder.width;
    *o = (struct safetensors_out){
        .name = "looks",
        .dtype = SAFETENSORS_F16,
        .rank = 2,
        .dim = {rows, width},
        .data = k->looks = arena_array(&k->arena, (size_t)(rows * width), sizeof(float))};
    return k->looks ? KADR_OK : err_nomem(err, "cast", (size_t)(rows * width) * sizeof(float));
}

/* Adds keys and values of reference `place`, or the unconditional ones. */
static void take(struct making *k, bool uncond, size_t place) {
    struct unet_transformer t = {0};
    const struct safetensors_out *o = k->out;
    char attention[128], name[160];
    float share = k->average && !uncond ? 1.0f / (float)k->references : 1.0f;
    if (k->average || uncond) place = 0;
    while (unet_next_transformer(&k->parts.model->unet, &t))
        for (int i = 0; i < t.depth * 4; i++, o++) {
            if ((i % 4 >= 2) != uncond) continue;
            unet_attention_name(attention, sizeof attention, &t, i / 4);
            describe_label(name, sizeof name, "%s.ip_%c", attention, i % 2 ? 'v' : 'k');
            size_t count;
            const float *from = buffer(k, name, &count);
            float *to = (float *)(uintptr_t)o->data + place * count;
            for (size_t n = 0; n < count; n++) to[n] += share * from[n];
        }
}

/* ---- One reference */

static kadr_status crop(const struct making *k, struct image *im, kadr_error *err) {
    const char *how = k->rq->crop;
    struct box box;
    double share[4];
    struct image part;
    char rest;
    if (strcmp(how, "none") == 0) return KADR_OK;
    if (strcmp(how, "auto") == 0 || strcmp(how, "face") == 0) {
        kadr_status st = image_find_subject(im, k->ctx->mem, &box, err);
        if (st) return st;
        if (*how == 'f') box = image_upper_end(box);
    } else {
        char text[4][16];
        bool ok = sscanf(how, "%15[0-9.],%15[0-9.],%15[0-9.],%15[0-9.]%c", text[0], text[1],
                         text[2], text[3], &rest) == 4;
        for (int i = 0; i < 4; i++) ok = ok && request_parse_real(text[i], &share[i]);
        if (!ok || share[0] + share[2] > 1.0001 || share[1] + share[3] > 1.0001 || share[2] <= 0 ||
            share[3] <= 0)
            return err_set(err, KADR_EUSAGE,
                           "crop: %s: expected none, auto, face or X,Y,WIDTH,HEIGHT in shares of "
                           "the picture, as 0.25,0,0.5,0.5",
                           how);
        box = (struct box){(int)(share[0] * im->width), (int)(share[1] * im->height),
                           (int)(share[2] * im->width), (int)(share[3] * im->height)};
        if (box.width < 1) box.width = 1;
        if (box.height < 1) box.height = 1;
        if (box.x + box.width > im->width) box.x = im->width - box.width;
        if (box.y + box.height > im->height) box.y = im->height - box.height;
    }
    kadr_status st = image_crop(im, k->ctx->mem, box.x, box.y, box.width, box.height, &part, err);
    if (st) return st;
    image_free(im);
    *im = part;
    return KADR_OK;
}

static kadr_status keep_thumbnail(struct making *k, const struct image *im, kadr_error *err) {
    int more = im->width > im->height ? im->width : im->height;
    int width = im->width * THUMBNAIL_SIDE / more, height = im->height * THUMBNAIL_SIDE / more;
    if (k->thumbnail.data) return KADR_OK;
    return image_scale(im, k->ctx->mem, width ? width : 1, height ? height : 1, SCALE_LANCZOS,
                       &k->thumbnail, err);
}

static void count_up(struct making *k, const char *name) {
    size_t count;
    int32_t *to = (int32_t *)(void *)buffer(k, name, &count);
    for (size_t i = 0; to && i < count; i++) to[i] = (int32_t)i;
}

/* `picture` NULL: the unconditional branch, which is zeros: of pixels for the resampler, of the
 * embedding for the classic adapter. */
static kadr_status see(struct making *k, const char *picture, size_t place, kadr_error *err) {
    size_t count;
    float *pixels = buffer(k, "image_encoder.pixels", &count);
    memset(pixels, 0, count * sizeof *pixels);
    kadr_status st = KADR_OK;
    if (picture) {
        struct image im = {0};
        st = image_read(&im, k->ctx->mem, picture, IMAGE_OVER_WHITE, NULL, err);
        if (!st) st = crop(k, &im, err);
        if (!st) st = keep_thumbnail(k, &im, err);
        if (!st)
            st = pixels_prepare_clip(&im, k->ctx->mem, (int)k->parts.encoder.image, pixels, err);
        image_free(&im);
        if (st) return st;
    }
    count_up(k, "image_encoder.ids");
    count_up(k, "image_encoder.first");
    st = run_segment(k->run, ENCODE, 0, false, err);
    if (st) return st;
    const float *hidden = buffer(k, "image_encoder.hidden", &count);
    if (picture)
        cast_look(&k->parts, hidden,
                  k->looks + place * (size_t)(cast_cells(&k->parts) * k->parts.encoder.width));
    float *embeds = buffer(k, "image_encoder.embeds", &count);
    if (!picture && embeds) memset(embeds, 0, count * sizeof *embeds);
    count_up(k, "ip_adapter.queries");
    st = run_segment(k->run, PROJECT, 0, false, err);
    if (!st) st = run_segment(k->run, IMAGE, 0, false, err);
    if (!st) take(k, !picture, place);
    return st;
}

static kadr_status see_all(struct making *k, const char *const *pictures,
                           const kadr_observer *observer, kadr_error *err) {
    kadr_status st = KADR_OK;
    for (size_t i = 0; i <= k->references && !st; i++) {
        const kadr_progress p = {
            .stage = "cast", .pictures = 1, .step = (int)i, .steps = (int)k->references + 1};
        if (observer && observer->progress && observer->progress(observer->user, &p))
            return err_set(err, KADR_EINTERRUPTED, "interrupted");
        st = see(k, i ? pictures[i - 1] : NULL, i ? i - 1 : 0, err);
    }
    return st;
}

/* ---- Writing */

/* To f16 in its own place. */
static void narrow(const struct safetensors_out *o) {
    char *data = (char *)(uintptr_t)o->data;
    size_t count = (size_t)(o->dim[0] * o->dim[1]), size = sizeof(uint16_t);
    for (size_t at = 0, n; at < count; at += n) {
        float wide[PIECE];
        uint16_t half[PIECE];
        n = count - at < PIECE ? count - at : PIECE;
        memcpy(wide, data + at * sizeof *wide, n * sizeof *wide);
        weights_convert(wide, n, DTYPE_F16, half);
        memcpy(data + at * size, half, n * size);
    }
}

static double own_threshold(const struct making *k) {
    return request_has(k->rq, OPTION_drift_threshold) ? k->rq->drift_threshold : CAST_THRESHOLD;
}

static kadr_status write_cast(struct making *k, const char *name, const char *path,
                              kadr_error *err) {
    size_t narrowed = k->attentions * 4 + 1;
    for (size_t i = 0; i < narrowed; i++) narrow(&k->out[i]);
    k->out[narrowed] = (struct safetensors_out){.name = "thumbnail",
                                                .dtype = SAFETENSORS_U8,
                                                .rank = 3,
                                                .dim = {k->thumbnail.height, k->thumbnail.width, 3},
                                                .data = k->thumbnail.data};
    uint64_t adapter, encoder;
    kadr_status st = weights_fingerprint(k->parts.weights, "ip_adapter", &adapter, err);
    if (!st) st = weights_fingerprint(k->parts.weights, "image_encoder", &encoder, err);
    if (st) return st;
    const char *known = clip_vision_name(&k->parts.encoder);
    struct arena *a = &k->arena;
    const char *texts[] = {
        "format",
        "kadr cast",
        "version",
        "1",
        "name",
        name,
        "kind",
        k->parts.config.kind == IP_ADAPTER_PLUS ? "plus" : "classic",
        "references",
        arena_printf(a, "%zu, %s", k->references, k->average ? "average" : "concat"),
        "crop",
        k->rq->crop,
        "model",
        file_name(weights_path(k->parts.model->weights)),
        "layout",
        arena_printf(a, "%zu cross-attentions, prompts %d wide", k->attentions,
                     (int)k->parts.config.cross),
        "adapter",
        arena_printf(a, "%s %016" PRIx64, file_name(k->parts.adapter), adapter),
        "encoder",
        arena_printf(a, "%s %016" PRIx64, known ? known : "CLIP", encoder),
        "threshold",
        arena_printf(a, "%g", own_threshold(k)),
        "licence",
        "derived from the adapter, the image encoder and the reference pictures: their "
        "licences, and the rights of whom they show, hold for this file too",
        NULL};
    for (size_t i = 0; i + 1 < sizeof texts / sizeof *texts; i++)
        if (!texts[i]) return err_nomem(err, "cast", 64);
    return safetensors_write(k->ctx->mem, path, k->out, narrowed + 1, texts, err);
}

static void close_making(struct making *k) {
    run_close(k->run);
    plan_free(&k->cast_run.plan);
    program_free(&k->program);
    for (int i = 0; i < GRAPHS; i++) graph_free(&k->graph[i]);
    image_free(&k->thumbnail);
    cast_parts_close(&k->parts);
    arena_free(&k->arena);
}

kadr_status kadr_cast_make(kadr_context *ctx, const kadr_request *rq, const char *name,
                           const char *const *pictures, size_t count, const char *path,
                           const kadr_observer *observer, kadr_error *err) {
    if (count < 1 || count > REFERENCES)
        return err_set(err, KADR_EUSAGE, "cast: %zu reference pictures; expected 1 to %d", count,
                       REFERENCES);
    kadr_request *own = kadr_request_copy(rq);
    if (!own) return err_nomem(err, "request", sizeof *own);
    struct making k = {.ctx = ctx, .rq = own, .references = count};
    arena_init(&k.arena, ctx->mem);
    kadr_status st = KADR_OK;
    if (!own->crop) st = kadr_request_set(own, "crop", "none", err);
    k.average = own->references && strcmp(own->references, "average") == 0;
    if (!st) st = cast_parts_open(&k.parts, ctx, own, err);
    if (!st) st = describe(&k, err);
    if (!st) st = plan(&k, err);
    if (!st) st = make_tensors(&k, err);
    if (!st) st = see_all(&k, pictures, observer, err);
    if (!st) st = write_cast(&k, name, path, err);
    close_making(&k);
    kadr_request_free(own);
    ctx->interrupted = 0;
    return st;
}
