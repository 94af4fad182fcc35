/* kernelcheck: every kernel of every level against the plain C reference on random shapes: odd
 * tails, strides, and guard bytes around whatever may be written. Prints how many shapes were run
 * and the worst difference.
 *
 *     kernelcheck [SHAPES]              1,000 unless said otherwise
 *     kernelcheck --blas [SHAPES]       the BLAS that is used (KADR_BLAS) alone
 *     kernelcheck --bench [NAME]        operations at SDXL's shapes against this machine's peak
 *     kernelcheck --peak                that peak, as JSON
 */
#include "kernelcheck.h"

#include "backend/cpu/bits.h"
#include "backend/cpu/blas.h"
#include "base/cpu.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD 64
#define GUARD_BYTE 0xA5

static void kernels_c_all(struct kernels *k) {
    kernels_c(k);
    kernels_c_i8(k);
    kernels_c_winograd(k);
}

const struct level levels[] = {
    {"c", kernels_c_all, 0, {NULL}},
#if defined(__x86_64__)
    {"avx2", kernels_avx2, CPU_AVX2, {peak_avx2}},
    {"avx2 int8", kernels_avx2_i8, CPU_AVX2, {NULL}},
    {"avx512", kernels_avx512, CPU_AVX512, {peak_avx512}},
    {"avx512bf16", kernels_avx512_bf16, CPU_AVX512_BF16, {[PEAK_BF16] = peak_avx512_bf16}},
    {"avx512vnni", kernels_avx512_vnni, CPU_AVX512_VNNI, {[PEAK_I8] = peak_avx512_vnni}},
    {"amx", kernels_amx, CPU_AMX, {[PEAK_BF16] = peak_amx_bf16, [PEAK_I8] = peak_amx_i8}},
    {"avx512 in C", emulated_avx512, CPU_AVX2, {NULL}},
    {"bf16 in C", emulated_avx512_bf16, CPU_AVX2, {NULL}},
    {"vnni in C", emulated_avx512_vnni, CPU_AVX2, {NULL}},
    {"amx in C", emulated_amx, CPU_AVX2, {NULL}},
#elif defined(__aarch64__)
    {"neon", kernels_neon, CPU_NEON, {NULL}},
    {"neon int8", kernels_neon_i8, CPU_NEON, {NULL}},
    {"dot", kernels_neon_dot, CPU_NEON_DOT, {NULL}},
    {"i8mm", kernels_neon_i8mm, CPU_NEON_I8MM, {NULL}},
#endif
};
const size_t level_count = sizeof levels / sizeof *levels;

/* ---- Random arguments */

static uint64_t state = 0x9E3779B97F4A7C15u;
static uint32_t below(uint32_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % n);
}
static float value(void) {
    return ((float)below(20001) - 10000) / 4000 + (float)below(1000) * 1e-6f;
}
/* Sizes around the widths of vectors and tiles, and any. */
static size_t size(size_t most) {
    static const size_t edges[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65};
    size_t n = below(2) ? edges[below(15)] : 1 + below((uint32_t)most);
    return n <= most ? n : most;
}

static void *need(void *p) {
    if (!p) exit(3);
    return p;
}

/* `bytes` bytes between guards, at any multiple of the element's alignment. */
struct area {
    unsigned char *raw, *at;
    size_t bytes;
};
static struct area area_open(size_t bytes) {
    struct area a = {.bytes = bytes, .raw = need(malloc(bytes + 2 * GUARD + 64))};
    a.at = a.raw + GUARD + 4 * below(8);
    memset(a.raw, GUARD_BYTE, bytes + 2 * GUARD + 64);
    return a;
}
static bool area_close(struct area *a) {
    bool ok = true;
    for (unsigned char *p = a->raw; p < a->at; p++) ok = ok && *p == GUARD_BYTE;
    unsigned char *end = a->raw + a->bytes + 2 * GUARD + 64;
    for (unsigned char *p = a->at + a->bytes; p < end; p++) ok = ok && *p == GUARD_BYTE;
    free(a->raw);
    return ok;
}

