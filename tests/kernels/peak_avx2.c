/* peak_avx2.c: see peak.h. */
#include "backend/cpu/x86/vec_avx2.h"

#include "kernelcheck.h"
#include "peak.h"

#define KEEP(v) __asm__ volatile("" : "+x"(v))
PEAK_LOOP(peak_avx2)
