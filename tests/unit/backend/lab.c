/* lab.c: see lab.h. */
#include "lab.h"
#include "backend/cpu/bits.h"

#include <math.h>
#include <stdlib.h>

#define GUARD 128
#define GUARD_BYTE 0xA5

void lab_open(struct lab *l, enum dtype dtype, uint64_t seed) {
    memset(l, 0, sizeof *l);
    l->mem = mem_open(0);
    l->random = seed * 0x9E3779B97F4A7C15u + 1;
    graph_init(&l->g, l->mem, "lab", dtype);
}

void lab_close(struct lab *l) {
    for (int i = 0; i < LAB_TENSORS; i++) mem_free(l->tensor[i]);
    for (int i = 0; i < LAB_WEIGHTS; i++) {
        mem_free(l->weight[i]);
        mem_free(l->stored[i]);
    }
    graph_free(&l->g);
    if (mem_close(l->mem)) abort();
}

uint32_t lab_random(struct lab *l, uint32_t below) {
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return (uint32_t)((l->random >> 32) * below >> 32);
}

double lab_normal(struct lab *l) {
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += lab_random(l, 1u << 24) * 0x1p-24;
    return sum;
}

int64_t lab_size(struct lab *l, int64_t most) {
    int64_t top = 1 + lab_random(l, (uint32_t)most);
    return 1 + lab_random(l, (uint32_t)top);
}

/* Truncated; too small for a normal number: 0. */
static uint16_t f16_bits(float v) {
    uint32_t u = f32_to_bits(v);
    if (fabsf(v) < 0x1p-14f) return 0;
    return (uint16_t)((u >> 16 & 0x8000) | (((u & 0x7FFFFFFF) >> 13) - (112u << 10)));
}

static double rounded(double v, enum dtype type) {
    switch (type) {
    case DTYPE_BF16: return bf16_to_f32(f32_to_bf16((float)v));
    case DTYPE_F16: return f16_to_f32(f16_bits((float)v));
    case DTYPE_F32: return (float)v;
    default: return trunc(v);
    }
}

static void encode(void *to, enum dtype type, size_t i, double v) {
    switch (type) {
    case DTYPE_BF16: ((uint16_t *)to)[i] = f32_to_bf16((float)v); break;
    case DTYPE_F16: ((uint16_t *)to)[i] = f16_bits((float)v); break;
    case DTYPE_I32: ((int32_t *)to)[i] = (int32_t)v; break;
    default: ((float *)to)[i] = (float)v;
    }
}

double *lab_values(struct lab *l, tensor_id t) {
    if (!l->tensor[t])
        l->tensor[t] = mem_array(l->mem, tensor_elements(&l->g.tensors[t]), sizeof(double));
    return l->tensor[t];
}

double lab_quantised(double v, double top) {
    float by = 127 / (float)top;
    return rint((double)((float)v * by)) * (double)((float)top / 127);
}

/* Each output channel to int8. */
static void quantise_weight(const struct weight *w, size_t n, double *v) {
    size_t row = n / (size_t)w->dim[0];
    for (size_t first = 0; first < n; first += row) {
        double top = 0;
        for (size_t i = first; i < first + row; i++) top = fmax(top, fabs(v[i]));
        for (size_t i = first; i < first + row && top > 0; i++) v[i] = lab_quantised(v[i], top);
    }
}

