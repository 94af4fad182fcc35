/* avx512_bf16.c: the product of bf16 pairs for processors that have it, two multiply-adds a lane,
 * and the other kernels with its rounding to bf16.
 */
#define VEC_NATIVE_BF16
#include "backend/cpu/x86/vec_avx512.h"

#include "backend/cpu/vec_gemm.h"
#include "backend/cpu/vec_rows.h"
#include "backend/cpu/vec_winograd.h"

/* Words of 32 bits are pairs: of a row of A, broadcast, and of the 16 columns of a panel. */
INLINE void tile_bf16(const struct gemm_tile *t, int rows, int vecs) {
    tile_sums sum;
    const char *a[TILE_POINTERS];
    tile_begin(t, rows, vecs, sum);
    for (size_t piece = 0; piece < t->pieces; piece++) {
        struct tile_walk w = tile_walk(t, piece, t->k / 2);
        tile_rows(t, rows, piece, a);
        for (size_t k = 0; k < t->k / 2; k++) {
            __m512bh b[TILE_VECS_MOST];
            UNROLL for (int v = 0; v < vecs; v++) b[v] =
                (__m512bh)_mm512_loadu_si512(tile_b(t, &w, v));
            UNROLL for (int r = 0; r < rows; r++) {
                int32_t pair;
                memcpy(&pair, tile_a(t, a, r) + k * 4, sizeof pair);
                __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
                UNROLL for (int v = 0; v < vecs; v++) sum[r][v] =
                    _mm512_dpbf16_ps(sum[r][v], x, b[v]);
            }
            tile_step(t, &w);
        }
    }
    tile_end(t, rows, vecs, sum);
}

GEMM_KERNEL(gemm_bf16_avx512, tile_bf16, TILE_SWITCH_14, 2)

void kernels_avx512_bf16(struct kernels *k) {
    use_vec_rows(k);
    use_vec_winograd(k);
    k->gemm_bf16 = (struct gemm_kernel){.name = "gemm_bf16_avx512",
                                        .run = gemm_bf16_avx512,
                                        .rows = 14,
                                        .panels = 2,
                                        .near = NEAR_NEITHER};
}
