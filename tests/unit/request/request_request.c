/* Requests by name: every option of the list is set, read back, copied and refused. */
#include "request/request.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A value that the option takes, in the form in which it comes back. */
static const char *sample(const kadr_option *o, char *to, size_t size) {
    switch (o->type) {
    case KADR_INT: snprintf(to, size, "%.0f", o->high); return to;
    case KADR_REAL: return "0.25";
    case KADR_BOOL: return "true";
    case KADR_BYTES: return "1536M";
    case KADR_CHOICE:
        snprintf(to, size, "%.*s", (int)strcspn(o->choices, "|"), o->choices);
        return to;
    default:
        return !strcmp(o->name, "aspect")              ? "2.39:1"
               : !strcmp(o->name, "guidance-interval") ? "0.25,0.75"
                                                       : "path/of/ä: 0.5";
    }
}

static void every_option_comes_back(void **state) {
    (void)state;
    size_t count;
    const kadr_option *list = kadr_options(&count);
    assert_true(count == OPTIONS);
    kadr_request *rq = kadr_request_new();
    kadr_error err;
    char text[64];
    for (size_t i = 0; i < count; i++) {
        const char *value = sample(&list[i], text, sizeof text);
        assert_null(kadr_request_get(rq, list[i].name));
        assert_int_equal(kadr_request_set(rq, list[i].name, value, &err), KADR_OK);
        assert_string_equal(kadr_request_get(rq, list[i].name), value);
    }
    kadr_request *copy = kadr_request_copy(rq);
    for (size_t i = 0; i < count; i++) {
        const char *value = sample(&list[i], text, sizeof text);
        assert_int_equal(kadr_request_set(rq, list[i].name, NULL, &err), KADR_OK);
        assert_null(kadr_request_get(rq, list[i].name));
        assert_string_equal(kadr_request_get(copy, list[i].name), value);
    }
    assert_int_equal(copy->width, 16384);
    assert_true(copy->guidance == 0.25);
    assert_true(copy->memory == (uint64_t)1536 << 20);
    assert_int_equal(copy->lora.count, 1);
    kadr_request_free(rq);
    kadr_request_free(copy);
    kadr_request_free(NULL);
}

static void list_is_sound(void **state) {
    (void)state;
    size_t count;
    const kadr_option *list = kadr_options(&count);
    kadr_request *rq = kadr_request_new();
    for (size_t i = 0; i < count; i++) {
        const kadr_option *o = &list[i];
        assert_int_equal(request_option(o->name), i);
        assert_true(strspn(o->name, "abcdefghijklmnopqrstuvwxyz-") == strlen(o->name));
        assert_true(o->help[0] && o->group[0]);
        assert_true((o->type == KADR_CHOICE) == (o->choices != NULL));
        assert_true((o->type == KADR_BOOL) == (o->value == NULL));
        bool number = o->type == KADR_INT || o->type == KADR_REAL || o->type == KADR_BYTES;
        assert_true(number == (o->high > o->low));
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(o->name, list[k].name);
            if (o->letter) assert_int_not_equal(o->letter, list[k].letter);
        }
        kadr_error err = {0};
        if (o->fallback && kadr_request_set(rq, o->name, o->fallback, &err))
            fail_msg("%s: %s", o->name, err.message);
    }
    kadr_request_free(rq);
}

static void wrong_values_change_nothing(void **state) {
    (void)state;
    static const struct {
        const char *name, *value, *says;
    } wrong[] = {
        {"width", "abc", "width: expected a whole number from 8 to 16384, got \"abc\""},
        {"width", "", "whole number"},
        {"width", "512.0", "whole number"},
        {"width", "512 ", "whole number"},
        {"width", "-8", "from 8"},
        {"width", "99999999999999999999999", "whole number"},
        {"seed", "9007199254740992", "9007199254740991"},
        {"guidance", "nan", "number"},
        {"guidance", "inf", "number"},
        {"guidance", "0x10", "number"},
        {"guidance", "6,5", "number"},
        {"guidance", "1e400", "number"},
        {"guidance", ".", "number"},
        {"guidance", "1e", "number"},
        {"guidance", "100.5", "from 0 to 100"},
        {"precision", "bf", "f32|bf16|int8|auto"},
        {"precision", "", "f32|bf16|int8|auto"},
        {"precision", "f32|bf16", "f32|bf16|int8|auto"},
        {"memory", "8", "8M"},
        {"memory", "G", "size"},
        {"memory", "8GX", "size"},
        {"memory", "8iB", "size"},
        {"memory", "99999T", "size"},
        {"aspect", "16x9", "16:9"},
        {"aspect", "0:1", "16:9"},
        {"aspect", "100:1", "16:9"},
        {"aspect", "1:", "16:9"},
        {"guidance-interval", "0.5", "0.2,0.8"},
        {"guidance-interval", "0.5,", "0.2,0.8"},
        {"guidance-interval", "0.5,0.4", "0.2,0.8"},
        {"guidance-interval", "0,1.01", "0.2,0.8"},
        {"guidance-interval", "-0.1,1", "0.2,0.8"},
        {"guidance-interval", "0,0.5,1", "0.2,0.8"},
        {"json", "maybe", "true or false"},
        {"lora", ":0.5", "FILE:WEIGHT"},
        {"model", "", "a path"},
        {"prompt", "\xff", "UTF-8"},
        {"widht", "1", "did you mean \"width\""},
        {"zzzzzzzz", "1", "unknown option"},
    };
    kadr_request *rq = kadr_request_new();
    kadr_request_set(rq, "width", "640", NULL);
    kadr_request_set(rq, "guidance", "3", NULL);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        kadr_error err = {0};
        if (kadr_request_set(rq, wrong[i].name, wrong[i].value, &err) != KADR_EUSAGE)
            fail_msg("%s %s", wrong[i].name, wrong[i].value);
        assert_int_equal(err.status, KADR_EUSAGE);
        if (!strstr(err.message, wrong[i].says)) fail_msg("%s", err.message);
    }
    assert_int_equal(rq->width, 640);
    assert_true(rq->guidance == 3);
    assert_null(kadr_request_get(rq, "memory"));
    assert_null(kadr_request_get(rq, "widht"));
    kadr_request_free(rq);
}

