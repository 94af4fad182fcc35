/* peak_avx512_vnni.c: see peak.h. A lane is four bytes. */
#include "backend/cpu/x86/vec_avx512.h"

#include "kernelcheck.h"

#define PEAK_CHAINS 14
#include "peak.h"

#define KEEP(v) __asm__ volatile("" : "+v"(v))
#define MULTIPLY(sum, x, y) (__m512) _mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(x), (__m512i)(y))
PEAK_LOOP(peak_avx512_vnni, MULTIPLY, 8)
