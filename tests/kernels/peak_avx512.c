/* peak_avx512.c: see peak.h. */
#include "backend/cpu/x86/vec_avx512.h"

#include "kernelcheck.h"

#define PEAK_CHAINS 14
#include "peak.h"

#define KEEP(v) __asm__ volatile("" : "+v"(v))
#define MULTIPLY(sum, x, y) v_fma(x, y, sum)
PEAK_LOOP(peak_avx512, MULTIPLY, 2)
