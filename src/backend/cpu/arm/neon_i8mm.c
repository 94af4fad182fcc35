/* neon_i8mm.c: the product of int8 where there is smmla: a register holds the sums of two rows by
 * two columns, each gains eight products. Tiles of 6 rows by one panel: 24 of 32 registers are
 * sums. */
#include "backend/cpu/arm/vec_neon.h"

#include "backend/cpu/vec_gemm.h"

#define ROWS 6
#define PAIRS (PANEL / 2) /* of columns */

/* A row from byte k of a piece on: eight, or the last four and zeros. */
INLINE int8x8_t eight(const char *row, size_t k, size_t end) {
    int8_t bytes[8] = {0};
    memcpy(bytes, row + k, end - k < 8 ? 4 : 8);
    return vld1_s8(bytes);
}

/* Columns 2 j and 2 j + 1, eight bytes each: a panel has four bytes of each column in a line. */
INLINE int8x16_t column_pair(const void *lines, int j, bool both) {
    const int32_t *line = (const int32_t *)lines + 2 * j;
    int32x2_t low = vld1_s32(line), high = vdup_n_s32(0);
    if (both) high = vld1_s32(line + PANEL);
    return vreinterpretq_s8_s32(vcombine_s32(vzip1_s32(low, high), vzip2_s32(low, high)));
}

INLINE int32x2_t sums_at(const struct gemm_tile *t, int r, int rows, int j) {
    if (!t->accumulate || r >= rows) return vdup_n_s32(0);
    return vld1_s32((const int32_t *)(const void *)(t->c + (size_t)r * t->c_stride + 2 * j));
}

INLINE void tile_i8(const struct gemm_tile *t, int rows, int vecs) {
    int32x4_t sum[ROWS / 2][PAIRS];
    const char *row[TILE_POINTERS];
    (void)vecs;
    UNROLL for (int r = 0; 2 * r < rows; r++) UNROLL for (int j = 0; j < PAIRS; j++) sum[r][j] =
        vcombine_s32(sums_at(t, 2 * r, rows, j), sums_at(t, 2 * r + 1, rows, j));
    for (size_t piece = 0; piece < t->pieces; piece++) {
        struct tile_walk w = tile_walk(t, piece, t->k / 4);
        tile_rows(t, rows, piece, row);
        for (size_t k = 0; k < t->k; k += 8) {
            int8x16_t a[ROWS / 2];
            UNROLL for (int r = 0; 2 * r < rows; r++) a[r] = vcombine_s8(
                eight(tile_a(t, row, 2 * r), k, t->k),
                2 * r + 1 < rows ? eight(tile_a(t, row, 2 * r + 1), k, t->k) : vdup_n_s8(0));
            UNROLL for (int j = 0; j < PAIRS; j++) {
                int8x16_t b = column_pair(w.b, j, t->k - k >= 8);
                UNROLL for (int r = 0; 2 * r < rows; r++) sum[r][j] =
                    vmmlaq_s32(sum[r][j], a[r], b);
            }
            tile_step(t, &w);
            tile_step(t, &w);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int j = 0; j < PAIRS; j++)
        vst1_s32((int32_t *)(void *)(t->c + (size_t)r * t->c_stride + 2 * j),
                 r % 2 ? vget_high_s32(sum[r / 2][j]) : vget_low_s32(sum[r / 2][j]));
}

GEMM_KERNEL(gemm_i8_i8mm, tile_i8, TILE_SWITCH_6, 1)

void kernels_neon_i8mm(struct kernels *k) {
    k->gemm_i8 = (struct gemm_kernel){
        .name = "gemm_i8_i8mm", .run = gemm_i8_i8mm, .rows = ROWS, .panels = 1};
}
