/* kernels.h: the table of innermost loops. Everything that knows the processor is behind it;
 * blocking, packing and threading (the other files of this folder) are written once and call these.
 * The table is filled with plain C and then overridden level by level, in ascending order, by what
 * the processor can do (kernels.c).
 *
 * Shapes are any (no padding is asked of callers but where said), pointers need only the alignment
 * of their element, and a kernel touches nothing outside what it is given.
 * A kernel's sums run in an order that depends on its arguments' sizes alone.
 */
#ifndef KADR_BACKEND_CPU_KERNELS_H
#define KADR_BACKEND_CPU_KERNELS_H

#include "graph/graph.h"

/* Columns of a packed panel, the same for every instruction set: a model packed once runs on all.
 *   f32 panel:  [k][PANEL]                 bf16 panel: [(k + 1) / 2][PANEL][2]
 * Columns past the end and the second half of an odd last pair are zero. */
#define PANEL 16

/* C[rows][panels * PANEL] (+)= A[rows][k] * B. A and C are row-major; strides are in bytes for A
 * (`a_stride`) and between panels of B (`b_stride`), in floats for C. Each element of C is one
 * chain of multiply-adds in ascending k, which starts at 0, or at what C holds when `accumulate`;
 * so the bits do not depend on how k is cut. For bf16 panels `k` is even (A is padded with a zero).
 */
typedef void gemm_fn(int rows, int panels, size_t k, const void *a, size_t a_stride, const void *b,
                     size_t b_stride, float *c, size_t c_stride, bool accumulate);

struct gemm_kernel {
    const char *name;
    gemm_fn *run;
    int rows, panels; /* the largest tile it takes; panels 1, 2 or 4 */
};

/* What becomes of a block of sums: out = (act(acc + bias + add) + residual) * scale, row by row.
 * With a gate (GEGLU): act is applied to gate + gate_bias and multiplies acc + bias. */
struct finish {
    int64_t rows, cols;
    const float *acc, *gate;             /* gate: NULL, or of acc's shape and stride */
    size_t acc_stride;                   /* floats */
    const float *bias, *gate_bias, *add; /* [cols] each, or NULL */
    const void *residual;                /* [rows][cols] at residual_stride elements, or NULL */
    size_t residual_stride;
    enum dtype residual_type;
    void *out; /* [rows][cols] at out_stride elements */
    size_t out_stride;
    enum dtype out_type;
    enum act act;
    float scale;
};

struct kernels {
    struct gemm_kernel gemm_f32;
    struct gemm_kernel gemm_bf16; /* no `run` where the processor has no product of bf16: then
                                     panels are unpacked piece by piece and multiplied in f32 */

    /* k / 2 lines of a bf16 panel as k lines of an f32 panel; k is even. */
    void (*unpack)(float *to, const void *panel, size_t k);

    /* One panel of B from `cols` <= PANEL rows of k elements of `type` (f32 or bf16), `stride`
     * elements apart: the transposition that weights and keys need. */
    void (*pack_panel)(void *panel, const void *rows, size_t stride, int cols, size_t k,
                       enum dtype type);

    /* n elements; to f32 or bf16 (round to nearest even), from f32, bf16 or f16. */
    void (*convert)(void *to, enum dtype to_type, const void *from, enum dtype from_type, size_t n);

    void (*finish)(const struct finish *f);

    /* sum[c] = sum of x[r][c] - pivot[c], square[c] = sum of (x[r][c] - pivot[c])^2 over rows r of
     * x, in f32 and in ascending r. */
    void (*moments)(const void *x, enum dtype type, size_t rows, size_t stride, size_t cols,
                    const float *pivot, float *sum, float *square);

    /* out[r][c] = act(x[r][c] * scale[c] + shift[c]) */
    void (*scale_shift)(void *out, size_t out_stride, const void *x, size_t stride, enum dtype type,
                        enum dtype out_type, size_t rows, size_t cols, const float *scale,
                        const float *shift, enum act act);

    /* One row: out = (x - mean) / sqrt(variance + eps) * weight + bias. weight and bias may be
     * NULL. `row` is room for n floats. */
    void (*layer_norm)(void *out, const void *x, enum dtype type, enum dtype out_type, size_t n,
                       const float *weight, const float *bias, float eps, float *row);

    /* One row of an online softmax: with m = max(*top, max(scale * s)), s becomes exp(scale * s -
     * m). Returns the sum of that; *top becomes m. n >= 1. */
    float (*softmax)(float *s, size_t n, float scale, float *top);

    void (*scale)(float *x, size_t n, float by);
};

/* The best table for a processor with these flags (base/cpu.h). */
void kernels_get(struct kernels *k, unsigned cpu_flags);

/* Levels built into this program, ascending, the C reference first. Each overrides what it does
 * better. */
struct kernel_level {
    const char *name;
    unsigned flags; /* all of them are needed */
    void (*fill)(struct kernels *k);
};
extern const struct kernel_level kernel_levels[];
extern const size_t kernel_level_count;

void kernels_c(struct kernels *k);
void kernels_avx2(struct kernels *k);
void kernels_avx512(struct kernels *k);
void kernels_avx512_bf16(struct kernels *k);
void kernels_neon(struct kernels *k);
void kernels_neon_bf16(struct kernels *k);

#endif
