/* Base64 both ways: the vectors of RFC 4648, section 10, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static const struct {
    const char *plain, *coded;
} vectors[] = {{"", ""},
               {"f", "Zg=="},
               {"fo", "Zm8="},
               {"foo", "Zm9v"},
               {"foob", "Zm9vYg=="},
               {"fooba", "Zm9vYmE="},
               {"foobar", "Zm9vYmFy"}};

static void vectors_both_ways(void **state) {
    struct mem *m = mem_open(0);
    char back[16];
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct buf b;
        buf_init(&b, m);
        buf_base64(&b, vectors[i].plain, strlen(vectors[i].plain));
        assert_string_equal(b.data, vectors[i].coded);
        buf_free(&b);
        size_t n = buf_unbase64(vectors[i].coded, strlen(vectors[i].coded), back);
        assert_int_equal(n, strlen(vectors[i].plain));
        assert_memory_equal(back, vectors[i].plain, n);
    }
    assert_int_equal(mem_close(m), 0);
}

static void every_byte(void **state) {
    struct mem *m = mem_open(0);
    struct buf b;
    uint8_t all[256], back[400];
    (void)state;
    for (size_t i = 0; i < 256; i++) all[i] = (uint8_t)(i * 7);
    buf_init(&b, m);
    buf_base64(&b, all, sizeof all);
    assert_int_equal(buf_unbase64(b.data, b.size, back), sizeof all);
    assert_memory_equal(back, all, sizeof all);
    buf_free(&b);
    assert_int_equal(mem_close(m), 0);
}

static void what_is_none(void **state) {
    static const char *const wrong[] = {
        "Z", "Zm9vY", "Zg===", "Z=g=", "Zm9-", "Zm9v\x01", "Zg==Zg=="};
    char back[16];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_true(buf_unbase64(wrong[i], strlen(wrong[i]), back) == SIZE_MAX);
    /* Line ends and blanks are between the lines of mails; padding may be left away. */
    assert_int_equal(buf_unbase64("Zm9v\r\nYmFy", 10, back), 6);
    assert_int_equal(buf_unbase64("Zm8", 3, back), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_both_ways),
        cmocka_unit_test(every_byte),
        cmocka_unit_test(what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
