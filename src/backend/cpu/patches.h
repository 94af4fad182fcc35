/* patches.h: the rows of A that a product multiplies: pixels and their surroundings (implicit
 * GEMM), gathered block by block, so that no picture of patches ever exists. A linear layer is the
 * case of one tap.
 */
#ifndef KADR_BACKEND_CPU_PATCHES_H
#define KADR_BACKEND_CPU_PATCHES_H

#include "backend/cpu/cpu.h"

struct patches {
    const char *x, *x2; /* x2's channels follow x's */
    enum dtype type;
    int64_t c, c2;
    int64_t h, w;         /* of the stored picture */
    int64_t up_h, up_w;   /* of the picture that is convolved: doubled, cut; without padding */
    int64_t out_h, out_w; /* rows of A run over [n][out_h][out_w] */
    int kernel, stride, pad, up;
};

/* Of a LINEAR or CONV. */
void patches_init(struct patches *p, const struct cpu_op *o);

static inline int64_t patches_depth(const struct patches *p) {
    return p->kernel * p->kernel * (p->c + p->c2);
}

/* Elements [k, k + n) of rows [row, row + rows) as `type` to `to`, rows `stride` bytes apart; an
 * odd n is filled up with one zero. */
void patches_gather(const struct patches *p, const struct kernels *kernels, int64_t row,
                    int64_t rows, int64_t k, int64_t n, enum dtype type, char *to, size_t stride);

#endif
