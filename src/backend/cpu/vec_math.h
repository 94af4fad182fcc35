/* vec_math.h: functions on vectors, for the files that include it after one instruction set's
 * vocabulary (x86/vec_avx2.h and its like): vf, VL (its floats) and v_...
 *
 * Polynomials are minimax fits in f32 (relative error of exp 3e-9, of erf 2e-8, before rounding).
 */
#ifndef KADR_BACKEND_CPU_VEC_MATH_H
#define KADR_BACKEND_CPU_VEC_MATH_H

#include "graph/graph.h"

#include <string.h>

/* A loop with constant bounds is to be written out, so that what it indexes stays in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define INLINE static inline __attribute__((always_inline))

/* e^x; x is taken as -87..88.3, so that nothing overflows or is subnormal. NaN stays NaN. */
INLINE vf v_exp(vf x) {
    x = v_max(v_set(-87.0f), v_min(v_set(88.3f), x));
    vf n = v_round(v_mul(x, v_set(0x1.715476p+0f)));
    vf r = v_fma(n, v_set(-0x1.62e400p-1f), x); /* ln 2 in two parts: n times the first is exact */
    r = v_fma(n, v_set(-0x1.7f7d1cp-20f), r);
    vf q = v_fma(v_set(0x1.6a2434p-10f), r, v_set(0x1.1239e2p-7f));
    q = v_fma(q, r, v_set(0x1.5558f2p-5f));
    q = v_fma(q, r, v_set(0x1.555492p-3f));
    q = v_fma(q, r, v_set(0x1.fffffcp-2f));
    vf e = v_add(v_fma(v_mul(r, r), q, r), v_set(1.0f));
    return v_scale_exponent(e, n);
}

/* 2^x for x <= 0, taken as -125 at least, with a relative error of 3e-6: for what is rounded to
 * bf16. */
INLINE vf v_exp2_short(vf x) {
    x = v_max(v_set(-125.0f), x);
    vf n = v_round(x), r = v_sub(x, n);
    vf e = v_fma(v_set(0x1.3a02ccp-7f), r, v_set(0x1.c9fc46p-5f));
    e = v_fma(e, r, v_set(0x1.ec0378p-3f));
    e = v_fma(e, r, v_set(0x1.62e12cp-1f));
    e = v_fma(e, r, v_set(1.0f));
    return v_scale_exponent(e, n);
}

/* Beyond the bound the quotient rounds to more than 1 and is cut to it. */
INLINE vf v_erf(vf x) {
    x = v_max(v_set(-4.05f), v_min(v_set(4.05f), x));
    vf t = v_mul(x, x);
    vf p = v_fma(v_set(0x1.133db6p-19f), t, v_set(0x1.2aba48p-12f));
    p = v_fma(p, t, v_set(0x1.ed6de4p-9f));
    p = v_fma(p, t, v_set(0x1.b0178ep-5f));
    p = v_fma(p, t, v_set(0x1.85e4eep-3f));
    p = v_fma(p, t, v_set(0x1.20dd74p+0f));
    vf q = v_fma(v_set(0x1.3f97bap-15f), t, v_set(0x1.30b306p-10f));
    q = v_fma(q, t, v_set(0x1.ea711ep-7f));
    q = v_fma(q, t, v_set(0x1.d35860p-4f));
    q = v_fma(q, t, v_set(0x1.010cd0p-1f));
    q = v_fma(q, t, v_set(1.0f));
    vf e = v_div(v_mul(x, p), q);
    return v_max(v_set(-1.0f), v_min(v_set(1.0f), e));
}

INLINE vf v_activate(vf x, enum act act) {
    vf one = v_set(1.0f);
    switch (act) {
    case ACT_SILU: return v_div(x, v_add(one, v_exp(v_sub(v_set(0), x))));
    case ACT_GELU:
    case ACT_GEGLU:
        return v_mul(v_mul(v_set(0.5f), x), v_add(one, v_erf(v_mul(x, v_set(0.70710678f)))));
    case ACT_QUICK_GELU: return v_div(x, v_add(one, v_exp(v_mul(x, v_set(-1.702f)))));
    default: return x;
    }
}

/* VL elements from index i on, as f32. */
INLINE vf v_load_any(const void *p, enum dtype type, size_t i) {
    switch (type) {
    case DTYPE_BF16: return v_load_bf16((const uint16_t *)p + i);
    case DTYPE_F16: return v_load_f16((const uint16_t *)p + i);
    default: return v_load((const float *)p + i);
    }
}

INLINE void v_store_any(void *p, enum dtype type, size_t i, vf v) {
    if (type == DTYPE_BF16) v_store_bf16((uint16_t *)p + i, v);
    else v_store((float *)p + i, v);
}

INLINE size_t element_size(enum dtype type) {
    return type == DTYPE_F32 ? 4 : 2;
}

/* The same for n <= VL elements; what is behind them reads as 0. */
INLINE vf v_load_some(const void *p, enum dtype type, size_t i, size_t n) {
    if (n == VL) return v_load_any(p, type, i);
    float part[VL] = {0};
    memcpy(part, (const char *)p + i * element_size(type), n * element_size(type));
    return v_load_any(part, type, 0);
}

INLINE void v_store_some(void *p, enum dtype type, size_t i, size_t n, vf v) {
    if (n == VL) {
        v_store_any(p, type, i, v);
        return;
    }
    float part[VL];
    v_store_any(part, type, 0, v);
    memcpy((char *)p + i * element_size(type), part, n * element_size(type));
}

#endif
