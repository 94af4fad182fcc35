/* lab.h: runs a graph of a few operations on the CPU backend with random inputs and weights, with
 * guard bytes around every buffer, and gives all values as doubles to references written plainly.
 */
#ifndef KADR_TESTS_BACKEND_LAB_H
#define KADR_TESTS_BACKEND_LAB_H

#include "backend/backend.h"

#define LAB_TENSORS 16
#define LAB_WEIGHTS 8

struct lab {
    struct mem *mem;
    struct graph g;
    uint64_t random;
    double *tensor[LAB_TENSORS]; /* values; inputs are random unless set before lab_run */
    double *weight[LAB_WEIGHTS]; /* in the model's order, as rounded to the weight's dtype */
    void *stored[LAB_WEIGHTS];   /* as a model file has them */
    enum dtype stored_type[LAB_WEIGHTS];
    bool parts;   /* products run a few columns at a time */
    bool spoiled; /* a guard byte was overwritten */
};

/* v as int8 where `top` is the largest magnitude of those that share its scale. */
double lab_quantised(double v, double top);

void lab_open(struct lab *l, enum dtype dtype, uint64_t seed);
void lab_close(struct lab *l);

uint32_t lab_random(struct lab *l, uint32_t below);
double lab_normal(struct lab *l);              /* about normal, |x| < 6 */
int64_t lab_size(struct lab *l, int64_t most); /* 1..most, small ones more often */

/* Values of a tensor to be set by hand, allocated at first use. */
double *lab_values(struct lab *l, tensor_id t);
/* Random values for all inputs and weights that have none yet. */
void lab_fill(struct lab *l);
/* Packs, runs all operations with these threads and kernels, and decodes the last output. Returns
 * its raw bytes (mem_free). */
void *lab_run(struct lab *l, int threads, unsigned cpu_flags);

static inline const struct op *lab_op(const struct lab *l) {
    return &l->g.ops[l->g.op_count - 1];
}
static inline const struct tensor *lab_tensor(const struct lab *l, tensor_id t) {
    return &l->g.tensors[t];
}

#endif
