/* Scripts read: Fountain as another parser reads it, the rules of panels and notes, errors with
 * their places, hostile texts. */
#include "board/board.h"
#include "base/buf.h"
#include "base/file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct world {
    struct mem *mem;
    kadr_error err;
};

static int world_open(void **state) {
    struct world *w = calloc(1, sizeof *w);
    if (!w) return -1;
    w->mem = mem_open(0);
    *state = w;
    return w->mem ? 0 : -1;
}

static int world_close(void **state) {
    struct world *w = *state;
    size_t left = mem_close(w->mem);
    free(w);
    return left ? -1 : 0;
}

static void parse(struct world *w, struct board *b, const char *name, const char *text) {
    if (board_parse(b, w->mem, text, strlen(text), name, &w->err)) fail_msg("%s", w->err.message);
}

/* ---- Against screenplain -------------------------------------------------------------------- */
static void put_lines(struct buf *out, const char *mark, const char *text) {
    while (*text) {
        size_t size = strcspn(text, "\n");
        buf_printf(out, "%s%.*s\n", mark, (int)size, text);
        text += size + (text[size] == '\n');
    }
}

static void put_speech(struct buf *out, const struct board_speech *s) {
    buf_printf(out, "C %s", s->character);
    if (s->extension) buf_printf(out, " (%s)", s->extension);
    buf_puts(out, s->dual ? " ^\n" : "\n");
    if (s->parenthetical) buf_printf(out, "P (%s)\n", s->parenthetical);
    for (const char *line = s->text; *line;) {
        size_t size = strcspn(line, "\n");
        buf_printf(out, "%s%.*s\n", *line == '(' ? "P " : "D ", (int)size, line);
        line += size + (line[size] == '\n');
    }
}

static bool differ(const char *a, const char *b) {
    return b && (!a || strcmp(a, b) != 0);
}

/* The board as tests/reference/board.py tells it: what a reader of the script meets, in order. */
static void put_elements(struct buf *out, const struct board *b) {
    const char *scene = NULL, *section = NULL;
    for (size_t i = 0; i < b->count; i++) {
        const struct board_panel *p = &b->panels[i];
        if (differ(section, p->section)) buf_printf(out, "S %s\n", p->section);
        if (differ(scene, p->scene)) {
            buf_printf(out, "H %s", p->scene);
            if (p->scene_number) buf_printf(out, " #%s", p->scene_number);
            buf_putc(out, '\n');
        }
        section = p->section;
        scene = p->scene;
        put_lines(out, "A ", p->action);
        for (size_t k = 0; k < p->speech_count; k++) put_speech(out, &p->speeches[k]);
        if (p->transition) buf_printf(out, "T %s\n", p->transition);
    }
}

static void test_path(char *path, size_t size, const char *name) {
    snprintf(path, size, "%s/board/%s", getenv("KADR_TEST_DATA"), name);
}

static void fountain_as_screenplain_reads_it(void **state) {
    struct world *w = *state;
    struct board b;
    struct buf have;
    char path[512], *want;
    size_t size;
    buf_init(&have, w->mem);
    test_path(path, sizeof path, "syntax.fountain");
    if (board_read(&b, w->mem, path, &w->err)) fail_msg("%s", w->err.message);
    put_elements(&have, &b);
    test_path(path, sizeof path, "syntax.elements");
    assert_int_equal(file_read_all(w->mem, path, 1 << 20, KADR_EIO, &want, &size, &w->err), 0);
    assert_string_equal(have.data, want);
    assert_int_equal(b.title_count, 5);
    assert_string_equal(b.titles[0].key, "Title");
    assert_string_equal(b.titles[0].value, "THE LAMP\nA test of every element");
    assert_string_equal(b.titles[3].value, "1/2/2026");
    assert_string_equal(b.titles[4].value, "Nowhere Street 1\n00000 Nowhere");
    mem_free(want);
    buf_free(&have);
    board_free(&b);
    board_free(&b);
}

