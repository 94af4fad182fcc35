/* bits.h: bf16 and f16 as bits, one value at a time. */
#ifndef KADR_BACKEND_CPU_BITS_H
#define KADR_BACKEND_CPU_BITS_H

#include <stdint.h>
#include <string.h>

static inline float bits_to_f32(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t f32_to_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float bf16_to_f32(uint16_t b) {
    return bits_to_f32((uint32_t)b << 16);
}

/* Round to nearest, ties to even; a NaN stays one (made quiet). */
static inline uint16_t f32_to_bf16(float f) {
    uint32_t u = f32_to_bits(f);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static inline float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7FFFu;
    if (rest >= 0x7C00) return bits_to_f32(sign | 0x7F800000u | (rest & 0x3FFu) << 13);
    if (rest >= 0x400) return bits_to_f32(sign | ((rest << 13) + (112u << 23)));
    float f = (float)rest * 0x1p-24f; /* subnormal: exact */
    return bits_to_f32(sign | f32_to_bits(f));
}

#endif