/* Against the C library: to 15 digits they agree to the bit. */
static void reals_are_exact(void **state) {
    (void)state;
    static const char *const fixed[] = {
        "0",      "-0.5", "1",  "6.5", "0.1", "0.3",    "1e22",     "1e-22",
        "123e-5", "+2.5", ".5", "5.",  "1E2", "000.10", "0.000001", "999999999999999"};
    double got;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        assert_true(request_parse_real(fixed[i], &got));
        assert_true(got == strtod(fixed[i], NULL));
    }
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < 20000; i++) {
        char text[64];
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        uint64_t digits = random % 1000000000000000u;
        snprintf(text, sizeof text, "%llu.%llue%d", (unsigned long long)(digits / 1000000),
                 (unsigned long long)(digits % 900000 + 100000), (int)(random >> 60) - 8);
        if (!request_parse_real(text, &got)) fail_msg("%s", text);
        if (got != strtod(text, NULL))
            fail_msg("%s: %a, expected %a", text, got, strtod(text, NULL));
    }
    /* More digits than count: rounded to 15. */
    assert_true(request_parse_real("0.33333333333333333333333", &got));
    assert_true(got == 0.333333333333333);
    assert_true(request_parse_real("0.66666666666666666666666", &got));
    assert_true(got == 0.666666666666667);
    assert_true(request_parse_real("0.9999999999999999999", &got));
    assert_true(got == 1);
    assert_true(request_parse_real("12345678901234567", &got));
    assert_true(got == 12345678901234600.0);
}

static void another_locale_changes_nothing(void **state) {
    (void)state;
    kadr_request *rq = kadr_request_new();
    const char *const names[] = {"de_DE.UTF-8", "ru_RU.UTF-8", "fr_FR.UTF-8"};
    for (size_t i = 0; i < 3; i++)
        if (setlocale(LC_ALL, names[i])) break;
    assert_int_equal(kadr_request_set(rq, "guidance", "6.5", NULL), KADR_OK);
    assert_true(rq->guidance == 6.5);
    assert_string_equal(kadr_request_get(rq, "guidance"), "6.5");
    setlocale(LC_ALL, "C");
    kadr_request_free(rq);
}

static void sizes_are_binary(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"1024", 1024},
                {"1k", 1024},
                {"1.5K", 1536},
                {"6G", (uint64_t)6 << 30},
                {"6GiB", (uint64_t)6 << 30},
                {"6gb", (uint64_t)6 << 30},
                {"512 M", 512 << 20},
                {"2T", (uint64_t)2 << 40},
                {"7B", 7}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t bytes;
        assert_true(request_parse_bytes(good[i].text, &bytes));
        assert_true(bytes == good[i].bytes);
    }
}

static void lists_grow_and_have_weights(void **state) {
    (void)state;
    kadr_request *rq = kadr_request_new();
    double weight;
    assert_int_equal(kadr_request_set(rq, "lora", "a.safetensors:0.75", NULL), KADR_OK);
    assert_int_equal(kadr_request_set(rq, "lora", "C:/b.safetensors", NULL), KADR_OK);
    assert_int_equal(kadr_request_set(rq, "lora", "c:-1", NULL), KADR_OK);
    assert_int_equal(rq->lora.count, 3);
    assert_string_equal(kadr_request_get(rq, "lora"), "a.safetensors:0.75\nC:/b.safetensors\nc:-1");
    assert_int_equal(request_weighted(rq->lora.item[0], &weight), strlen("a.safetensors"));
    assert_true(weight == 0.75);
    assert_int_equal(request_weighted(rq->lora.item[1], &weight), strlen("C:/b.safetensors"));
    assert_true(weight == 1);
    assert_int_equal(request_weighted(rq->lora.item[2], &weight), 1);
    assert_true(weight == -1);
    kadr_request_free(rq);
}

