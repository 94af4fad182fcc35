/* neon_i8.c: int8 for NEON without products of four: bytes of a column are multiplied to 16 bits
 * and added in pairs to 32. Tiles of 4 rows by one panel. */
#include "backend/cpu/arm/vec_neon.h"

#include "backend/cpu/vec_gemm.h"
#define I8_ZERO 0
#include "backend/cpu/vec_i8.h"

#define ROWS 4

/* The products of 4 columns in 16 bits, added in pairs to 32. */
INLINE int32x4_t add_products(int32x4_t sum, int8x16_t x, int8x16_t b) {
    int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(b)), high = vmull_high_s8(x, b);
    return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
}

INLINE void tile_i8(const struct gemm_tile *t, int rows, int vecs) {
    int32x4_t sum[ROWS][PANEL_VECS];
    const char *a[TILE_POINTERS];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vecs; v++) sum[r][v] =
        t->accumulate ? vld1q_s32((const int32_t *)(const void *)tile_c(t, r, v)) : vdupq_n_s32(0);
    for (size_t piece = 0; piece < t->pieces; piece++) {
        struct tile_walk w = tile_walk(t, piece, t->k / 4);
        tile_rows(t, rows, piece, a);
        for (size_t k = 0; k < t->k / 4; k++) {
            int8x16_t b[PANEL_VECS];
            UNROLL for (int v = 0; v < vecs; v++) b[v] = vld1q_s8(tile_b(t, &w, v));
            UNROLL for (int r = 0; r < rows; r++) {
                int32_t four;
                memcpy(&four, tile_a(t, a, r) + k * 4, sizeof four);
                int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(four));
                UNROLL for (int v = 0; v < vecs; v++) sum[r][v] = add_products(sum[r][v], x, b[v]);
            }
            tile_step(t, &w);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vecs; v++)
        vst1q_s32((int32_t *)(void *)tile_c(t, r, v), sum[r][v]);
}

GEMM_KERNEL(gemm_i8_neon, tile_i8, TILE_SWITCH_4, 1)

void kernels_neon_i8(struct kernels *k) {
    USE_VEC_I8(k);
    k->gemm_i8 = (struct gemm_kernel){
        .name = "gemm_i8_neon", .run = gemm_i8_neon, .rows = ROWS, .panels = 1};
}
