/* bench.c: speed of whole operations at SDXL's shapes (768 x 768, two branches), each measured in
 * turn with the machine's peak in the same kind of product. The best of several short runs counts;
 * the machine should have nothing else to do. Convolutions that go by Winograd do less than the
 * operations that are counted, and may be above the peak.
 */
#include "kernelcheck.h"

#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "base/sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLICES 7           /* measurements of a case, each beside one of the peak */
#define SLICE_SECONDS 0.12 /* at least */
#define PEAK_ROUNDS 1000000
#define THREADS_MOST 64

static const enum dtype dtype_of[PEAKS] = {DTYPE_F32, DTYPE_BF16, DTYPE_I8};

struct shape {
    const char *name;
    enum op_kind kind;
    int64_t n, h, w;      /* samples; rows are h * w */
    int64_t in, in2, out; /* channels */
    int kernel, upsample, heads;
    int64_t keys;
    enum act act;
};

static const struct shape shapes[] = {
    {"to_q 640", OP_LINEAR, 2, 48, 48, 640, 0, 640, 0, 0, 0, 0, ACT_NONE},
    {"ff.proj 640", OP_LINEAR, 2, 48, 48, 640, 0, 5120, 0, 0, 0, 0, ACT_GEGLU},
    {"ff.out 2560", OP_LINEAR, 2, 48, 48, 2560, 0, 640, 0, 0, 0, 0, ACT_NONE},
    {"to_q 1280", OP_LINEAR, 2, 24, 24, 1280, 0, 1280, 0, 0, 0, 0, ACT_NONE},
    {"ff.proj 1280", OP_LINEAR, 2, 24, 24, 1280, 0, 10240, 0, 0, 0, 0, ACT_GEGLU},
    {"ff.out 5120", OP_LINEAR, 2, 24, 24, 5120, 0, 1280, 0, 0, 0, 0, ACT_NONE},
    {"to_k 2048", OP_LINEAR, 2, 1, 77, 2048, 0, 1280, 0, 0, 0, 0, ACT_NONE},
    {"time 1280", OP_LINEAR, 2, 1, 1, 1280, 0, 1280, 0, 0, 0, 0, ACT_SILU},
    {"conv 320", OP_CONV, 2, 96, 96, 320, 0, 320, 3, 1, 0, 0, ACT_NONE},
    {"conv 640", OP_CONV, 2, 48, 48, 640, 0, 640, 3, 1, 0, 0, ACT_NONE},
    {"conv 1280", OP_CONV, 2, 24, 24, 1280, 0, 1280, 3, 1, 0, 0, ACT_NONE},
    {"conv 640+320", OP_CONV, 2, 96, 96, 640, 320, 320, 3, 1, 0, 0, ACT_NONE},
    {"shortcut 960", OP_CONV, 2, 96, 96, 640, 320, 320, 1, 1, 0, 0, ACT_NONE},
    {"conv up 640", OP_CONV, 2, 48, 48, 640, 0, 640, 3, 2, 0, 0, ACT_NONE},
    {"conv vae 128", OP_CONV, 1, 768, 768, 128, 0, 128, 3, 1, 0, 0, ACT_NONE},
    {"conv vae 256", OP_CONV, 1, 384, 384, 512, 0, 256, 3, 1, 0, 0, ACT_NONE},
    {"conv out 4", OP_CONV, 2, 96, 96, 320, 0, 4, 3, 1, 0, 0, ACT_NONE},
    {"attention 640", OP_ATTENTION, 2, 48, 48, 640, 0, 0, 0, 0, 10, 2304, ACT_NONE},
    {"attention 1280", OP_ATTENTION, 2, 24, 24, 1280, 0, 0, 0, 0, 20, 576, ACT_NONE},
    {"cross 640", OP_ATTENTION, 2, 48, 48, 640, 0, 0, 0, 0, 10, 77, ACT_NONE},
    {"attention vae", OP_ATTENTION, 1, 48, 48, 512, 0, 0, 0, 0, 1, 2304, ACT_NONE},
    {"group norm 320", OP_GROUP_NORM, 2, 96, 96, 320, 0, 0, 0, 0, 32, 0, ACT_SILU},
    {"group norm +", OP_GROUP_NORM, 2, 48, 48, 1280, 640, 0, 0, 0, 32, 0, ACT_SILU},
    {"layer norm 640", OP_LAYER_NORM, 2, 48, 48, 640, 0, 0, 0, 0, 0, 0, ACT_NONE},
};

