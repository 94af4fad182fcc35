/* Normals against torch's: its CPU generator for many seeds and sizes (tests/reference/rng.py), its
 * CUDA generator where numbers were published. Any index may be asked for, in any order. */
#include "base/rng.h"
#include "weights/safetensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EDGE 48
#define MOST 16385

static struct mem *m;
static struct safetensors file;

static int open_file(void **unused) {
    (void)unused;
    char path[512];
    kadr_error err;
    m = mem_open(0);
    snprintf(path, sizeof path, "%s/rng/normals.safetensors", getenv("KADR_TEST_DATA"));
    if (safetensors_open(&file, m, path, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    return 0;
}

static int close_file(void **unused) {
    (void)unused;
    safetensors_close(&file);
    return (int)mem_close(m);
}

static void torch_cpu(void **unused) {
    (void)unused;
    float *got = mem_array(m, MOST, sizeof *got), want[2 * EDGE];
    assert_non_null(got);
    for (size_t t = 0; t < file.count; t++) {
        const struct safetensors_tensor *tensor = &file.tensors[t];
        char *at;
        uint64_t seed = strtoull(tensor->name, &at, 10);
        uint32_t index = (uint32_t)strtoul(at + 1, &at, 10);
        size_t count = strtoul(at + 1, NULL, 10), kept = count <= 2 * EDGE ? count : 2 * EDGE;
        assert_true(count > 0 && count <= MOST);
        assert_int_equal(tensor->size, kept * sizeof(float));
        assert_int_equal(file_read_at(&file.file, tensor->begin, want, tensor->size, NULL),
                         KADR_OK);
        rng_normals(RNG_TORCH, seed, index, count, got);
        for (size_t i = 0; i < kept; i++) {
            float g = got[i < EDGE || kept == count ? i : count - kept + i];
            if (!(fabsf(g - want[i]) <= 1e-6f))
                fail_msg("%s: number %zu is %.9g, expected %.9g", tensor->name, i, g, want[i]);
        }
    }
    assert_true(file.count >= 140);
    mem_free(got);
}

/* Printed in the documentation of A1111's rng_philox.py for seed 0, as torch.randn gives on CUDA.
 */
static void torch_cuda(void **unused) {
    (void)unused;
    static const double want[12] = {-0.92466259, -0.42534415, -2.6438457,  0.14518388,
                                    -0.12086647, -0.57972564, -0.62285122, -0.32838709,
                                    -1.07454231, -0.36314407, -1.67105067, 2.26550497};
    float got[12];
    rng_normals(RNG_PHILOX, 0, 0, 12, got);
    for (int i = 0; i < 12; i++) assert_true(fabs(got[i] - want[i]) <= 1e-6);
}

/* Philox: each number has its own counter, so a longer call begins with a shorter one's numbers;
 * another index or seed (its high half too) gives others, spread as normals are. */
static void philox_streams(void **unused) {
    (void)unused;
    enum { N = 20000 };
    float *a = mem_array(m, N, sizeof *a), *b = mem_array(m, N, sizeof *b);
    assert_true(a && b);
    rng_normals(RNG_PHILOX, 7, 3, N, a);
    rng_normals(RNG_PHILOX, 7, 3, 100, b);
    assert_memory_equal(a, b, 100 * sizeof *a);
    const struct {
        uint64_t seed;
        uint32_t index;
    } others[] = {{7, 4}, {8, 3}, {7 + ((uint64_t)1 << 32), 3}};
    for (size_t o = 0; o < 3; o++) {
        rng_normals(RNG_PHILOX, others[o].seed, others[o].index, N, b);
        double sum = 0, squares = 0, product = 0;
        for (int i = 0; i < N; i++) {
            sum += b[i];
            squares += (double)b[i] * b[i];
            product += (double)a[i] * b[i];
        }
        /* Five standard deviations of each mean. */
        assert_true(fabs(sum / N) < 5 / sqrt(N));
        assert_true(fabs(squares / N - 1) < 5 * sqrt(2.0 / N));
        assert_true(fabs(product / N) < 5 / sqrt(N));
    }
    mem_free(a);
    mem_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(torch_cpu), cmocka_unit_test(torch_cuda),
                                       cmocka_unit_test(philox_streams)};
    return cmocka_run_group_tests(tests, open_file, close_file);
}
