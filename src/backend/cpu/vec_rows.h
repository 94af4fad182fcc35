/* vec_rows.h: all kernels of the table but the products, in one instruction set's vocabulary (see
 * vec_math.h). A file that includes this sets the table's entries with use_vec_rows.
 *
 * Every loop runs whole vectors and then one partial one; functions that take `n` get VL as a
 * constant in the first case.
 */
#ifndef KADR_BACKEND_CPU_VEC_ROWS_H
#define KADR_BACKEND_CPU_VEC_ROWS_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/vec_math.h"

#include <math.h>

/* Calls `body(i, n)` for i = 0, VL, ... */
#define FOR_VECTORS(count, body)                                                                   \
    do {                                                                                           \
        size_t count_ = (count), i_ = 0;                                                           \
        for (; i_ + VL <= count_; i_ += VL) body(i_, (size_t)VL);                                  \
        if (i_ < count_) body(i_, count_ - i_);                                                    \
    } while (0)

/* ---- finish ---------------------------------------------------------------------------------- */

/* Columns [i, i + n), n <= VL, of all rows; what is constant to the caller is compiled in. */
INLINE void finish_columns(const struct finish *f, size_t i, size_t n, enum act act,
                           enum dtype out_type, bool gated, bool residual) {
    vf zero = v_set(0), scale = v_set(f->scale);
    vf bias = f->bias ? v_load_some(f->bias, DTYPE_F32, i, n) : zero;
    vf add = f->add ? v_load_some(f->add, DTYPE_F32, i, n) : zero;
    vf gate_bias = gated && f->gate_bias ? v_load_some(f->gate_bias, DTYPE_F32, i, n) : zero;
    for (size_t row = 0; row < (size_t)f->rows; row++) {
        size_t at = row * f->acc_stride;
        vf v = v_add(v_add(v_load_some(f->acc + at, DTYPE_F32, i, n), bias), add);
        if (gated) {
            vf gate = v_add(v_load_some(f->gate + at, DTYPE_F32, i, n), gate_bias);
            v = v_mul(v, v_activate(gate, act));
        } else v = v_activate(v, act);
        if (residual) {
            size_t other = row * f->residual_stride + i;
            v = v_add(v, v_load_some(f->residual, f->residual_type, other, n));
        }
        v_store_some(f->out, out_type, row * f->out_stride + i, n, v_mul(v, scale));
    }
}

INLINE void finish_rows(const struct finish *f, enum act act, enum dtype out_type, bool gated) {
    if (f->residual) {
#define BODY(i, n) finish_columns(f, i, n, act, out_type, gated, true)
        FOR_VECTORS((size_t)f->cols, BODY);
#undef BODY
    } else {
#define BODY(i, n) finish_columns(f, i, n, act, out_type, gated, false)
        FOR_VECTORS((size_t)f->cols, BODY);
#undef BODY
    }
}

INLINE void finish_typed(const struct finish *f, enum dtype out_type) {
    if (f->gate) {
        if (f->act == ACT_GELU) finish_rows(f, ACT_GELU, out_type, true);
        else finish_rows(f, f->act, out_type, true);
        return;
    }
    switch (f->act) {
    case ACT_SILU: finish_rows(f, ACT_SILU, out_type, false); break;
    case ACT_GELU: finish_rows(f, ACT_GELU, out_type, false); break;
    case ACT_QUICK_GELU: finish_rows(f, ACT_QUICK_GELU, out_type, false); break;
    default: finish_rows(f, ACT_NONE, out_type, false);
    }
}

static void vec_finish(const struct finish *f) {
    if (f->out_type == DTYPE_BF16) finish_typed(f, DTYPE_BF16);
    else finish_typed(f, DTYPE_F32);
}

/* ---- convert, scale -------------------------------------------------------------------------- */

INLINE void convert_typed(void *to, enum dtype to_type, const void *from, enum dtype from_type,
                          size_t n) {
#define BODY(i, n) v_store_some(to, to_type, i, n, v_load_some(from, from_type, i, n))
    FOR_VECTORS(n, BODY);
#undef BODY
}

static void vec_convert(void *to, enum dtype to_type, const void *from, enum dtype from_type,
                        size_t n) {
    bool narrow = to_type == DTYPE_BF16;
    if (to_type == from_type) memcpy(to, from, n * element_size(to_type));
    else if (from_type == DTYPE_F16 && narrow) convert_typed(to, DTYPE_BF16, from, DTYPE_F16, n);
    else if (from_type == DTYPE_F16) convert_typed(to, DTYPE_F32, from, DTYPE_F16, n);
    else if (narrow) convert_typed(to, DTYPE_BF16, from, DTYPE_F32, n);
    else convert_typed(to, DTYPE_F32, from, DTYPE_BF16, n);
}

