/* finisher.h: what becomes of a product's sums: the epilogue of a LINEAR or CONV, part by part of
 * its output. */
#ifndef KADR_BACKEND_CPU_FINISHER_H
#define KADR_BACKEND_CPU_FINISHER_H

#include "backend/cpu/cpu.h"

struct finisher {
    const struct kernels *kernels;
    struct finish whole; /* of the whole output: parts take their share */
    const float *sample_add;
    int64_t rows_per_sample, cols;
};

/* whole.acc_stride, floats from row to row of the sums, is the caller's to set. */
void finisher_init(struct finisher *f, const struct cpu_op *o);

/* How many of `rows` rows, from `row` on, may be finished at once: what is added may differ from
 * sample to sample. */
static inline int64_t finisher_rows(const struct finisher *f, int64_t row, int64_t rows) {
    return f->sample_add ? min_i64(rows, f->rows_per_sample - row % f->rows_per_sample) : rows;
}

/* Such rows, output columns [col, col + cols), from sums at acc (and gate, or NULL). */
void finisher_part(const struct finisher *f, int64_t row, int64_t rows, int64_t col, int64_t cols,
                   const float *acc, const float *gate);

#endif
