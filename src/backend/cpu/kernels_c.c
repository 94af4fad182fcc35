/* kernels_c.c: the reference: every kernel in plain C, written to be read. It runs where nothing
 * faster does, and the others are tested against it. */
#include "backend/cpu/bits.h"
#include "backend/cpu/kernels.h"

#include <math.h>

#define TILE_ROWS 4

static float load(const void *p, enum dtype type, size_t i) {
    switch (type) {
    case DTYPE_BF16: return bf16_to_f32(((const uint16_t *)p)[i]);
    case DTYPE_F16: return f16_to_f32(((const uint16_t *)p)[i]);
    default: return ((const float *)p)[i];
    }
}

static void store(void *p, enum dtype type, size_t i, float v) {
    if (type == DTYPE_BF16) ((uint16_t *)p)[i] = f32_to_bf16(v);
    else ((float *)p)[i] = v;
}

static float activate(float x, enum act act) {
    switch (act) {
    case ACT_SILU: return x / (1.0f + expf(-x));
    case ACT_GELU:
    case ACT_GEGLU: return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case ACT_QUICK_GELU: return x / (1.0f + expf(-1.702f * x));
    default: return x;
    }
}

static void gemm_f32_c(const struct gemm_tile *t) {
    for (int p = 0; p < t->panels; p++)
        for (int r = 0; r < t->rows; r++) {
            const char *row = (const char *)t->a + (size_t)r * t->a_stride;
            const float *b = (const float *)((const char *)t->b + (size_t)p * t->b_stride);
            float *c = t->c + (size_t)r * t->c_stride + p * PANEL;
            float sum[PANEL] = {0};
            if (t->accumulate) memcpy(sum, c, sizeof sum);
            for (size_t piece = 0; piece < t->pieces; piece++) {
                const float *a = (const float *)(row + piece * t->a_piece);
                for (size_t i = 0; i < t->k; i++, b += PANEL)
                    for (int j = 0; j < PANEL; j++) sum[j] += a[i] * b[j];
            }
            memcpy(c, sum, sizeof sum);
        }
}

static void unpack_c(float *to, const void *panel, size_t k) {
    const uint16_t *from = panel;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < PANEL; j++)
            to[i * PANEL + j] = bf16_to_f32(from[(i / 2 * PANEL + j) * 2 + i % 2]);
}

static void pack_panel_c(void *panel, const void *rows, size_t stride, int cols, size_t k,
                         enum dtype type) {
    if (type == DTYPE_F32) {
        float *to = panel;
        for (size_t i = 0; i < k; i++)
            for (size_t j = 0; j < PANEL; j++)
                *to++ = j < (size_t)cols ? ((const float *)rows)[j * stride + i] : 0.0f;
        return;
    }
    uint16_t *to = panel;
    for (size_t i = 0; i < k; i += 2)
        for (size_t j = 0; j < PANEL; j++)
            for (size_t pair = i; pair < i + 2; pair++)
                *to++ =
                    j < (size_t)cols && pair < k ? ((const uint16_t *)rows)[j * stride + pair] : 0;
}

static void convert_c(void *to, enum dtype to_type, const void *from, enum dtype from_type,
                      size_t n) {
    if (to_type == from_type) memcpy(to, from, n * dtype_size(to_type));
    else
        for (size_t i = 0; i < n; i++) store(to, to_type, i, load(from, from_type, i));
}

static void finish_row(const struct finish *f, int64_t row) {
    const float *acc = f->acc + (size_t)row * f->acc_stride;
    const float *gate = f->gate ? f->gate + (size_t)row * f->acc_stride : NULL;
    for (size_t i = 0; i < (size_t)f->cols; i++) {
        float v = acc[i];
        if (f->bias) v += f->bias[i];
        if (f->add) v += f->add[i];
        if (gate) v *= activate(gate[i] + (f->gate_bias ? f->gate_bias[i] : 0), f->act);
        else v = activate(v, f->act);
        if (f->residual)
            v += load(f->residual, f->residual_type, (size_t)row * f->residual_stride + i);
        store(f->out, f->out_type, (size_t)row * f->out_stride + i, v * f->scale);
    }
}

static void finish_c(const struct finish *f) {
    for (int64_t r = 0; r < f->rows; r++) finish_row(f, r);
}

static void moments_c(const void *x, enum dtype type, size_t rows, size_t stride, size_t cols,
                      const float *pivot, float *sum, float *square) {
    memset(sum, 0, cols * sizeof *sum);
    memset(square, 0, cols * sizeof *square);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) {
            float d = load(x, type, r * stride + c) - pivot[c];
            sum[c] += d;
            square[c] += d * d;
        }
}

static void scale_shift_c(void *out, size_t out_stride, const void *x, size_t stride,
                          enum dtype type, enum dtype out_type, size_t rows, size_t cols,
                          const float *scale, const float *shift, enum act act) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            store(out, out_type, r * out_stride + c,
                  activate(load(x, type, r * stride + c) * scale[c] + shift[c], act));
}

static void layer_norm_c(void *out, const void *x, enum dtype type, enum dtype out_type, size_t n,
                         const float *weight, const float *bias, float eps, float *row) {
    double sum = 0, square = 0;
    convert_c(row, DTYPE_F32, x, type, n);
    for (size_t i = 0; i < n; i++) sum += row[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) square += (row[i] - mean) * (row[i] - mean);
    double r = 1.0 / sqrt(square / (double)n + eps);
    for (size_t i = 0; i < n; i++)
        store(out, out_type, i,
              (float)((row[i] - mean) * r) * (weight ? weight[i] : 1) + (bias ? bias[i] : 0));
}

static float softmax_c(void *out, enum dtype out_type, const float *s, size_t n, float scale,
                       float *top) {
    float m = *top, sum = 0;
    for (size_t i = 0; i < n; i++)
        if (s[i] * scale > m) m = s[i] * scale;
    for (size_t i = 0; i < n; i++) {
        float e = expf(s[i] * scale - m);
        store(out, out_type, i, e);
        sum += e;
    }
    *top = m;
    return sum;
}

static void scale_c(float *x, size_t n, float by) {
    for (size_t i = 0; i < n; i++) x[i] *= by;
}

void kernels_c(struct kernels *k) {
    k->gemm_f32 = (struct gemm_kernel){
        .name = "gemm_f32_c", .run = gemm_f32_c, .rows = TILE_ROWS, .panels = 1};
    k->unpack = unpack_c;
    k->pack_panel = pack_panel_c;
    k->convert = convert_c;
    k->finish = finish_c;
    k->moments = moments_c;
    k->scale_shift = scale_shift_c;
    k->layer_norm = layer_norm_c;
    k->softmax = softmax_c;
    k->scale = scale_c;
}
