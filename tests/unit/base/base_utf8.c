/* UTF-8 against the C library's own decoder (values) and jansson's (what is valid). */
#include "base/utf8.h"

#include <jansson.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <cmocka.h>

static bool is_scalar(uint32_t c) {
    return c < 0x110000 && (c < 0xD800 || c >= 0xE000);
}

static void every_code_point(void **unused) {
    (void)unused;
    if (!setlocale(LC_CTYPE, "C.UTF-8") && !setlocale(LC_CTYPE, "en_US.UTF-8")) skip();
    for (uint32_t c = 0; c < 0x110000; c++) {
        char bytes[4], theirs[16];
        if (!is_scalar(c)) continue;
        size_t n = utf8_put(c, bytes);
        mbstate_t state = {0};
        assert_int_equal(wcrtomb(theirs, (wchar_t)c, &state), n);
        assert_memory_equal(bytes, theirs, n);
        const char *p = bytes;
        assert_int_equal(utf8_next(&p, bytes + n), c);
        assert_ptr_equal(p, bytes + n);
        for (size_t cut = 1; cut < n; cut++) { /* and nothing is read beyond the end */
            p = bytes;
            assert_int_equal(utf8_next(&p, bytes + cut), UTF8_BROKEN);
            assert_ptr_equal(p, bytes + 1);
        }
    }
}

static void check_bytes(const char *bytes, size_t size) {
    json_t *theirs = json_stringn(bytes, size);
    bool valid = true;
    for (const char *p = bytes, *end = bytes + size; p < end;) {
        const char *before = p;
        uint32_t c = utf8_next(&p, end);
        assert_true(p > before && p <= end);
        if (c == UTF8_BROKEN) {
            valid = false;
            assert_ptr_equal(p, before + 1);
        } else assert_true(is_scalar(c));
    }
    if (valid != (theirs != NULL))
        fail_msg("%02x %02x %02x %02x: %s", (unsigned char)bytes[0], (unsigned char)bytes[1],
                 (unsigned char)bytes[2], (unsigned char)bytes[3], valid ? "accepted" : "refused");
    json_decref(theirs);
}

/* Every sequence of two and three bytes; of four those with each second byte and the edges of the
 * others. */
static void every_sequence(void **unused) {
    (void)unused;
    static const unsigned char edge[] = {0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF};
    char b[4] = {0};
    for (unsigned i = 0; i < 0x100; i++) {
        b[0] = (char)i;
        check_bytes(b, 1);
        for (unsigned k = 0; k < 0x100; k++) {
            b[1] = (char)k;
            check_bytes(b, 2);
            for (unsigned l = 0; i >= 0xE0 && i < 0xF0 && l < 0x100; l++) {
                b[2] = (char)l;
                check_bytes(b, 3);
            }
            for (unsigned l = 0; i >= 0xE0 && l < sizeof edge * sizeof edge; l++) {
                b[2] = (char)edge[l / sizeof edge];
                b[3] = (char)edge[l % sizeof edge];
                check_bytes(b, 4);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point),
        cmocka_unit_test(every_sequence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