/* ---- Panels --------------------------------------------------------------------------------- */
static void paragraphs_are_panels(void **state) {
    struct world *w = *state;
    struct board b;
    parse(w, &b, "story.txt",
          "\xEF\xBB\xBF# a comment\r\n\r\nA fox\r\nin the snow.\r\n# inside\r\nIt sits.\r\n "
          "\t\r\n\r\n"
          "A bear # no comment\r\n\r\n# another\r\n\r\n   Title: x\r\n");
    assert_int_equal(b.count, 3);
    assert_string_equal(b.panels[0].prompt, "A fox in the snow. It sits.");
    assert_string_equal(b.panels[0].action, "A fox\nin the snow.\nIt sits.");
    assert_string_equal(b.panels[0].number, "1");
    assert_int_equal(b.panels[0].place.line, 3);
    assert_null(b.panels[0].scene);
    assert_string_equal(b.panels[1].prompt, "A bear # no comment");
    assert_string_equal(b.panels[2].number, "3");
    assert_int_equal(b.panels[2].place.line, 13);
    assert_int_equal(b.panels[2].place.column, 4);
    board_free(&b);
}

static void fountain_is_told_by_name_or_content(void **state) {
    static const struct {
        const char *name, *text;
        bool fountain;
    } cases[] = {
        {"a.fountain", "# Section\n\nA fox.", true}, {"a.spmd", "# Section\n\nA fox.", true},
        {"a.txt", "# Comment\n\nA fox.", false},     {"a.txt", "INT. DEN - DAY\n\nA fox.", true},
        {"a.txt", "A fox.\n\next. den\n\nA.", true}, {"a.txt", "A fox\nINT. DEN - DAY", false},
        {"a.txt", "Title: x\n\nA fox.", true},       {"a.txt", "INTO THE WOODS\n\nA fox.", false},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct board b;
        parse(w, &b, cases[i].name, cases[i].text);
        bool told = b.title_count || b.panels[b.count - 1].scene || b.panels[0].section;
        assert_int_equal(told, cases[i].fountain);
        board_free(&b);
    }
}

static void scenes_and_speeches_make_panels(void **state) {
    struct world *w = *state;
    struct board b;
    parse(w, &b, "a.fountain",
          "FADE IN:\n\nEXT. HARBOUR - DAY\n\nINT. TOWER - LATER\n\nANNA\nHello.\n\nBO "
          "(V.O.)\nHey.\n\n"
          "A lamp flickers.\n\n~La la\n~lo\n\nест. нет\n\n> FADE OUT.\n\n.cellar\n\n= dark\n\nA "
          "step\\*.");
    assert_int_equal(b.count, 5);
    assert_string_equal(b.panels[0].prompt, "harbour, day");
    assert_string_equal(b.panels[0].action, "");
    assert_string_equal(b.panels[1].prompt, "anna and bo, tower");
    assert_int_equal(b.panels[1].speech_count, 2);
    assert_string_equal(b.panels[1].speeches[1].extension, "V.O.");
    assert_string_equal(b.panels[2].prompt, "A lamp flickers, tower");
    assert_int_equal(b.panels[2].speech_count, 1);
    assert_null(b.panels[2].speeches[0].character);
    assert_string_equal(b.panels[2].speeches[0].text, "La la\nlo");
    assert_string_equal(b.panels[3].transition, "FADE OUT.");
    assert_string_equal(b.panels[4].scene, "cellar");
    assert_string_equal(b.panels[4].synopsis, "dark");
    assert_string_equal(b.panels[4].prompt, "A step*, cellar");
    board_free(&b);
}

