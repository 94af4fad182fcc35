/* cpu.h: what this processor can do. Found once at first use, then constant.
 * The environment variable KADR_CPU=c,avx2,... masks it (a list of the levels that may be used). */
#ifndef KADR_BASE_CPU_H
#define KADR_BASE_CPU_H

#include <stddef.h>

enum cpu_flag {
    CPU_AVX2 = 1 << 0,   /* AVX2 + FMA + F16C, with OS support */
    CPU_AVX512 = 1 << 1, /* AVX-512 F, BW, VL, DQ */
    CPU_AVX512_BF16 = 1 << 2,
    CPU_AVX512_VNNI = 1 << 3,
    CPU_NEON = 1 << 4,
    CPU_NEON_FP16 = 1 << 5, /* FEAT_FP16 */
    CPU_NEON_DOT = 1 << 6,  /* FEAT_DotProd */
    CPU_NEON_BF16 = 1 << 7, /* FEAT_BF16 */
    CPU_NEON_I8MM = 1 << 8, /* FEAT_I8MM */
    CPU_AMX = 1 << 9,       /* AMX-TILE, -BF16, -INT8, beside all of the above for x86 */
};

unsigned cpu_flags(void);
/* "avx2 avx512": the names that KADR_CPU takes. */
void cpu_flags_text(unsigned flags, char *text, size_t size);
int cpu_count(
    void); /* processors that this process may use (affinity and cgroup quota counted), >= 1 */

struct cpu_caches {
    size_t l1d, l2, l3; /* bytes of one instance; sensible guesses where the system does not tell */
};
struct cpu_caches cpu_caches(void);

#endif