static void fill(void *to, enum dtype type, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float v = value();
        if (type == DTYPE_F32) ((float *)to)[i] = v;
        else if (type == DTYPE_BF16) ((uint16_t *)to)[i] = f32_to_bf16(v);
        else ((uint16_t *)to)[i] = (uint16_t)(below(0x7C00) | below(2) << 15); /* any finite f16 */
    }
}
static struct area filled(enum dtype type, size_t n) {
    struct area a = area_open(n * dtype_size(type));
    fill(a.at, type, n);
    return a;
}

/* ---- The outcome of one kernel at one level */

struct outcome {
    const char *kernel, *level;
    double worst;
    bool spoiled, wrong;
};

static double get(const void *p, enum dtype type, size_t i) {
    return type == DTYPE_BF16 ? (double)bf16_to_f32(((const uint16_t *)p)[i])
                              : (double)((const float *)p)[i];
}

/* Differences against the size of the numbers; `bar` is what rounding in another order explains. */
static void compare(struct outcome *o, const void *got, const void *want, enum dtype type, size_t n,
                    double bar) {
    for (size_t i = 0; i < n; i++) {
        double a = get(got, type, i), b = get(want, type, i);
        if (isnan(a) && isnan(b)) continue;
        double d = fabs(a - b) / (1 + fabs(b));
        if (!(d <= o->worst)) o->worst = d;
        if (!(d <= bar)) o->wrong = true;
    }
}
#define ROUNDING 2e-6
static double bar_of(enum dtype out, double f32) {
    return out == DTYPE_BF16 ? 0x1p-7 : f32;
}

static void close_area(struct outcome *o, struct area *a) {
    if (!area_close(a)) o->spoiled = true;
}

/* ---- Kernels */

typedef void check_fn(const struct kernels *k, const struct kernels *c, struct outcome *o);

/* The reference's own tile is one row by one panel. */
static void reference_product(const struct gemm_kernel *c, const struct gemm_tile *all) {
    struct gemm_tile t = *all;
    t.rows = t.panels = 1;
    for (int r = 0; r < all->rows; r++)
        for (int p = 0; p < all->panels; p++) {
            t.a = (const char *)all->a + (size_t)r * t.a_stride;
            t.b = (const char *)all->b + (size_t)p * t.b_stride;
            t.c = all->c + (size_t)r * t.c_stride + (size_t)p * PANEL;
            c->run(&t);
        }
}

static void check_gemm(const struct gemm_kernel *k, const struct kernels *c, enum dtype type,
                       struct outcome *o) {
    if (!k->run) return;
    const size_t narrow = type == DTYPE_BF16 ? 2 : 1, bytes = dtype_size(type);
    struct gemm_tile t = {.rows = 1 + (int)below((uint32_t)k->rows),
                          .panels = below(2) ? k->panels : 1,
                          .k = size(200),
                          .pieces = 1 + below(3),
                          .accumulate = below(2),
                          .ahead_step = 8 * below(9)};
    t.k += t.k % narrow;
    size_t depth = t.k * t.pieces, panels = (size_t)t.panels, rows = (size_t)t.rows;
    size_t row = t.k + below(3) * narrow, piece = row * rows + below(3) * narrow;
    if (below(2)) piece = t.k, row = t.k * t.pieces; /* one after the other */
    size_t a_count = (rows - 1) * row + (t.pieces - 1) * piece + t.k;
    t.c_stride = panels * PANEL + below(9);
    size_t out = (rows - 1) * t.c_stride + panels * PANEL;
    struct area a = filled(type, a_count), b = filled(type, panels * depth * PANEL);
    struct area a32 = area_open(a_count * 4), b32 = area_open(panels * depth * PANEL * 4);
    struct area x = filled(DTYPE_F32, out), y = area_open(out * 4);
    memcpy(y.at, x.at, out * 4);
    c->convert(a32.at, DTYPE_F32, a.at, type, a_count);
    t.b_stride = depth * PANEL * bytes;
    for (size_t p = 0; p < panels; p++) {
        float *to = (float *)(void *)b32.at + p * depth * PANEL;
        if (type == DTYPE_BF16) c->unpack(to, b.at + p * t.b_stride, depth);
        else memcpy(to, b.at + p * t.b_stride, t.b_stride);
    }
    struct gemm_tile in_f32 = t;
    t.a = a.at, t.b = t.ahead = b.at, t.c = (float *)(void *)x.at;
    t.a_stride = row * bytes, t.a_piece = piece * bytes;
    k->run(&t);
    in_f32.a = a32.at, in_f32.b = b32.at, in_f32.c = (float *)(void *)y.at;
    in_f32.a_stride = row * 4, in_f32.a_piece = piece * 4, in_f32.b_stride = depth * PANEL * 4;
    reference_product(&c->gemm_f32, &in_f32);
    /* A fused product rounds once where C rounds twice: the sum of many is that much apart. */
    compare(o, x.at, y.at, DTYPE_F32, out, 1e-6 * (double)(depth + 8));
    struct area *all[] = {&a, &b, &a32, &b32, &x, &y};
    for (size_t i = 0; i < 6; i++) close_area(o, all[i]);
}

