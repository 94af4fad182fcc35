/* Boards as files: nothing unknown is lost, mistakes have their places, Storyboarder's files come
 * and go whole, words are translated, what was drawn is taken over. */
#include "base/file.h"
#include "board/panel.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct mem *mem;

static int open_mem(void **state) {
    (void)state;
    mem = mem_open(0);
    return mem ? 0 : -1;
}

static int close_mem(void **state) {
    (void)state;
    return mem_close(mem) ? -1 : 0;
}

static json_t *parse(const char *name, const char *text) {
    json_t *doc;
    kadr_error err;
    if (document_parse(&doc, mem, text, strlen(text), name, &err)) fail_msg("%s", err.message);
    return doc;
}

static void refused(const char *name, const char *text, const char *message) {
    json_t *doc;
    kadr_error err;
    assert_int_equal(document_parse(&doc, mem, text, strlen(text), name, &err), KADR_EUSAGE);
    assert_null(doc);
    if (!strstr(err.message, message)) fail_msg("\"%s\" is not in \"%s\"", message, err.message);
}

static const char full[] =
    "{\"kadr_board\": 1, \"mine\": [1, {\"a\": 0.1}], \"boards\": [\n"
    "  {\"number\": \"12A\", \"uid\": \"ABCDE\", \"prompt\": \"x\", \"their\": {\"k\": null}},\n"
    "  {\"number\": 13, \"duration\": 2500.25, \"lastEdited\": 1511000000000}]}";

