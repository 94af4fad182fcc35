/* avx2_i8.c: int8 for AVX2. Bytes are widened to 16 bits, whose products in pairs cannot overflow
 * (those of bytes can): the even and the odd bytes of each four apart. Tiles of 4 rows by one
 * panel: 8 of 16 registers are sums. */
#include "backend/cpu/x86/vec_avx2.h"

#include "backend/cpu/vec_gemm.h"
#define I8_ZERO 0
#include "backend/cpu/vec_i8.h"

#define ROWS 4

INLINE __m256i even_bytes(__m256i v) {
    return _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8);
}
INLINE __m256i odd_bytes(__m256i v) {
    return _mm256_srai_epi16(v, 8);
}
INLINE __m256i load_whole(const void *p) {
    return _mm256_loadu_si256(p);
}

INLINE void tile_i8(const struct gemm_tile *t, int rows, int vecs) {
    __m256i sum[ROWS][PANEL_VECS];
    const char *a[TILE_POINTERS];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vecs; v++) sum[r][v] =
        t->accumulate ? load_whole(tile_c(t, r, v)) : _mm256_setzero_si256();
    for (size_t piece = 0; piece < t->pieces; piece++) {
        struct tile_walk w = tile_walk(t, piece, t->k / 4);
        tile_rows(t, rows, piece, a);
        for (size_t k = 0; k < t->k / 4; k++) {
            __m256i even[PANEL_VECS], odd[PANEL_VECS];
            UNROLL for (int v = 0; v < vecs; v++) {
                __m256i b = load_whole(tile_b(t, &w, v));
                even[v] = even_bytes(b);
                odd[v] = odd_bytes(b);
            }
            UNROLL for (int r = 0; r < rows; r++) {
                int32_t four;
                memcpy(&four, tile_a(t, a, r) + k * 4, sizeof four);
                __m256i x = _mm256_set1_epi32(four), x2 = odd_bytes(x);
                x = even_bytes(x);
                UNROLL for (int v = 0; v < vecs; v++) {
                    __m256i s = _mm256_add_epi32(sum[r][v], _mm256_madd_epi16(x, even[v]));
                    sum[r][v] = _mm256_add_epi32(s, _mm256_madd_epi16(x2, odd[v]));
                }
            }
            tile_step(t, &w);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vecs; v++)
        _mm256_storeu_si256((__m256i *)(void *)tile_c(t, r, v), sum[r][v]);
}

GEMM_KERNEL(gemm_i8_avx2, tile_i8, TILE_SWITCH_4, 1)

void kernels_avx2_i8(struct kernels *k) {
    USE_VEC_I8(k);
    k->gemm_i8 = (struct gemm_kernel){
        .name = "gemm_i8_avx2", .run = gemm_i8_avx2, .rows = ROWS, .panels = 1};
}
