/* vec_neon.h: the vocabulary of vec_math.h, vec_rows.h and vec_gemm.h for NEON of aarch64. */
#ifndef KADR_BACKEND_CPU_ARM_VEC_NEON_H
#define KADR_BACKEND_CPU_ARM_VEC_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef float32x4_t vf;
#define VL 4

static inline vf v_set(float x) {
    return vdupq_n_f32(x);
}
static inline vf v_load(const float *p) {
    return vld1q_f32(p);
}
static inline void v_store(float *p, vf v) {
    vst1q_f32(p, v);
}
static inline vf v_add(vf a, vf b) {
    return vaddq_f32(a, b);
}
static inline vf v_sub(vf a, vf b) {
    return vsubq_f32(a, b);
}
static inline vf v_mul(vf a, vf b) {
    return vmulq_f32(a, b);
}
static inline vf v_div(vf a, vf b) {
    return vdivq_f32(a, b);
}
/* a * b + c with one rounding */
static inline vf v_fma(vf a, vf b, vf c) {
    return vfmaq_f32(c, a, b);
}
/* Of a NaN and a number, the second: as on x86, where the comparison decides. */
static inline vf v_max(vf a, vf b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}
static inline vf v_min(vf a, vf b) {
    return vbslq_f32(vcltq_f32(a, b), a, b);
}
static inline vf v_round(vf a) {
    return vrndnq_f32(a);
}
/* a * 2^n for whole n, where neither a nor the result is zero, subnormal or infinite */
static inline vf v_scale_exponent(vf a, vf n) {
    int32x4_t shift = vshlq_n_s32(vcvtq_s32_f32(n), 23);
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a), shift));
}
static inline float v_sum(vf v) {
    return vaddvq_f32(v);
}
static inline float v_max_lane(vf v) {
    return vmaxvq_f32(v);
}
static inline vf v_load_bf16(const uint16_t *p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
static inline vf v_load_f16(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
static inline void v_store_bf16(uint16_t *p, vf v) {
    uint32x4_t bits = vreinterpretq_u32_f32(v);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    uint32x4_t up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
    uint32x4_t number = vceqq_f32(v, v);
    up = vbslq_u32(number, up, vorrq_u32(bits, vdupq_n_u32(0x400000)));
    vst1_u16(p, vshrn_n_u32(up, 16));
}
/* a - b, both whole, as f32 */
static inline vf v_load_difference(const int32_t *a, const int32_t *b) {
    return vcvtq_f32_s32(vsubq_s32(vld1q_s32(a), vld1q_s32(b)));
}
/* Each rounded to a signed byte, plus `zero` */
static inline void v_store_bytes(uint8_t *p, vf v, int zero) {
    int16x4_t half = vqmovn_s32(vcvtnq_s32_f32(v));
    int8x8_t bytes = vadd_s8(vqmovn_s16(vcombine_s16(half, half)), vdup_n_s8((int8_t)zero));
    int32_t four = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
    memcpy(p, &four, sizeof four);
}
/* The first and second of pairs of bf16 that lie in 32 bits each. */
static inline vf v_pair_first(vf pair) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(pair), 16));
}
static inline vf v_pair_second(vf pair) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(pair), vdupq_n_u32(0xFFFF0000u)));
}
/* Such a pair of two numbers, each rounded to nearest even. */
static inline vf v_pair(vf first, vf second) {
    uint16_t rounded[2 * VL];
    v_store_bf16(rounded, first);
    v_store_bf16(rounded + VL, second);
    uint32x4_t low = vmovl_u16(vld1_u16(rounded));
    return vreinterpretq_f32_u32(vorrq_u32(low, vreinterpretq_u32_f32(v_load_bf16(rounded + VL))));
}
static inline void v_transpose(vf r[VL]) {
    float32x4x2_t a = vtrnq_f32(r[0], r[1]), b = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

#endif