static void test_unknown_fields_stay(void **state) {
    (void)state;
    kadr_error err;
    char path[] = "/tmp/kadr-document-XXXXXX", backup[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    json_t *doc = parse("a.json", full), *raw = json_loads(full, 0, NULL), *again;
    assert_true(json_equal(doc, raw));
    assert_int_equal(document_save(doc, mem, path, false, &err), KADR_OK);
    assert_int_equal(json_object_set_new(doc, "title", json_string("t")), 0);
    assert_int_equal(document_save(doc, mem, path, true, &err), KADR_OK);
    snprintf(backup, sizeof backup, "%s.bak", path);
    assert_int_equal(document_read(&again, mem, path, &err), KADR_OK);
    assert_true(json_equal(again, doc));
    json_decref(again);
    again = json_load_file(backup, 0, NULL);
    assert_true(json_equal(again, raw));
    json_decref(again);
    json_decref(raw);
    json_decref(doc);
    remove(path);
    remove(backup);
}

static void test_mistakes_have_places(void **state) {
    (void)state;
    refused("a.json", "{\"kadr_board\": 2, \"boards\": [{\"number\": 1}]}", "newer kadr");
    refused("a.json", "{\"kadr_board\": 1, \"boards\": [{\"number\": 1},\n  {\"number\": \"1\"}]}",
            "a.json:2:3: panel 2: a second panel of number 1, as panel 1");
    refused("a.json",
            "{\"x\": \"boards\", \"kadr_board\": 1,\n\"boards\": [\n {\"number\": \"../x\"}]}",
            "a.json:3:2: panel 1: number");
    refused("a.json", "{\"kadr_board\": 1, \"boards\": [{\"number\": 1, \"duration\": -1}]}",
            "duration");
    refused("a.json", "{\"kadr_board\": 1, \"boards\": []}", "0 panels");
    refused("a.json", "{\"kadr_board\": 1,\n \"boards\": [}", "a.json:2:");
    refused("a.json", "[]", "expected a board");
    refused("a.json",
            "{\"kadr_board\": 1, \"boards\": [{\"number\": 1, \"versions\": [{\"version\": 1, "
            "\"url\": \"../secret.png\"}]}]}",
            "versions");
}

static void test_storyboarder_comes_and_goes(void **state) {
    (void)state;
    static const char theirs[] =
        "{\"version\": \"0.6.0\", \"aspectRatio\": 2.35, \"fps\": 24, \"defaultBoardTiming\": 1000,"
        "\"boards\": [{\"uid\": \"K3D7A\", \"url\": \"board-1-K3D7A.png\", \"newShot\": true,"
        "\"number\": 1, \"shot\": \"1A\", \"time\": 0, \"duration\": 1500, \"dialogue\": \"Hi\","
        "\"action\": \"A fox\", \"notes\": \"n\", \"layers\": {\"fill\": {\"url\": \"f.png\"}}},"
        "{\"uid\": \"P1Q2R\", \"url\": \"board-2-P1Q2R.png\", \"number\": 2, \"shot\": \"1B\","
        "\"time\": 1500}]}";
    json_t *doc = parse("a.storyboarder", theirs);
    json_t *panel = document_find(doc, "1A", NULL);
    assert_non_null(panel);
    assert_string_equal(document_text(panel, "action"), "A fox");
    assert_true(document_seconds(doc, panel) == 1.5);
    assert_true(document_seconds(doc, document_panel(doc, 1)) == 1.0);
    assert_int_equal(json_object_set_new(panel, "prompt", json_string("a red fox")), 0);
    json_t *out = document_to_storyboarder(doc), *first = document_panel(out, 0);
    assert_int_equal(json_integer_value(json_object_get(first, "number")), 1);
    assert_string_equal(document_text(first, "shot"), "1A");
    assert_string_equal(document_text(first, "url"), "board-1-K3D7A.png");
    assert_non_null(json_object_get(first, "layers"));
    assert_null(json_object_get(first, "prompt"));
    assert_true(json_number_value(json_object_get(document_panel(out, 1), "time")) == 1500);
    char *text = json_dumps(out, JSON_REAL_PRECISION(17));
    json_t *back = parse("b.storyboarder", text);
    panel = document_find(back, "1A", NULL);
    assert_string_equal(document_text(panel, "prompt"), "a red fox");
    assert_non_null(json_object_get(panel, "layers"));
    free(text);
    json_decref(back);
    json_decref(out);
    json_decref(doc);
}

/* The page's settings of a board are those that the program takes of it. */
static void test_settings_are_set(void **state) {
    (void)state;
    const struct request_origin origin = {.source = SOURCE_PICTURE};
    const char *const wrong[] = {"{\"aspect\": \"wide\"}", "{\"preset\": \"best\"}",
                                 "{\"aspect\": 2}", "{\"port\": 80}", "{\"steps\": 1000}"};
    kadr_request *rq = kadr_request_new();
    json_t *settings =
        json_loads("{\"steps\": 3, \"aspect\": \"1:1\", \"preset\": \"fast\"}", 0, NULL);
    assert_int_equal(panel_usual(rq, NULL), KADR_OK);
    assert_string_equal(rq->aspect, "16:9");
    assert_int_equal(panel_set(rq, settings, &origin, NULL), KADR_OK);
    assert_int_equal(json_object_size(settings), 3);
    assert_int_equal(request_resolve(rq, NULL, "balanced", NULL), KADR_OK);
    assert_int_equal(rq->steps, 3);
    assert_int_equal(rq->width, 768);
    assert_int_equal(rq->height, 768);
    json_decref(settings);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        settings = json_loads(wrong[i], 0, NULL);
        assert_int_equal(panel_set(rq, settings, &origin, NULL), KADR_EUSAGE);
        json_decref(settings);
    }
    kadr_request_free(rq);
}

static void test_scripts_are_translated(void **state) {
    (void)state;
    json_t *doc =
        parse("s.fountain",
              "Title: T\nStyle: flat\nNegative: blurry\nGlossary:\n"
              "    Анн* = a blue fox; cast: anna\n    лес = forest\n\n"
              "ИНТ. ЛЕС - ДЕНЬ\n\nАнну ищут в лесу. [[camera: pan left; steps: 9]]\n\n"
              "ЛЕСНИК\nАнна!\n\nЛев и Анна. [[cast: ANNA:0.5@0,0,1,1, bo@left; duration: 2.5]]\n");
    const json_t *one = document_panel(doc, 0), *two = document_panel(doc, 1);
    assert_string_equal(document_text(one, "prompt"), "a blue fox ищут в лесу, forest, day");
    assert_string_equal(document_text(one, "action"), "Анну ищут в лесу.");
    assert_string_equal(document_text(one, "camera"), "pan left");
    assert_string_equal(document_text(one, "dialogue"), "ЛЕСНИК: Анна!");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(one, "overrides"), "steps")), 9);
    const json_t *cast = json_object_get(two, "cast");
    assert_int_equal(json_array_size(cast), 2); /* the note's Anna, and no second of the glossary */
    assert_string_equal(json_string_value(json_array_get(cast, 0)), "ANNA:0.5@0,0,1,1");
    assert_string_equal(json_string_value(json_array_get(cast, 1)), "bo@left");
    assert_string_equal(document_text(doc, "style"), "flat");
    assert_string_equal(document_text(doc, "negative"), "blurry");
    json_decref(doc);
}

