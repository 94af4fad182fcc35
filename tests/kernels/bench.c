/* bench.c: speed of whole operations at SDXL's shapes (768 x 768, two branches), each measured in
 * turn with the machine's peak. Time is the processor time of the process divided by its threads,
 * which other programs on the machine disturb little; the best of several short runs counts.
 */
#include "kernelcheck.h"

#include "backend/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLICES 7           /* measurements of a case, each beside one of the peak */
#define SLICE_SECONDS 0.12 /* at least */

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

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
    {"conv up 640", OP_CONV, 2, 48, 48, 640, 0, 640, 3, 2, 0, 0, ACT_NONE},
    {"conv vae 128", OP_CONV, 1, 256, 256, 128, 0, 128, 3, 1, 0, 0, ACT_NONE},
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
                                              .pad_before = 1,
                                              .pad_after = 1,
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
    const struct level *level;
};

/* Any ordinary numbers will do. */
static void fill(void *p, size_t bytes, enum dtype type) {
    for (size_t i = 0; i < bytes / dtype_size(type); i++) {
        float v = (float)((int)(i * 2654435761u >> 20 & 1023) - 512) / 1024.0f;
        if (type == DTYPE_F32) ((float *)p)[i] = v;
        else ((uint16_t *)p)[i] = (uint16_t)(v < 0 ? 0xBE00 : 0x3E00) | (uint16_t)(i % 127);
    }
}

static bool begin(struct job *j, const struct shape *s, enum dtype dtype) {
    graph_init(&j->g, j->mem, "bench", dtype);
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
        j->weights[i] = packed;
    }
    size_t bytes = backend_cpu.workspace(j->state, &j->g, &j->g.ops[0]);
    j->workspace = mem_map(j->mem, bytes + 1);
    return ok && j->workspace;
}

static void end(struct job *j) {
    for (int i = 0; i < j->g.tensor_count; i++)
        mem_unmap(j->mem, j->tensors[i], tensor_bytes(&j->g.tensors[i]));
    for (int i = 0; i < j->g.weight_count; i++)
        mem_unmap(j->mem, (void *)(uintptr_t)j->weights[i],
                  backend_cpu.weight_size(j->state, &j->g, i));
    mem_unmap(j->mem, j->workspace, backend_cpu.workspace(j->state, &j->g, &j->g.ops[0]) + 1);
    graph_free(&j->g);
}

static void peak_task(void *user, size_t task, int thread) {
    (void)thread;
    float sink;
    ((double *)user)[task] =
        (*(const struct level *const *)((double *)user + 64))->peak(400000, &sink);
}

/* Floating-point operations a second of all threads doing nothing else. */
static double measure_peak(struct job *j) {
    double work[72] = {0}, sum = 0;
    int threads = pool_threads(j->pool);
    memcpy(work + 64, &j->level, sizeof j->level);
    double from = cpu_seconds();
    pool_run(j->pool, (size_t)threads, peak_task, work);
    double seconds = (cpu_seconds() - from) / threads;
    for (int i = 0; i < threads; i++) sum += work[i];
    return sum / seconds;
}

static double measure(struct job *j) {
    double from = cpu_seconds(), best = 1e30;
    do {
        double start = cpu_seconds();
        backend_cpu.run(j->state, &j->g, &j->g.ops[0], NULL, j->tensors, j->weights, j->workspace);
        double seconds = (cpu_seconds() - start) / pool_threads(j->pool);
        if (seconds < best) best = seconds;
    } while (cpu_seconds() - from < SLICE_SECONDS);
    return best;
}

static void report(struct job *j, const struct shape *s, enum dtype dtype) {
    double best = 1e30, peak = 0, bytes = 0;
    for (int i = 0; i < SLICES; i++) {
        double p = measure_peak(j), t = measure(j);
        if (p > peak) peak = p;
        if (t < best) best = t;
    }
    for (int i = 0; i < j->g.tensor_count; i++) bytes += (double)tensor_bytes(&j->g.tensors[i]);
    double flops = op_flops(&j->g, &j->g.ops[0]);
    printf("%-15s %-4s %d thread%s %9.3f ms", s->name, dtype_name(dtype), pool_threads(j->pool),
           pool_threads(j->pool) > 1 ? "s" : " ", best * 1e3);
    if (flops > 0)
        printf(" %8.1f GFLOP/s %5.1f %% of %.1f\n", flops / best * 1e-9, flops / best / peak * 100,
               peak * 1e-9);
    else printf(" %8.1f GB/s\n", bytes / best * 1e-9);
    fflush(stdout);
}

bool bench(int threads, const char *filter) {
    struct job j = {.mem = mem_open(0), .level = &levels[0]};
    for (size_t i = 0; i < level_count; i++)
        if ((levels[i].flags & ~cpu_flags()) == 0 && levels[i].peak) j.level = &levels[i];
    if (!j.mem || threads > 64 || pool_open(&j.pool, j.mem, threads, NULL)) return false;
    bool ok =
        !backend_cpu.open(&(struct backend_config){j.mem, j.pool, cpu_flags()}, &j.state, NULL);
    for (size_t i = 0; ok && i < sizeof shapes / sizeof *shapes; i++)
        for (int narrow = 0; ok && narrow < 2; narrow++) {
            enum dtype dtype = narrow ? DTYPE_BF16 : DTYPE_F32;
            if (filter && !strstr(shapes[i].name, filter)) continue;
            ok = begin(&j, &shapes[i], dtype);
            if (ok) report(&j, &shapes[i], dtype);
            if (ok) end(&j);
        }
    backend_cpu.close(j.state);
    pool_close(j.pool);
    return mem_close(j.mem) == 0 && ok;
}
