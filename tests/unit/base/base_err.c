/* Messages: whatever they are made of, they are one printable line. */
#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool printable(const char *text) {
    json_t *valid = json_string(text); /* NULL when it is no UTF-8 */
    bool ok = valid;
    json_decref(valid);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7F || (*p == 0xC2 && p[1] < 0xA0)) ok = false;
    return ok;
}

static void status_and_message(void **unused) {
    (void)unused;
    kadr_error err = {0};
    assert_int_equal(err_set(&err, KADR_EMODEL, "%s: %d bytes", "a.bin", 5), KADR_EMODEL);
    assert_int_equal(err.status, KADR_EMODEL);
    assert_string_equal(err.message, "a.bin: 5 bytes");
    assert_int_equal(err_context(&err, "model %s", "m"), KADR_EMODEL);
    assert_string_equal(err.message, "model m: a.bin: 5 bytes");
    assert_int_equal(err_nomem(&err, "x", 12), KADR_EMEMORY);
    assert_string_equal(err.message, "no memory for x (12 bytes)");
    errno = ENOENT;
    assert_int_equal(err_errno(&err, "cannot open", "/x"), KADR_EIO);
    assert_string_equal(err.message, "cannot open /x: No such file or directory");
    assert_int_equal(err_set(NULL, KADR_EUSAGE, "nobody listens"), KADR_EUSAGE);
    assert_int_equal(err_errno(NULL, "a", "b"), KADR_EIO);
    err_context(NULL, "nobody");
}

static void hostile_text_is_made_printable(void **unused) {
    (void)unused;
    static const char *const texts[] = {
        "\033[31mred\033[0m",
        "a\nb\r\tc\b\x7F",
        "caf\xC3\xA9 \xE7\x8B\x90 \xF0\x9F\xA6\x8A",
        ("\xC2\x9B"
         "31m"),
        "\xC3",
        "\xE7\x8B",
        "\xF0\x9F\xA6",
        "\xC0\xAF",
        "\xED\xA0\x80",
        "\xF5\x80\x80\x80",
        "\xF4\x90\x80\x80",
        "\xE0\x80\x80\x80",
        "\xFF\xFE",
        "\x80\x80",
    };
    kadr_error err;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        err_set(&err, KADR_EIO, "<%s>", texts[i]);
        if (!printable(err.message)) fail_msg("text %zu: %s", i, err.message);
        assert_int_equal(err.message[strlen(err.message) - 1], '>');
        err_context(&err, "%s", texts[i]);
        if (!printable(err.message)) fail_msg("context %zu: %s", i, err.message);
    }
    err_set(&err, KADR_EIO, "caf\xC3\xA9 \xE7\x8B\x90");
    assert_string_equal(err.message, "caf\xC3\xA9 \xE7\x8B\x90");
}

/* A message that is too long is cut, never in the middle of a letter. */
static void long_text_is_cut(void **unused) {
    (void)unused;
    static char text[3000];
    kadr_error err;
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'a', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 4) memcpy(text + i, "\xF0\x9F\xA6\x8A", 4);
        err_set(&err, KADR_EIO, "%s", text);
        assert_true(strlen(err.message) < sizeof err.message);
        assert_true(printable(err.message));
        err_context(&err, "%s", text);
        assert_true(strlen(err.message) < sizeof err.message);
        assert_true(printable(err.message));
    }
}

struct said {
    int lines;
    enum log_level level;
    char text[4096];
};

static void listen(void *user, enum log_level level, const char *line) {
    struct said *s = user;
    s->lines++;
    s->level = level;
    snprintf(s->text, sizeof s->text, "%s", line);
}

static void log_drops_what_is_too_talkative(void **unused) {
    (void)unused;
    struct said s = {0};
    struct log log = {LOG_WARN, listen, &s};
    log_print(&log, LOG_INFO, "no");
    log_print(&log, LOG_DEBUG, "no");
    assert_int_equal(s.lines, 0);
    log_print(&log, LOG_WARN, "%d panels", 3);
    assert_string_equal(s.text, "3 panels");
    log_print(&log, LOG_ERROR, "%5000s", "x");
    assert_int_equal(s.lines, 2);
    assert_int_equal(s.level, LOG_ERROR);
    log_print(NULL, LOG_ERROR, "silence");
    log_print(&(struct log){LOG_DEBUG, NULL, NULL}, LOG_ERROR, "silence");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_and_message),
        cmocka_unit_test(hostile_text_is_made_printable),
        cmocka_unit_test(long_text_is_cut),
        cmocka_unit_test(log_drops_what_is_too_talkative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