static tensor_id build(struct graph *g, const struct shape *s) {
    const int64_t dim[4] = {s->n, s->h, s->w, s->in}, dim2[4] = {s->n, s->h, s->w, s->in2};
    const int64_t keys[3] = {s->n, s->keys, s->in};
    tensor_id x = graph_input(g, "x", g->dtype, 4, dim);
    tensor_id x2 = s->in2 ? graph_input(g, "x2", g->dtype, 4, dim2) : NO_TENSOR;
    struct epilogue e = EPI_NONE;
    e.act = s->act;
    switch (s->kind) {
    case OP_LINEAR: return graph_linear(g, x, "linear", s->out, true, e);
    case OP_CONV:
        return graph_conv(g, x, x2, "conv",
                          (struct conv_shape){.out = s->out,
                                              .kernel = s->kernel,
                                              .stride = 1,
                                              .pad_before = s->kernel / 2,
                                              .pad_after = s->kernel / 2,
                                              .upsample = s->upsample},
                          true, e);
    case OP_ATTENTION: {
        tensor_id k = graph_input(g, "k", g->dtype, 3, keys);
        tensor_id v = graph_input(g, "v", g->dtype, 3, keys);
        const struct attention_inputs in = {x, k, v, NO_TENSOR, NO_TENSOR, NO_TENSOR, NO_TENSOR};
        return graph_attention(g, "attention", in, s->heads, 0.125f, false);
    }
    case OP_GROUP_NORM: return graph_group_norm(g, x, x2, "norm", s->heads, 1e-5f, s->act);
    default: return graph_layer_norm(g, x, "norm", 1e-5f);
    }
}

struct job {
    struct mem *mem;
    struct pool *pool;
    void *state;
    struct graph g;
    void *tensors[8];
    const void *weights[4];
    void *workspace;
    double (*peak[PEAKS])(long rounds, float *sink); /* of this machine's best levels */
};

/* Any ordinary numbers will do. */
static void fill(void *p, size_t bytes, enum dtype type) {
    for (size_t i = 0; i < bytes / dtype_size(type); i++) {
        float v = (float)((int)(i * 2654435761u >> 20 & 1023) - 512) / 1024.0f;
        if (type == DTYPE_F32) ((float *)p)[i] = v;
        else if (type == DTYPE_I8) ((int8_t *)p)[i] = (int8_t)(v * 254);
        else ((uint16_t *)p)[i] = (uint16_t)(v < 0 ? 0xBE00 : 0x3E00) | (uint16_t)(i % 127);
    }
}

/* Scales that any bytes would make of it are slow where they are subnormal. */
static void fill_tails(char *packed, size_t bytes, const struct weight *w) {
    struct panels p = weight_panels(w);
    struct i8_tail tail = {.sum = {0}};
    for (int i = 0; i < PANEL; i++) tail.scale[i] = 0.01f;
    for (size_t at = p.bytes; at <= bytes; at += p.bytes)
        memcpy(packed + at - sizeof tail, &tail, sizeof tail);
}

/* Scratch of the operations, which run one after the other. */
static size_t scratch_bytes(const struct job *j) {
    size_t most = 1;
    for (int i = 0; i < j->g.op_count; i++) {
        size_t bytes = backend_cpu.workspace(j->state, &j->g, &j->g.ops[i], NULL);
        if (bytes > most) most = bytes;
    }
    return most;
}

/* int8: weights alone, as in a network; what it needs beside its product runs with it. */
static bool begin(struct job *j, const struct shape *s, enum dtype dtype) {
    graph_init(&j->g, j->mem, "bench", dtype == DTYPE_I8 ? DTYPE_BF16 : dtype);
    graph_products(&j->g, dtype);
    build(&j->g, s);
    if (graph_failed(&j->g)) return false;
    bool ok = true;
    for (int i = 0; i < j->g.tensor_count; i++) {
        size_t bytes = tensor_bytes(&j->g.tensors[i]);
        ok = (j->tensors[i] = mem_map(j->mem, bytes)) && ok;
        if (ok) fill(j->tensors[i], bytes, j->g.tensors[i].dtype);
    }
    for (int i = 0; i < j->g.weight_count; i++) {
        size_t bytes = backend_cpu.weight_size(j->state, &j->g, i);
        void *packed = mem_map(j->mem, bytes);
        ok = packed && ok;
        if (packed) fill(packed, bytes, j->g.weights[i].dtype);
        if (packed && j->g.weights[i].dtype == DTYPE_I8)
            fill_tails(packed, bytes, &j->g.weights[i]);
        j->weights[i] = packed;
    }
    j->workspace = mem_map(j->mem, scratch_bytes(j));
    return ok && j->workspace;
}

static void end(struct job *j) {
    for (int i = 0; i < j->g.tensor_count; i++)
        mem_unmap(j->mem, j->tensors[i], tensor_bytes(&j->g.tensors[i]));
    for (int i = 0; i < j->g.weight_count; i++)
        mem_unmap(j->mem, (void *)(uintptr_t)j->weights[i],
                  backend_cpu.weight_size(j->state, &j->g, i));
    mem_unmap(j->mem, j->workspace, scratch_bytes(j));
    graph_free(&j->g);
}

struct peak_run {
    double (*run)(long rounds, float *sink);
    double flops[THREADS_MOST];
};