static void russian_headings_and_names(void **state) {
    struct world *w = *state;
    struct board b;
    parse(w, &b, "a.txt",
          "Инт. Маяк - НОЧЬ #1А#\n\nАнна поднимается.\n\nАННА (шёпотом)\nЕщё ступенька.\n\n"
          "НАТ. БЕРЕГ — УТРО\n\nЁЖ\n(в сторону)\nХолодно!\n");
    assert_int_equal(b.count, 2);
    assert_string_equal(b.panels[0].scene, "Инт. Маяк - НОЧЬ");
    assert_string_equal(b.panels[0].scene_number, "1А");
    assert_string_equal(b.panels[0].prompt, "Анна поднимается, маяк, ночь");
    assert_string_equal(b.panels[0].speeches[0].character, "АННА");
    assert_string_equal(b.panels[0].speeches[0].extension, "шёпотом");
    assert_string_equal(b.panels[1].prompt, "ёж, берег, утро");
    assert_string_equal(b.panels[1].speeches[0].parenthetical, "в сторону");
    assert_int_equal(b.panels[1].place.line, 10);
    board_free(&b);
}

static void examples_are_six_panels(void **state) {
    static const char *const files[] = {"harbour.txt", "harbour.fountain"};
    struct world *w = *state;
    for (int i = 0; i < 2; i++) {
        struct board b;
        char path[512];
        snprintf(path, sizeof path, "%s/../../examples/%s", getenv("KADR_TEST_DATA"), files[i]);
        if (board_read(&b, w->mem, path, &w->err)) fail_msg("%s", w->err.message);
        assert_int_equal(b.count, 6);
        for (size_t k = 0; k < 6; k++)
            assert_non_null(strstr(b.panels[k].prompt, "blue fox with a red scarf"));
        assert_string_equal(board_override_of(&b.panels[4], "seed"), "7");
        board_free(&b);
    }
}

/* ---- Notes ---------------------------------------------------------------------------------- */
static void notes_set_fields(void **state) {
    struct world *w = *state;
    struct board b;
    parse(w, &b, "a.txt",
          "A fox. [[shot: wide; Duration: 2.5; cast: ANNA@left, bo:0.7@0.5,0,1,1; seed: 7;]]\n"
          "[[Guidance: 3.5; clip_skip: 1; negative: a\\; b,\nc]]\n\n"
          "[[number: 12A; prompt: a red fox, close-up]]\nЛиса.\n\n"
          "A bear.\n\n[[why: a bear?]]\n\n[[check the coat]]\n[[steps: 5]]\nA cat.");
    assert_int_equal(b.count, 4);
    const struct board_panel *p = b.panels;
    assert_string_equal(p[0].prompt, "wide shot of a fox.");
    assert_string_equal(p[0].shot, "wide");
    assert_string_equal(p[0].cast, "ANNA@left, bo:0.7@0.5,0,1,1");
    assert_true(p[0].duration > 2.49 && p[0].duration < 2.51);
    assert_int_equal(p[0].override_count, 6);
    assert_string_equal(p[0].overrides[0].name, "cast");
    assert_string_equal(p[0].overrides[0].value, "ANNA@left");
    assert_string_equal(p[0].overrides[1].value, "bo:0.7@0.5,0,1,1");
    assert_string_equal(board_override_of(&p[0], "seed"), "7");
    assert_string_equal(board_override_of(&p[0], "clip-skip"), "1");
    assert_string_equal(board_override_of(&p[0], "negative"), "a; b, c");
    assert_null(board_override_of(&p[0], "steps"));
    assert_int_equal(p[0].overrides[2].place.line, 1);
    assert_int_equal(p[0].overrides[2].place.column, 72);
    assert_int_equal(p[0].overrides[3].place.line, 2);
    assert_string_equal(p[1].number, "12A");
    assert_string_equal(p[1].prompt, "a red fox, close-up");
    assert_string_equal(p[1].action, "Лиса.");
    assert_string_equal(p[2].number, "3");
    assert_int_equal(p[2].note_count, 1);
    assert_string_equal(p[2].notes[0], "why: a bear?");
    assert_int_equal(p[3].note_count, 1);
    assert_string_equal(p[3].notes[0], "check the coat");
    assert_string_equal(board_override_of(&p[3], "steps"), "5");
    board_free(&b);
}

