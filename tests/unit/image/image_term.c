/* Pictures in the terminal. */
#include "image/term.h"
#include "image_common.h"

/* Each terminal gets what it understands. */
static void terminals_get_their_form(void **state) {
    struct world *w = *state;
    static const char *const kitty[] = {"TERM=xterm-kitty", "KITTY_PID=1", NULL};
    static const char *const plain[] = {"TERM=xterm-256color", "NO_COLOR=1", NULL};
    static const char *const colour[] = {"TERM=xterm-256color", "COLORTERM=truecolor", NULL};
    struct image im;
    struct buf a, b, c;
    test_image(w, "rgb.png", IMAGE_KEEP_ALPHA, &im);
    buf_init(&a, w->mem);
    buf_init(&b, w->mem);
    buf_init(&c, w->mem);
    term_render(&im, kitty, 40, 20, &a);
    term_render(&im, plain, 40, 20, &b);
    term_render(&im, colour, 40, 20, &c);
    if (a.size) { /* nothing where libchafa was missing */
        assert_non_null(strstr(a.data, "\033_G"));
        assert_null(strstr(b.data, "\033["));
        assert_null(strstr(b.data, "\033_G"));
        assert_non_null(strstr(c.data, "\033["));
        assert_null(strstr(c.data, "\033_G"));
    }
    buf_free(&a);
    buf_free(&b);
    buf_free(&c);
    image_free(&im);
}

/* A file is no terminal: nothing is written into it. */
static void files_get_nothing(void **state) {
    struct world *w = *state;
    struct image im;
    FILE *file = tmpfile();
    test_image(w, "rgb.png", IMAGE_KEEP_ALPHA, &im);
    assert_int_equal(term_show(&im, w->mem, fileno(file), &w->err), KADR_OK);
    fseek(file, 0, SEEK_END);
    assert_int_equal(ftell(file), 0);
    fclose(file);
    image_free(&im);
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(terminals_get_their_form), TEST(files_get_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