static void fill_weight(struct lab *l, weight_id i) {
    static const enum dtype kinds[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    const struct weight *w = &l->g.weights[i];
    size_t n = 1;
    for (int d = 0; d < w->rank; d++) n *= (size_t)w->dim[d];
    double spread = w->rank > 1 ? 1.0 / sqrt((double)n / (double)w->dim[0]) : 1;
    l->weight[i] = mem_array(l->mem, n, sizeof(double));
    l->stored_type[i] = kinds[lab_random(l, 3)];
    l->stored[i] = mem_array(l->mem, n, dtype_size(l->stored_type[i]));
    for (size_t e = 0; e < n; e++) {
        double v = rounded(lab_normal(l) * spread, l->stored_type[i]);
        encode(l->stored[i], l->stored_type[i], e, v);
        l->weight[i][e] = w->dtype == DTYPE_I8 ? v : rounded(v, w->dtype);
    }
    if (w->dtype == DTYPE_I8) quantise_weight(w, n, l->weight[i]);
}

void lab_fill(struct lab *l) {
    if (graph_failed(&l->g) || l->g.tensor_count > LAB_TENSORS || l->g.weight_count > LAB_WEIGHTS)
        abort();
    for (tensor_id t = 0; t < l->g.tensor_count; t++) {
        const struct tensor *tensor = &l->g.tensors[t];
        if (tensor->role != TENSOR_INPUT || l->tensor[t]) continue;
        double *v = lab_values(l, t);
        for (size_t i = 0; i < tensor_elements(tensor); i++)
            v[i] = rounded(lab_normal(l), tensor->dtype);
    }
    for (weight_id i = 0; i < l->g.weight_count; i++)
        if (!l->weight[i]) fill_weight(l, i);
}

/* A block of exactly `size` bytes between guards, filled with rubbish. */
static char *guarded(struct mem *m, size_t size) {
    char *raw = mem_alloc(m, size + 2 * GUARD + BACKEND_ALIGN);
    size_t skip = BACKEND_ALIGN - (uintptr_t)raw % BACKEND_ALIGN;
    raw[0] = (char)skip; /* how to find the block's start again */
    char *p = raw + skip + GUARD;
    memset(p - GUARD + 1, GUARD_BYTE, GUARD - 1);
    p[-GUARD] = (char)skip;
    memset(p, 0x7F, size); /* 0x7F7F...: huge as f32 and as bf16 */
    memset(p + size, GUARD_BYTE, GUARD);
    return p;
}

static bool release(char *p, size_t size) {
    bool ok = true;
    for (int i = 1; i < GUARD; i++) ok = ok && (unsigned char)p[i - GUARD] == GUARD_BYTE;
    for (int i = 0; i < GUARD; i++) ok = ok && (unsigned char)p[size + (size_t)i] == GUARD_BYTE;
    mem_free(p - GUARD - p[-GUARD]);
    return ok;
}

/* Rows [first, end) of the weight, of which `packed` holds the columns from `column` on. */
static void pack_rows(struct lab *l, void *state, weight_id i, int64_t column, int64_t first,
                      int64_t end, void *packed) {
    const struct weight *w = &l->g.weights[i];
    size_t row_bytes = dtype_size(l->stored_type[i]);
    for (int d = 1; d < w->rank; d++) row_bytes *= (size_t)w->dim[d];
    /* In one piece or in several. */
    int64_t piece = lab_random(l, 2) ? w->dim[0] : BACKEND_PACK_ROWS * (1 + lab_random(l, 2));
    for (int64_t row = first; row < end; row += piece)
        backend_cpu.pack(state, &l->g, i, column, row, end - row < piece ? end - row : piece,
                         (const char *)l->stored[i] + (size_t)row * row_bytes, l->stored_type[i],
                         packed);
}

/* The rows that the ids pick; those of extra rows stay rubbish. */
static void pack_picked(struct lab *l, void *state, weight_id i, const int32_t *id, char *packed) {
    const struct weight *w = &l->g.weights[i];
    size_t row = (size_t)w->dim[1] * dtype_size(l->stored_type[i]);
    for (int64_t at = 0; at < w->picked; at++)
        if (id[at] >= 0 && id[at] < w->dim[0])
            backend_cpu.pack(state, &l->g, i, 0, at, 1,
                             (const char *)l->stored[i] + (size_t)id[at] * row, l->stored_type[i],
                             packed);
}

/* Runs a product part by part, each with a weight of its own. */
static void run_parts(struct lab *l, void *state, const struct op *op, void *const *tensors,
                      char **weights, void *workspace) {
    const struct weight *w = &l->g.weights[op->w];
    const void *own[LAB_WEIGHTS];
    memcpy((void *)own, weights, sizeof own);
    int64_t cols = w->geglu ? w->dim[0] / 2 : w->dim[0];
    int64_t step = BACKEND_PACK_ROWS * (1 + lab_random(l, 2));
    size_t whole = backend_cpu.weight_size(state, &l->g, op->w),
           per = backend_cpu.part_size(state, &l->g, op->w) / BACKEND_PACK_ROWS;
    for (int64_t c = 0; c < cols; c += step) {
        struct op_part part = {.first = c, .count = cols - c < step ? cols - c : step};
        size_t size = c + step >= cols ? whole - (size_t)c * per : (size_t)step * per;
        char *packed = guarded(l->mem, size);
        pack_rows(l, state, op->w, c, c, c + part.count, packed);
        if (w->geglu) pack_rows(l, state, op->w, c, cols + c, cols + c + part.count, packed);
        own[op->w] = packed;
        backend_cpu.run(state, &l->g, op, &part, tensors, own, workspace);
        if (!release(packed, size)) l->spoiled = true;
    }
}

/* Runs a convolution or statistics some rows of the picture at a time. */
static void run_rows(struct lab *l, void *state, const struct op *op, void *const *tensors,
                     char **weights) {
    const struct tensor *of = &l->g.tensors[op->kind == OP_CONV ? op->out : op->in[0]];
    /* Parts of statistics are whole pieces of 64 pixels. */
    int64_t step = op->kind != OP_GROUP_STATS ? 1 + lab_random(l, 4) : 64 * (1 + lab_random(l, 2));
    size_t size = backend_cpu.workspace(state, &l->g, op, &(struct op_part){.rows = step});
    char *workspace = guarded(l->mem, size);
    for (int64_t row = 0; row < of->dim[1]; row += step) {
        struct op_part part = {.row = row,
                               .rows = of->dim[1] - row < step ? of->dim[1] - row : step};
        backend_cpu.run(state, &l->g, op, &part, tensors, (const void *const *)weights, workspace);
    }
    if (!release(workspace, size)) l->spoiled = true;
}

void *lab_run(struct lab *l, int threads, unsigned cpu_flags) {
    struct pool *pool;
    void *state;
    char *tensors[LAB_TENSORS] = {0}, *weights[LAB_WEIGHTS] = {0};
    if (pool_open(&pool, l->mem, threads, NULL)) abort();
    const struct backend_config config = {l->mem, pool, cpu_flags};
    if (backend_cpu.open(&config, &state, NULL)) abort();
    for (weight_id i = 0; i < l->g.weight_count; i++) {
        weights[i] = guarded(l->mem, backend_cpu.weight_size(state, &l->g, i));
        const struct weight *w = &l->g.weights[i];
        if (!w->picked) pack_rows(l, state, i, 0, 0, w->dim[0], weights[i]);
    }
    for (tensor_id t = 0; t < l->g.tensor_count; t++) {
        const struct tensor *tensor = &l->g.tensors[t];
        tensors[t] = guarded(l->mem, tensor_bytes(tensor));
        for (size_t i = 0; tensor->role == TENSOR_INPUT && i < tensor_elements(tensor); i++)
            encode(tensors[t], tensor->dtype, i, l->tensor[t][i]);
    }
    for (int i = 0; i < l->g.op_count; i++) {
        size_t size = backend_cpu.workspace(state, &l->g, &l->g.ops[i], NULL);
        char *workspace = guarded(l->mem, size);
        const struct op *op = &l->g.ops[i];
        bool product = op->kind == OP_LINEAR || op->kind == OP_CONV;
        if (op->kind == OP_EMBED)
            pack_picked(l, state, op->w, (const int32_t *)(void *)tensors[op->in[0]],
                        weights[op->w]);
        const struct tensor *x = &l->g.tensors[op->in[0]];
        bool rows = op->kind == OP_GROUP_STATS || (op->kind == OP_CONV && lab_random(l, 2));
        if (l->parts && rows && x->dim[0] == 1)
            run_rows(l, state, op, (void *const *)tensors, weights);
        else if (product && l->parts)
            run_parts(l, state, op, (void *const *)tensors, weights, workspace);
        else
            backend_cpu.run(state, &l->g, op, NULL, (void *const *)tensors,
                            (const void *const *)weights, workspace);
        if (!release(workspace, size)) l->spoiled = true;
    }
    const struct tensor *out = &l->g.tensors[lab_op(l)->out];
    void *bytes = mem_alloc(l->mem, tensor_bytes(out));
    memcpy(bytes, tensors[lab_op(l)->out], tensor_bytes(out));
    for (tensor_id t = 0; t < l->g.tensor_count; t++)
        if (!release(tensors[t], tensor_bytes(&l->g.tensors[t]))) l->spoiled = true;
    for (weight_id i = 0; i < l->g.weight_count; i++)
        if (!release(weights[i], backend_cpu.weight_size(state, &l->g, i))) l->spoiled = true;
    backend_cpu.close(state);
    pool_close(pool);
    return bytes;
}