static void notes_stay_in_their_scene(void **state) {
    struct world *w = *state;
    struct board b;
    parse(w, &b, "a.fountain",
          "INT. A [[seed: 1]]\n\n[[shot: close-up]]\n\nOne.\n\n[[seed: 2]]\n\n[[steps: 9]]\nINT. "
          "B\n\n"
          "INT. C\n\nTwo.\n\n[[seed: 3]]\nANNA\nHello [[seed: 4]] you.\n[[seed: "
          "5]]\nBye.\n\n[[end]]");
    assert_int_equal(b.count, 3);
    assert_string_equal(b.panels[0].prompt, "close-up of One, a");
    assert_int_equal(b.panels[0].override_count, 2);
    assert_string_equal(board_override_of(&b.panels[0], "seed"), "2");
    assert_string_equal(b.panels[1].prompt, "b");
    assert_string_equal(board_override_of(&b.panels[1], "steps"), "9");
    assert_int_equal(b.panels[2].override_count, 3);
    assert_string_equal(board_override_of(&b.panels[2], "seed"), "5");
    assert_string_equal(b.panels[2].speeches[0].text, "Hello  you.\nBye.");
    assert_string_equal(b.panels[2].notes[0], "end");
    board_free(&b);
}

/* ---- Errors --------------------------------------------------------------------------------- */
static void errors_name_their_place(void **state) {
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "s:1:1: no panels"},
        {"# only a comment", "s:1:1: no panels"},
        {"[[seed: 1]]", "s:1:1: no panels"},
        {"a\n\nb \xFF", "s:3:3: byte 0xFF is no UTF-8"},
        {"a\n\xC3", "s:2:1: byte 0xC3 is no UTF-8"},
        {"жж\x01", "s:1:3: control character 0x01"},
        {"a\n\nжж [[seed: 1\n\n]]", "s:3:4: a note begins with [["},
        {"a [[", "s:1:3: a note begins with [["},
        {"a\n[[shot: wide; sed: 7]]", "s:2:15: \"sed\" is no field of a panel; did you mean seed?"},
        {"a\n[[shot: wide; wide]]", "s:2:15: expected \"key: value\""},
        {"a [[seed: -1]]", "s:1:11: "},
        {"a [[seed: x]]", "s:1:11: "},
        {"a [[steps: 0]]", "s:1:12: "},
        {"a [[seed:]]", "s:1:5: \"seed\" without a value"},
        {"a [[duration: 0]]", "s:1:15: a duration of \"0\""},
        {"a [[duration: nan]]", "s:1:15: a duration of \"nan\""},
        {"a [[duration: 1e9]]", "s:1:15: a duration of \"1e9\""},
        {"a [[number: a/b]]", "s:1:13: a panel's number \"a/b\""},
        {"a [[number: 2]]\n\nb", "s:3:1: a second panel of number 2; the first is in line 1"},
        {"a [[shot: x; threads: 2]]", "s:1:14: \"threads\" is no field of a panel"},
        {"INT. A\n\n.-\n\n int. \n", "s:5:2: nothing to draw"},
        {"INT. A\n\n/* b", "s:3:1: a comment begins with /*"},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct board b;
        assert_int_equal(
            board_parse(&b, w->mem, cases[i].text, strlen(cases[i].text), "s", &w->err),
            KADR_EUSAGE);
        if (strncmp(w->err.message, cases[i].says, strlen(cases[i].says)) != 0)
            fail_msg("\"%s\" where \"%s\" was expected", w->err.message, cases[i].says);
        assert_int_equal(b.count, 0);
    }
    struct board b;
    assert_int_equal(board_read(&b, w->mem, "no/such.txt", &w->err), KADR_EIO);
    board_free(&b);
}

static char *repeated(struct world *w, const char *piece, size_t count) {
    size_t size = strlen(piece);
    char *text = mem_alloc(w->mem, size * count + 1);
    for (size_t i = 0; i < count; i++) memcpy(text + i * size, piece, size);
    return text;
}

