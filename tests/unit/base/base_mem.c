/* The ledger: what is booked, what is refused, what is told. */
#include "base/mem.h"
#include "base/sys.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

static struct mem_stats stats(struct mem *m) {
    struct mem_stats s;
    mem_get_stats(m, &s);
    return s;
}

static bool all(const unsigned char *p, size_t n, unsigned char value) {
    for (size_t i = 0; i < n; i++)
        if (p[i] != value) return false;
    return true;
}

static void blocks_are_zeroed_aligned_and_booked(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    void *held[200];
    size_t asked = 0;
    for (size_t i = 0; i < 200; i++) {
        held[i] = mem_alloc(m, i * 7);
        assert_non_null(held[i]);
        assert_int_equal((uintptr_t)held[i] % 16, 0);
        assert_true(all(held[i], i * 7, 0));
        memset(held[i], 0xA5, i * 7); /* zeros may not come from luck the next time */
        asked += i * 7;
    }
    assert_true(stats(m).now >= asked && stats(m).now <= asked + 200 * 17);
    assert_int_equal(stats(m).calls, 200);
    size_t top = stats(m).now;
    for (size_t i = 0; i < 200; i++) mem_free(held[i]);
    mem_free(NULL);
    assert_int_equal(stats(m).now, 0);
    assert_int_equal(stats(m).peak, top);
    unsigned char *again = mem_alloc(m, 1393);
    assert_true(all(again, 1393, 0));
    mem_free(again);
    assert_int_equal(mem_close(m), 0);
}

static void what_is_held_at_the_end_is_told(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    size_t size = sys_page();
    void *p = mem_map(m, 2 * size + 1);
    assert_int_equal(stats(m).now, 3 * size);
    mem_unmap(m, p, 2 * size + 1);
    assert_int_equal(stats(m).now, 0);
    assert_int_equal(stats(m).peak, 3 * size);
    p = mem_map(m, size);
    assert_int_equal(mem_close(m), size);
    munmap(p, size);
}

static void limit_is_never_exceeded(void **unused) {
    (void)unused;
    struct mem *m = mem_open(1000);
    char *a = mem_alloc(m, 900);
    assert_non_null(a);
    size_t now = stats(m).now;
    assert_null(mem_alloc(m, 100)); /* with its header over the limit */
    assert_null(mem_map(m, 1));
    assert_null(
        mem_strdup(m, "a text that is longer than what is left of the limit, for whom it matters"
                      " whether it is refused, since it would need one hundred bytes"));
    memset(a, 7, 900);
    assert_null(mem_resize(m, a, 2000));
    assert_true(all((unsigned char *)a, 900, 7));
    assert_int_equal(stats(m).now, now);
    a = mem_resize(m, a, 100);
    assert_true(all((unsigned char *)a, 100, 7));
    void *b = mem_alloc(m, 700);
    assert_non_null(b);
    assert_true(stats(m).peak <= 1000);
    assert_int_equal(stats(m).limit, 1000);
    mem_free(a);
    mem_free(b);
    assert_int_equal(mem_close(m), 0);
}

static void sizes_that_overflow_are_refused(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    void *p = mem_alloc(m, 8);
    size_t now = stats(m).now;
    static volatile size_t huge = SIZE_MAX; /* hidden from the compiler's own warnings */
    assert_null(mem_alloc(m, huge));
    assert_null(mem_alloc(m, huge - 15));
    assert_null(mem_array(m, huge / 2 + 1, 2));
    assert_null(mem_array(m, (size_t)1 << 33, (size_t)1 << 33));
    assert_null(mem_resize(m, p, huge));
    assert_null(mem_map(m, huge));
    assert_null(mem_map(m, huge - 4000));
    assert_null(mem_map(m, huge / 2)); /* more than any address space: the system refuses */
    assert_int_equal(stats(m).now, now);
    mem_free(p);
    assert_int_equal(mem_close(m), 0);
}

static void one_request_fails_on_purpose(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    mem_fail_at(m, 3);
    void *a = mem_alloc(m, 1), *b = mem_array(m, 2, 2), *c = mem_alloc(m, 1), *d = mem_alloc(m, 1);
    assert_true(a && b && !c && d);
    mem_fail_at(m, 1);
    assert_null(mem_resize(m, a, 100));
    assert_non_null(a = mem_resize(m, a, 100));
    mem_fail_at(m, 1);
    assert_null(mem_map(m, 100));
    mem_fail_at(m, 1);
    mem_fail_at(m, 0);
    assert_non_null(c = mem_strdup(m, "text"));
    assert_string_equal(c, "text");
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
    assert_int_equal(mem_close(m), 0);
}

static void released_pages_read_as_zero(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    size_t page = sys_page();
    unsigned char *p = mem_map(m, 4 * page);
    assert_true(all(p, 4 * page, 0));
    memset(p, 9, 4 * page);
    mem_release(p + 1, 3 * page); /* wholly inside: pages 1 and 2 */
    assert_true(all(p, page, 9));
    assert_true(all(p + page, 2 * page, 0));
    assert_true(all(p + 3 * page, page, 9));
    mem_release(p + 1, page); /* no whole page */
    assert_true(all(p, page, 9));
    assert_int_equal(stats(m).now, 4 * page);
    memset(p, 1, 4 * page); /* and can be used again */
    mem_unmap(m, p, 4 * page);
    assert_int_equal(mem_close(m), 0);
}

static void *hammer(void *arg) {
    struct mem *m = arg;
    for (unsigned i = 1; i <= 20000; i++) {
        void *p = mem_alloc(m, i % 900), *q = p ? mem_resize(m, p, i % 500) : NULL;
        mem_free(q ? q : p);
    }
    return NULL;
}

static void threads_share_a_ledger(void **unused) {
    (void)unused;
    struct mem *m = mem_open(2500); /* three threads: now and then one is refused */
    pthread_t t[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&t[i], NULL, hammer, m), 0);
    for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
    assert_true(stats(m).peak > 900 && stats(m).peak <= 2500);
    assert_true(stats(m).calls > 60000);
    assert_int_equal(mem_close(m), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_zeroed_aligned_and_booked),
        cmocka_unit_test(what_is_held_at_the_end_is_told),
        cmocka_unit_test(limit_is_never_exceeded),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(one_request_fails_on_purpose),
        cmocka_unit_test(released_pages_read_as_zero),
        cmocka_unit_test(threads_share_a_ledger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
