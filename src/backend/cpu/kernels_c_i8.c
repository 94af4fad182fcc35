/* kernels_c_i8.c: the reference of int8 in plain C, like kernels_c.c. */
#include "backend/cpu/bits.h"
#include "backend/cpu/kernels.h"

#include <math.h>

#define TILE_ROWS 4

static float load(const void *p, enum dtype type, size_t i) {
    if (type == DTYPE_F32) return ((const float *)p)[i];
    uint16_t bits = ((const uint16_t *)p)[i];
    return type == DTYPE_BF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

static void gemm_i8_c(const struct gemm_tile *t) {
    for (int p = 0; p < t->panels; p++)
        for (int r = 0; r < t->rows; r++)
            for (size_t j = 0; j < PANEL; j++) {
                const int8_t *row = (const int8_t *)t->a + (size_t)r * t->a_stride;
                const int8_t *b = (const int8_t *)t->b + (size_t)p * t->b_stride + 4 * j;
                int32_t *to = (int32_t *)(void *)t->c + (size_t)r * t->c_stride;
                int32_t sum = t->accumulate ? to[(size_t)p * PANEL + j] : 0;
                for (size_t i = 0; i < t->k * t->pieces; i++)
                    sum += row[i / t->k * t->a_piece + i % t->k] * b[i / 4 * 4 * PANEL + i % 4];
                to[(size_t)p * PANEL + j] = sum;
            }
}

static float peak_c(const void *x, enum dtype type, size_t n) {
    float top = 0;
    for (size_t i = 0; i < n; i++) top = fmaxf(top, fabsf(load(x, type, i)));
    return top;
}

static void quantise_c(uint8_t *to, const void *x, enum dtype type, size_t n, float by) {
    for (size_t i = 0; i < n; i++) {
        float v = fmaxf(-127, fminf(127, load(x, type, i) * by));
        to[i] = (uint8_t)(int)nearbyintf(v);
    }
}

static void dequantise_c(float *acc, size_t stride, size_t rows, const float *by,
                         const struct i8_tail *tail) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < PANEL; c++) {
            float *at = acc + r * stride + c;
            *at = (float)*(const int32_t *)(const void *)at * (by[r] * tail->scale[c]);
        }
}

void kernels_c_i8(struct kernels *k) {
    k->gemm_i8 =
        (struct gemm_kernel){.name = "gemm_i8_c", .run = gemm_i8_c, .rows = TILE_ROWS, .panels = 1};
    k->i8_zero = 0;
    k->peak = peak_c;
    k->quantise = quantise_c;
    k->dequantise = dequantise_c;
}
