/* Presets, the model's defaults, shapes, what must fit together; and settings as JSON. */
#include "request/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static kadr_request *request(const char *const *pairs) {
    kadr_request *rq = kadr_request_new();
    for (; *pairs; pairs += 2)
        assert_int_equal(kadr_request_set(rq, pairs[0], pairs[1], NULL), KADR_OK);
    return rq;
}
#define REQUEST(...) request((const char *const[]){__VA_ARGS__, NULL})

static json_t *json(const char *text) {
    json_t *j = json_loads(text, 0, NULL);
    assert_non_null(j);
    return j;
}

static void nobody_says_anything(void **state) {
    (void)state;
    kadr_request *rq = REQUEST("prompt", "a fox");
    assert_int_equal(request_resolve(rq, NULL, "balanced", NULL), KADR_OK);
    assert_int_equal(rq->width, 768);
    assert_int_equal(rq->height, 768);
    assert_int_equal(rq->steps, 12);
    assert_true(rq->guidance == 6.5 && rq->identity_scale == 0.5);
    assert_int_equal(rq->original_width, 768);
    assert_int_equal(rq->target_height, 768);
    assert_int_equal(rq->count, 1);
    assert_string_equal(rq->sampler, "euler");
    assert_string_equal(rq->precision, "auto");
    assert_true(request_has(rq, OPTION_seed));
    assert_int_equal(rq->origin[OPTION_width].source, SOURCE_DEFAULT_PRESET);
    assert_int_equal(rq->origin[OPTION_sampler].source, SOURCE_FALLBACK);
    assert_null(rq->negative);
    int64_t seed = rq->seed;
    assert_int_equal(request_resolve(rq, NULL, "balanced", NULL), KADR_OK);
    assert_int_equal(rq->seed, seed);
    kadr_request_free(rq);
}

static void model_and_preset(void **state) {
    (void)state;
    json_t *model =
        json("{\"width\":192,\"height\":128,\"steps\":30,\"name\":\"mini\",\"output\":3,"
             "\"vae\":\"/etc/passwd\",\"guidance\":5}");
    kadr_request *rq = REQUEST("steps", "2");
    assert_int_equal(request_resolve(rq, model, "balanced", NULL), KADR_OK);
    assert_int_equal(rq->width, 192);
    assert_int_equal(rq->steps, 2);
    assert_true(rq->guidance == 5);
    assert_null(rq->vae);
    kadr_request_free(rq);

    rq = REQUEST("preset", "quality");
    assert_int_equal(request_resolve(rq, model, "balanced", NULL), KADR_OK);
    assert_int_equal(rq->width, 1024);
    assert_int_equal(rq->steps, 20);
    assert_int_equal(rq->origin[OPTION_width].source, SOURCE_PRESET);
    kadr_request_free(rq);

    rq = REQUEST("preset", "ultra-fast");
    assert_int_equal(request_resolve(rq, NULL, "balanced", NULL), KADR_OK);
    assert_int_equal(rq->width, 512);
    assert_int_equal(rq->original_width, 1024);
    assert_int_equal(rq->target_width, 512);
    kadr_request_free(rq);
    json_decref(model);

    model = json("{\"width\":\"wide\"}");
    kadr_error err = {0};
    rq = REQUEST("steps", "2");
    assert_int_equal(request_resolve(rq, model, "balanced", &err), KADR_EMODEL);
    assert_int_equal(err.status, KADR_EMODEL);
    assert_non_null(strstr(err.message, "width"));
    kadr_request_free(rq);
    json_decref(model);
}

