/* neon.c: kernels for NEON: tiles of 6 rows by one panel (24 of 32 registers are sums). */
#include "backend/cpu/arm/vec_neon.h"

#include "backend/cpu/vec_gemm.h"
#include "backend/cpu/vec_rows.h"
#include "backend/cpu/vec_winograd.h"

GEMM_KERNEL(gemm_f32_neon, tile_f32, TILE_SWITCH_6, 1)

void kernels_neon(struct kernels *k) {
    use_vec_rows(k);
    use_vec_winograd(k);
    k->gemm_f32 =
        (struct gemm_kernel){.name = "gemm_f32_neon", .run = gemm_f32_neon, .rows = 6, .panels = 1};
}
