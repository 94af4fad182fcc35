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
        l->weight[i][e] = rounded(v, w->dtype);
    }
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

static void pack_weight(struct lab *l, void *state, weight_id i, void *packed) {
    const struct weight *w = &l->g.weights[i];
    size_t row_bytes = dtype_size(l->stored_type[i]);
    for (int d = 1; d < w->rank; d++) row_bytes *= (size_t)w->dim[d];
    /* In one piece or in several. */
    int64_t piece = lab_random(l, 2) ? w->dim[0] : BACKEND_PACK_ROWS * (1 + lab_random(l, 2));
    for (int64_t row = 0; row < w->dim[0]; row += piece) {
        int64_t rows = w->dim[0] - row < piece ? w->dim[0] - row : piece;
        backend_cpu.pack(state, &l->g, i, row, rows,
                         (const char *)l->stored[i] + (size_t)row * row_bytes, l->stored_type[i],
                         packed);
    }
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
        pack_weight(l, state, i, weights[i]);
    }
    for (tensor_id t = 0; t < l->g.tensor_count; t++) {
        const struct tensor *tensor = &l->g.tensors[t];
        tensors[t] = guarded(l->mem, tensor_bytes(tensor));
        for (size_t i = 0; tensor->role == TENSOR_INPUT && i < tensor_elements(tensor); i++)
            encode(tensors[t], tensor->dtype, i, l->tensor[t][i]);
    }
    for (int i = 0; i < l->g.op_count; i++) {
        size_t size = backend_cpu.workspace(state, &l->g, &l->g.ops[i]);
        char *workspace = guarded(l->mem, size);
        backend_cpu.run(state, &l->g, &l->g.ops[i], (void *const *)tensors,
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