static void shapes(void **state) {
    (void)state;
    static const struct {
        const char *aspect;
        int64_t width, height;
    } from_768[] = {{"16:9", 1024, 576}, {"3:2", 944, 624},     {"4:3", 888, 664},
                    {"1:1", 768, 768},   {"2.39:1", 1184, 496}, {"9:16", 576, 1024}};
    for (size_t i = 0; i < sizeof from_768 / sizeof *from_768; i++) {
        kadr_request *rq = REQUEST("aspect", from_768[i].aspect);
        assert_int_equal(request_resolve(rq, NULL, "balanced", NULL), KADR_OK);
        assert_int_equal(rq->width, from_768[i].width);
        assert_int_equal(rq->height, from_768[i].height);
        assert_int_equal(rq->original_width, rq->width);
        assert_int_equal(request_resolve(rq, NULL, "balanced", NULL), KADR_OK);
        assert_int_equal(rq->width, from_768[i].width);
        kadr_request_free(rq);
    }
    kadr_request *rq = REQUEST("aspect", "3:2", "width", "192");
    assert_int_equal(request_resolve(rq, NULL, "balanced", NULL), KADR_OK);
    assert_int_equal(rq->height, 128);
    kadr_request_free(rq);

    rq = REQUEST("aspect", "3:2", "height", "128");
    assert_int_equal(request_resolve(rq, NULL, "balanced", NULL), KADR_OK);
    assert_int_equal(rq->width, 192);
    kadr_request_free(rq);

    kadr_error err = {0};
    rq = REQUEST("aspect", "3:2", "height", "128", "width", "128");
    assert_int_equal(request_resolve(rq, NULL, "balanced", &err), KADR_EUSAGE);
    assert_non_null(strstr(err.message, "at most two"));
    kadr_request_free(rq);
}

/* A board is 16:9 unless the model has a size of its own. */
static void boards_shape(void **state) {
    (void)state;
    const struct request_origin board = {.source = SOURCE_BOARD};
    json_t *model = json("{\"width\":192,\"height\":128}");
    for (int k = 0; k < 4; k++) {
        kadr_request *rq = kadr_request_new();
        assert_int_equal(request_set_from(rq, OPTION_aspect, "16:9", &board, NULL), KADR_OK);
        if (k == 2) kadr_request_set(rq, "preset", "quality", NULL);
        if (k == 3) kadr_request_set(rq, "width", "320", NULL);
        assert_int_equal(request_resolve(rq, k == 1 ? model : NULL, "balanced", NULL), KADR_OK);
        const int64_t expected[4][2] = {{1024, 576}, {192, 128}, {1368, 768}, {320, 184}};
        assert_int_equal(rq->width, expected[k][0]);
        assert_int_equal(rq->height, expected[k][1]);
        kadr_request_free(rq);
    }
    json_decref(model);
}

