/* backend_cpu.c: the CPU backend: state and dispatch. See backend.h for the contract.
 *
 * Invariants: nothing is allocated while an operation runs; what a task of the pool computes
 * depends on its number, never on the thread, and every sum's order depends on shapes alone: the
 * same bits for any number of threads.
 */
#include "backend/cpu/cpu.h"

static size_t no_workspace(const struct cpu_op *o) {
    (void)o;
    return 0;
}

static const struct {
    size_t (*workspace)(const struct cpu_op *o);
    void (*run)(const struct cpu_op *o);
} kinds[OP_KINDS] = {
    [OP_EMBED] = {no_workspace, cpu_embed_run},
    [OP_LINEAR] = {cpu_gemm_workspace, cpu_gemm_run},
    [OP_CONV] = {cpu_conv_workspace, cpu_conv_run},
    [OP_GROUP_STATS] = {cpu_group_norm_workspace, cpu_group_stats_run},
    [OP_GROUP_NORM] = {cpu_group_norm_workspace, cpu_group_norm_run},
    [OP_LAYER_NORM] = {cpu_layer_norm_workspace, cpu_layer_norm_run},
    [OP_ATTENTION] = {cpu_attention_workspace, cpu_attention_run},
    [OP_GATHER] = {no_workspace, cpu_gather_run},
    [OP_TIMESTEP] = {no_workspace, cpu_timestep_run},
    [OP_ADD] = {cpu_rows_workspace, cpu_add_run},
    [OP_CONCAT] = {no_workspace, cpu_concat_run},
    [OP_ACT] = {cpu_rows_workspace, cpu_act_run},
    [OP_CONVERT] = {no_workspace, cpu_convert_run},
};

static kadr_status open_cpu(const struct backend_config *config, void **state, kadr_error *err) {
    struct cpu *c = mem_alloc(config->mem, sizeof *c);
    if (!c) return err_nomem(err, "CPU backend", sizeof *c);
    c->mem = config->mem;
    c->pool = config->pool;
    c->threads = pool_threads(config->pool);
    c->caches = cpu_caches();
    kernels_get(&c->kernels, config->cpu_flags);
    kadr_status st = blas_open(&c->blas, c->mem, c->pool, err);
    if (st) mem_free(c);
    else *state = c;
    return st;
}

static void close_cpu(void *state) {
    mem_free(state);
}

static const char *multiplier(void *state) {
    const struct cpu *c = state;
    return c->blas.sgemm ? c->blas.name : "kadr";
}

static size_t workspace(void *state, const struct graph *g, const struct op *op,
                        const struct op_part *part) {
    const struct cpu_op o = {.cpu = state, .g = g, .op = op, .part = part};
    return kinds[op->kind].workspace(&o);
}

static size_t weight_size(void *state, const struct graph *g, weight_id w) {
    (void)state;
    return cpu_weight_size(&g->weights[w]);
}

static size_t part_size(void *state, const struct graph *g, weight_id w) {
    (void)state;
    return cpu_part_size(&g->weights[w]);
}

static void pack(void *state, const struct graph *g, weight_id w, int64_t column, int64_t row,
                 int64_t rows, const void *stored, enum dtype from, void *packed) {
    const struct cpu *c = state;
    cpu_pack(&c->kernels, &g->weights[w], column, row, rows, stored, from, packed);
}

static void unpack(void *state, const struct graph *g, weight_id w, int64_t column, int64_t row,
                   int64_t rows, const void *packed, float *stored) {
    (void)state;
    cpu_unpack(&g->weights[w], column, row, rows, packed, stored);
}

static void widen(void *state, const void *from, float *to, size_t count) {
    const struct cpu *c = state;
    c->kernels.convert(to, DTYPE_F32, from, DTYPE_F16, count);
}

static void run(void *state, const struct graph *g, const struct op *op, const struct op_part *part,
                void *const *tensors, const void *const *weights, void *scratch) {
    const struct cpu_op o = {state, g, op, part, tensors, weights, scratch};
    kinds[op->kind].run(&o);
}

const struct backend backend_cpu = {
    .name = "cpu",
    .layout = "panels-16",
    .open = open_cpu,
    .close = close_cpu,
    .multiplier = multiplier,
    .workspace = workspace,
    .weight_size = weight_size,
    .part_size = part_size,
    .pack = pack,
    .unpack = unpack,
    .widen = widen,
    .run = run,
};
