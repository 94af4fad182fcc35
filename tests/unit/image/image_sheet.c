/* Contact sheets and their letters. */
#include "image/font.h"
#include "image/sheet.h"
#include "image_common.h"

static const uint8_t black[3] = {0, 0, 0};

static void solid(struct world *w, struct image *im, int width, int height, uint8_t value) {
    assert_int_equal(image_make(im, w->mem, width, height, 3, &w->err), KADR_OK);
    memset(im->data, value, image_bytes(im));
}

/* Whether a row of pixels holds a run of `value` at least so long. */
static int longest_run(const struct image *im, uint8_t value) {
    int best = 0;
    for (int y = 0; y < im->height; y++)
        for (int x = 0, run = 0; x < im->width; x++) {
            const uint8_t *p = im->data + ((size_t)y * (size_t)im->width + (size_t)x) * 3;
            run = p[0] == value && p[1] == value && p[2] == value ? run + 1 : 0;
            if (run > best) best = run;
        }
    return best;
}

static void panels_keep_their_size(void **state) {
    struct world *w = *state;
    struct image panel[3], sheet;
    solid(w, &panel[0], 192, 128, 11);
    solid(w, &panel[1], 100, 150, 12); /* another shape */
    solid(w, &panel[2], 192, 80, 13);
    struct sheet_panel panels[] = {{&panel[0], "1", "A fox."},
                                   {&panel[1], "2", NULL},
                                   {&panel[2], "12A", "A long caption that wraps at its words"},
                                   {NULL, "4", "not drawn"}};
    assert_int_equal(sheet_make(panels, 4, (struct sheet_style){0}, w->mem, &sheet, &w->err), 0);
    assert_int_equal(longest_run(&sheet, 11), 192);
    assert_int_equal(longest_run(&sheet, 12), 100);
    assert_int_equal(longest_run(&sheet, 13), 192);
    assert_true(longest_run(&sheet, 40) == 0); /* ink is not grey */
    image_free(&sheet);
    assert_int_equal(sheet_make(panels, 4, (struct sheet_style){.columns = 4, .width = 96}, w->mem,
                                &sheet, &w->err),
                     0);
    assert_int_equal(longest_run(&sheet, 11), 96);
    assert_true(sheet.width > 4 * 96 && sheet.width < 5 * 96 + 96);
    image_free(&sheet);
    for (int i = 0; i < 3; i++) image_free(&panel[i]);
}

static void wrong_sheets_are_refused(void **state) {
    struct world *w = *state;
    struct image panel, sheet;
    solid(w, &panel, 400, 400, 1);
    struct sheet_panel one = {&panel, "1", NULL};
    assert_int_equal(sheet_make(&one, 0, (struct sheet_style){0}, w->mem, &sheet, &w->err),
                     KADR_EUSAGE);
    struct sheet_panel *many = mem_array(w->mem, 2000, sizeof *many);
    for (int i = 0; i < 2000; i++) many[i] = one;
    assert_int_equal(
        sheet_make(many, 2000, (struct sheet_style){.columns = 1}, w->mem, &sheet, &w->err),
        KADR_EUSAGE);
    assert_null(sheet.data);
    mem_free(many);
    kadr_status status = KADR_EMEMORY;
    for (uint64_t n = 1; status; n++) {
        mem_fail_at(w->mem, n);
        status = sheet_make(&one, 1, (struct sheet_style){.width = 90}, w->mem, &sheet, &w->err);
        mem_fail_at(w->mem, 0);
        assert_true(status == KADR_OK || status == KADR_EMEMORY);
        image_free(&sheet);
    }
    image_free(&panel);
}

static size_t ink(struct world *w, const char *text, int x) {
    struct image im;
    size_t count = 0;
    solid(w, &im, 60, 12, 255);
    font_draw(&im, x, 1, 1, black, text, strlen(text));
    for (size_t i = 0; i < image_bytes(&im); i += 3) count += im.data[i] == 0;
    image_free(&im);
    return count;
}

static void letters_are_drawn(void **state) {
    struct world *w = *state;
    size_t box = ink(w, "\x7F", 1);
    assert_int_equal(ink(w, " ", 1), 0);
    for (char c = '!'; c < 0x7F; c++) {
        char text[] = {c, 0};
        assert_in_range(ink(w, text, 1), 2, 24);
    }
    assert_int_equal(ink(w, "ж", 1), box);
    assert_int_equal(ink(w, "жж", 1), 2 * box);
    assert_int_equal(ink(w, "AB", 1), ink(w, "A", 1) + ink(w, "B", 1));
    assert_int_equal(ink(w, "A", -100), 0);
    assert_int_equal(ink(w, "A", 100), 0);
    assert_int_equal(font_letters("aж🦊", 7), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(panels_keep_their_size),
        TEST(wrong_sheets_are_refused),
        TEST(letters_are_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
