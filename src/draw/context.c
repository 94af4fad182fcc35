/* context.c: opening and closing contexts. */
#include "draw/context.h"
#include "base/sys.h"

#include <stdlib.h>

const char *kadr_version(void) {
    return KADR_VERSION;
}

/* Texts that are handed to the caller come from the context's ledger or a request's; blocks know
 * their ledger. */
void kadr_free(void *p) {
    mem_free(p);
}

/* The two enums list the same levels in the same order. */
static void write_log(void *user, enum log_level level, const char *line) {
    const kadr_context *ctx = user;
    ctx->config.log(ctx->config.user, (kadr_log_level)level, line);
}

kadr_status context_open(struct mem *m, const kadr_config *config, kadr_context **out,
                         kadr_error *err) {
    kadr_context *ctx = mem_alloc(m, sizeof *ctx);
    if (!ctx) return err_nomem(err, "context", sizeof *ctx);
    ctx->mem = m;
    if (config) ctx->config = *config;
    ctx->log = (struct log){.level = (enum log_level)ctx->config.log_level,
                            .write = ctx->config.log ? write_log : NULL,
                            .user = ctx};
    ctx->backend = &backend_cpu;
    int threads = ctx->config.threads > 0 ? ctx->config.threads : cpu_count();
    kadr_status st = pool_open(&ctx->pool, m, threads, err);
    const struct backend_config bc = {.mem = m, .pool = ctx->pool, .cpu_flags = cpu_flags()};
    if (!st) st = ctx->backend->open(&bc, &ctx->state, err);
    if (st) context_close(ctx);
    else *out = ctx;
    return st;
}

void context_close(kadr_context *ctx) {
    draw_model_close(ctx->model);
    ctx->backend->close(ctx->state);
    pool_close(ctx->pool);
    mem_free(ctx);
}

kadr_status kadr_open(const kadr_config *config, kadr_context **out, kadr_error *err) {
    struct mem *m = mem_open(config ? (size_t)config->memory : 0);
    if (!m) return err_nomem(err, "context", sizeof **out);
    kadr_status st = context_open(m, config, out, err);
    if (st) mem_close(m);
    return st;
}

void kadr_close(kadr_context *ctx) {
    if (!ctx) return;
    struct mem *m = ctx->mem;
    context_close(ctx);
    mem_close(m);
}

void kadr_interrupt(kadr_context *ctx) {
    ctx->interrupted = 1;
}

struct draw_model *context_take_model(kadr_context *ctx, const kadr_request *rq) {
    struct draw_model *model = ctx->model;
    if (!model || !draw_model_serves(model, rq)) return NULL;
    ctx->model = NULL;
    return model;
}

void context_keep_model(kadr_context *ctx, struct draw_model *model) {
    draw_model_close(ctx->model);
    ctx->model = model;
}

uint64_t context_budget(const kadr_context *ctx, const char **why) {
    if (ctx->config.memory) {
        *why = "the memory allowed";
        return ctx->config.memory;
    }
    uint64_t available = sys_memory_free();
    *why = "70 % of the memory that is free";
    return available ? sys_memory_now() + available / 10 * 7 : 0;
}

#define GROWTH ((size_t)6 << 20)

/* What was touched once is in `now` already, unless the system has taken it back; another drawing
 * may touch other things. */
size_t context_growth(const kadr_context *ctx, size_t now) {
    size_t there = ctx->before && now > ctx->before ? now - ctx->before : 0;
    if (there > ctx->left) there = ctx->left;
    return there < GROWTH / 2 ? GROWTH - there : GROWTH / 2;
}

void context_grown(kadr_context *ctx, size_t before) {
    sys_trim();
    size_t now = (size_t)sys_memory_now();
    if (!ctx->before) ctx->before = before;
    if (now > before) ctx->left += now - before;
}

/* ---- How fast the machine is */

#define MEASURE_ROOM ((size_t)32 << 20) /* so much is free of the budget, or guesses have to do */

struct machine_tools context_machine_tools(const kadr_context *ctx) {
    return (struct machine_tools){.mem = ctx->mem,
                                  .backend = ctx->backend,
                                  .state = ctx->state,
                                  .threads = pool_threads(ctx->pool),
                                  .path = ctx->config.machine};
}

const struct machine_speed *context_speed(kadr_context *ctx, const struct draw_model *model,
                                          enum dtype dtype) {
    const struct machine_tools tools = context_machine_tools(ctx);
    const char *why;
    uint64_t budget = context_budget(ctx, &why);
    bool room = budget == 0 || budget > sys_memory_now() + MEASURE_ROOM;
    return machine_speed(&ctx->machine, &tools, dtype, draw_model_scale(model), tools.path && room);
}

bool context_reads_packed(const struct draw_model *model) {
    const struct weights *w = model->weights;
    return !w || (weights_kind(w) == WEIGHTS_PACKED && weights_lora_bytes(w) == 0);
}

/* Of a model that was packed in f16 half as many bytes are read as its weights have then. */
static bool reads_halves(const struct draw_model *model) {
    const struct weights_tensor *t =
        model->weights ? weights_find(model->weights, "unet.conv_in.weight") : NULL;
    return t && t->dtype == DTYPE_F16 && weights_kind(model->weights) == WEIGHTS_PACKED;
}

double context_read_rate(kadr_context *ctx, const struct draw_model *model) {
    double rate = ctx->machine.read[context_reads_packed(model) ? 0 : 1];
    return reads_halves(model) ? 2 * rate : rate;
}

void context_predict(kadr_context *ctx, const struct draw_model *model, const struct stages *s,
                     struct stages_time *out) {
    const struct machine_speed *speed = context_speed(ctx, model, s->shape.dtype);
    stages_predict(s, speed, context_read_rate(ctx, model), out);
}

void context_remember(kadr_context *ctx) {
    const struct machine_tools tools = context_machine_tools(ctx);
    machine_save(&ctx->machine, &tools);
}
