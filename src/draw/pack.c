/* pack.c: kadr_pack and kadr_verify: a model as one file in which everything lies as it is computed
 * with, in the order in which a drawing reads it.
 */
#include "base/file.h"
#include "draw/context.h"
#include "draw/source.h"
#include "draw/stages.h"
#include "run/load.h"
#include "weights/packed.h"

#include <math.h>
#include <string.h>

#define BLOCK ((size_t)4 << 20) /* what rows and checks go through */

/* Any size will do: the weights are the same for all. */
static const struct stages_shape shape_of_packing = {.width = 64,
                                                     .height = 64,
                                                     .branches = 1,
                                                     .pictures = 1,
                                                     .steps = 1,
                                                     .chunks = 1,
                                                     .text_samples = 1,
                                                     .init = true};

struct packing {
    kadr_context *ctx;
    const kadr_observer *observer;
    struct draw_model *model;
    struct stages stages;
    struct run_source source;
    struct run_config config;
    struct loader loader;
    struct arena arena;
    struct packed_item *items;
    char **text; /* of an item that is a text file */
    size_t count;
    json_t *configs;
    struct packed_writer *writer;
    bool halves; /* matrices and tables, of f32, are written in f16 */
};

static const char *const text_files[] = {"vocab.json",
                                         "merges.txt",
                                         "tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "added_tokens.json"};
static const char *const tokenizers[] = {"tokenizer", "tokenizer_2"};
#define TEXT_FILES (sizeof text_files / sizeof *text_files)

/* ---- The list of what goes in */

static kadr_status list_text(struct packing *p, const char *folder, const char *file,
                             const char *name, kadr_error *err) {
    const char *path = folder ? file_join(&p->arena, folder, file) : NULL;
    char *text;
    size_t size;
    if (!path || !file_exists(path)) return KADR_OK;
    kadr_status st =
        file_read_all(p->ctx->mem, path, TOKENIZER_FILE_MOST, KADR_EMODEL, &text, &size, err);
    if (st) return st;
    if (!size || !name) {
        mem_free(text);
        return name ? KADR_OK : err_nomem(err, file, size);
    }
    p->text[p->count] = text;
    p->items[p->count++] = (struct packed_item){
        .name = name, .dtype = DTYPE_U8, .rank = 1, .dim = {(int64_t)size}, .bytes = size};
    return KADR_OK;
}

static kadr_status list_texts(struct packing *p, kadr_error *err) {
    const struct weights *w = p->model->weights;
    const char *folder = weights_kind(w) == WEIGHTS_FOLDER ? weights_path(w) : NULL;
    kadr_status st = list_text(p, folder, "kadr.json", "kadr.json", err);
    for (size_t i = 0; i < 2 * TEXT_FILES && !st; i++) {
        const char *of = tokenizers[i / TEXT_FILES], *file = text_files[i % TEXT_FILES];
        st = list_text(p, weights_tokenizer_folder(w, of), file,
                       arena_printf(&p->arena, "%s.%s", of, file), err);
    }
    return st;
}

/* In what a weight is written; vectors are too small to matter. */
static enum dtype item_dtype(const struct packing *p, const struct weight *w) {
    return p->halves && w->dtype == DTYPE_F32 && w->use != WEIGHT_VECTOR ? DTYPE_F16 : w->dtype;
}

/* Tables go in whole: which rows are wanted is not known yet. */
static size_t item_bytes(const struct segment *s, weight_id i) {
    const struct weight *w = &s->graph->weights[i];
    return w->picked ? (size_t)(w->dim[0] * w->dim[1]) * dtype_size(w->dtype)
                     : s->needs.weight_bytes[i];
}

static void list_weights(struct packing *p, const struct segment *s) {
    for (weight_id i = 0; i < s->graph->weight_count; i++) {
        const struct weight *w = &s->graph->weights[i];
        struct packed_item item = {.name = w->name,
                                   .panels = w->use == WEIGHT_MATRIX || w->use == WEIGHT_CONV,
                                   .dtype = item_dtype(p, w),
                                   .rank = w->rank,
                                   .bytes = item_bytes(s, i)};
        if (item.dtype != w->dtype) item.bytes /= 2;
        memcpy(item.dim, w->dim, sizeof item.dim);
        p->items[p->count++] = item;
    }
}

static kadr_status list_items(struct packing *p, kadr_error *err) {
    static const char *const components[] = {
        "", "unet", "vae", "text_encoder", "text_encoder_2", "scheduler"};
    size_t most = 1 + 2 * TEXT_FILES;
    const struct program *program = &p->stages.program;
    for (int i = 0; i < program->segment_count; i++)
        most += (size_t)program->segments[i].graph->weight_count;
    p->items = arena_array(&p->arena, most, sizeof *p->items);
    p->text = arena_array(&p->arena, most, sizeof *p->text);
    p->configs = json_object();
    if (!p->items || !p->text || !p->configs) return err_nomem(err, "list of tensors", most);
    kadr_status st = list_texts(p, err);
    for (int i = 0; i < program->segment_count && !st; i++) list_weights(p, &program->segments[i]);
    for (size_t i = 0; i < sizeof components / sizeof *components; i++) {
        const json_t *c = weights_config(p->model->weights, components[i]);
        if (c) json_object_set(p->configs, components[i], (json_t *)(uintptr_t)c);
    }
    return st;
}

/* ---- Writing */

static kadr_status tell(struct packing *p, size_t done, kadr_error *err) {
    bool ended = p->ctx->interrupted;
    const kadr_progress progress = {
        .stage = "pack", .step = (int)done, .steps = (int)p->count, .pictures = 1};
    if (p->observer && p->observer->progress)
        ended = p->observer->progress(p->observer->user, &progress) || ended;
    return ended ? err_set(err, KADR_EINTERRUPTED, "interrupted") : KADR_OK;
}

/* The next bytes of a weight, in the dtype in which it is written. f16 ends at 65504. */
static kadr_status add_bytes(struct packing *p, const struct weight *w, const void *data,
                             size_t size, kadr_error *err) {
    if (item_dtype(p, w) == w->dtype) return packed_add(p->writer, data, size, err);
    const float *values = data;
    for (size_t at = 0, count = size / sizeof *values, n; at < count; at += n) {
        uint16_t half[1024];
        n = count - at < 1024 ? count - at : 1024;
        weights_convert(values + at, n, DTYPE_F16, half);
        for (size_t i = 0; i < n; i++)
            if ((half[i] & 0x7fff) == 0x7c00 && isfinite(values[at + i]))
                return err_set(err, KADR_EMODEL,
                               "%s: tensor %s: %g is more than f16 holds; pack the model with "
                               "--weights bf16 or f32",
                               weights_path(p->model->weights), w->name, (double)values[at + i]);
        kadr_status st = packed_add(p->writer, half, n * sizeof *half, err);
        if (st) return st;
    }
    return KADR_OK;
}

/* A table, some rows at a time. */
static kadr_status add_rows(struct packing *p, const struct weight *w, char *block,
                            kadr_error *err) {
    enum dtype stored;
    kadr_status st = p->source.find(p->source.user, w, &stored, err);
    const struct backend *backend = p->ctx->backend;
    size_t row = (size_t)w->dim[1] * dtype_size(w->dtype);
    for (int64_t at = 0; at < w->dim[0] && !st; at++) {
        struct graph g = {.weights = (struct weight *)(uintptr_t)w, .weight_count = 1};
        st = p->source.read(p->source.user, w, at, 1, p->loader.staging, err);
        if (st) break;
        backend->pack(p->ctx->state, &g, 0, 0, 0, 1, p->loader.staging, stored, block);
        st = add_bytes(p, w, block, row, err);
    }
    return st;
}

static kadr_status write_weights(struct packing *p, const struct segment *s, size_t *done,
                                 void *block, kadr_error *err) {
    for (weight_id i = 0; i < s->graph->weight_count; i++) {
        const struct weight *w = &s->graph->weights[i];
        kadr_status st = tell(p, *done, err);
        if (!st && w->picked) st = add_rows(p, w, block, err);
        else if (!st) {
            st = load_weight(&p->loader, s, i, NULL, block, err);
            if (!st) st = add_bytes(p, w, block, s->needs.weight_bytes[i], err);
        }
        if (st) return st;
        ++*done;
    }
    return KADR_OK;
}

static kadr_status write_items(struct packing *p, kadr_error *err) {
    const struct program *program = &p->stages.program;
    size_t most = BLOCK, staging = BLOCK, done = 0;
    for (int i = 0; i < program->segment_count; i++) {
        const struct segment *s = &program->segments[i];
        if (s->needs.staging > staging) staging = s->needs.staging;
        for (weight_id w = 0; w < s->graph->weight_count; w++)
            if (s->needs.weight_bytes[w] > most) most = s->needs.weight_bytes[w];
    }
    char *block = mem_map(p->ctx->mem, most);
    p->loader = (struct loader){.config = &p->config, .staging = mem_map(p->ctx->mem, staging)};
    kadr_status st = block && p->loader.staging ? KADR_OK : err_nomem(err, "weights", most);
    for (; !st && done < p->count && p->text[done]; done++)
        st = packed_add(p->writer, p->text[done], (size_t)p->items[done].bytes, err);
    for (int i = 0; i < program->segment_count && !st; i++)
        st = write_weights(p, &program->segments[i], &done, block, err);
    if (!st) st = tell(p, done, err);
    mem_unmap(p->ctx->mem, block, most);
    mem_unmap(p->ctx->mem, p->loader.staging, staging);
    return st;
}

static bool interrupted(void *user) {
    const kadr_context *ctx = user;
    return ctx->interrupted;
}

static kadr_status pack(struct packing *p, const kadr_request *rq, const char *path,
                        kadr_error *err) {
    kadr_context *ctx = p->ctx;
    kadr_status st = draw_model_open(ctx->mem, &ctx->log, rq, NULL, &p->model, err);
    if (st) return st;
    const char *layout;
    enum dtype dtype;
    if (weights_packing(p->model->weights, &layout, &dtype))
        return err_set(err, KADR_EUSAGE, "%s: is packed already", weights_path(p->model->weights));
    struct stages_shape shape = shape_of_packing;
    if (!rq->weights || !dtype_named(rq->weights, &shape.dtype))
        shape.dtype = draw_model_precision(p->model);
    p->halves = shape.dtype == DTYPE_F16;
    if (p->halves) shape.dtype = DTYPE_F32;
    const struct plan_options options = {.budget = 0};
    st = stages_open(&p->stages, ctx->mem, p->model, &shape, &options, ctx->backend, ctx->state,
                     err);
    if (st) return st;
    p->source = draw_source(p->model->weights);
    p->config = (struct run_config){.backend = ctx->backend,
                                    .state = ctx->state,
                                    .source = &p->source,
                                    .program = &p->stages.program,
                                    .cancelled = interrupted,
                                    .user = ctx};
    st = list_items(p, err);
    const struct packed_about about = {ctx->backend->layout, shape.dtype, p->configs};
    if (!st) st = packed_begin(&p->writer, ctx->mem, path, &about, p->items, p->count, err);
    if (!st) st = write_items(p, err);
    return st ? st : packed_commit(p->writer, err);
}

kadr_status kadr_pack(kadr_context *ctx, const kadr_request *rq, const char *path,
                      const kadr_observer *observer, kadr_error *err) {
    struct packing p = {.ctx = ctx, .observer = observer};
    if (strcmp(file_extension(path), "kadr") != 0)
        return err_set(err, KADR_EUSAGE, "%s: a packed model's name ends in .kadr", path);
    arena_init(&p.arena, ctx->mem);
    kadr_status st = pack(&p, rq, path, err);
    packed_close(p.writer);
    for (size_t i = 0; i < p.count; i++) mem_free(p.text[i]);
    json_decref(p.configs);
    arena_free(&p.arena);
    stages_close(&p.stages);
    draw_model_close(p.model);
    ctx->interrupted = 0;
    return st;
}

struct verifying {
    kadr_context *ctx;
    const kadr_observer *observer;
};

static bool verify_progress(void *user, size_t done, size_t count) {
    const struct verifying *v = user;
    const kadr_progress progress = {
        .stage = "verify", .step = (int)done, .steps = (int)count, .pictures = 1};
    bool ended = v->ctx->interrupted;
    if (v->observer && v->observer->progress)
        ended = v->observer->progress(v->observer->user, &progress) || ended;
    return ended;
}

kadr_status kadr_verify(kadr_context *ctx, const char *path, const kadr_observer *observer,
                        kadr_error *err) {
    struct weights *w;
    struct verifying v = {ctx, observer};
    const char *layout;
    enum dtype dtype;
    kadr_status st = weights_open(ctx->mem, &ctx->log, path, &w, err);
    if (st) return st;
    void *block = mem_map(ctx->mem, BLOCK);
    if (!weights_packing(w, &layout, &dtype))
        st = err_set(err, KADR_EUSAGE, "%s: not a packed model; only those carry checksums", path);
    else if (!block) st = err_nomem(err, "block", BLOCK);
    else st = weights_verify(w, block, BLOCK, verify_progress, &v, err);
    mem_unmap(ctx->mem, block, BLOCK);
    weights_close(w);
    ctx->interrupted = 0;
    return st;
}
