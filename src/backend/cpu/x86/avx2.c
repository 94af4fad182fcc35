/* avx2.c: kernels for AVX2 + FMA + F16C: tiles of 6 rows by one panel (12 of 16 registers are
 * sums). */
#include "backend/cpu/x86/vec_avx2.h"

#include "backend/cpu/vec_gemm.h"
#include "backend/cpu/vec_rows.h"
#include "backend/cpu/vec_winograd.h"

GEMM_KERNEL(gemm_f32_avx2, tile_f32, TILE_SWITCH_6, 1)

void kernels_avx2(struct kernels *k) {
    use_vec_rows(k);
    use_vec_winograd(k);
    k->gemm_f32 =
        (struct gemm_kernel){.name = "gemm_f32_avx2", .run = gemm_f32_avx2, .rows = 6, .panels = 1};
}
