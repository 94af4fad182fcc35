/* Arenas and growing strings, also when memory is refused in between. */
#include "base/arena.h"
#include "base/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void arena_keeps_everything_apart(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    struct arena a;
    arena_init(&a, m);
    unsigned char *p[600];
    for (size_t i = 0; i < 600; i++) { /* sizes around and beyond those of a chunk */
        size_t size = i % 50 == 49 ? 40000 : i * 3;
        p[i] = arena_alloc(&a, size);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        for (size_t k = 0; k < size; k++) assert_int_equal(p[i][k], 0);
        memset(p[i], (int)(i % 251) + 1, size);
    }
    for (size_t i = 0; i < 600; i++) {
        size_t size = i % 50 == 49 ? 40000 : i * 3;
        for (size_t k = 0; k < size; k++) assert_int_equal(p[i][k], i % 251 + 1);
    }
    struct mem_stats s;
    mem_get_stats(m, &s);
    assert_true(s.calls < 100); /* of 600 things few are blocks of their own */
    arena_free(&a);
    arena_free(&a);
    assert_int_equal(mem_close(m), 0);
}

static void arena_text(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    struct arena a;
    arena_init(&a, m);
    assert_string_equal(arena_strdup(&a, ""), "");
    assert_string_equal(arena_strndup(&a, "abc", 2), "ab");
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 42), "x-42");
    char *long_one = arena_printf(&a, "%20000d", 7);
    assert_int_equal(strlen(long_one), 20000);
    static volatile size_t huge = SIZE_MAX;
    assert_null(arena_alloc(&a, huge));
    assert_null(arena_alloc(&a, huge / 2 + 1));
    assert_null(arena_array(&a, huge / 4, 8));
    assert_null(arena_strndup(&a, "", huge));
    mem_fail_at(m, 1);
    assert_null(arena_alloc(&a, 100000));
    assert_non_null(arena_alloc(&a, 100000));
    arena_free(&a);
    assert_int_equal(mem_close(m), 0);
}

static void buf_grows(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    struct buf b;
    char expected[40000];
    size_t n = 0;
    buf_init(&b, m);
    assert_string_equal(b.data, "");
    for (int i = 0; i < 3000; i++) {
        buf_printf(&b, "%d,", i);
        buf_putc(&b, i % 7 ? 'x' : '\0');
        buf_puts(&b, "yz");
        n += (size_t)snprintf(expected + n, sizeof expected - n, "%d,", i);
        expected[n++] = i % 7 ? 'x' : '\0';
        memcpy(expected + n, "yz", 2);
        n += 2;
    }
    assert_true(buf_ok(&b));
    assert_int_equal(b.size, n);
    assert_memory_equal(b.data, expected, n);
    assert_int_equal(b.data[n], 0);
    buf_clear(&b);
    assert_int_equal(b.size, 0);
    assert_string_equal(b.data, "");
    buf_add(&b, "ab", 2);
    char *taken = buf_take(&b);
    assert_string_equal(taken, "ab");
    assert_string_equal(b.data, "");
    mem_free(taken);
    taken = buf_take(&b); /* of nothing: an empty text that can be freed */
    assert_string_equal(taken, "");
    mem_free(taken);
    buf_free(&b);
    buf_free(&b);
    assert_int_equal(mem_close(m), 0);
}

static void buf_failure_is_sticky(void **unused) {
    (void)unused;
    struct mem *m = mem_open(4096);
    struct buf b;
    buf_init(&b, m);
    buf_puts(&b, "begin");
    buf_printf(&b, "%5000d", 1);
    assert_false(buf_ok(&b));
    buf_puts(&b, "end");
    assert_string_equal(b.data, "begin");
    assert_null(buf_take(&b));
    assert_true(buf_ok(&b)); /* taking, even in vain, begins anew */
    static volatile size_t huge = SIZE_MAX;
    buf_puts(&b, "x");
    buf_add(&b, "", huge);
    assert_false(buf_ok(&b));
    buf_clear(&b);
    assert_true(buf_ok(&b));
    buf_free(&b);
    assert_int_equal(mem_close(m), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_keeps_everything_apart),
        cmocka_unit_test(arena_text),
        cmocka_unit_test(buf_grows),
        cmocka_unit_test(buf_failure_is_sticky),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
