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
 *   int8 panel: [(k + 3) / 4][PANEL][4], and behind it a struct i8_tail
 * Columns past the end and what fills up the last pair or four are zero. */
#define PANEL 16

/* Of the columns of an int8 panel: a weight is its byte times `scale`; `sum` is that of all bytes.
 */
struct i8_tail {
    float scale[PANEL];
    int32_t sum[PANEL];
};

/* One tile of a product: C[rows][panels * PANEL] (+)= A[rows][pieces * k] * B. A row of A lies in
 * `pieces` pieces of k elements (the lines of a picture under a convolution); a panel of B is
 * contiguous. Each element of C is one chain of multiply-adds in ascending depth (of sums of
 * `depth` elements each, where the kernel has such), which starts at 0, or at what C holds when
 * `accumulate`; so the bits do not depend on how the depth is cut, at multiples of `depth`. For
 * bf16 panels `k` is even, for int8 a multiple of 4 (A is filled up with zeros). */
struct gemm_tile {
    int rows, panels;
    size_t k, pieces;
    const void *a;
    size_t a_stride, a_piece; /* bytes from row to row, from piece to piece */
    const void *b;
    size_t b_stride; /* bytes from panel to panel */
    float *c;
    size_t c_stride; /* floats from row to row */
    bool accumulate;
    const void *ahead; /* fetched into the second cache meanwhile: what is multiplied next; */
    size_t ahead_step; /* so many bytes on with each step of depth, a line of a panel */
};
typedef void gemm_fn(const struct gemm_tile *t);

enum gemm_near {
    NEAR_PANELS,
    NEAR_ROWS,
    NEAR_NEITHER, /* it needs so little at a time that the second cache is quick enough */
};

struct gemm_kernel {
    const char *name;
    gemm_fn *run;
    int rows, panels;    /* the largest tile it takes; panels 1, 2 or 4 */
    enum gemm_near near; /* what should stay in the first cache from tile to tile */
    bool plain_conv;     /* so fast that Winograd's transformations would take longer than it */
    int depth;           /* what is summed up apart; 0: nothing, only pairs and fours are whole */
    void (*leave)(void); /* called by a thread after its last tile for now; or NULL */
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

/* A row of tiles of Winograd's F(2x2, 3x3): 4x4 pixels each, two columns after the last one. */
struct winograd_input {
    const void *x;      /* f32 or bf16; the first of four lines */
    enum dtype type;    /* of what is written, too */
    size_t line, pixel; /* bytes from line to line, from pixel to pixel */
    size_t tiles, channels;
    void *out;
    size_t out_tile, out_step; /* bytes from tile to tile, from one of the 16 terms to the next */
};
struct winograd_output {
    const float *sums;
    size_t step, stride; /* floats from one of the 16 terms to the next, from tile to tile */
    size_t tiles, cols;
    float *out;                 /* pixels of two lines */
    size_t out_line, out_pixel; /* floats from line to line, from pixel to pixel */
};

struct kernels {
    struct gemm_kernel gemm_f32;
    struct gemm_kernel gemm_bf16; /* no `run` where the processor has no product of bf16: then
                                     panels are unpacked piece by piece and multiplied in f32 */

    /* int8. C is int32 here, exact; k is a multiple of 4. A byte of A means itself less
     * `i8_zero`: 0 where the product takes signed bytes, 128 where it takes unsigned ones. */
    struct gemm_kernel gemm_i8;
    int i8_zero;

    /* The largest magnitude of n elements, of f32, bf16 or f16. */
    float (*peak)(const void *x, enum dtype type, size_t n);

    /* n bytes: x * by, within [-127, 127] (the caller sees to that), rounded to nearest even, plus
     * i8_zero. */
    void (*quantise)(uint8_t *to, const void *x, enum dtype type, size_t n, float by);

    /* Sums of gemm_i8 of one panel, in place: acc[r][c] = (acc[r][c] - i8_zero * sum[c]) as f32 *
     * (by[r] * scale[c]). */
    void (*dequantise)(float *acc, size_t stride, size_t rows, const float *by,
                       const struct i8_tail *tail);

    /* k / 2 lines of a bf16 panel as k lines of an f32 panel; k is even. */
    void (*unpack)(float *to, const void *panel, size_t k);

    /* One panel of B from `cols` <= PANEL rows of k elements of `type` (f32 or bf16), `stride`
     * elements apart: the transposition that weights and keys need. */
    void (*pack_panel)(void *panel, const void *rows, size_t stride, int cols, size_t k,
                       enum dtype type);

    /* n elements; to f32 or bf16 (round to nearest even), from f32, bf16 or f16. */
    void (*convert)(void *to, enum dtype to_type, const void *from, enum dtype from_type, size_t n);

    void (*finish)(const struct finish *f);

    /* The three transformations of F(2x2, 3x3), of tiles d, weights g and sums m: B' d B, G g G'
     * and A' m A, all in f32, rounded once where the result is bf16. Every level adds in the same
     * order. */
    void (*winograd_input)(const struct winograd_input *w);
    void (*winograd_output)(const struct winograd_output *w);
    /* A panel of 9 taps of `channels` lines each (an even number) as 16 panels of as many lines,
     * `step` bytes apart. */
    void (*winograd_weights)(void *to, size_t step, enum dtype to_type, const void *panel,
                             enum dtype type, size_t channels);

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

    /* One row of an online softmax: with m = max(*top, max(scale * s)), out becomes exp(scale * s -
     * m) in f32 (where it may be s) or, with less precision, in bf16. Returns the sum of that
     * before it is rounded; *top becomes m. n >= 1, scale > 0. */
    float (*softmax)(void *out, enum dtype out_type, const float *s, size_t n, float scale,
                     float *top);

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
void kernels_c_i8(struct kernels *k);
void kernels_c_winograd(struct kernels *k);
void kernels_avx2(struct kernels *k);
void kernels_avx2_i8(struct kernels *k);
void kernels_avx512(struct kernels *k);
void kernels_avx512_bf16(struct kernels *k);
void kernels_avx512_vnni(struct kernels *k);
void kernels_amx(struct kernels *k);
void kernels_neon(struct kernels *k);
void kernels_neon_i8(struct kernels *k);
void kernels_neon_dot(struct kernels *k);
void kernels_neon_i8mm(struct kernels *k);

#endif
