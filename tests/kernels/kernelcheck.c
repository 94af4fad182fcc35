/* kernelcheck: every kernel of every level against the plain C reference on random shapes: odd
 * tails, strides, and guard bytes around whatever may be written. Prints how many shapes were run
 * and the worst difference.
 *
 *     kernelcheck [SHAPES]              1,000 unless said otherwise
 *     kernelcheck --bench [NAME]        operations at SDXL's shapes against this machine's peak
 */
#include "kernelcheck.h"

#include "backend/cpu/bits.h"
#include "base/cpu.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD 64
#define GUARD_BYTE 0xA5

const struct level levels[] = {
    {"c", kernels_c, 0, NULL},
#if defined(__x86_64__)
    {"avx2", kernels_avx2, CPU_AVX2, peak_avx2},
    {"avx512", kernels_avx512, CPU_AVX512, NULL},
    {"avx512bf16", kernels_avx512_bf16, CPU_AVX512_BF16, NULL},
    {"avx512 in C", emulated_avx512, CPU_AVX2, NULL},
    {"bf16 in C", emulated_avx512_bf16, CPU_AVX2, NULL},
#elif defined(__aarch64__)
    {"neon", kernels_neon, CPU_NEON, NULL},
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

/* C of a product, by the reference, from operands in f32. */
static void reference_product(const struct kernels *c, int rows, int panels, size_t depth,
                              const float *a, size_t a_stride, const float *b, float *out,
                              size_t stride, bool accumulate) {
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++)
            c->gemm_f32.run(1, 1, depth, (const char *)a + (size_t)r * a_stride, a_stride,
                            b + (size_t)p * depth * PANEL, depth * PANEL * 4,
                            out + (size_t)r * stride + (size_t)p * PANEL, stride, accumulate);
}

static void check_gemm(const struct gemm_kernel *k, const struct kernels *c, enum dtype type,
                       struct outcome *o) {
    if (!k->run) return;
    int rows = 1 + (int)below((uint32_t)k->rows), panels = below(2) ? k->panels : 1;
    size_t depth = size(300), narrow = type == DTYPE_BF16 ? 2 : 1, bytes = dtype_size(type);
    depth += depth % narrow;
    size_t a_stride = (depth + below(3) * narrow) * bytes, b_stride = depth * PANEL * bytes;
    size_t c_stride = (size_t)panels * PANEL + below(9);
    size_t out = (size_t)(rows - 1) * c_stride + (size_t)panels * PANEL;
    size_t a_count = (size_t)(rows - 1) * (a_stride / bytes) + depth;
    struct area a = filled(type, a_count), b = filled(type, (size_t)panels * depth * PANEL);
    struct area a32 = area_open(a_count * 4), b32 = area_open((size_t)panels * depth * PANEL * 4);
    struct area x = filled(DTYPE_F32, out), y = area_open(out * 4);
    memcpy(y.at, x.at, out * 4);
    c->convert(a32.at, DTYPE_F32, a.at, type, a_count);
    for (int p = 0; p < panels; p++) {
        float *to = (float *)(void *)b32.at + (size_t)p * depth * PANEL;
        if (type == DTYPE_BF16) c->unpack(to, b.at + (size_t)p * b_stride, depth);
        else memcpy(to, b.at + (size_t)p * b_stride, b_stride);
    }
    bool accumulate = below(2);
    k->run(rows, panels, depth, a.at, a_stride, b.at, b_stride, (float *)(void *)x.at, c_stride,
           accumulate);
    reference_product(c, rows, panels, depth, (float *)(void *)a32.at, a_stride / bytes * 4,
                      (float *)(void *)b32.at, (float *)(void *)y.at, c_stride, accumulate);
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
    struct area x = filled(DTYPE_F32, n), y = area_open(n * 4);
    memcpy(y.at, x.at, n * 4);
    float top[2] = {below(2) ? -INFINITY : value(), 0}, scale = 0.1f + 0.2f * (float)below(20);
    top[1] = top[0];
    float a = k->softmax((float *)(void *)x.at, n, scale, &top[0]);
    float b = c->softmax((float *)(void *)y.at, n, scale, &top[1]);
    compare(o, x.at, y.at, DTYPE_F32, n, 1e-5);
    compare(o, &a, &b, DTYPE_F32, 1, 1e-5);
    compare(o, &top[0], &top[1], DTYPE_F32, 1, ROUNDING);
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
    {"gemm_f32", check_gemm_f32},     {"gemm_bf16", check_gemm_bf16},
    {"unpack", check_unpack},         {"pack_panel", check_pack_panel},
    {"convert", check_convert},       {"finish", check_finish},
    {"moments", check_moments},       {"scale_shift", check_scale_shift},
    {"layer_norm", check_layer_norm}, {"softmax", check_softmax},
    {"scale", check_scale},
};

static int check_level(const struct level *l, int shapes) {
    struct kernels k = {0}, c = {0};
    int bad = 0;
    kernels_c(&c);
    kernels_c(&k);
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

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench(cpu_count(), argc > 2 ? argv[2] : NULL) ? 0 : 1;
    int shapes = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1000, bad = 0;
    if (getenv("KADR_LONG")) shapes *= 100;
    for (size_t i = 0; i < level_count; i++) {
        if (levels[i].flags & ~cpu_flags()) printf("%-11s not on this processor\n", levels[i].name);
        else bad += check_level(&levels[i], shapes);
    }
    return bad ? 1 : 0;
}
