/* kernels.c: which levels of kernels this program has, and the choice among them. */
#include "backend/cpu/kernels.h"
#include "base/cpu.h"

#include <string.h>

const struct kernel_level kernel_levels[] = {
    {"c", 0, kernels_c},
#if defined(__x86_64__)
    {"avx2", CPU_AVX2, kernels_avx2},
    {"avx512", CPU_AVX512, kernels_avx512},
    {"avx512bf16", CPU_AVX512_BF16, kernels_avx512_bf16},
#elif defined(__aarch64__)
    {"neon", CPU_NEON, kernels_neon},
#endif
};
const size_t kernel_level_count = sizeof kernel_levels / sizeof *kernel_levels;

void kernels_get(struct kernels *k, unsigned cpu_flags) {
    memset(k, 0, sizeof *k);
    for (size_t i = 0; i < kernel_level_count; i++)
        if ((kernel_levels[i].flags & ~cpu_flags) == 0) kernel_levels[i].fill(k);
}
