/* Placement: no two blocks that live at once overlap, over many random sets; the checker is a plain
 * quadratic look at the result and shares nothing with the placer. KADR_LONG=1: a million sets. */
#include "plan/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint32_t state = 1;
static uint32_t next(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(state >> 4) * below) >> 28);
}

static int random_blocks(struct block *b, int most) {
    int n = (int)next((uint32_t)most) + 1;
    int ticks = (int)next(60) + 1;
    bool chain = next(2); /* short lifetimes, as in a network, or any */
    for (int i = 0; i < n; i++) {
        b[i].first = (int)next((uint32_t)ticks);
        int length = chain ? (int)next(4) : (int)next((uint32_t)ticks);
        b[i].last = b[i].first + length;
        b[i].size = next(10) == 0 ? 0 : (size_t)next(1u << (4 + next(18)));
    }
    return n;
}

static void check(const struct block *b, int n, size_t align, size_t total, size_t bound) {
    for (int i = 0; i < n; i++) {
        assert_int_equal(b[i].offset % align, 0);
        assert_true(b[i].offset + b[i].size <= total);
        for (int j = 0; j < i; j++) {
            bool together = b[i].first <= b[j].last && b[j].first <= b[i].last;
            bool apart =
                b[i].offset + b[i].size <= b[j].offset || b[j].offset + b[j].size <= b[i].offset;
            if (together && b[i].size && b[j].size && !apart)
                fail_msg("blocks %d and %d overlap", i, j);
        }
    }
    assert_true(total + align * (size_t)n >= bound);
}

static void random_sets(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    int sets = getenv("KADR_LONG") ? 1000000 : 5000, better = 0;
    struct block a[120], again[120];
    for (int s = 0; s < sets; s++) {
        int n = random_blocks(a, 120);
        memcpy(again, a, sizeof a);
        size_t total, total2;
        assert_int_equal(place_blocks(m, a, n, 64, SIZE_MAX, &total, NULL), KADR_OK);
        check(a, n, 64, total, place_bound(a, n, 64));
        assert_int_equal(place_blocks(m, again, n, 64, total, &total2, NULL), KADR_OK);
        assert_int_equal(total, total2);
        for (int i = 0; i < n; i++) assert_int_equal(a[i].offset, again[i].offset);
        assert_int_equal(place_blocks(m, again, n, 64, 0, &total2, NULL), KADR_OK);
        check(again, n, 64, total2, place_bound(a, n, 64));
        assert_true(total2 <= total);
        better += total2 < total;
    }
    print_message("%d of %d sets took less when those that live longest were first\n", better,
                  sets);
    assert_true(better > 0);
    assert_int_equal(mem_close(m), 0);
}

/* Blocks that never meet share one place; blocks that all meet cannot. */
static void extremes(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    struct block b[10];
    size_t total;
    for (int i = 0; i < 10; i++) b[i] = (struct block){.size = 128, .first = i, .last = i};
    assert_int_equal(place_blocks(m, b, 10, 64, SIZE_MAX, &total, NULL), KADR_OK);
    assert_int_equal(total, 128);
    for (int i = 0; i < 10; i++) b[i].last = 20;
    assert_int_equal(place_blocks(m, b, 10, 64, SIZE_MAX, &total, NULL), KADR_OK);
    assert_int_equal(total, 1280);
    assert_int_equal(place_blocks(m, b, 0, 64, SIZE_MAX, &total, NULL), KADR_OK);
    assert_int_equal(total, 0);
    assert_int_equal(mem_close(m), 0);
}

static void no_memory(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    struct block b[1] = {{.size = 1}};
    for (uint64_t n = 1; n <= 2; n++) {
        size_t total;
        kadr_error err;
        mem_fail_at(m, n);
        assert_int_equal(place_blocks(m, b, 1, 64, SIZE_MAX, &total, &err), KADR_EMEMORY);
    }
    assert_int_equal(mem_close(m), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_sets), cmocka_unit_test(extremes),
                                       cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
