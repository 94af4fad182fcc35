/* emulated.h: every 512-bit instruction that the kernels of AVX-512 use written in plain C, as
 * Intel's manual defines it (within quarters of 128 bits by the SSE instruction of the same name):
 * what those kernels compute is checked on processors that have none of them.
 */
#include <immintrin.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

#define VEC_EMULATED

union lanes {
    __m512 v;
    __m512i i;
    __m512bh b;
    __m128 q[4];
    __m256 half[2];
    float f[16];
    uint32_t u[16];
    int32_t s[16];
    uint16_t h[32];
};

/* Never inlined: the tiles are unrolled, and the compiler would work for minutes. */
#define EMULATE static __attribute__((noinline, unused))
#define UNARY(name, expression)                                                                    \
    EMULATE __m512 name(__m512 a_) {                                                               \
        union lanes a = {.v = a_}, r;                                                              \
        for (int l = 0; l < 16; l++) r.f[l] = expression;                                          \
        return r.v;                                                                                \
    }
#define BINARY(name, expression)                                                                   \
    EMULATE __m512 name(__m512 a_, __m512 b_) {                                                    \
        union lanes a = {.v = a_}, b = {.v = b_}, r;                                               \
        for (int l = 0; l < 16; l++) r.f[l] = expression;                                          \
        return r.v;                                                                                \
    }
#define BINARY_WHOLE(name, expression)                                                             \
    EMULATE __m512i name(__m512i a_, __m512i b_) {                                                 \
        union lanes a = {.i = a_}, b = {.i = b_}, r;                                               \
        for (int l = 0; l < 16; l++) r.u[l] = expression;                                          \
        return r.i;                                                                                \
    }
#define QUARTERS(name, of)                                                                         \
    EMULATE __m512 name(__m512 a_, __m512 b_) {                                                    \
        union lanes a = {.v = a_}, b = {.v = b_}, r;                                               \
        for (int l = 0; l < 4; l++) r.q[l] = of(a.q[l], b.q[l]);                                   \
        return r.v;                                                                                \
    }

BINARY(emulated_add, a.f[l] + b.f[l])
BINARY(emulated_sub, a.f[l] - b.f[l])
BINARY(emulated_mul, a.f[l] * b.f[l])
BINARY(emulated_div, a.f[l] / b.f[l])
/* The second operand unless the comparison holds: so of NaN and a number, the second. */
BINARY(emulated_max, a.f[l] > b.f[l] ? a.f[l] : b.f[l])
BINARY(emulated_min, a.f[l] < b.f[l] ? a.f[l] : b.f[l])
UNARY(emulated_round, nearbyintf(a.f[l]))
BINARY(emulated_scalef, ldexpf(a.f[l], (int)floorf(b.f[l])))
BINARY_WHOLE(emulated_add_whole, a.u[l] + b.u[l])
BINARY_WHOLE(emulated_sub_whole, a.u[l] - b.u[l])
BINARY_WHOLE(emulated_and, a.u[l] & b.u[l])
BINARY_WHOLE(emulated_or, a.u[l] | b.u[l])
QUARTERS(emulated_unpacklo, _mm_unpacklo_ps)
QUARTERS(emulated_unpackhi, _mm_unpackhi_ps)

