/* peak_avx2.c: see peak.h. */
#include "backend/cpu/x86/vec_avx2.h"

#include "kernelcheck.h"

#define PEAK_CHAINS 12
#include "peak.h"

#define KEEP(v) __asm__ volatile("" : "+x"(v))
#define MULTIPLY(sum, x, y) v_fma(x, y, sum)
PEAK_LOOP(peak_avx2, MULTIPLY, 2)
