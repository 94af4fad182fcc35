/* kernelcheck.h: what the parts of kernelcheck share. */
#ifndef KADR_TESTS_KERNELCHECK_H
#define KADR_TESTS_KERNELCHECK_H

#include "backend/cpu/kernels.h"

#include <stdbool.h>
#include <stdint.h>

enum peak { PEAK_F32, PEAK_BF16, PEAK_I8, PEAKS }; /* of products in that dtype */

/* A set of kernels to be checked: those of this processor, and those of others in emulation. */
struct level {
    const char *name;
    void (*fill)(struct kernels *k);
    unsigned flags;                                  /* of the processor; 0: always runs */
    double (*peak[PEAKS])(long rounds, float *sink); /* peak.h; may be NULL */
};
extern const struct level levels[];
extern const size_t level_count;

/* emulated.c */
void emulated_avx512(struct kernels *k);
void emulated_avx512_bf16(struct kernels *k);
void emulated_avx512_vnni(struct kernels *k);
void emulated_amx(struct kernels *k);

double peak_avx2(long rounds, float *sink);
double peak_avx512(long rounds, float *sink);
double peak_avx512_bf16(long rounds, float *sink);
double peak_avx512_vnni(long rounds, float *sink);
double peak_amx_bf16(long rounds, float *sink);
double peak_amx_i8(long rounds, float *sink);

/* bench.c: measures the operations of SDXL on `threads` threads; false when one could not run. */
bool bench(int threads, const char *filter);
/* What all threads together can do at most, in each dtype, as JSON. */
bool bench_peak(int threads);

#endif
