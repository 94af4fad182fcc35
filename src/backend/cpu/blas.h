/* blas.h: a library of the system's that multiplies matrices of f32 in place of our kernels, found
 * at run time by its C interface (CBLAS): Accelerate on macOS, because it alone reaches the matrix
 * unit of Apple's processors. Elsewhere, or in its place, the one that the environment variable
 * KADR_BLAS names ("libopenblas.so.0", or a path); "none": none.
 *
 * Such a library may round a product otherwise where it lies at another place of a matrix, or in a
 * matrix of another size. Callers therefore cut products by shapes alone, with the limits below,
 * and each is computed in one thread: then threads, budget and streaming do not change a bit.
 *
 * What the library takes for itself is taken by blas_open, before anything is planned: a plan
 * counts what the process has by then.
 */
#ifndef KADR_BACKEND_CPU_BLAS_H
#define KADR_BACKEND_CPU_BLAS_H

#include "base/err.h"
#include "base/mem.h"
#include "base/pool.h"

#include <stdbool.h>

/* The largest product that is asked for: rows of C, its columns, and depth. */
#define BLAS_ROWS 256
#define BLAS_COLUMNS 128
#define BLAS_DEPTH 512

/* cblas_sgemm; enums are ints in C. */
typedef void blas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                        const float *a, int lda, const float *b, int ldb, float beta, float *c,
                        int ldc);

struct blas {
    blas_sgemm *sgemm;         /* NULL: none is used */
    int (*set_threading)(int); /* Accelerate's, of the calling thread; may be NULL */
    char name[64];
};

/* KADR_EUSAGE when the library that KADR_BLAS names cannot be used; where none is asked for, or
 * the system's own is not there, `b` has none. */
kadr_status blas_open(struct blas *b, struct mem *m, struct pool *pool, kadr_error *err);

/* C[rows][columns] (+)= A[rows][depth] * B[depth][columns], row-major; strides in floats.
 * Thread-safe. */
void blas_product(const struct blas *b, int64_t rows, int64_t columns, int64_t depth,
                  const float *a, size_t a_stride, const float *from, size_t b_stride,
                  bool accumulate, float *c, size_t c_stride);

#endif
