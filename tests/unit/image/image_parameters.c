/* A1111's settings, read and written. The texts are of the forms that A1111 1.x writes. */
#include "image/parameters.h"
#include "image_common.h"

static void read(struct world *w, struct arena *a, const char *text, struct parameters *p) {
    arena_init(a, w->mem);
    assert_int_equal(parameters_read(a, text, p, &w->err), KADR_OK);
}

static void the_usual_form_is_read(void **state) {
    struct world *w = *state;
    struct arena a;
    struct parameters p;
    read(w, &a,
         "masterpiece, (fox:1.2),\nsnow\nNegative prompt: blurry, bad: very\nugly\n"
         "Steps: 12, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 1, "
         "Size: 768x512, Model hash: 1a2b3c, Model: \"a, \\\"b\\\": c\\n\\u0451\", "
         "Denoising strength: 0.4, Lora hashes: \"x: 12, y: 34\", Version: v1.9.4",
         &p);
    assert_string_equal(p.prompt, "masterpiece, (fox:1.2),\nsnow");
    assert_string_equal(p.negative, "blurry, bad: very\nugly");
    assert_int_equal(p.count, 11);
    assert_string_equal(p.list[0].key, "Steps");
    assert_string_equal(parameters_get(&p, "Sampler"), "DPM++ 2M");
    assert_string_equal(parameters_get(&p, "CFG scale"), "6.5");
    assert_string_equal(parameters_get(&p, "Size"), "768x512");
    assert_string_equal(parameters_get(&p, "Model"), "a, \"b\": c\nё");
    assert_string_equal(parameters_get(&p, "Lora hashes"), "x: 12, y: 34");
    assert_string_equal(parameters_get(&p, "Version"), "v1.9.4");
    assert_null(parameters_get(&p, "Clip skip"));
    arena_free(&a);
}

static void odd_texts_are_read(void **state) {
    static const struct {
        const char *text, *prompt, *negative;
        size_t count;
    } cases[] = {
        {"", "", "", 0},
        {"a fox", "a fox", "", 0},
        {"Steps: 2, Seed: 1, Size: 8x8", "", "", 3},
        {"  a fox \r\n\r\nStyle: oil, mood: dark\n", "a fox\n\nStyle: oil, mood: dark", "", 0},
        {"Negative prompt: x", "", "x", 0},
        {"a\nNegative prompt:\nx\nSteps: 1, Seed: 2, A b: 3", "a", "x", 3},
        {"p\nSteps: \"open, Seed: 2, Size: 3", "p", "", 3},
        {"p\nSteps: \"bad\\q\", Seed: 2, Size: 3", "p", "", 3},
        {"p\nSteps: \"a\"b, Seed: 2, Size: 3", "p", "", 3},
        {"p\nSteps: , Seed: 2, Size: 3", "p", "", 2},
        {"p\n:::,,,:\"\",:", "p\n:::,,,:\"\",:", "", 0},
        {"p\nSteps: 1, Seed: 2, Size:", "p", "", 2},
        {"кот\nШаги: 1, Seed: 2, Size: 3", "кот", "", 3},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena a;
        struct parameters p;
        read(w, &a, cases[i].text, &p);
        assert_string_equal(p.prompt, cases[i].prompt);
        assert_string_equal(p.negative, cases[i].negative);
        assert_int_equal(p.count, cases[i].count);
        arena_free(&a);
    }
}

static void what_is_written_comes_back(void **state) {
    struct image_text list[] = {{"Steps", "3"},
                                {"Model", "comma, colon: \"quote\" \\ \n line"},
                                {"Sampler", "Euler a"},
                                {"VAE", "лиса, кот"}};
    static const char *const prompts[] = {"a fox", "", "two\nlines"}, *const negatives[] = {"",
                                                                                            "b"};
    struct world *w = *state;
    for (int i = 0; i < 6; i++) {
        struct parameters p = {prompts[i / 2], negatives[i % 2], list, 4}, back;
        struct buf b;
        struct arena a;
        buf_init(&b, w->mem);
        parameters_write(&p, &b);
        read(w, &a, b.data, &back);
        assert_string_equal(back.prompt, p.prompt);
        assert_string_equal(back.negative, p.negative);
        assert_int_equal(back.count, 4);
        for (size_t k = 0; k < 4; k++) {
            assert_string_equal(back.list[k].key, list[k].key);
            assert_string_equal(back.list[k].value, list[k].value);
        }
        arena_free(&a);
        buf_free(&b);
    }
    struct parameters p = {"a fox", "blur", list, 3};
    struct buf b;
    buf_init(&b, w->mem);
    parameters_write(&p, &b);
    assert_string_equal(b.data, "a fox\nNegative prompt: blur\nSteps: 3, Model: \"comma, colon: "
                                "\\\"quote\\\" \\\\ \\n line\", Sampler: Euler a");
    buf_free(&b);
}

/* Half a million quotes that never close: a walk to the end for each would take minutes. */
static void hostile_texts_end(void **state) {
    struct world *w = *state;
    const size_t pieces = 500000;
    char *text = mem_alloc(w->mem, pieces * 6 + 1);
    for (size_t i = 0; i < pieces; i++) memcpy(text + i * 6, "aa:\"\\\"", 6);
    struct arena a;
    struct parameters p;
    read(w, &a, text, &p);
    assert_true(p.count <= pieces);
    arena_free(&a);
    for (size_t i = 0; i < pieces; i++) memcpy(text + i * 6, "aa:\"x,", 6);
    read(w, &a, text, &p);
    assert_int_equal(p.count, pieces);
    arena_free(&a);
    mem_free(text);
}

static void every_allocation_may_fail(void **state) {
    struct world *w = *state;
    kadr_status status = KADR_EMEMORY;
    for (uint64_t n = 1; status; n++) {
        struct arena a;
        struct parameters p;
        arena_init(&a, w->mem);
        mem_fail_at(w->mem, n);
        status = parameters_read(&a, "p\nNegative prompt: q\nSteps: 1, Seed: \"2\", Size: 3", &p,
                                 &w->err);
        mem_fail_at(w->mem, 0);
        assert_true(status == KADR_OK || status == KADR_EMEMORY);
        arena_free(&a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_usual_form_is_read),     TEST(odd_texts_are_read),
        TEST(what_is_written_comes_back), TEST(hostile_texts_end),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