static void check_gemm_f32(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    check_gemm(&k->gemm_f32, c, DTYPE_F32, o);
}

static void check_gemm_bf16(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    check_gemm(&k->gemm_bf16, c, DTYPE_BF16, o);
}

/* Bytes from -127 to 127, among them rows of nothing but the largest: sums may not be cut. */
static struct area filled_bytes(size_t n) {
    struct area a = area_open(n);
    bool large = below(4) == 0;
    for (size_t i = 0; i < n; i++) a.at[i] = (unsigned char)(large ? 127 : (int)below(255) - 127);
    return a;
}

/* The same integers as the reference, whatever the bytes of A are counted from. */
static void check_gemm_i8(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    const struct gemm_kernel *kernel = &k->gemm_i8;
    struct gemm_tile t = {.rows = 1 + (int)below((uint32_t)kernel->rows),
                          .panels = below(2) ? kernel->panels : 1,
                          .k = 4 * size(200),
                          .pieces = 1 + below(3),
                          .accumulate = below(2),
                          .ahead_step = 8 * below(9)};
    size_t depth = t.k * t.pieces, rows = (size_t)t.rows, panels = (size_t)t.panels;
    t.a_stride = depth + below(9);
    t.a_piece = below(2) ? t.k : t.a_stride * rows;
    t.b_stride = depth * PANEL;
    t.c_stride = panels * PANEL + below(9);
    size_t out = (rows - 1) * t.c_stride + panels * PANEL;
    struct area a = filled_bytes((rows - 1) * t.a_stride + (t.pieces - 1) * t.a_piece + t.k);
    struct area a2 = area_open(a.bytes), b = filled_bytes(panels * t.b_stride);
    struct area x = area_open(out * 4), y = area_open(out * 4);
    for (size_t i = 0; i < a.bytes; i++) a2.at[i] = (unsigned char)(a.at[i] + k->i8_zero);
    for (size_t i = 0; i < out; i++) ((int32_t *)(void *)x.at)[i] = (int32_t)below(1u << 20);
    memcpy(y.at, x.at, out * 4);
    t.a = a2.at, t.b = t.ahead = b.at, t.c = (float *)(void *)x.at;
    kernel->run(&t);
    t.a = a.at, t.c = (float *)(void *)y.at;
    reference_product(&c->gemm_i8, &t);
    for (size_t p = 0; p < panels; p++) {
        const unsigned char *panel = b.at + p * t.b_stride;
        for (size_t j = 0; j < PANEL; j++) {
            int32_t sum = 0;
            for (size_t i = 0; i < depth; i++)
                sum += (int8_t)panel[(i / 4 * PANEL + j) * 4 + i % 4];
            for (size_t r = 0; r < rows; r++)
                ((int32_t *)(void *)x.at)[r * t.c_stride + p * PANEL + j] -= k->i8_zero * sum;
        }
    }
    if (memcmp(x.at, y.at, out * 4)) o->wrong = true;
    struct area *all[] = {&a, &a2, &b, &x, &y};
    for (size_t i = 0; i < 5; i++) close_area(o, all[i]);
}