static void what_does_not_fit_together(void **state) {
    (void)state;
    static const struct {
        const char *pairs[5], *says;
    } wrong[] = {
        {{"width", "100"}, "width: expected a multiple of 8, such as 104"},
        {{"height", "770"}, "height: expected a multiple of 8, such as 768"},
        {{"mask", "m.png"}, "init"},
        {{"strength", "0.5"}, "init"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        kadr_request *rq = request(wrong[i].pairs);
        kadr_error err = {0};
        assert_int_equal(request_resolve(rq, NULL, "balanced", &err), KADR_EUSAGE);
        if (!strstr(err.message, wrong[i].says)) fail_msg("%s", err.message);
        kadr_request_free(rq);
    }
    kadr_request *rq = REQUEST("mask", "m.png", "init", "i.png", "strength", "0.5");
    assert_int_equal(request_resolve(rq, NULL, "balanced", NULL), KADR_OK);
    kadr_request_free(rq);
}

static void settings_come_back(void **state) {
    (void)state;
    const struct request_origin picture = {SOURCE_PICTURE, "old.png", 0};
    kadr_request *rq = REQUEST("prompt", "a \"fox\", ä\n2", "seed", "9007199254740991", "guidance",
                               "0.1", "lora", "a:0.3", "lora", "b", "negative", "", "memory", "4G",
                               "threads", "3", "output", "x.png", "model", "mini");
    assert_int_equal(request_set_model_path(rq, "/home/x/mini", NULL), KADR_OK);
    assert_int_equal(request_resolve(rq, NULL, "balanced", NULL), KADR_OK);
    json_t *settings = request_to_json(rq);
    char *text = json_dumps(settings, REQUEST_JSON_FLAGS);
    /* Where and with what it was drawn is no setting. */
    assert_null(strstr(text, "memory"));
    assert_null(strstr(text, "threads"));
    assert_null(strstr(text, "x.png"));
    assert_null(strstr(text, "/home"));
    assert_non_null(strstr(text, "\"guidance\":0.1,"));
    assert_ptr_equal(strstr(text, "{\"prompt\":"), text);

    kadr_request *again = kadr_request_new();
    json_t *read = json(text);
    assert_int_equal(request_from_json(again, read, &picture, KADR_EUSAGE, NULL), KADR_OK);
    assert_string_equal(again->prompt, rq->prompt);
    assert_int_equal(again->lora.count, 2);
    assert_int_equal(again->origin[OPTION_prompt].source, SOURCE_PICTURE);
    assert_int_equal(request_resolve(again, NULL, "balanced", NULL), KADR_OK);
    json_t *twice = request_to_json(again);
    char *text_again = json_dumps(twice, REQUEST_JSON_FLAGS);
    assert_string_equal(text, text_again);
    free(text);
    free(text_again);
    json_decref(settings);
    json_decref(twice);
    json_decref(read);
    kadr_request_free(rq);
    kadr_request_free(again);
}

static void wrong_settings(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } wrong[] = {
        {"[]", "object"},
        {"{\"widht\":8}", "did you mean \"width\""},
        {"{\"output\":\"x\"}", "unknown setting \"output\""},
        {"{\"width\":8.5}", "whole number"},
        {"{\"width\":\"8\"}", "whole number"},
        {"{\"width\":9}", NULL},
        {"{\"prompt\":3}", "a text"},
        {"{\"prompt\":\"a\\u0000b\"}", "byte 0"},
        {"{\"lora\":\"x\"}", "array"},
        {"{\"lora\":[3]}", "array"},
        {"{\"guidance\":1e300}", "number"},
        {"{\"guidance\":null}", NULL},
    };
    const struct request_origin picture = {SOURCE_PICTURE, "old.png", 0};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *j = json_loads(wrong[i].text, JSON_ALLOW_NUL, NULL);
        kadr_request *rq = kadr_request_new();
        kadr_error err = {0};
        kadr_status status = request_from_json(rq, j, &picture, KADR_EIO, &err);
        assert_int_equal(status, wrong[i].says ? KADR_EIO : KADR_OK);
        if (wrong[i].says && !strstr(err.message, wrong[i].says)) fail_msg("%s", err.message);
        if (wrong[i].says) assert_int_equal(err.status, KADR_EIO);
        kadr_request_free(rq);
        json_decref(j);
    }
}

static void model_folders_defaults(void **state) {
    (void)state;
    char folder[] = "/tmp/kadr-model-XXXXXX", path[64];
    json_t *defaults;
    kadr_error err = {0};
    assert_non_null(mkdtemp(folder));
    assert_int_equal(request_model_defaults(folder, &defaults, &err), KADR_OK);
    assert_null(defaults);
    snprintf(path, sizeof path, "%s/kadr.json", folder);
    const char *const texts[] = {"{\"width\": 192}", "[1]", "{\"width\": 1"};
    for (int i = 0; i < 3; i++) {
        FILE *f = fopen(path, "w");
        fputs(texts[i], f);
        fclose(f);
        kadr_status status = request_model_defaults(folder, &defaults, &err);
        assert_int_equal(status, i ? KADR_EMODEL : KADR_OK);
        assert_true((defaults != NULL) == (i == 0));
        json_decref(defaults);
    }
    unlink(path);
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_says_anything),
        cmocka_unit_test(model_and_preset),
        cmocka_unit_test(shapes),
        cmocka_unit_test(boards_shape),
        cmocka_unit_test(what_does_not_fit_together),
        cmocka_unit_test(settings_come_back),
        cmocka_unit_test(wrong_settings),
        cmocka_unit_test(model_folders_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