static void specific_places_win(void **state) {
    (void)state;
    kadr_request *rq = kadr_request_new();
    const struct request_origin user = {SOURCE_USER, "u.ini", 3}, flag = {SOURCE_FLAG, NULL, 0};
    const struct request_origin model = {SOURCE_MODEL, NULL, 0};
    assert_int_equal(request_set_from(rq, OPTION_steps, "5", &user, NULL), KADR_OK);
    assert_int_equal(request_set_from(rq, OPTION_steps, "6", &model, NULL), KADR_OK);
    assert_int_equal(rq->steps, 5);
    assert_string_equal(rq->origin[OPTION_steps].file, "u.ini");
    assert_int_equal(request_set_from(rq, OPTION_steps, "7", &flag, NULL), KADR_OK);
    assert_int_equal(request_set_from(rq, OPTION_steps, "x", &model, NULL), KADR_EUSAGE);
    assert_int_equal(rq->steps, 7);
    assert_int_equal(request_set_from(rq, OPTION_lora, "a", &user, NULL), KADR_OK);
    assert_int_equal(request_set_from(rq, OPTION_lora, "b", &user, NULL), KADR_OK);
    assert_int_equal(rq->lora.count, 2);
    assert_int_equal(request_set_from(rq, OPTION_lora, "c", &flag, NULL), KADR_OK);
    assert_int_equal(rq->lora.count, 1);
    assert_string_equal(rq->lora.item[0], "c");
    kadr_request_free(rq);
}

static void models_path_is_kept_apart(void **state) {
    (void)state;
    kadr_request *rq = kadr_request_new();
    assert_null(request_model_path(rq));
    kadr_request_set(rq, "model", "mini", NULL);
    assert_string_equal(request_model_path(rq), "mini");
    assert_int_equal(request_set_model_path(rq, "/somewhere/mini", NULL), KADR_OK);
    assert_string_equal(request_model_path(rq), "/somewhere/mini");
    assert_string_equal(kadr_request_get(rq, "model"), "mini");
    kadr_request_set(rq, "model", "other", NULL);
    assert_string_equal(request_model_path(rq), "other");
    kadr_request_free(rq);
}

static void near_words_are_found(void **state) {
    (void)state;
    assert_string_equal(request_nearest_option("widht", ~0u), "width");
    assert_string_equal(request_nearest_option("neg", ~0u), "negative");
    assert_string_equal(request_nearest_option("guidence", ~0u), "guidance");
    assert_string_equal(request_nearest_option("clipskip", ~0u), "clip-skip");
    assert_null(request_nearest_option("frobnicate", ~0u));
    assert_null(request_nearest_option("widht", KADR_FOR_TOKENS));
    assert_null(request_nearest("", NULL, 0));
}

/* Every allocation refused once: the right error, and the request as it was. */
static void refused_memory_changes_nothing(void **state) {
    (void)state;
    kadr_request *rq = kadr_request_new();
    kadr_error err;
    assert_int_equal(kadr_request_set(rq, "prompt", "before", NULL), KADR_OK);
    assert_int_equal(kadr_request_set(rq, "lora", "before", NULL), KADR_OK);
    const struct request_origin origin = {SOURCE_SCRIPT, "file", 1};
    for (int id = OPTION_prompt;; id = OPTION_lora) {
        for (uint64_t nth = 1;; nth++) {
            mem_fail_at(rq->mem, nth);
            kadr_status status = request_set_from(rq, id, "after", &origin, &err);
            mem_fail_at(rq->mem, 0);
            if (status == KADR_OK) break;
            assert_int_equal(status, KADR_EMEMORY);
            assert_string_equal(kadr_request_get(rq, request_option_at(id)->name), "before");
            assert_true(nth < 20);
        }
        assert_string_equal(kadr_request_get(rq, request_option_at(id)->name), "after");
        if (id == OPTION_lora) break;
    }
    kadr_request_free(rq);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_option_comes_back),        cmocka_unit_test(list_is_sound),
        cmocka_unit_test(wrong_values_change_nothing),    cmocka_unit_test(reals_are_exact),
        cmocka_unit_test(another_locale_changes_nothing), cmocka_unit_test(sizes_are_binary),
        cmocka_unit_test(lists_grow_and_have_weights),    cmocka_unit_test(specific_places_win),
        cmocka_unit_test(models_path_is_kept_apart),      cmocka_unit_test(near_words_are_found),
        cmocka_unit_test(refused_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
