/* avx512_vnni.c: int8 for processors with VNNI: four multiply-adds a lane, of unsigned bytes of A
 * and signed ones of B. */
#include "backend/cpu/x86/vec_avx512.h"

#include "backend/cpu/vec_gemm.h"
#define I8_ZERO 128
#include "backend/cpu/vec_i8.h"

typedef __m512i tile_whole[TILE_ROWS_MOST][TILE_VECS_MOST];

/* Words of 32 bits are fours: of a row of A, broadcast, and of the 16 columns of a panel. */
INLINE void tile_i8(const struct gemm_tile *t, int rows, int vecs) {
    tile_whole sum;
    const char *a[TILE_POINTERS];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vecs; v++) sum[r][v] =
        t->accumulate ? _mm512_loadu_si512(tile_c(t, r, v)) : _mm512_set1_epi32(0);
    for (size_t piece = 0; piece < t->pieces; piece++) {
        struct tile_walk w = tile_walk(t, piece, t->k / 4);
        tile_rows(t, rows, piece, a);
        for (size_t k = 0; k < t->k / 4; k++) {
            __m512i b[TILE_VECS_MOST];
            UNROLL for (int v = 0; v < vecs; v++) b[v] = _mm512_loadu_si512(tile_b(t, &w, v));
            UNROLL for (int r = 0; r < rows; r++) {
                int32_t four;
                memcpy(&four, tile_a(t, a, r) + k * 4, sizeof four);
                __m512i x = _mm512_set1_epi32(four);
                UNROLL for (int v = 0; v < vecs; v++) sum[r][v] =
                    _mm512_dpbusd_epi32(sum[r][v], x, b[v]);
            }
            tile_step(t, &w);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vecs; v++)
        _mm512_storeu_si512(tile_c(t, r, v), sum[r][v]);
}

GEMM_KERNEL(gemm_i8_vnni, tile_i8, TILE_SWITCH_14, 2)

void kernels_avx512_vnni(struct kernels *k) {
    USE_VEC_I8(k);
    k->gemm_i8 = (struct gemm_kernel){
        .name = "gemm_i8_vnni", .run = gemm_i8_vnni, .rows = 14, .panels = 2, .near = NEAR_NEITHER};
}
