/* Checked arithmetic against the same in 128 bits. */
#include "base/chk.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

__extension__ typedef unsigned __int128 wide;

static uint64_t state = 1;
static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* Numbers of every magnitude, and those beside the edges. */
static size_t number(void) {
    size_t n = (size_t)(next() >> (next() % 64));
    switch (next() % 8) {
    case 0: return SIZE_MAX - n % 3;
    case 1: return SIZE_MAX / 2 + n % 3 - 1;
    case 2: return ((size_t)1 << (n % 64)) - n / 64 % 2;
    default: return n;
    }
}

static void sums_and_products(void **unused) {
    (void)unused;
    int refused = 0;
    for (int i = 0; i < 200000; i++) {
        size_t a = number(), b = number(), out = 77;
        wide sum = (wide)a + b, product = (wide)a * b;
        bool fits = sum <= SIZE_MAX;
        assert_int_equal(chk_add(a, b, &out), fits);
        assert_int_equal(out, fits ? (size_t)sum : 77);
        out = 77;
        fits = product <= SIZE_MAX;
        assert_int_equal(chk_mul(a, b, &out), fits);
        assert_int_equal(out, fits ? (size_t)product : 77);
        refused += !fits;
    }
    assert_in_range(refused, 1000, 199000);
}

static void shapes(void **unused) {
    (void)unused;
    for (int i = 0; i < 100000; i++) {
        int64_t dim[4];
        int n = (int)(next() % 5);
        wide product = 1;
        bool fits = true;
        for (int k = 0; k < n; k++) {
            dim[k] = (int64_t)(next() >> (30 + next() % 34));
            if (next() % 20 == 0) dim[k] = -dim[k];
            if (dim[k] < 0) fits = false;
            if (fits) product *= (wide)dim[k];
            if (product > SIZE_MAX) fits = false; /* as each step must fit */
        }
        size_t out = 77;
        assert_int_equal(chk_product(dim, n, &out), fits);
        assert_int_equal(out, fits ? (size_t)product : 77);
    }
}

static void rounding_up(void **unused) {
    (void)unused;
    for (size_t n = 0; n < 1000; n++)
        for (size_t to = 1; to <= 512; to *= 2)
            assert_int_equal(chk_align(n, to), (n + to - 1) / to * to);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_products),
        cmocka_unit_test(shapes),
        cmocka_unit_test(rounding_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
