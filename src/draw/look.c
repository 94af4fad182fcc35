/* look.c: kadr_tokens, kadr_inspect and kadr_plan: answers as JSON, without drawing. */
#include "base/buf.h"
#include "base/file.h"
#include "base/sys.h"
#include "draw/choose.h"
#include "draw/paint.h"
#include "draw/plan_svg.h"

#include <string.h>

/* Takes `json` (NULL: memory was refused) and gives its text. */
static kadr_status give(struct mem *m, json_t *json, char **out, kadr_error *err) {
    struct buf b;
    buf_init(&b, m);
    bool ok = json_put(&b, json, JSON_COMPACT);
    json_decref(json);
    *out = ok ? buf_take(&b) : NULL;
    buf_free(&b);
    return *out ? KADR_OK : err_nomem(err, "report", 4096);
}

/* ---- kadr_tokens */
static json_t *encoder_json(const struct prompt *prompt, int encoder) {
    json_t *ids = json_array(), *weights = json_array(), *chunks = json_array();
    json_int_t end = 0;
    for (size_t c = 0; c < prompt->chunks; c++) {
        const struct prompt_chunk *chunk = &prompt->chunk[encoder][c];
        for (int32_t i = 1; i <= chunk->used; i++) {
            json_array_append_new(ids, json_integer(chunk->id[i]));
            json_array_append_new(weights, json_real((double)chunk->weight[i]));
        }
        end += chunk->used;
        json_array_append_new(chunks, json_integer(end));
    }
    return json_pack("{s:o,s:o,s:o,s:s?}", "ids", ids, "weights", weights, "chunks", chunks, "cut",
                     prompt->cut[encoder]);
}

/* Without syntax every token is shown, the cut ones too. */
static json_t *plain_json(const struct tokens *tokens, const char *cut) {
    json_t *ids = json_array(), *weights = json_array();
    for (size_t i = 0; i < tokens->count; i++) {
        json_array_append_new(ids, json_integer(tokens->id[i]));
        json_array_append_new(weights, json_real(1));
    }
    json_int_t end = (json_int_t)tokens->count;
    return json_pack("{s:o,s:o,s:[I],s:s?}", "ids", ids, "weights", weights, "chunks", end, "cut",
                     cut);
}

static kadr_status read_tokens(const struct draw_model *model, struct arena *a, const char *text,
                               bool plain, json_t *list, kadr_error *err) {
    struct prompt prompt;
    kadr_status st = prompt_read(a, model->tokenizer, text, plain, model->embedding,
                                 model->embeddings, &prompt, err);
    for (int i = 0; i < PROMPT_ENCODERS && !st; i++) {
        struct tokens tokens;
        tokens_init(&tokens, model->mem);
        if (plain) st = tokenizer_encode(model->tokenizer[i], text, strlen(text), &tokens, err);
        if (!st)
            json_array_append_new(list, plain ? plain_json(&tokens, prompt.cut[i])
                                              : encoder_json(&prompt, i));
        tokens_free(&tokens);
    }
    return st;
}

kadr_status kadr_tokens(kadr_context *ctx, const kadr_request *rq, const char *text, int plain,
                        char **json, kadr_error *err) {
    if (!ctx->model || !draw_model_serves(ctx->model, rq)) {
        struct draw_model *model;
        kadr_status st = draw_model_open(ctx->mem, &ctx->log, rq, NULL, &model, err);
        if (st) return st;
        draw_model_close(ctx->model);
        ctx->model = model;
    }
    struct arena a;
    arena_init(&a, ctx->mem);
    json_t *list = json_array();
    kadr_status st = read_tokens(ctx->model, &a, text, plain, list, err);
    if (st) json_decref(list);
    else st = give(ctx->mem, json_pack("{s:o}", "encoders", list), json, err);
    arena_free(&a);
    return st;
}

/* ---- kadr_inspect */
static json_t *dims_json(const struct weights_tensor *t) {
    json_t *dims = json_array();
    for (int i = 0; i < t->rank; i++) json_array_append_new(dims, json_integer(t->dim[i]));
    return dims;
}

static size_t tensor_size(const struct weights_tensor *t) {
    size_t n = dtype_size(t->dtype);
    for (int i = 0; i < t->rank; i++) n *= (size_t)t->dim[i];
    return n;
}