EMULATE __m512 emulated_set(float x) {
    union lanes r;
    for (int l = 0; l < 16; l++) r.f[l] = x;
    return r.v;
}
EMULATE __m512i emulated_set_whole(int x) {
    union lanes r;
    for (int l = 0; l < 16; l++) r.s[l] = x;
    return r.i;
}
EMULATE __m512 emulated_load(const void *p) {
    union lanes r;
    memcpy(r.f, p, sizeof r.f);
    return r.v;
}
EMULATE __m512i emulated_load_whole(const void *p) {
    union lanes r = {.v = emulated_load(p)};
    return r.i;
}
EMULATE void emulated_store(void *p, __m512 v) {
    memcpy(p, &v, sizeof v);
}
EMULATE __m512 emulated_fma(__m512 a_, __m512 b_, __m512 c_) {
    union lanes a = {.v = a_}, b = {.v = b_}, c = {.v = c_}, r;
    for (int l = 0; l < 16; l++) r.f[l] = fmaf(a.f[l], b.f[l], c.f[l]);
    return r.v;
}
EMULATE __m512i emulated_to_whole(__m512 a_) {
    union lanes a = {.v = a_}, r;
    for (int l = 0; l < 16; l++) r.s[l] = (int32_t)nearbyintf(a.f[l]);
    return r.i;
}
EMULATE __m512i emulated_left(__m512i a_, int by) {
    union lanes a = {.i = a_}, r;
    for (int l = 0; l < 16; l++) r.u[l] = a.u[l] << by;
    return r.i;
}
EMULATE __m512i emulated_right(__m512i a_, int by) {
    union lanes a = {.i = a_}, r;
    for (int l = 0; l < 16; l++) r.u[l] = a.u[l] >> by;
    return r.i;
}
EMULATE __m512i emulated_widen(__m256i a) {
    uint16_t h[16];
    union lanes r;
    memcpy(h, &a, sizeof h);
    for (int l = 0; l < 16; l++) r.u[l] = h[l];
    return r.i;
}
EMULATE __m256i emulated_narrow(__m512i a_) {
    union lanes a = {.i = a_};
    uint16_t h[16];
    __m256i r;
    for (int l = 0; l < 16; l++) h[l] = (uint16_t)a.u[l];
    memcpy(&r, h, sizeof r);
    return r;
}
EMULATE __m512 emulated_from_half(__m256i a) {
    union lanes r;
    r.half[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(a));
    r.half[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1));
    return r.v;
}
EMULATE __mmask16 emulated_unordered(__m512 a_, __m512 b_) {
    union lanes a = {.v = a_}, b = {.v = b_};
    unsigned mask = 0;
    for (int l = 0; l < 16; l++) mask |= (unsigned)(isnan(a.f[l]) || isnan(b.f[l])) << l;
    return (__mmask16)mask;
}
EMULATE __m512i emulated_mask_mov(__m512i from_, __mmask16 mask, __m512i a_) {
    union lanes from = {.i = from_}, a = {.i = a_};
    for (int l = 0; l < 16; l++)
        if (mask >> l & 1) from.u[l] = a.u[l];
    return from.i;
}
EMULATE __m256 emulated_upper(__m512 a_) {
    union lanes a = {.v = a_};
    return a.half[1];
}
EMULATE __m512 emulated_quarters(__m512 a_, __m512 b_, int pick) {
    union lanes a = {.v = a_}, b = {.v = b_}, r;
    r.q[0] = a.q[pick & 3];
    r.q[1] = a.q[pick >> 2 & 3];
    r.q[2] = b.q[pick >> 4 & 3];
    r.q[3] = b.q[pick >> 6 & 3];
    return r.v;
}
EMULATE __m512 emulated_from_whole(__m512i a_) {
    union lanes a = {.i = a_}, r;
    for (int l = 0; l < 16; l++) r.f[l] = (float)a.s[l];
    return r.v;
}
EMULATE __m128i emulated_to_bytes(__m512i a_) {
    union lanes a = {.i = a_};
    int8_t bytes[16];
    __m128i r;
    for (int l = 0; l < 16; l++)
        bytes[l] = (int8_t)(a.s[l] > 127 ? 127 : a.s[l] < -128 ? -128 : a.s[l]);
    memcpy(&r, bytes, sizeof r);
    return r;
}
/* Unsigned bytes of a, signed ones of b: each lane gains four products. */
EMULATE __m512i emulated_dot_bytes(__m512i s_, __m512i a_, __m512i b_) {
    union lanes s = {.i = s_}, a = {.i = a_}, b = {.i = b_};
    for (int l = 0; l < 16; l++)
        for (int i = 0; i < 4; i++)
            s.s[l] += (uint8_t)(a.u[l] >> 8 * i) * (int8_t)(b.u[l] >> 8 * i);
    return s.i;
}
EMULATE void emulated_store_whole(void *p, __m512i v) {
    memcpy(p, &v, sizeof v);
}
/* Pairs of bf16: each lane gains both products. */
EMULATE __m512 emulated_dot(__m512 s_, __m512bh a_, __m512bh b_) {
    union lanes s = {.v = s_}, a = {.b = a_}, b = {.b = b_};
    for (int l = 0; l < 16; l++)
        for (int half = 0; half < 2; half++) {
            union lanes x, y;
            x.u[0] = (uint32_t)a.h[2 * l + half] << 16;
            y.u[0] = (uint32_t)b.h[2 * l + half] << 16;
            s.f[l] = fmaf(x.f[0], y.f[0], s.f[l]);
        }
    return s.v;
}
#define emulated_shuffle(a_, b_, pick)                                                             \
    __extension__({                                                                                \
        union lanes x_ = {.v = (a_)}, y_ = {.v = (b_)}, r_;                                        \
        for (int l_ = 0; l_ < 4; l_++) r_.q[l_] = _mm_shuffle_ps(x_.q[l_], y_.q[l_], pick);        \
        r_.v;                                                                                      \
    })