static void test_russian_times_of_day(void **state) {
    (void)state;
    json_t *doc = parse("s.fountain", "Title: T\nGlossary:\n    Вечер = warm evening light\n\n"
                                      "ИНТ. KITCHEN - НОЧЬ\n\nA fox sleeps.\n\n"
                                      "НАТ. HARBOUR - ВЕЧЕР\n\nA fox waves.\n\n"
                                      "НАТ. HARBOUR - ПОЗЖЕ\n\nA fox runs.\n\n"
                                      "НАТ. HARBOUR - ТРЕТИЙ ДЕНЬ\n\nA fox.\n");
    const char *prompts[] = {"A fox sleeps, kitchen, night",
                             "A fox waves, harbour, warm evening light", "A fox runs, harbour",
                             "A fox, harbour, третий день"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(document_text(document_panel(doc, i), "prompt"), prompts[i]);
    assert_int_equal(json_object_size(json_object_get(doc, "glossary")), 2);
    json_decref(doc);
}

static void test_what_was_drawn_is_kept(void **state) {
    (void)state;
    kadr_error err;
    json_t *old = parse(
        "o.json", "{\"kadr_board\": 1, \"seed\": 5, \"boards\": ["
                  "{\"number\": 1, \"uid\": \"AAAAA\", \"approved\": 1, \"versions\": ["
                  "{\"version\": 1, \"url\": \"a.png\"}, {\"version\": 2, \"url\": \"b.png\"}]},"
                  "{\"number\": 2, \"versions\": [{\"version\": 1, \"url\": \"c.png\"}]}]}");
    json_t *doc = parse("n.json", "{\"kadr_board\": 1, \"boards\": [{\"number\": \"1A\"},"
                                  "{\"number\": 9, \"uid\": \"AAAAA\"}]}");
    assert_int_equal(document_inherit(doc, old, &err), KADR_OK);
    assert_null(document_picture(document_panel(doc, 0)));
    assert_string_equal(document_picture(document_panel(doc, 1)), "a.png");
    assert_int_equal(json_array_size(json_object_get(doc, "removed")), 1);
    assert_int_equal(json_integer_value(json_object_get(doc, "seed")), 5);
    json_decref(old);
    json_decref(doc);
}

static void test_panels_are_selected(void **state) {
    (void)state;
    kadr_error err;
    bool some[4] = {false};
    json_t *doc = parse("n.json", "{\"kadr_board\": 1, \"boards\": [{\"number\": 1}, {\"number\": "
                                  "\"1A\"}, {\"number\": 2}, {\"number\": \"X-1\"}]}");
    assert_int_equal(document_select(doc, "1A-2,X-1", some, &err), KADR_OK);
    assert_true(!some[0] && some[1] && some[2] && some[3]);
    assert_int_equal(document_select(doc, "2-1", some, &err), KADR_EUSAGE);
    assert_int_equal(document_select(doc, "7", some, &err), KADR_EUSAGE);
    json_decref(doc);
}

/* "1 2 ..." of the panels in order. */
static void in_order(const json_t *doc, const char *expected) {
    char text[24], all[200] = "";
    for (size_t i = 0; i < document_count(doc); i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? " " : "",
                 document_number(document_panel(doc, i), text));
    assert_string_equal(all, expected);
}

static void insert(json_t *doc, size_t at) {
    kadr_error err;
    json_t *panel = json_object();
    assert_int_equal(document_insert(doc, at, panel, &err), KADR_OK);
    assert_ptr_equal(document_panel_of(doc, document_text(panel, "uid"), NULL), panel);
    json_decref(panel);
}

static void test_panels_come_and_go(void **state) {
    (void)state;
    kadr_error err;
    json_t *doc = parse(
        "a.json",
        "{\"kadr_board\": 1, \"boards\": [{\"number\": 1, \"uid\": \"AAAAA\"}, {\"number\": 2, "
        "\"uid\": \"AAAAA\"}, {\"number\": \"3\"}]}");
    assert_int_equal(document_identify(doc, &err), KADR_OK);
    assert_string_equal(document_text(document_panel(doc, 0), "uid"), "AAAAA");
    for (size_t i = 0; i < 3; i++) {
        size_t at;
        document_panel_of(doc, document_text(document_panel(doc, i), "uid"), &at);
        assert_int_equal(at, i);
    }
    insert(doc, 1);
    insert(doc, 1);
    insert(doc, 0);
    insert(doc, 6);
    in_order(doc, "0 1 1B 1A 2 3 4");
    document_move(doc, 6, 0);
    document_move(doc, 1, 6);
    in_order(doc, "4 1 1B 1A 2 3 0");
    assert_int_equal(document_check(doc, "board", &err), KADR_OK);
    assert_int_equal(document_remove(doc, 2, &err), KADR_OK);
    in_order(doc, "4 1 1A 2 3 0");
    assert_int_equal(json_array_size(json_object_get(doc, "removed")), 1);
    json_decref(doc);
}

/* A panel that was drawn by its number is drawn the same when it has another. */
static void test_numbers_become_whole(void **state) {
    (void)state;
    kadr_error err;
    uint64_t seed = 100;
    json_t *doc = parse(
        "a.json",
        "{\"kadr_board\": 1, \"boards\": [{\"number\": 7, \"prompt\": \"a\"}, {\"number\": \"2B\", "
        "\"prompt\": \"b\"}, {\"number\": 3, \"prompt\": \"c\", \"seed\": 5}]}");
    json_t *before[3], *after;
    assert_int_equal(document_seed(doc, &seed, &err), KADR_OK);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(panel_settings(mem, doc, i, seed, &before[i], &err), KADR_OK);
    assert_int_equal(json_integer_value(json_object_get(before[0], "seed")), 106);
    assert_int_equal(document_renumber(doc, &err), KADR_OK);
    in_order(doc, "1 2 3");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(panel_settings(mem, doc, i, seed, &after, &err), KADR_OK);
        assert_true(json_equal(before[i], after));
        json_decref(after);
        json_decref(before[i]);
    }
    json_decref(doc);
}

