/* vec_avx512.h: the vocabulary of vec_math.h, vec_rows.h and vec_gemm.h for AVX-512 F, BW, DQ, VL.
 * With VEC_EMULATED somebody else has defined the intrinsics (tests/kernels/emulated.c). */
#ifndef KADR_BACKEND_CPU_X86_VEC_AVX512_H
#define KADR_BACKEND_CPU_X86_VEC_AVX512_H

#ifndef VEC_EMULATED
#include <immintrin.h>
#endif
#include <stddef.h>
#include <stdint.h>

typedef __m512 vf;
#define VL 16

static inline vf v_set(float x) {
    return _mm512_set1_ps(x);
}
static inline vf v_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline void v_store(float *p, vf v) {
    _mm512_storeu_ps(p, v);
}
static inline vf v_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}
static inline vf v_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}
static inline vf v_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}
static inline vf v_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}
/* a * b + c with one rounding */
static inline vf v_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
/* Of a NaN and a number, the second. */
static inline vf v_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
static inline vf v_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}
static inline vf v_round(vf a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a * 2^n for whole n, where neither a nor the result is zero, subnormal or infinite */
static inline vf v_scale_exponent(vf a, vf n) {
    return _mm512_scalef_ps(a, n);
}
static inline float v_sum(vf v) {
    __m256 w = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float v_max_lane(vf v) {
    __m256 w = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
static inline vf v_load_bf16(const uint16_t *p) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
static inline vf v_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
/* A file for processors with AVX512-BF16 says that it has an instruction for this. */
#ifndef VEC_NATIVE_BF16
static inline void v_store_bf16(uint16_t *p, vf v) {
    __m512i bits = _mm512_castps_si512(v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    up = _mm512_mask_mov_epi32(up, nan, _mm512_or_si512(bits, _mm512_set1_epi32(0x400000)));
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16)));
}
#else
static inline void v_store_bf16(uint16_t *p, vf v) {
    _mm256_storeu_si256((__m256i *)(void *)p, (__m256i)_mm512_cvtneps_pbh(v));
}
#endif
/* a - b, both whole, as f32 */
static inline vf v_load_difference(const int32_t *a, const int32_t *b) {
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(a), _mm512_loadu_si512(b)));
}
/* Each rounded to a signed byte, plus `zero` */
static inline void v_store_bytes(uint8_t *p, vf v, int zero) {
    __m128i bytes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v));
    _mm_storeu_si128((__m128i *)(void *)p, _mm_add_epi8(bytes, _mm_set1_epi8((char)zero)));
}
/* The first and second of pairs of bf16 that lie in 32 bits each. */
static inline vf v_pair_first(vf pair) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(pair), 16));
}
static inline vf v_pair_second(vf pair) {
    __m512i high = _mm512_set1_epi32((int)0xFFFF0000);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(pair), high));
}
/* Such a pair of two numbers, each rounded to nearest even. */
static inline vf v_pair(vf first, vf second) {
    uint16_t rounded[2 * VL];
    v_store_bf16(rounded, first);
    v_store_bf16(rounded + VL, second);
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)rounded);
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_cvtepu16_epi32(low),
                                               _mm512_castps_si512(v_load_bf16(rounded + VL))));
}
/* Within 128 bits first, then the 128-bit quarters. */
static inline void v_transpose(vf r[VL]) {
    vf a[VL], b[VL];
    for (int i = 0; i < VL; i += 4) {
        vf low = _mm512_unpacklo_ps(r[i], r[i + 1]), low2 = _mm512_unpacklo_ps(r[i + 2], r[i + 3]);
        vf high = _mm512_unpackhi_ps(r[i], r[i + 1]),
           high2 = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
        a[i] = _mm512_shuffle_ps(low, low2, 0x44);
        a[i + 1] = _mm512_shuffle_ps(low, low2, 0xEE);
        a[i + 2] = _mm512_shuffle_ps(high, high2, 0x44);
        a[i + 3] = _mm512_shuffle_ps(high, high2, 0xEE);
    }
    for (int i = 0; i < 4; i++) {
        b[i] = _mm512_shuffle_f32x4(a[i], a[i + 4], 0x88);
        b[i + 4] = _mm512_shuffle_f32x4(a[i], a[i + 4], 0xDD);
        b[i + 8] = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0x88);
        b[i + 12] = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0xDD);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(b[i], b[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(b[i], b[i + 8], 0xDD);
        r[i + 4] = _mm512_shuffle_f32x4(b[i + 4], b[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(b[i + 4], b[i + 12], 0xDD);
    }
}

#endif
