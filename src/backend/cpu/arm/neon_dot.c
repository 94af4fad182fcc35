/* neon_dot.c: the product of int8 where there is sdot: four multiply-adds a lane. Tiles of 6 rows
 * by one panel: 24 of 32 registers are sums. */
#include "backend/cpu/arm/vec_neon.h"

#include "backend/cpu/vec_gemm.h"

#define ROWS 6

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
                UNROLL for (int v = 0; v < vecs; v++) sum[r][v] = vdotq_s32(sum[r][v], b[v], x);
            }
            tile_step(t, &w);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vecs; v++)
        vst1q_s32((int32_t *)(void *)tile_c(t, r, v), sum[r][v]);
}

GEMM_KERNEL(gemm_i8_dot, tile_i8, TILE_SWITCH_6, 1)

void kernels_neon_dot(struct kernels *k) {
    k->gemm_i8 =
        (struct gemm_kernel){.name = "gemm_i8_dot", .run = gemm_i8_dot, .rows = ROWS, .panels = 1};
}