/* What a script's panel is drawn by, a panel without words is drawn by as well. */
static void test_words_follow(void **state) {
    (void)state;
    kadr_error err;
    json_t *doc = parse("a.fountain", "EXT. HARBOUR - DAY\n\nA fox waves. [[shot: wide]]\n\n"
                                      "An owl. [[prompt: a bird]]\n");
    json_t *with = json_deep_copy(doc), *own, *made;
    assert_string_equal(document_text(document_panel(with, 0), "prompt"),
                        "wide shot of a fox waves, harbour, day");
    assert_int_equal(document_free_prompts(mem, doc, &err), KADR_OK);
    assert_null(json_object_get(document_panel(doc, 0), "prompt"));
    assert_string_equal(document_text(document_panel(doc, 1), "prompt"), "a bird");
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(panel_settings(mem, with, i, 1, &own, &err), KADR_OK);
        assert_int_equal(panel_settings(mem, doc, i, 1, &made, &err), KADR_OK);
        assert_true(json_equal(own, made));
        json_decref(own);
        json_decref(made);
    }
    json_object_set_new(document_panel(doc, 0), "shot", json_string("close-up"));
    json_object_set_new(doc, "style", json_string("ink"));
    assert_int_equal(panel_settings(mem, doc, 0, 1, &made, &err), KADR_OK);
    assert_string_equal(document_text(made, "prompt"),
                        "close-up of a fox waves, harbour, day, ink");
    json_decref(made);
    json_decref(with);
    json_decref(doc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_fields_stay),
        cmocka_unit_test(test_panels_come_and_go),
        cmocka_unit_test(test_numbers_become_whole),
        cmocka_unit_test(test_words_follow),
        cmocka_unit_test(test_mistakes_have_places),
        cmocka_unit_test(test_storyboarder_comes_and_goes),
        cmocka_unit_test(test_settings_are_set),
        cmocka_unit_test(test_scripts_are_translated),
        cmocka_unit_test(test_russian_times_of_day),
        cmocka_unit_test(test_what_was_drawn_is_kept),
        cmocka_unit_test(test_panels_are_selected),
    };
    return cmocka_run_group_tests(tests, open_mem, close_mem);
}
