/* The box around what stands out, in pictures that are drawn here. */
#include "image/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A ground that fades from top to bottom, with a rectangle on it. */
static struct box find(struct mem *m, int width, int height, struct box r) {
    struct image im;
    struct box found;
    kadr_error err = {0};
    assert_int_equal(image_make(&im, m, width, height, 3, &err), KADR_OK);
    for (int y = 0; y < height; y++) {
        const uint8_t ground[3] = {(uint8_t)(200 + 20 * y / height), 210, 220};
        image_fill(&im, 0, y, width, 1, ground);
    }
    image_fill(&im, r.x, r.y, r.width, r.height, (const uint8_t[3]){90, 40, 30});
    assert_int_equal(image_find_subject(&im, m, &found, &err), KADR_OK);
    image_free(&im);
    return found;
}

static void test_subject(void **state) {
    (void)state;
    struct mem *m = mem_open(0);
    static const struct box all[] = {{60, 30, 40, 80}, {5, 5, 30, 30}, {150, 90, 45, 25}};
    for (size_t i = 0; i < 3; i++) {
        struct box r = all[i], b = find(m, 200, 120, r);
        /* The rectangle lies inside, the box inside the picture, and it is no larger than needed.
         */
        assert_true(b.x <= r.x && b.x + b.width >= r.x + r.width);
        assert_true(b.y <= r.y && b.y + b.height >= r.y + r.height);
        assert_true(b.x >= 0 && b.y >= 0 && b.x + b.width <= 200 && b.y + b.height <= 120);
        int side = r.width > r.height ? r.width : r.height;
        assert_true(b.width <= side * 5 / 4 + 1 && b.height <= side * 5 / 4 + 1);
        struct box head = image_upper_end(b);
        assert_int_equal(head.width, head.height);
        assert_true(head.y == b.y && head.x >= b.x && head.x + head.width <= b.x + b.width);
    }
    /* Nothing stands out: the whole. One pixel is a picture, too. */
    struct box b = find(m, 50, 40, (struct box){0, 0, 0, 0});
    assert_true(b.x == 0 && b.y == 0 && b.width == 50 && b.height == 40);
    b = find(m, 1, 1, (struct box){0, 0, 0, 0});
    assert_true(b.width == 1 && b.height == 1);
    assert_int_equal(mem_close(m), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_subject)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
