/* cpu.h: what the files of the CPU backend share. Each kind of operation is a pair of functions,
 * one that says how much scratch it wants and one that runs; backend_cpu.c joins them in a table.
 */
#ifndef KADR_BACKEND_CPU_CPU_H
#define KADR_BACKEND_CPU_CPU_H

#include "backend/backend.h"
#include "backend/cpu/blas.h"
#include "backend/cpu/kernels.h"
#include "base/chk.h"

struct cpu {
    struct mem *mem;
    struct pool *pool;
    int threads;
    struct kernels kernels;
    struct blas blas;
    struct cpu_caches caches;
};

/* One operation about to be asked or run. tensors, weights and workspace are NULL when asked. */
struct cpu_op {
    const struct cpu *cpu;
    const struct graph *g;
    const struct op *op;
    const struct op_part *part; /* of a product; NULL: all columns */
    void *const *tensors;
    const void *const *weights;
    char *workspace;
};

size_t cpu_gemm_workspace(const struct cpu_op *o);
void cpu_gemm_run(const struct cpu_op *o);
size_t cpu_conv_workspace(const struct cpu_op *o);
void cpu_conv_run(const struct cpu_op *o);
size_t cpu_attention_workspace(const struct cpu_op *o);
void cpu_attention_run(const struct cpu_op *o);
size_t cpu_group_norm_workspace(const struct cpu_op *o);
void cpu_group_norm_run(const struct cpu_op *o);
void cpu_group_stats_run(const struct cpu_op *o);
size_t cpu_layer_norm_workspace(const struct cpu_op *o);
void cpu_layer_norm_run(const struct cpu_op *o);
size_t cpu_rows_workspace(const struct cpu_op *o); /* ADD, ACT */
void cpu_add_run(const struct cpu_op *o);
void cpu_act_run(const struct cpu_op *o);
void cpu_embed_run(const struct cpu_op *o);
void cpu_gather_run(const struct cpu_op *o);
void cpu_timestep_run(const struct cpu_op *o);
void cpu_concat_run(const struct cpu_op *o);
void cpu_convert_run(const struct cpu_op *o);

size_t cpu_weight_size(const struct weight *w);
size_t cpu_part_size(const struct weight *w);
void cpu_pack(const struct kernels *k, const struct weight *w, int64_t column, int64_t row,
              int64_t rows, const void *stored, enum dtype from, void *packed);
void cpu_unpack(const struct weight *w, int64_t column, int64_t row, int64_t rows,
                const void *packed, float *stored);

static inline const struct tensor *op_in(const struct cpu_op *o, int i) {
    return o->op->in[i] == NO_TENSOR ? NULL : &o->g->tensors[o->op->in[i]];
}
static inline const struct tensor *op_out(const struct cpu_op *o) {
    return &o->g->tensors[o->op->out];
}
/* Data of an input or weight; NULL where the operation has none, and while only asked. */
static inline void *op_data(const struct cpu_op *o, tensor_id t) {
    return t == NO_TENSOR || !o->tensors ? NULL : o->tensors[t];
}
static inline const void *op_weight(const struct cpu_op *o, weight_id w) {
    return w == NO_WEIGHT || !o->weights ? NULL : o->weights[w];
}

static inline int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
static inline int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t max_i64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Lays out a workspace: the offset of the next `bytes` of it, and how much is used in all. */
static inline size_t scratch(size_t *used, size_t bytes) {
    size_t at = *used;
    *used += chk_align(bytes, BACKEND_ALIGN);
    return at;
}

/* Geometry of packed weights, shared by pack.c and gemm.c. */
struct panels {
    int64_t k;     /* depth: taps * channels */
    int64_t count; /* panels; a GEGLU's value and gate panels alternate */
    size_t bytes;  /* of one panel */
};
/* Depth as the kernels count it: whole pairs of bf16, whole fours of int8. */
static inline int64_t panel_depth(enum dtype type, int64_t k) {
    return type == DTYPE_BF16 ? k + k % 2 : type == DTYPE_I8 ? (k + 3) / 4 * 4 : k;
}
/* Of k lines; what is behind the last of an int8 panel is not counted. */
static inline size_t panel_bytes(enum dtype type, int64_t k) {
    return (size_t)PANEL * (size_t)panel_depth(type, k) * dtype_size(type);
}
struct panels weight_panels(const struct weight *w);

/* A panel of `to` from rows of `from` (kernels.h: pack_panel). */
void cpu_pack_panel(const struct kernels *k, void *panel, enum dtype to, const void *rows,
                    enum dtype from, size_t stride, int cols, size_t depth);

/* Rows of a weight, `depth` long, to columns [column, column + count) of an int8 panel; the first
 * of them, at column 0, fill its padding. */
void cpu_pack_i8(const struct kernels *k, const void *rows, enum dtype from, int64_t depth,
                 int64_t column, int64_t count, char *panel);

/* What a byte means where `top` is the largest magnitude; *by brings values to bytes. */
static inline float i8_scale(float top, float *by) {
    bool any = top > 1e-30f;
    *by = any ? 127 / top : 0;
    return any ? top / 127 : 0;
}

/* What multiplies panels that are held as `type`, and what both operands then are. */
static inline const struct gemm_kernel *gemm_for(const struct kernels *k, enum dtype type,
                                                 enum dtype *as) {
    if (type == DTYPE_I8) {
        *as = DTYPE_I8;
        return &k->gemm_i8;
    }
    bool narrow = type == DTYPE_BF16 && k->gemm_bf16.run;
    *as = narrow ? DTYPE_BF16 : DTYPE_F32;
    return narrow ? &k->gemm_bf16 : &k->gemm_f32;
}

/* The depth may be cut at multiples of this: pairs, fours and what a kernel sums up apart may not
 * be torn. */
static inline int64_t depth_unit(const struct gemm_kernel *kernel) {
    return kernel->depth ? kernel->depth : 4;
}

static inline void gemm_leave(const struct gemm_kernel *kernel) {
    if (kernel->leave) kernel->leave();
}

/* All tiles of C[rows][panels * PANEL] (+)= A[rows][k] * B. */
static inline void gemm_tiles(const struct gemm_kernel *kernel, const struct gemm_tile *all,
                              int64_t rows, int64_t panels) {
    struct gemm_tile t = *all;
    t.pieces = 1;
    for (int64_t p = 0; p < panels; p += kernel->panels)
        for (int64_t r = 0; r < rows; r += kernel->rows) {
            t.rows = (int)min_i64(kernel->rows, rows - r);
            t.panels = (int)min_i64(kernel->panels, panels - p);
            t.a = (const char *)all->a + (size_t)r * t.a_stride;
            t.b = t.ahead = (const char *)all->b + (size_t)p * t.b_stride;
            t.c = all->c + (size_t)r * t.c_stride + p * PANEL;
            kernel->run(&t);
        }
}

#endif