/* The same bytes at every level, whatever they are counted from. */
static void check_quantise(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    static const enum dtype types[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
    enum dtype type = types[below(3)];
    size_t n = size(200);
    struct area values = filled(type, n), x = area_open(n), y = area_open(n);
    float top = k->peak(values.at, type, n);
    if (top != c->peak(values.at, type, n)) o->wrong = true;
    k->quantise(x.at, values.at, type, n, 127 / top);
    c->quantise(y.at, values.at, type, n, 127 / top);
    for (size_t i = 0; i < n; i++) {
        int is = (int8_t)(x.at[i] - k->i8_zero);
        if (is != (int8_t)y.at[i] || is < -127) o->wrong = true;
    }
    struct area *all[] = {&values, &x, &y};
    for (size_t i = 0; i < 3; i++) close_area(o, all[i]);
}

static void check_dequantise(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    size_t rows = size(20), stride = PANEL + below(9), out = (rows - 1) * stride + PANEL;
    struct area x = area_open(out * 4), y = area_open(out * 4), by = filled(DTYPE_F32, rows);
    struct i8_tail tail;
    fill(tail.scale, DTYPE_F32, PANEL);
    for (size_t j = 0; j < PANEL; j++) tail.sum[j] = (int32_t)below(1u << 20) - (1 << 19);
    for (size_t i = 0; i < out; i++) {
        int32_t sum = (int32_t)below(1u << 28) - (1 << 27);
        ((int32_t *)(void *)y.at)[i] = sum;
        ((int32_t *)(void *)x.at)[i] =
            i % stride < PANEL ? sum + k->i8_zero * tail.sum[i % stride] : sum;
    }
    k->dequantise((float *)(void *)x.at, stride, rows, (const float *)(void *)by.at, &tail);
    c->dequantise((float *)(void *)y.at, stride, rows, (const float *)(void *)by.at, &tail);
    if (memcmp(x.at, y.at, out * 4)) o->wrong = true;
    struct area *all[] = {&x, &y, &by};
    for (size_t i = 0; i < 3; i++) close_area(o, all[i]);
}

/* Transformations only add and halve, in the same order at every level: the same bits. */
static void check_winograd_input(const struct kernels *k, const struct kernels *c,
                                 struct outcome *o) {
    struct winograd_input in = {
        .type = below(2) ? DTYPE_F32 : DTYPE_BF16, .tiles = size(20), .channels = size(90)};
    size_t bytes = dtype_size(in.type), row = in.channels * bytes, all = 2 * in.tiles + 2;
    in.pixel = row + below(5) * bytes;
    in.line = all * in.pixel + below(9) * bytes;
    in.out_tile = row + below(5) * bytes;
    in.out_step = in.tiles * in.out_tile + below(9) * bytes;
    size_t out = 15 * in.out_step + (in.tiles - 1) * in.out_tile + row;
    struct area values = filled(in.type, (3 * in.line + (all - 1) * in.pixel + row) / bytes);
    struct area x = area_open(out), y = area_open(out);
    in.x = values.at;
    in.out = x.at;
    k->winograd_input(&in);
    in.out = y.at;
    c->winograd_input(&in);
    if (memcmp(x.at, y.at, out)) o->wrong = true;
    struct area *areas[] = {&values, &x, &y};
    for (size_t i = 0; i < 3; i++) close_area(o, areas[i]);
}

static void check_winograd_output(const struct kernels *k, const struct kernels *c,
                                  struct outcome *o) {
    struct winograd_output w = {.tiles = size(20), .cols = size(40)};
    w.stride = w.cols + below(5);
    w.step = w.tiles * w.stride + below(9);
    w.out_pixel = w.cols + below(5);
    w.out_line = 2 * w.tiles * w.out_pixel + below(9);
    size_t out = 4 * (w.out_line + (2 * w.tiles - 1) * w.out_pixel + w.cols);
    struct area sums = filled(DTYPE_F32, 15 * w.step + (w.tiles - 1) * w.stride + w.cols);
    struct area x = area_open(out), y = area_open(out);
    w.sums = (const float *)(void *)sums.at;
    w.out = (float *)(void *)x.at;
    k->winograd_output(&w);
    w.out = (float *)(void *)y.at;
    c->winograd_output(&w);
    if (memcmp(x.at, y.at, out)) o->wrong = true;
    struct area *areas[] = {&sums, &x, &y};
    for (size_t i = 0; i < 3; i++) close_area(o, areas[i]);
}

static void check_winograd_weights(const struct kernels *k, const struct kernels *c,
                                   struct outcome *o) {
    enum dtype type = below(2) ? DTYPE_F32 : DTYPE_BF16, to = type;
    if (below(2)) to = DTYPE_F32;
    size_t channels = 2 * size(40), panel = channels * PANEL * dtype_size(to);
    size_t step = panel + below(9) * 4, out = 15 * step + panel;
    struct area taps = filled(type, 9 * channels * PANEL), x = area_open(out), y = area_open(out);
    k->winograd_weights(x.at, step, to, taps.at, type, channels);
    c->winograd_weights(y.at, step, to, taps.at, type, channels);
    if (memcmp(x.at, y.at, out)) o->wrong = true;
    struct area *areas[] = {&taps, &x, &y};
    for (size_t i = 0; i < 3; i++) close_area(o, areas[i]);
}

static void check_unpack(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    size_t depth = 2 * size(200);
    struct area panel = filled(DTYPE_BF16, depth * PANEL);
    struct area x = area_open(depth * PANEL * 4), y = area_open(depth * PANEL * 4);
    k->unpack((float *)(void *)x.at, panel.at, depth);
    c->unpack((float *)(void *)y.at, panel.at, depth);
    if (memcmp(x.at, y.at, x.bytes)) o->wrong = true;
    close_area(o, &panel);
    close_area(o, &x);
    close_area(o, &y);
}

static void check_pack_panel(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    enum dtype type = below(2) ? DTYPE_F32 : DTYPE_BF16;
    size_t depth = size(200), stride = depth + below(5);
    int cols = 1 + (int)below(PANEL);
    size_t bytes = PANEL * (type == DTYPE_BF16 ? 2 * (depth + depth % 2) : 4 * depth);
    struct area rows = filled(type, (size_t)(cols - 1) * stride + depth);
    struct area x = area_open(bytes), y = area_open(bytes);
    k->pack_panel(x.at, rows.at, stride, cols, depth, type);
    c->pack_panel(y.at, rows.at, stride, cols, depth, type);
    if (memcmp(x.at, y.at, bytes)) o->wrong = true;
    close_area(o, &rows);
    close_area(o, &x);
    close_area(o, &y);
}

static void check_convert(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    static const enum dtype from[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
    enum dtype type = from[below(3)], to = below(2) ? DTYPE_F32 : DTYPE_BF16;
    size_t n = size(500);
    struct area in = filled(type, n), x = area_open(n * dtype_size(to)),
                y = area_open(n * dtype_size(to));
    if (type == DTYPE_F32 && below(4) == 0) ((float *)(void *)in.at)[below((uint32_t)n)] = NAN;
    if (type == DTYPE_F32 && below(4) == 0)
        ((float *)(void *)in.at)[below((uint32_t)n)] = -INFINITY;
    k->convert(x.at, to, in.at, type, n);
    c->convert(y.at, to, in.at, type, n);
    if (memcmp(x.at, y.at, x.bytes)) o->wrong = true;
    close_area(o, &in);
    close_area(o, &x);
    close_area(o, &y);
}

static void check_finish(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    struct finish f = {.rows = (int64_t)size(9), .cols = (int64_t)size(80)};
    size_t rows = (size_t)f.rows, cols = (size_t)f.cols;
    f.acc_stride = cols + below(5);
    f.residual_stride = cols + below(5);
    f.out_stride = cols + below(5);
    f.residual_type = below(2) ? DTYPE_F32 : DTYPE_BF16;
    f.out_type = below(2) ? DTYPE_F32 : DTYPE_BF16;
    f.act = (enum act)below(4);
    f.scale = below(2) ? 1 : 0.7f;
    bool gated = below(4) == 0;
    if (gated) f.act = ACT_GELU;
    struct area acc = filled(DTYPE_F32, rows * f.acc_stride);
    struct area gate = filled(DTYPE_F32, rows * f.acc_stride);
    struct area bias = filled(DTYPE_F32, cols), gate_bias = filled(DTYPE_F32, cols);
    struct area add = filled(DTYPE_F32, cols);
    struct area residual = filled(f.residual_type, rows * f.residual_stride);
    size_t out = ((rows - 1) * f.out_stride + cols) * dtype_size(f.out_type);
    struct area x = area_open(out), y = area_open(out);
    f.acc = (const float *)(void *)acc.at;
    f.gate = gated ? (const float *)(void *)gate.at : NULL;
    f.bias = below(2) ? (const float *)(void *)bias.at : NULL;
    f.gate_bias = f.bias && gated ? (const float *)(void *)gate_bias.at : NULL;
    f.add = below(2) && !gated ? (const float *)(void *)add.at : NULL;
    f.residual = below(2) ? residual.at : NULL;
    f.out = x.at;
    k->finish(&f);
    f.out = y.at;
    c->finish(&f);
    /* Between the rows nothing is written: both still hold the guard byte there. */
    compare(o, x.at, y.at, f.out_type, out / dtype_size(f.out_type), bar_of(f.out_type, ROUNDING));
    struct area *all[] = {&acc, &gate, &bias, &gate_bias, &add, &residual, &x, &y};
    for (size_t i = 0; i < 8; i++) close_area(o, all[i]);
}

static void check_moments(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    enum dtype type = below(2) ? DTYPE_F32 : DTYPE_BF16;
    size_t rows = size(70), cols = size(64), stride = cols + below(9);
    struct area in = filled(type, (rows - 1) * stride + cols), pivot = filled(DTYPE_F32, cols);
    struct area x = area_open(cols * 8), y = area_open(cols * 8);
    float *a = (float *)(void *)x.at, *b = (float *)(void *)y.at;
    k->moments(in.at, type, rows, stride, cols, (const float *)(void *)pivot.at, a, a + cols);
    c->moments(in.at, type, rows, stride, cols, (const float *)(void *)pivot.at, b, b + cols);
    compare(o, a, b, DTYPE_F32, 2 * cols, 1e-6 * (double)rows);
    struct area *all[] = {&in, &pivot, &x, &y};
    for (size_t i = 0; i < 4; i++) close_area(o, all[i]);
}

static void check_scale_shift(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    enum dtype type = below(2) ? DTYPE_F32 : DTYPE_BF16, to = below(2) ? DTYPE_F32 : DTYPE_BF16;
    size_t rows = size(20), cols = size(90), stride = cols + below(5), out_stride = cols + below(5);
    struct area in = filled(type, (rows - 1) * stride + cols);
    struct area scale = filled(DTYPE_F32, cols), shift = filled(DTYPE_F32, cols);
    size_t out = (rows - 1) * out_stride + cols;
    struct area x = area_open(out * dtype_size(to)), y = area_open(out * dtype_size(to));
    enum act act = below(2) ? ACT_SILU : ACT_NONE;
    const float *s = (const float *)(void *)scale.at, *t = (const float *)(void *)shift.at;
    k->scale_shift(x.at, out_stride, in.at, stride, type, to, rows, cols, s, t, act);
    c->scale_shift(y.at, out_stride, in.at, stride, type, to, rows, cols, s, t, act);
    compare(o, x.at, y.at, to, out, bar_of(to, ROUNDING));
    struct area *all[] = {&in, &scale, &shift, &x, &y};
    for (size_t i = 0; i < 5; i++) close_area(o, all[i]);
}

static void check_layer_norm(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    enum dtype type = below(2) ? DTYPE_F32 : DTYPE_BF16, to = below(2) ? DTYPE_F32 : DTYPE_BF16;
    size_t n = 1 + size(700);
    struct area in = filled(type, n), weight = filled(DTYPE_F32, n), bias = filled(DTYPE_F32, n);
    struct area row = area_open(n * 4);
    struct area x = area_open(n * dtype_size(to)), y = area_open(n * dtype_size(to));
    const float *w = below(4) ? (const float *)(void *)weight.at : NULL;
    const float *b = w ? (const float *)(void *)bias.at : NULL;
    k->layer_norm(x.at, in.at, type, to, n, w, b, 1e-2f, (float *)(void *)row.at);
    c->layer_norm(y.at, in.at, type, to, n, w, b, 1e-2f, (float *)(void *)row.at);
    compare(o, x.at, y.at, to, n, bar_of(to, 1e-5));
    struct area *all[] = {&in, &weight, &bias, &row, &x, &y};
    for (size_t i = 0; i < 6; i++) close_area(o, all[i]);
}

static void check_softmax(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    size_t n = size(400);
    enum dtype type = below(2) ? DTYPE_F32 : DTYPE_BF16;
    struct area s = filled(DTYPE_F32, n), x = area_open(n * dtype_size(type)),
                y = area_open(n * dtype_size(type));
    float top[2] = {below(2) ? -INFINITY : value(), 0}, scale = 0.1f + 0.2f * (float)below(20);
    top[1] = top[0];
    float a = k->softmax(x.at, type, (const float *)(void *)s.at, n, scale, &top[0]);
    float b = c->softmax(y.at, type, (const float *)(void *)s.at, n, scale, &top[1]);
    compare(o, x.at, y.at, type, n, bar_of(type, 1e-5));
    compare(o, &a, &b, DTYPE_F32, 1, 1e-5);
    compare(o, &top[0], &top[1], DTYPE_F32, 1, ROUNDING);
    close_area(o, &s);
    close_area(o, &x);
    close_area(o, &y);
}

static void check_scale(const struct kernels *k, const struct kernels *c, struct outcome *o) {
    size_t n = size(300);
    struct area x = filled(DTYPE_F32, n), y = area_open(n * 4);
    memcpy(y.at, x.at, n * 4);
    float by = value();
    k->scale((float *)(void *)x.at, n, by);
    c->scale((float *)(void *)y.at, n, by);
    if (memcmp(x.at, y.at, n * 4)) o->wrong = true;
    close_area(o, &x);
    close_area(o, &y);
}

static const struct {
    const char *name;
    check_fn *run;
} checks[] = {
    {"gemm_f32", check_gemm_f32},
    {"gemm_bf16", check_gemm_bf16},
    {"unpack", check_unpack},
    {"pack_panel", check_pack_panel},
    {"convert", check_convert},
    {"finish", check_finish},
    {"moments", check_moments},
    {"scale_shift", check_scale_shift},
    {"layer_norm", check_layer_norm},
    {"softmax", check_softmax},
    {"scale", check_scale},
    {"gemm_i8", check_gemm_i8},
    {"quantise", check_quantise},
    {"dequantise", check_dequantise},
    {"wino_input", check_winograd_input},
    {"wino_output", check_winograd_output},
    {"wino_weights", check_winograd_weights},
};

static int check_level(const struct level *l, int shapes) {
    struct kernels k = {0}, c = {0};
    int bad = 0;
    kernels_c_all(&c);
    kernels_c_all(&k);
    l->fill(&k);
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        struct outcome o = {.kernel = checks[i].name, .level = l->name};
        if (checks[i].run == check_gemm_bf16 && !k.gemm_bf16.run) continue;
        for (int n = 0; n < shapes; n++) checks[i].run(&k, &c, &o);
        bool failed = o.wrong || o.spoiled;
        bad += failed;
        printf("%-11s %-12s %6d shapes  worst %.1e%s%s\n", l->name, checks[i].name, shapes, o.worst,
               o.wrong ? "  WRONG" : "", o.spoiled ? "  WROTE OUTSIDE" : "");
    }
    return bad;
}

/* Products through the library, of any place in larger matrices, against a sum in double; and the
 * same again, whatever was multiplied in between. */
static void check_product(const struct blas *b, struct outcome *o) {
    size_t rows = size(BLAS_ROWS), cols = size(BLAS_COLUMNS), depth = size(BLAS_DEPTH);
    size_t a_stride = depth + below(9), b_stride = cols + below(9), c_stride = cols + below(9);
    size_t out = (rows - 1) * c_stride + cols;
    bool accumulate = below(2);
    struct area x = filled(DTYPE_F32, (rows - 1) * a_stride + depth);
    struct area w = filled(DTYPE_F32, (depth - 1) * b_stride + cols);
    struct area c = filled(DTYPE_F32, out), y = area_open(out * 4), again = area_open(out * 4);
    memcpy(y.at, c.at, out * 4);
    memcpy(again.at, c.at, out * 4);
    const float *a = (const float *)(void *)x.at, *from = (const float *)(void *)w.at;
    struct area *both[] = {&c, &again};
    for (int i = 0; i < 2; i++)
        blas_product(b, (int64_t)rows, (int64_t)cols, (int64_t)depth, a, a_stride, from, b_stride,
                     accumulate, (float *)(void *)both[i]->at, c_stride);
    float *want = (float *)(void *)y.at;
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < cols; j++) {
            double sum = accumulate ? (double)want[r * c_stride + j] : 0;
            for (size_t i = 0; i < depth; i++)
                sum += (double)a[r * a_stride + i] * (double)from[i * b_stride + j];
            want[r * c_stride + j] = (float)sum;
        }
    compare(o, c.at, y.at, DTYPE_F32, out, 1e-6 * (double)(depth + 8));
    if (memcmp(c.at, again.at, out * 4)) o->wrong = true;
    struct area *all[] = {&x, &w, &c, &y, &again};
    for (size_t i = 0; i < 5; i++) close_area(o, all[i]);
}