/* {"unet": {"tensors": n, "bytes": n, "parameters": n, "dtypes": {"f16": n}}, ...} */
static json_t *components_json(const struct weights *w) {
    json_t *all = json_object();
    for (size_t i = 0; i < weights_count(w); i++) {
        const struct weights_tensor *t = weights_at(w, i);
        size_t length = strcspn(t->name, ".");
        json_t *c = json_object_getn(all, t->name, length);
        if (!c) {
            c = json_pack("{s:i,s:i,s:i,s:{}}", "tensors", 0, "bytes", 0, "parameters", 0,
                          "dtypes");
            if (!c || json_object_setn_new(all, t->name, length, c)) break;
        }
        json_t *dtypes = json_object_get(c, "dtypes");
        size_t bytes = tensor_size(t);
#define MORE(o, key, by)                                                                           \
    json_object_set_new(                                                                           \
        o, key, json_integer(json_integer_value(json_object_get(o, key)) + (json_int_t)(by)))
        MORE(c, "tensors", 1);
        MORE(c, "bytes", bytes);
        MORE(c, "parameters", bytes / dtype_size(t->dtype));
        MORE(dtypes, dtype_name(t->dtype), 1);
#undef MORE
    }
    return all;
}

static kadr_status inspect_model(kadr_context *ctx, const char *path, char **json,
                                 kadr_error *err) {
    struct weights *w;
    kadr_status st = weights_open(ctx->mem, &ctx->log, path, &w, err);
    if (st) return st;
    static const char *const kinds[] = {[WEIGHTS_FOLDER] = "diffusers folder",
                                        [WEIGHTS_SINGLE_FILE] = "single file",
                                        [WEIGHTS_PACKED] = "packed"};
    static const char *const configs[] = {"unet", "vae", "text_encoder", "text_encoder_2",
                                          "scheduler"};
    json_t *tensors = json_array(), *config = json_object();
    for (size_t i = 0; i < weights_count(w); i++) {
        const struct weights_tensor *t = weights_at(w, i);
        json_array_append_new(tensors, json_pack("{s:s,s:s,s:o}", "name", t->name, "dtype",
                                                 dtype_name(t->dtype), "shape", dims_json(t)));
    }
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        const json_t *c = weights_config(w, configs[i]);
        if (c) json_object_set(config, configs[i], (json_t *)(uintptr_t)c);
    }
    json_t *whole = json_pack("{s:s,s:s,s:s,s:o,s:o,s:o}", "path", weights_path(w), "type", "model",
                              "kind", kinds[weights_kind(w)], "components", components_json(w),
                              "config", config, "tensors", tensors);
    weights_close(w);
    return give(ctx->mem, whole, json, err);
}

static kadr_status inspect_picture(kadr_context *ctx, const char *path, char **json,
                                   kadr_error *err) {
    struct image im = {0};
    struct arena a;
    arena_init(&a, ctx->mem);
    struct image_text *texts = NULL;
    size_t count = 0;
    kadr_status st = image_read(&im, ctx->mem, path, IMAGE_KEEP_ALPHA, NULL, err);
    if (!st) st = image_read_texts(&a, path, &texts, &count, err);
    if (!st) {
        json_t *list = json_object(), *settings = NULL;
        for (size_t i = 0; i < count; i++)
            json_object_set_new(list, texts[i].key, json_string(texts[i].value));
        const char *kadr = image_text_find(texts, count, "kadr");
        if (kadr) json_parse(kadr, strlen(kadr), path, KADR_EIO, &settings, NULL);
        json_t *whole =
            json_pack("{s:s,s:s,s:i,s:i,s:o?,s:o}", "path", path, "type", "picture", "width",
                      im.width, "height", im.height, "kadr", settings, "texts", list);
        st = give(ctx->mem, whole, json, err);
    }
    image_free(&im);
    arena_free(&a);
    return st;
}

/* A picture is told by its first bytes, everything else is taken for a model. */
static bool is_picture(struct mem *m, const char *path) {
    struct file f;
    char head[16];
    if (file_open(&f, m, path, KADR_EIO, NULL)) return false;
    bool is = f.size >= sizeof head && !file_read_at(&f, 0, head, sizeof head, NULL) &&
              image_format_of(head, sizeof head) != IMAGE_UNKNOWN;
    file_close(&f);
    return is;
}