static void peak_task(void *user, size_t task, int thread) {
    (void)thread;
    struct peak_run *p = user;
    float sink;
    p->flops[task] = p->run(PEAK_ROUNDS, &sink);
}

/* Floating-point operations a second of all threads doing nothing else. */
static double measure_peak(const struct job *j, enum peak kind) {
    struct peak_run p = {.run = j->peak[kind]};
    double from = sys_seconds(), sum = 0;
    pool_run(j->pool, (size_t)pool_threads(j->pool), peak_task, &p);
    for (int i = 0; i < pool_threads(j->pool); i++) sum += p.flops[i];
    return sum / (sys_seconds() - from);
}

static double measure(struct job *j) {
    double from = sys_seconds(), best = 1e30;
    do {
        double start = sys_seconds();
        for (int i = 0; i < j->g.op_count; i++)
            backend_cpu.run(j->state, &j->g, &j->g.ops[i], NULL, j->tensors, j->weights,
                            j->workspace);
        double seconds = sys_seconds() - start;
        if (seconds < best) best = seconds;
    } while (sys_seconds() - from < SLICE_SECONDS);
    return best;
}

static void report(struct job *j, const struct shape *s, enum peak kind) {
    double best = 1e30, peak = 0, bytes = 0;
    for (int i = 0; i < SLICES; i++) {
        double p = measure_peak(j, kind), t = measure(j);
        if (p > peak) peak = p;
        if (t < best) best = t;
    }
    for (int i = 0; i < j->g.tensor_count; i++) bytes += (double)tensor_bytes(&j->g.tensors[i]);
    double flops = op_flops(&j->g, &j->g.ops[j->g.op_count - 1]);
    printf("%-15s %-4s %d thread%s %9.3f ms", s->name, dtype_name(dtype_of[kind]),
           pool_threads(j->pool), pool_threads(j->pool) > 1 ? "s" : " ", best * 1e3);
    if (flops > 0)
        printf(" %8.1f GFLOP/s %5.1f %% of %.1f\n", flops / best * 1e-9, flops / best / peak * 100,
               peak * 1e-9);
    else printf(" %8.1f GB/s\n", bytes / best * 1e-9);
    fflush(stdout);
}

/* The best level of the processor; bf16 is multiplied in f32 where it has no product of bf16. */
static bool begin_job(struct job *j, int threads) {
    *j = (struct job){.mem = mem_open(0)};
    for (size_t i = 0; i < level_count; i++) {
        if (levels[i].flags & ~cpu_flags()) continue;
        for (int kind = 0; kind < PEAKS; kind++)
            if (levels[i].peak[kind]) j->peak[kind] = levels[i].peak[kind];
        if (levels[i].peak[PEAK_F32]) j->peak[PEAK_BF16] = levels[i].peak[PEAK_F32];
    }
    return j->peak[PEAK_F32] && j->mem && threads <= THREADS_MOST &&
           !pool_open(&j->pool, j->mem, threads, NULL);
}

bool bench_peak(int threads) {
    struct job j;
    double best[PEAKS] = {0};
    if (!begin_job(&j, threads)) return false;
    for (int i = 0; i < SLICES * PEAKS; i++) {
        double p = j.peak[i % PEAKS] ? measure_peak(&j, i % PEAKS) : 0;
        if (p > best[i % PEAKS]) best[i % PEAKS] = p;
    }
    printf("{\"threads\": %d", threads);
    for (int i = 0; i < PEAKS; i++)
        if (j.peak[i])
            printf(", \"%s_g%s_per_second\": %.1f", dtype_name(dtype_of[i]),
                   i == PEAK_I8 ? "op" : "flop", best[i] * 1e-9);
    printf("}\n");
    pool_close(j.pool);
    return mem_close(j.mem) == 0;
}

bool bench(int threads, const char *filter) {
    struct job j;
    if (!begin_job(&j, threads)) return false;
    bool ok =
        !backend_cpu.open(&(struct backend_config){j.mem, j.pool, cpu_flags()}, &j.state, NULL);
    for (size_t i = 0; ok && i < sizeof shapes / sizeof *shapes; i++)
        for (enum peak kind = 0; ok && kind < PEAKS; kind++) {
            bool bytes = shapes[i].kind == OP_LINEAR || shapes[i].kernel == 1;
            char name[40];
            snprintf(name, sizeof name, "%s %s", shapes[i].name, dtype_name(dtype_of[kind]));
            if (filter && !strstr(name, filter)) continue;
            if (kind == PEAK_I8 && !(bytes && j.peak[kind])) continue;
            ok = begin(&j, &shapes[i], dtype_of[kind]);
            if (ok) report(&j, &shapes[i], kind);
            if (ok) end(&j);
        }
    backend_cpu.close(j.state);
    pool_close(j.pool);
    return mem_close(j.mem) == 0 && ok;
}
