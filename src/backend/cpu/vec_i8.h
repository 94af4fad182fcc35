/* vec_i8.h: what int8 products need beside the product itself, in one instruction set's vocabulary
 * (see vec_math.h). A file that includes this sets the table's entries with USE_VEC_I8, and says
 * with I8_ZERO what the bytes of its product's A are counted from.
 */
#ifndef KADR_BACKEND_CPU_VEC_I8_H
#define KADR_BACKEND_CPU_VEC_I8_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/vec_math.h"

INLINE vf v_magnitude(vf v) {
    return v_max(v, v_sub(v_set(0), v));
}

/* Of n elements from number `at` on, at most VL. */
INLINE vf i8_magnitude(const void *x, enum dtype type, size_t at, size_t n) {
    return v_magnitude(v_load_some(x, type, at, n));
}

INLINE float peak_typed(const void *x, enum dtype type, size_t n) {
    vf most = v_set(0), most2 = most;
    size_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        most = v_max(most, i8_magnitude(x, type, i, VL));
        most2 = v_max(most2, i8_magnitude(x, type, i + VL, VL));
    }
    float top = v_max_lane(v_max(most, most2));
    for (; i < n; i += VL) {
        size_t rest = n - i < VL ? n - i : VL;
        float part[VL];
        v_store(part, i8_magnitude(x, type, i, rest));
        for (size_t j = 0; j < rest; j++) top = part[j] > top ? part[j] : top;
    }
    return top;
}

INLINE void quantise_typed(uint8_t *to, const void *x, enum dtype type, size_t n, float by_) {
    vf by = v_set(by_);
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store_bytes(to + i, v_mul(v_load_some(x, type, i, VL), by), I8_ZERO);
    if (i == n) return;
    uint8_t part[VL];
    v_store_bytes(part, v_mul(v_load_some(x, type, i, n - i), by), I8_ZERO);
    memcpy(to + i, part, n - i);
}

static float vec_peak(const void *x, enum dtype type, size_t n) {
    if (type == DTYPE_BF16) return peak_typed(x, DTYPE_BF16, n);
    if (type == DTYPE_F16) return peak_typed(x, DTYPE_F16, n);
    return peak_typed(x, DTYPE_F32, n);
}

static void vec_quantise(uint8_t *to, const void *x, enum dtype type, size_t n, float by) {
    if (type == DTYPE_BF16) quantise_typed(to, x, DTYPE_BF16, n, by);
    else if (type == DTYPE_F16) quantise_typed(to, x, DTYPE_F16, n, by);
    else quantise_typed(to, x, DTYPE_F32, n, by);
}

static void vec_dequantise(float *acc, size_t stride, size_t rows, const float *by,
                           const struct i8_tail *tail) {
    int32_t off[PANEL];
    for (int c = 0; c < PANEL; c++) off[c] = I8_ZERO * tail->sum[c];
    for (size_t r = 0; r < rows; r++, acc += stride) {
        vf row = v_set(by[r]);
        UNROLL for (size_t c = 0; c < PANEL; c += VL) {
            vf v = v_load_difference((const int32_t *)(const void *)(acc + c), off + c);
            v_store(acc + c, v_mul(v, v_mul(row, v_load(tail->scale + c))));
        }
    }
}

#define USE_VEC_I8(k)                                                                              \
    do {                                                                                           \
        (k)->i8_zero = I8_ZERO;                                                                    \
        (k)->peak = vec_peak;                                                                      \
        (k)->quantise = vec_quantise;                                                              \
        (k)->dequantise = vec_dequantise;                                                          \
    } while (0)

#endif
