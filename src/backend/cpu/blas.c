/* blas.c: see blas.h. */
#include "backend/cpu/blas.h"
#include "base/file.h"
#include "base/sys.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Values of cblas.h and of Accelerate's thread_api.h. */
enum { ROW_MAJOR = 101, AS_IT_IS = 111 };
enum { SINGLE_THREADED = 1 };

static kadr_status load(struct blas *b, const char *library, kadr_error *err) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL); /* stays loaded: it may have threads */
    if (!handle) return err_set(err, KADR_EUSAGE, "KADR_BLAS=%s: %s", library, dlerror());
    *(void **)&b->sgemm = dlsym(handle, "cblas_sgemm");
    if (!b->sgemm)
        return err_set(
            err, KADR_EUSAGE,
            "KADR_BLAS=%s: has no cblas_sgemm; expected a BLAS with its C interface, such "
            "as libopenblas.so.0",
            library);
    /* Our threads are all that there are: a library's own would only be in their way. */
    void (*set_threads)(int) = NULL;
    static const char *const names[] = {"openblas_set_num_threads", "bli_thread_set_num_threads",
                                        "MKL_Set_Num_Threads"};
    for (size_t i = 0; i < sizeof names / sizeof *names && !set_threads; i++)
        *(void **)&set_threads = dlsym(handle, names[i]);
    if (set_threads) set_threads(1);
    *(void **)&b->set_threading = dlsym(handle, "BLASSetThreading");
    snprintf(b->name, sizeof b->name, "%s", file_name(library));
    return KADR_OK;
}

void blas_product(const struct blas *b, int64_t rows, int64_t columns, int64_t depth,
                  const float *a, size_t a_stride, const float *from, size_t b_stride,
                  bool accumulate, float *c, size_t c_stride) {
    if (b->set_threading) b->set_threading(SINGLE_THREADED);
    b->sgemm(ROW_MAJOR, AS_IT_IS, AS_IT_IS, (int)rows, (int)columns, (int)depth, 1, a,
             (int)a_stride, from, (int)b_stride, accumulate ? 1 : 0, c, (int)c_stride);
}

/* The largest product on every thread at once: the library's buffers are there from now on. */
struct first {
    const struct blas *b;
    float *values; /* A, B, and a C for each thread */
    int threads;
    atomic_int begun;
};

static void first_product(void *user, size_t task, int thread) {
    (void)thread;
    struct first *f = user;
    atomic_fetch_add(&f->begun, 1);
    while (atomic_load(&f->begun) < f->threads) sched_yield();
    const float *a = f->values, *b = a + BLAS_ROWS * BLAS_DEPTH;
    float *c = f->values + BLAS_ROWS * BLAS_DEPTH + BLAS_DEPTH * BLAS_COLUMNS;
    blas_product(f->b, BLAS_ROWS, BLAS_COLUMNS, BLAS_DEPTH, a, BLAS_DEPTH, b, BLAS_COLUMNS, false,
                 c + task * BLAS_ROWS * BLAS_COLUMNS, BLAS_COLUMNS);
}

static kadr_status warm_up(const struct blas *b, struct mem *m, struct pool *pool,
                           kadr_error *err) {
    struct first f = {.b = b, .threads = pool_threads(pool)};
    size_t count = BLAS_ROWS * BLAS_DEPTH + BLAS_DEPTH * BLAS_COLUMNS +
                   (size_t)f.threads * BLAS_ROWS * BLAS_COLUMNS;
    f.values = mem_map(m, count * sizeof(float));
    if (!f.values) return err_nomem(err, b->name, count * sizeof(float));
    pool_run(pool, (size_t)f.threads, first_product, &f);
    mem_unmap(m, f.values, count * sizeof(float));
    return KADR_OK;
}

kadr_status blas_open(struct blas *b, struct mem *m, struct pool *pool, kadr_error *err) {
    const char *asked = getenv("KADR_BLAS"), *own = sys_blas();
    memset(b, 0, sizeof *b);
    if (asked && strcmp(asked, "none") == 0) return KADR_OK;
    if (asked && *asked) {
        kadr_status st = load(b, asked, err);
        if (st) return st;
    } else if (!own || load(b, own, NULL)) {
        b->sgemm = NULL;
        return KADR_OK;
    }
    return warm_up(b, m, pool, err);
}
