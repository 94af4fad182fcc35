/* cast_parts.c: see cast_parts.h. */
#include "draw/cast_parts.h"
#include "base/file.h"
#include "base/sys.h"
#include "draw/source.h"

#include <math.h>
#include <string.h>

/* The only .safetensors file of the model's folder ip_adapter. */
static kadr_status find_adapter(struct cast_parts *p, kadr_error *err) {
    char **names;
    size_t count;
    if (p->rq->adapter) {
        p->adapter = arena_strdup(&p->arena, p->rq->adapter);
        return p->adapter ? KADR_OK : err_nomem(err, "path", strlen(p->rq->adapter));
    }
    const char *model = weights_path(p->model->weights);
    const char *folder = arena_printf(&p->arena, "%s/ip_adapter", model);
    if (!folder) return err_nomem(err, "path", strlen(model));
    if (file_is_folder(folder) && !file_list(&p->arena, folder, &names, &count, NULL))
        for (size_t i = 0; i < count; i++)
            if (strcmp(file_extension(names[i]), "safetensors") == 0) {
                if (p->adapter)
                    return err_set(err, KADR_EUSAGE,
                                   "%s: several adapters; say which with --adapter", folder);
                p->adapter = file_join(&p->arena, folder, names[i]);
            }
    if (p->adapter) return KADR_OK;
    return err_set(err, KADR_EUSAGE,
                   "%s comes without an IP-Adapter: name its .safetensors file with --adapter",
                   model);
}

/* The encoder of that path, if it is the adapter's. */
static kadr_status try_encoder(struct cast_parts *p, const char *path, kadr_error *err) {
    kadr_status st = weights_replace(p->weights, "image_encoder", path, err);
    if (!st)
        st = clip_vision_read_config(weights_config(p->weights, "image_encoder"), &p->encoder, err);
    if (!st) st = ip_adapter_check_encoder(&p->config, &p->encoder, err);
    return st ? err_context(err, "%s", path) : KADR_OK;
}

/* Beside the adapter, or where the published adapters' repository has ViT-H. */
static kadr_status find_encoder(struct cast_parts *p, kadr_error *err) {
    static const char *const places[] = {"image_encoder", "../models/image_encoder"};
    if (p->rq->image_encoder) return try_encoder(p, p->rq->image_encoder, err);
    int folder = (int)(file_name(p->adapter) - p->adapter);
    kadr_status st = KADR_EMODEL;
    bool tried = false;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *path = arena_printf(&p->arena, "%.*s%s", folder, p->adapter, places[i]);
        if (!path) return err_nomem(err, "path", strlen(p->adapter));
        if (!file_is_folder(path)) continue;
        tried = true;
        st = try_encoder(p, path, err);
        if (!st) return KADR_OK;
    }
    return tried ? st
                 : err_set(err, KADR_EUSAGE,
                           "%s: no folder image_encoder beside it; name the CLIP image encoder "
                           "with --image-encoder",
                           p->adapter);
}

kadr_status cast_parts_open(struct cast_parts *p, kadr_context *ctx, const kadr_request *rq,
                            kadr_error *err) {
    *p = (struct cast_parts){.ctx = ctx, .rq = rq, .before = (size_t)sys_memory_now()};
    arena_init(&p->arena, ctx->mem);
    kadr_status st = KADR_OK;
    p->model = context_take_model(ctx, rq);
    if (!p->model) st = draw_model_open(ctx->mem, &ctx->log, rq, NULL, &p->model, err);
    if (!st) st = find_adapter(p, err);
    if (!st) st = weights_open_empty(ctx->mem, &ctx->log, p->adapter, &p->weights, err);
    if (!st) st = weights_replace(p->weights, "ip_adapter", p->adapter, err);
    if (!st) st = ip_adapter_read_config(weights_config(p->weights, "ip_adapter"), &p->config, err);
    if (!st) st = find_encoder(p, err);
    if (st) return st;
    if (p->config.cross != p->model->unet.cross)
        return err_set(err, KADR_EMODEL,
                       "%s: made for prompts %d wide, as %s; the prompts of %s are %d wide",
                       p->adapter, (int)p->config.cross,
                       p->config.cross == 2048  ? "SDXL has them"
                       : p->config.cross == 768 ? "Stable Diffusion 1 has them"
                                                : "another model has them",
                       weights_path(p->model->weights), (int)p->model->unet.cross);
    return KADR_OK;
}

void cast_parts_close(struct cast_parts *p) {
    weights_close(p->weights);
    if (p->model) context_keep_model(p->ctx, p->model);
    if (p->ctx) arena_free(&p->arena);
    if (p->ctx) context_grown(p->ctx, p->before);
    *p = (struct cast_parts){0};
}

static bool interrupted(void *user) {
    const kadr_context *ctx = user;
    return ctx->interrupted;
}

kadr_status cast_run_open(struct run **out, struct cast_run *c, const struct cast_parts *p,
                          struct program *program, size_t held, kadr_error *err) {
    kadr_context *ctx = p->ctx;
    c->source = draw_source(p->weights);
    kadr_status st = run_prepare(ctx->backend, ctx->state, &c->source, program, err);
    if (st)
        return err_context(err, "%s does not fit the attentions of %s", p->adapter,
                           weights_path(p->model->weights));
    const char *why;
    uint64_t budget = context_budget(ctx, &why);
    struct plan_options options = {.keep = true};
    size_t now = (size_t)sys_memory_now(), beside = now + context_growth(ctx, now) + held;
    if (budget) options.budget = budget > beside ? (size_t)(budget - beside) : 1;
    st = plan_make(&c->plan, ctx->mem, program, &options, err);
    if (st) return st;
    if (budget && c->plan.bytes > options.budget)
        return err_set(err, KADR_EMEMORY, "the image encoder takes %.0f MiB, but %s is %.0f MiB",
                       (double)(c->plan.bytes + beside) / (1 << 20), why,
                       (double)budget / (1 << 20));
    const struct run_config config = {.backend = ctx->backend,
                                      .state = ctx->state,
                                      .source = &c->source,
                                      .program = program,
                                      .plan = &c->plan,
                                      .cancelled = interrupted,
                                      .user = ctx};
    return run_open(out, ctx->mem, &config, err);
}

/* Patches and cells along a side. */
static int64_t patches_across(const struct cast_parts *p) {
    return p->encoder.image / p->encoder.patch;
}

static int64_t cells_across(const struct cast_parts *p) {
    int64_t patches = patches_across(p);
    return patches < 8 ? patches : 8;
}

int64_t cast_cells(const struct cast_parts *p) {
    return cells_across(p) * cells_across(p);
}

void cast_look(const struct cast_parts *p, const float *hidden, float *look) {
    int64_t width = p->encoder.width, patches = patches_across(p), cells = cells_across(p);
    for (int64_t c = 0; c < cells * cells; c++, look += width) {
        int64_t row = c / cells, column = c % cells;
        double length = 0;
        for (int64_t i = 0; i < width; i++) look[i] = 0;
        for (int64_t y = row * patches / cells; y < (row + 1) * patches / cells; y++)
            for (int64_t x = column * patches / cells; x < (column + 1) * patches / cells; x++)
                for (int64_t i = 0; i < width; i++)
                    look[i] += hidden[(1 + y * patches + x) * width + i];
        for (int64_t i = 0; i < width; i++) length += (double)look[i] * look[i];
        for (int64_t i = 0; i < width && length > 0; i++) look[i] /= (float)sqrt(length);
    }
}