static int check_blas(int shapes) {
    struct mem *m = need(mem_open(0));
    struct pool *pool;
    struct blas b;
    kadr_error err = {0};
    kadr_status st = pool_open(&pool, m, 2, &err);
    if (!st) st = blas_open(&b, m, pool, &err);
    if (st || !b.sgemm) {
        printf("blas: %s\n", st ? err.message : "none is used");
        return 1;
    }
    struct outcome o = {.kernel = "product", .level = b.name};
    for (int n = 0; n < shapes; n++) check_product(&b, &o);
    printf("%-11s %-12s %6d shapes  worst %.1e%s%s\n", o.level, o.kernel, shapes, o.worst,
           o.wrong ? "  WRONG" : "", o.spoiled ? "  WROTE OUTSIDE" : "");
    pool_close(pool);
    return o.wrong || o.spoiled || mem_close(m);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--blas") == 0)
        return check_blas(argc > 2 ? (int)strtol(argv[2], NULL, 10) : 300);
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench(cpu_count(), argc > 2 ? argv[2] : NULL) ? 0 : 1;
    if (argc > 1 && strcmp(argv[1], "--peak") == 0) return bench_peak(cpu_count()) ? 0 : 1;
    int shapes = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1000, bad = 0;
    if (getenv("KADR_LONG")) shapes *= 100;
    for (size_t i = 0; i < level_count; i++) {
        if (levels[i].flags & ~cpu_flags()) printf("%-11s not on this processor\n", levels[i].name);
        else bad += check_level(&levels[i], shapes);
    }
    return bad ? 1 : 0;
}