static kadr_status inspect_cast(kadr_context *ctx, const char *path, char **json, kadr_error *err) {
    struct cast c;
    kadr_status st = cast_open(&c, ctx->mem, path, err);
    if (st) return st;
    json_t *whole =
        json_pack("{s:s,s:s,s:I,s:I,s:I,s:O}", "path", path, "type", "cast", "bytes",
                  (json_int_t)c.file.file.size, "tokens", (json_int_t)c.tokens,
                  "unconditional_tokens", (json_int_t)c.uncond_tokens, "texts", c.file.metadata);
    cast_close(&c);
    return give(ctx->mem, whole, json, err);
}

kadr_status kadr_inspect(kadr_context *ctx, const char *path, char **json, kadr_error *err) {
    if (!file_is_folder(path) && is_picture(ctx->mem, path))
        return inspect_picture(ctx, path, json, err);
    if (strcmp(file_extension(path), CAST_EXTENSION) == 0)
        return inspect_cast(ctx, path, json, err);
    return inspect_model(ctx, path, json, err);
}

/* ---- kadr_plan */
static json_t *segment_json(const struct stages *s, int i, const struct plan_rates *rates) {
    const struct segment *seg = &s->program.segments[i];
    const struct segment_plan *sp = &s->plan.segments[i];
    const struct segment_part all = {0};
    struct plan_cost cost = plan_cost(&s->plan, &s->program, i, all, rates);
    double flops = 0;
    for (int o = 0; o < seg->graph->op_count; o++)
        flops += op_flops(seg->graph, &seg->graph->ops[o]);
    return json_pack(
        "{s:s,s:s,s:i,s:i,s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f}", "stage", seg->stage, "network",
        seg->graph->name, "lanes", seg->lanes, "repeats", seg->repeats, "operations",
        seg->graph->op_count, "resident_bytes", (json_int_t)sp->resident_bytes, "streamed_bytes",
        (json_int_t)sp->walk.streamed, "ring_bytes", (json_int_t)sp->ring_bytes, "activation_bytes",
        (json_int_t)sp->temp_bytes, "workspace_bytes", (json_int_t)sp->workspace_bytes,
        "scratch_bytes", (json_int_t)cost.scratch_bytes, "peak_bytes", (json_int_t)sp->bound,
        "seconds", cost.seconds, "tflop", flops * seg->lanes * 1e-12);
}

/* What is predicted, and whether it is guessed. "bound": what a step waits for. */
static json_t *time_json(kadr_context *ctx, const struct job *job) {
    const struct stages_time *t = &job->time;
    const struct stages_shape *shape = &job->stages->shape;
    const struct machine_speed *speed = context_speed(ctx, job->model, shape->dtype);
    double total = stages_seconds(t, shape, (size_t)job->rq->count);
    return json_pack(
        "{s:f,s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:s,s:b}", "prediction_error", ctx->machine.error,
        "predictions", ctx->machine.judged, "seconds", total, "seconds_load", t->load,
        "seconds_encode", t->encode + t->init, "seconds_per_step", t->step / shape->pictures,
        "seconds_decode", t->decode, "step_compute", t->step_compute, "step_read", t->step_read,
        "bound", t->step_read > t->step_compute ? "disk" : "compute", "measured", speed->measured);
}

static json_t *alternatives_json(const struct jobs *j, const struct job *job) {
    json_t *list = json_array();
    struct alternative other[ALTERNATIVES];
    size_t n = choose_fits(j, job) ? 0 : choose_alternatives(j, job, other);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:s,s:I,s:I,s:s,s:I,s:I}", "options",
                                              other[i].options, "width", (json_int_t)other[i].width,
                                              "height", (json_int_t)other[i].height, "precision",
                                              dtype_name(other[i].dtype), "peak_bytes",
                                              (json_int_t)other[i].planned, "memory_bytes",
                                              (json_int_t)other[i].memory));
    return list;
}

/* The same with everything in memory from the first moment to the last, weights in two bytes, and
 * no measure taken: what other programs ask for. NULL: it could not be planned. */
