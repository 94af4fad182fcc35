/* kernels.c: which levels of kernels this program has, and the choice among them. */
#include "backend/cpu/kernels.h"
#include "base/cpu.h"

#include <string.h>

const struct kernel_level kernel_levels[] = {
    {"c", 0, kernels_c},
    {"c int8", 0, kernels_c_i8},
    {"c winograd", 0, kernels_c_winograd},
#if defined(__x86_64__)
    {"avx2", CPU_AVX2, kernels_avx2},
    {"avx2 int8", CPU_AVX2, kernels_avx2_i8},
    {"avx512", CPU_AVX512, kernels_avx512},
    {"avx512bf16", CPU_AVX512_BF16, kernels_avx512_bf16},
    {"avx512vnni", CPU_AVX512_VNNI, kernels_avx512_vnni},
    {"amx", CPU_AMX, kernels_amx},
#elif defined(__aarch64__)
    {"neon", CPU_NEON, kernels_neon},
    {"neon int8", CPU_NEON, kernels_neon_i8},
    {"dot", CPU_NEON_DOT, kernels_neon_dot},
    {"i8mm", CPU_NEON_I8MM, kernels_neon_i8mm},
#endif
};
const size_t kernel_level_count = sizeof kernel_levels / sizeof *kernel_levels;

void kernels_get(struct kernels *k, unsigned cpu_flags) {
    memset(k, 0, sizeof *k);
    for (size_t i = 0; i < kernel_level_count; i++)
        if ((kernel_levels[i].flags & ~cpu_flags) == 0) kernel_levels[i].fill(k);
}
