/* peak_avx512_bf16.c: see peak.h. A lane is a pair. */
#include "backend/cpu/x86/vec_avx512.h"

#include "kernelcheck.h"

#define PEAK_CHAINS 14
#include "peak.h"

#define KEEP(v) __asm__ volatile("" : "+v"(v))
#define MULTIPLY(sum, x, y) _mm512_dpbf16_ps(sum, (__m512bh)(x), (__m512bh)(y))
PEAK_LOOP(peak_avx512_bf16, MULTIPLY, 4)