static void vec_scale(float *x, size_t n, float by) {
#define BODY(i, n)                                                                                 \
    v_store_some(x, DTYPE_F32, i, n, v_mul(v_load_some(x, DTYPE_F32, i, n), v_set(by)))
    FOR_VECTORS(n, BODY);
#undef BODY
}

/* ---- norms ----------------------------------------------------------------------------------- */

INLINE void moments_at(const void *x, enum dtype type, size_t rows, size_t stride, size_t i,
                       size_t n, const float *pivot, float *sum, float *square) {
    vf p = v_load_some(pivot, DTYPE_F32, i, n), s = v_set(0), q = v_set(0);
    for (size_t r = 0; r < rows; r++) {
        vf d = v_sub(v_load_some(x, type, r * stride + i, n), p);
        s = v_add(s, d);
        q = v_fma(d, d, q);
    }
    v_store_some(sum, DTYPE_F32, i, n, s);
    v_store_some(square, DTYPE_F32, i, n, q);
}

static void vec_moments(const void *x, enum dtype type, size_t rows, size_t stride, size_t cols,
                        const float *pivot, float *sum, float *square) {
#define BODY(i, n) moments_at(x, type, rows, stride, i, n, pivot, sum, square)
    FOR_VECTORS(cols, BODY);
#undef BODY
}

struct affine {
    void *out;
    const void *x;
    const float *scale, *shift;
    size_t rows, cols, out_stride, stride;
};

INLINE void scale_shift_rows(const struct affine *a, enum dtype type, enum dtype out_type,
                             enum act act) {
    for (size_t r = 0; r < a->rows; r++) {
#define BODY(i, n)                                                                                 \
    v_store_some(a->out, out_type, r * a->out_stride + i, n,                                       \
                 v_activate(v_fma(v_load_some(a->x, type, r * a->stride + i, n),                   \
                                  v_load_some(a->scale, DTYPE_F32, i, n),                          \
                                  v_load_some(a->shift, DTYPE_F32, i, n)),                         \
                            act))
        FOR_VECTORS(a->cols, BODY);
#undef BODY
    }
}

static void vec_scale_shift(void *out, size_t out_stride, const void *x, size_t stride,
                            enum dtype type, enum dtype out_type, size_t rows, size_t cols,
                            const float *scale, const float *shift, enum act act) {
    const struct affine a = {out, x, scale, shift, rows, cols, out_stride, stride};
    if (act == ACT_SILU && out_type == DTYPE_BF16) scale_shift_rows(&a, type, DTYPE_BF16, ACT_SILU);
    else if (act == ACT_SILU) scale_shift_rows(&a, type, DTYPE_F32, ACT_SILU);
    else scale_shift_rows(&a, type, out_type, act);
}

/* Sums in four chains of vectors, then lane by lane. */
INLINE float sum_row(const float *row, size_t n, float mean, bool squares) {
    vf m = v_set(mean), s[4] = {v_set(0), v_set(0), v_set(0), v_set(0)};
    size_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL)
        for (size_t j = 0; j < 4; j++) {
            vf d = v_sub(v_load(row + i + j * VL), m);
            s[j] = squares ? v_fma(d, d, s[j]) : v_add(s[j], d);
        }
    for (; i + VL <= n; i += VL) {
        vf d = v_sub(v_load(row + i), m);
        s[0] = squares ? v_fma(d, d, s[0]) : v_add(s[0], d);
    }
    float sum = v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
    for (; i < n; i++) {
        float d = row[i] - mean;
        sum += squares ? d * d : d;
    }
    return sum;
}

