/* JSON from outside: what is refused, where it says so, and typed look-ups. */
#include "base/buf.h"
#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *parse(const char *text) {
    json_t *json = NULL;
    kadr_error err = {0};
    if (json_parse(text, strlen(text), "a.json", KADR_EMODEL, &json, &err)) {
        if (strncmp(err.message, "a.json:", 7) != 0) fail_msg("%s: %s", text, err.message);
        assert_int_equal(err.status, KADR_EMODEL);
        return NULL;
    }
    return json;
}

static void must_refuse(const char *text, const char *place) {
    json_t *json;
    kadr_error err = {0};
    if (!json_parse(text, strlen(text), "a.json", KADR_EMODEL, &json, &err))
        fail_msg("accepted: %.60s", text);
    if (strncmp(err.message, place, strlen(place)) != 0) fail_msg("%s", err.message);
}

static void nested(struct buf *b, int depth, const char *open, const char *close) {
    buf_clear(b);
    for (int i = 0; i < depth; i++) buf_puts(b, open);
    buf_puts(b, "1");
    for (int i = 0; i < depth; i++) buf_puts(b, close);
}

static void depth(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    struct buf b;
    buf_init(&b, m);
    static const char *const brackets[][2] = {{"[", "]"}, {"{\"a\":", "}"}};
    for (size_t i = 0; i < 2; i++) {
        nested(&b, 100, brackets[i][0], brackets[i][1]);
        json_t *json = parse(b.data);
        assert_non_null(json);
        json_decref(json);
        nested(&b, 101, brackets[i][0], brackets[i][1]);
        must_refuse(b.data, "a.json: JSON nested deeper than 100");
        nested(&b, 1000000, brackets[i][0], brackets[i][1]);
        must_refuse(b.data, "a.json: JSON nested deeper than 100");
    }
    /* Brackets in texts do not count, whatever is escaped there. */
    buf_clear(&b);
    buf_puts(&b, "[\"\\\\\", \"");
    for (int i = 0; i < 500; i++) buf_puts(&b, "[\\\"{");
    buf_puts(&b, "\"]");
    json_t *json = parse(b.data);
    assert_non_null(json);
    assert_int_equal(json_string_length(json_array_get(json, 1)), 1500);
    json_decref(json);
    buf_free(&b);
    assert_int_equal(mem_close(m), 0);
}

static void broken_texts(void **unused) {
    (void)unused;
    must_refuse("", "a.json:1:");
    must_refuse("{", "a.json:1:");
    must_refuse("{\n  \"a\": 1,\n  \"a\": 2\n}", "a.json:3:");
    must_refuse("{\"a\":{\"b\":1,\"b\":1}}", "a.json:1:");
    must_refuse("[1,]", "a.json:1:");
    must_refuse("[1] [2]", "a.json:1:");
    must_refuse("[\"\xC3\x28\"]", "a.json:1:");
    must_refuse("[\"\\ud800\"]", "a.json:1:");
    must_refuse("[NaN]", "a.json:1:");
    must_refuse("[01]", "a.json:1:");
    must_refuse("[1e999]", "a.json:1:");
    must_refuse("1", "a.json:1:");
    must_refuse("// no comments\n[]", "a.json:1:");
}

/* Python writes whole numbers of any size; beyond 64 bits all numbers of the text are real. */
static void numbers(void **unused) {
    (void)unused;
    json_t *json = parse("[9223372036854775807, -9223372036854775808, 1.5]");
    assert_true(json_integer_value(json_array_get(json, 0)) == INT64_MAX);
    assert_true(json_integer_value(json_array_get(json, 1)) == INT64_MIN);
    json_decref(json);
    json = parse("[1000000000000000019884624838656, 7]");
    assert_true(json_real_value(json_array_get(json, 0)) == 0x1.93e5939a08ceap+99);
    assert_true(json_real_value(json_array_get(json, 1)) == 7);
    json_decref(json);
}

static void typed_look_ups(void **unused) {
    (void)unused;
    json_t *o =
        parse("{\"i\": 5, \"r\": 2.5, \"b\": true, \"s\": \"text\", \"n\": null, \"l\": []}");
    kadr_error err = {0};
    int64_t i = 7;
    double r = 7;
    bool b = false;
    const char *s = "default";
    static const char *const absent[] = {"n", "none"};
    for (size_t k = 0; k < 2; k++) {
        assert_int_equal(json_get_int(o, "f", absent[k], 0, 9, &i, &err), KADR_OK);
        assert_int_equal(json_get_real(o, "f", absent[k], &r, &err), KADR_OK);
        assert_int_equal(json_get_bool(o, "f", absent[k], &b, &err), KADR_OK);
        assert_int_equal(json_get_string(o, "f", absent[k], &s, &err), KADR_OK);
    }
    assert_true(i == 7 && r == 7 && !b);
    assert_string_equal(s, "default");
    assert_int_equal(json_get_int(o, "f", "i", 5, 5, &i, &err), KADR_OK);
    assert_int_equal(json_get_real(o, "f", "r", &r, &err), KADR_OK);
    assert_int_equal(json_get_bool(o, "f", "b", &b, &err), KADR_OK);
    assert_int_equal(json_get_string(o, "f", "s", &s, &err), KADR_OK);
    assert_true(i == 5 && r == 2.5 && b);
    assert_string_equal(s, "text");
    assert_int_equal(json_get_real(o, "f", "i", &r, &err), KADR_OK);
    assert_true(r == 5);
    assert_int_equal(json_get_int(o, "f", "i", 0, 4, &i, &err), KADR_EMODEL);
    assert_string_equal(err.message, "f: i: expected a whole number from 0 to 4");
    assert_int_equal(json_get_int(o, "f", "i", 6, 9, &i, &err), KADR_EMODEL);
    static const char *const wrong_int[] = {"r", "b", "s", "l"},
                             *const wrong_real[] = {"b", "s", "l"},
                             *const wrong_bool[] = {"i", "r", "s", "l"},
                             *const wrong_text[] = {"i", "b", "l"};
    for (size_t k = 0; k < 4; k++)
        assert_int_equal(json_get_int(o, "f", wrong_int[k], 0, 9, &i, &err), KADR_EMODEL);
    for (size_t k = 0; k < 3; k++)
        assert_int_equal(json_get_real(o, "f", wrong_real[k], &r, &err), KADR_EMODEL);
    for (size_t k = 0; k < 4; k++)
        assert_int_equal(json_get_bool(o, "f", wrong_bool[k], &b, &err), KADR_EMODEL);
    for (size_t k = 0; k < 3; k++)
        assert_int_equal(json_get_string(o, "f", wrong_text[k], &s, &err), KADR_EMODEL);
    assert_true(i == 5 && r == 5 && b);
    /* Look-ups in what is no object find nothing. */
    assert_int_equal(json_get_int(NULL, "f", "i", 0, 9, &i, &err), KADR_OK);
    assert_int_equal(json_get_int(json_object_get(o, "l"), "f", "i", 0, 9, &i, &err), KADR_OK);
    json_decref(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(depth),
        cmocka_unit_test(broken_texts),
        cmocka_unit_test(numbers),
        cmocka_unit_test(typed_look_ups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