#define emulated_low(a_)                                                                           \
    __extension__({                                                                                \
        union lanes x_ = {.v = (a_)};                                                              \
        x_.half[0];                                                                                \
    })

#define _mm512_set1_ps emulated_set
#define _mm512_set1_epi32 emulated_set_whole
#define _mm512_loadu_ps emulated_load
#define _mm512_loadu_si512 emulated_load_whole
#define _mm512_storeu_ps emulated_store
#define _mm512_add_ps emulated_add
#define _mm512_sub_ps emulated_sub
#define _mm512_mul_ps emulated_mul
#define _mm512_div_ps emulated_div
#define _mm512_max_ps emulated_max
#define _mm512_min_ps emulated_min
#define _mm512_fmadd_ps emulated_fma
#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps(a, how) emulated_round(a)
#define _mm512_scalef_ps emulated_scalef
#define _mm512_cvtps_epi32 emulated_to_whole
#define _mm512_add_epi32 emulated_add_whole
#define _mm512_and_si512 emulated_and
#define _mm512_or_si512 emulated_or
#define _mm512_slli_epi32 emulated_left
#define _mm512_srli_epi32 emulated_right
#define _mm512_cvtepu16_epi32 emulated_widen
#define _mm512_cvtepi32_epi16 emulated_narrow
#define _mm512_cvtph_ps emulated_from_half
#undef _mm512_cmp_ps_mask
#define _mm512_cmp_ps_mask(a, b, how) emulated_unordered(a, b)
#define _mm512_mask_mov_epi32 emulated_mask_mov
#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps(a, which) emulated_upper(a)
#define _mm512_castps512_ps256 emulated_low
#define _mm512_castps_si512(a) ((__m512i)(a))
#define _mm512_castsi512_ps(a) ((__m512)(a))
#define _mm512_unpacklo_ps emulated_unpacklo
#define _mm512_unpackhi_ps emulated_unpackhi
#undef _mm512_shuffle_ps
#define _mm512_shuffle_ps emulated_shuffle
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4 emulated_quarters
#define _mm512_dpbf16_ps emulated_dot
#define _mm512_sub_epi32 emulated_sub_whole
#define _mm512_cvtepi32_ps emulated_from_whole
#define _mm512_cvtsepi32_epi8 emulated_to_bytes
#define _mm512_dpbusd_epi32 emulated_dot_bytes
#define _mm512_storeu_si512 emulated_store_whole
