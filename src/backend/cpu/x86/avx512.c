/* avx512.c: kernels for AVX-512: tiles of 14 rows by two panels (28 of 32 registers are sums). */
#include "backend/cpu/x86/vec_avx512.h"

#include "backend/cpu/vec_gemm.h"
#include "backend/cpu/vec_rows.h"
#include "backend/cpu/vec_winograd.h"

GEMM_KERNEL(gemm_f32_avx512, tile_f32, TILE_SWITCH_14, 2)

void kernels_avx512(struct kernels *k) {
    use_vec_rows(k);
    use_vec_winograd(k);
    k->gemm_f32 = (struct gemm_kernel){.name = "gemm_f32_avx512",
                                       .run = gemm_f32_avx512,
                                       .rows = 14,
                                       .panels = 2,
                                       .near = NEAR_NEITHER};
}