static void vec_layer_norm(void *out, const void *x, enum dtype type, enum dtype out_type, size_t n,
                           const float *weight, const float *bias, float eps, float *row) {
    vec_convert(row, DTYPE_F32, x, type, n);
    float mean = sum_row(row, n, row[0], false) / (float)n + row[0];
    float r = 1.0f / sqrtf(sum_row(row, n, mean, true) / (float)n + eps);
    vf one = v_set(1.0f), zero = v_set(0);
#define BODY(i, n)                                                                                 \
    v_store_some(out, out_type, i, n,                                                              \
                 v_fma(v_mul(v_sub(v_load_some(row, DTYPE_F32, i, n), v_set(mean)), v_set(r)),     \
                       weight ? v_load_some(weight, DTYPE_F32, i, n) : one,                        \
                       bias ? v_load_some(bias, DTYPE_F32, i, n) : zero))
    FOR_VECTORS(n, BODY);
#undef BODY
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* e^(scale * s - m), the scale in `by`; what is rounded to bf16 is taken as a power of two, whose
 * scale `by` and `minus` hold already. */
INLINE vf softmax_exp(vf s, vf by, vf minus, enum dtype out_type) {
    vf x = v_fma(s, by, minus);
    return out_type == DTYPE_BF16 ? v_exp2_short(x) : v_exp(x);
}

INLINE float softmax_typed(void *out, enum dtype out_type, const float *s, size_t n, float scale,
                           float m) {
    const float unit = out_type == DTYPE_BF16 ? 0x1.715476p+0f : 1.0f; /* 1 / ln 2 */
    vf by = v_set(scale * unit), minus = v_set(-m * unit), sum = v_set(0), sum2 = v_set(0);
    size_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        vf a = softmax_exp(v_load(s + i), by, minus, out_type);
        vf b = softmax_exp(v_load(s + i + VL), by, minus, out_type);
        v_store_any(out, out_type, i, a);
        v_store_any(out, out_type, i + VL, b);
        sum = v_add(sum, a);
        sum2 = v_add(sum2, b);
    }
    float tail = 0;
    for (; i < n; i += VL) {
        float part[VL] = {0};
        size_t left = n - i < VL ? n - i : VL;
        vf a = softmax_exp(v_load_some(s, DTYPE_F32, i, left), by, minus, out_type);
        v_store(part, a);
        v_store_some(out, out_type, i, left, a);
        for (size_t j = 0; j < left; j++) tail += part[j];
    }
    return v_sum(v_add(sum, sum2)) + tail;
}

static float vec_softmax(void *out, enum dtype out_type, const float *s, size_t n, float scale,
                         float *top) {
    vf most = v_set(s[0]), most2 = most;
    size_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        most = v_max(most, v_load(s + i));
        most2 = v_max(most2, v_load(s + i + VL));
    }
    for (; i + VL <= n; i += VL) most = v_max(most, v_load(s + i));
    float m = v_max_lane(v_max(most, most2));
    for (; i < n; i++) m = s[i] > m ? s[i] : m;
    m = m * scale > *top ? m * scale : *top;
    *top = m;
    if (out_type == DTYPE_BF16) return softmax_typed(out, DTYPE_BF16, s, n, scale, m);
    return softmax_typed(out, DTYPE_F32, s, n, scale, m);
}

/* ---- pack_panel ------------------------------------------------------------------------------ */

/* In words of 32 bits: an f32, or a pair of bf16. */
static void vec_pack_panel(void *panel, const void *rows, size_t stride, int cols, size_t k,
                           enum dtype type) {
    size_t words = type == DTYPE_F32 ? k : k / 2, row_bytes = stride * element_size(type);
    float *to = panel;
    const char *from = rows;
    for (size_t j = 0; j < PANEL; j += VL) {
        size_t w = 0;
        for (; w + VL <= words; w += VL) {
            vf block[VL];
            for (size_t r = 0; r < VL; r++)
                block[r] =
                    j + r < (size_t)cols
                        ? v_load((const float *)(const void *)(from + (j + r) * row_bytes) + w)
                        : v_set(0);
            v_transpose(block);
            for (size_t r = 0; r < VL; r++) v_store(to + (w + r) * PANEL + j, block[r]);
        }
        for (; w < words; w++)
            for (size_t r = j; r < j + VL; r++) {
                uint32_t word = 0;
                if (r < (size_t)cols) memcpy(&word, from + r * row_bytes + 4 * w, 4);
                memcpy(to + w * PANEL + r, &word, 4);
            }
    }
    if (type == DTYPE_F32 || k % 2 == 0) return;
    for (size_t r = 0; r < PANEL; r++) {
        uint32_t word = 0;
        if (r < (size_t)cols) memcpy(&word, from + r * row_bytes + 4 * words, 2);
        memcpy(to + words * PANEL + r, &word, 4);
    }
}

/* A pair's halves become f32 by a shift and a mask. */
static void vec_unpack(float *to, const void *panel, size_t k) {
    const float *from = panel;
    for (size_t i = 0; i < k; i += 2, from += PANEL, to += 2 * PANEL)
        for (size_t j = 0; j < PANEL; j += VL) {
            vf pair = v_load(from + j);
            v_store(to + j, v_pair_first(pair));
            v_store(to + PANEL + j, v_pair_second(pair));
        }
}

static void use_vec_rows(struct kernels *k) {
    k->pack_panel = vec_pack_panel;
    k->unpack = vec_unpack;
    k->convert = vec_convert;
    k->finish = vec_finish;
    k->moments = vec_moments;
    k->scale_shift = vec_scale_shift;
    k->layer_norm = vec_layer_norm;
    k->softmax = vec_softmax;
    k->scale = vec_scale;
}

#endif