static json_t *before_json(const struct jobs *j, const struct job *job) {
    const struct stages *now = job->stages;
    struct stages_shape shape = now->shape;
    struct plan_options options = {.keep = true};
    struct stages s;
    shape.serial = stages_alternate(&shape);
    shape.pictures = 1;
    shape.dtype = DTYPE_BF16;
    if (stages_open(&s, j->ctx->mem, job->model, &shape, &options, j->ctx->backend, j->ctx->state,
                    NULL))
        return NULL;
    struct stages_time time;
    context_predict(j->ctx, job->model, &s, &time);
    size_t weights = 0, activations = 0, tables = 0;
    for (int i = 0; i < s.program.segment_count; i++) {
        const struct graph *g = s.program.segments[i].graph;
        const struct segment_plan *sp = &s.plan.segments[i];
        weights += sp->resident_bytes;
        if (sp->temp_bytes > activations) activations = sp->temp_bytes;
        for (weight_id w = 0; w < g->weight_count; w++)
            if (g->weights[w].picked)
                tables += (size_t)(g->weights[w].dim[0] * g->weights[w].dim[1]) * 2;
    }
    json_t *out = json_pack("{s:I,s:I,s:I,s:f}", "weight_bytes", (json_int_t)(weights + tables),
                            "activation_bytes", (json_int_t)activations, "peak_bytes",
                            (json_int_t)(s.plan.bytes + tables + job->planned - now->plan.bytes),
                            "seconds", stages_seconds(&time, &shape, (size_t)job->rq->count));
    stages_close(&s);
    return out;
}

/* Of the arena: keys, values, regions and strengths of casts. */
static size_t cast_bytes(const struct stages *s) {
    size_t bytes = 0;
    for (int i = 0; i < s->program.buffer_count; i++)
        if (strstr(s->program.buffers[i].name, ".cast") && !s->plan.buffer_spilled[i])
            bytes += s->plan.buffer_step[i] * (size_t)s->program.buffers[i].lanes;
    return bytes;
}

static json_t *job_json(const struct jobs *j, const struct job *job) {
    const struct stages *s = job->stages;
    const struct machine_speed *speed = context_speed(j->ctx, job->model, s->shape.dtype);
    double disk = context_read_rate(j->ctx, job->model);
    json_t *segments = json_array();
    for (int i = 0; i < s->program.segment_count; i++) {
        const struct plan_rates rates = machine_rates(speed, stages_work(s, i), disk);
        json_array_append_new(segments, segment_json(s, i, &rates));
    }
    json_t *out = json_pack(
        "{s:i,s:i,s:i,s:i,s:b,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:o,s:o,s:o}", "width",
        (int)job->rq->width, "height", (int)job->rq->height, "pictures", (int)job->rq->count,
        "together", s->shape.pictures, "branches_in_turn", s->shape.serial, "precision",
        dtype_name(s->shape.dtype), "weights_kept", s->plan.keep, "peak_bytes",
        (json_int_t)job->planned, "arena_bytes", (json_int_t)s->plan.bytes, "buffer_bytes",
        (json_int_t)s->plan.buffer_bytes, "host_bytes", (json_int_t)job->host, "program_bytes",
        (json_int_t)j->idle, "scratch_file_bytes", (json_int_t)s->plan.scratch, "fits",
        choose_fits(j, job), "time", time_json(j->ctx, job), "alternatives",
        alternatives_json(j, job), "stages", segments);
    if (out && job->castings.count)
        json_object_set_new(out, "cast_bytes", json_integer((json_int_t)cast_bytes(s)));
    json_t *before = out && job->rq->compare ? before_json(j, job) : NULL;
    if (before) json_object_set_new(out, "before", before);
    return out;
}

/* The picture of the first request's plan. */
static kadr_status write_svg(const struct jobs *j, kadr_error *err) {
    struct buf b;
    buf_init(&b, j->ctx->mem);
    plan_svg(&b, &j->job[0], j->budget);
    kadr_status st = buf_ok(&b)
                         ? file_write_atomic(j->ctx->mem, j->job[0].rq->svg, b.data, b.size, err)
                         : err_nomem(err, "the picture of the plan", b.size);
    buf_free(&b);
    return st;
}

kadr_status kadr_plan(kadr_context *ctx, kadr_request *const *requests, size_t count, char **json,
                      kadr_error *err) {
    struct jobs j;
    kadr_status st = jobs_describe(&j, ctx, requests, count, err);
    if (!st && j.job[0].rq->svg) st = write_svg(&j, err);
    if (!st) {
        json_t *list = json_array();
        bool fits = true;
        for (size_t i = 0; i < j.count; i++) {
            json_array_append_new(list, job_json(&j, &j.job[i]));
            fits = fits && choose_fits(&j, &j.job[i]);
        }
        st = give(ctx->mem,
                  json_pack("{s:I,s:s,s:b,s:o}", "budget_bytes", (json_int_t)j.budget,
                            "budget_from", j.why, "fits", fits, "requests", list),
                  json, err);
    }
    jobs_close(&j);
    context_remember(ctx);
    return st;
}