static void limits_hold(void **state) {
    struct world *w = *state;
    struct board b;
    char *text = repeated(w, "a\n\n", BOARD_PANELS + 1);
    assert_int_equal(board_parse(&b, w->mem, text, 3 * BOARD_PANELS, "s", &w->err), KADR_OK);
    assert_int_equal(b.count, BOARD_PANELS);
    board_free(&b);
    assert_int_equal(board_parse(&b, w->mem, text, strlen(text), "s", &w->err), KADR_EUSAGE);
    assert_string_equal(w->err.message, "s:20001:1: more than 10000 panels");
    mem_free(text);
    text = repeated(w, "a", BOARD_BYTES + 1);
    assert_int_equal(board_parse(&b, w->mem, text, BOARD_BYTES + 1, "s", &w->err), KADR_EUSAGE);
    assert_int_equal(board_parse(&b, w->mem, text, BOARD_BYTES, "s", &w->err), KADR_OK);
    board_free(&b);
    mem_free(text);
}

/* Texts that a careless parser takes hours for. */
static void hostile_texts_end(void **state) {
    static const char *const pieces[] = {"[[a]]",    "[[seed:1]]\n", "[[a]]\nX\n\n", "*a ",
                                         "**a *b_ ", "~a\n",         "A\n",          "\nA\nb\n",
                                         "k: v\n",   " - ",          "#a\n",         "=a\n",
                                         "/**/[[]]", "\n.a\n",       ">a<\n",        "INT. \n\n"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct board b;
        char *text = repeated(w, pieces[i], 300000 / strlen(pieces[i]));
        kadr_status status = board_parse(&b, w->mem, text, strlen(text), "s.fountain", &w->err);
        assert_true(status == KADR_OK || status == KADR_EUSAGE);
        board_free(&b);
        mem_free(text);
    }
}

/* The sample cut at every byte, and with bytes turned over. */
static void damaged_scripts_do_no_harm(void **state) {
    struct world *w = *state;
    char path[512], *text;
    size_t size;
    uint32_t dice = 1;
    test_path(path, sizeof path, "syntax.fountain");
    assert_int_equal(file_read_all(w->mem, path, 1 << 20, KADR_EIO, &text, &size, &w->err), 0);
    for (size_t i = 0; i < 2 * size; i++) {
        struct board b;
        dice = dice * 1664525 + 1013904223;
        size_t at = (dice >> 8) % size, length = i < size ? i : size;
        char was = text[at];
        text[at] = "[]\n:;*_#@!>~=/\\\xD0"[dice % 17];
        kadr_status status = board_parse(&b, w->mem, text, length, "s.fountain", &w->err);
        text[at] = was;
        assert_true(status == KADR_OK || status == KADR_EUSAGE);
        for (size_t k = 0; k < b.count; k++) assert_true(*b.panels[k].prompt != 0);
        board_free(&b);
    }
    mem_free(text);
}

static void every_allocation_may_fail(void **state) {
    struct world *w = *state;
    char path[512];
    kadr_status status = KADR_EMEMORY;
    test_path(path, sizeof path, "syntax.fountain");
    for (uint64_t n = 1; status; n++) {
        struct board b;
        mem_fail_at(w->mem, n);
        status = board_read(&b, w->mem, path, &w->err);
        mem_fail_at(w->mem, 0);
        assert_true(status == KADR_OK || status == KADR_EMEMORY);
        board_free(&b);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(fountain_as_screenplain_reads_it),
        TEST(paragraphs_are_panels),
        TEST(fountain_is_told_by_name_or_content),
        TEST(scenes_and_speeches_make_panels),
        TEST(russian_headings_and_names),
        TEST(examples_are_six_panels),
        TEST(notes_set_fields),
        TEST(notes_stay_in_their_scene),
        TEST(errors_name_their_place),
        TEST(limits_hold),
        TEST(hostile_texts_end),
        TEST(damaged_scripts_do_no_harm),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
