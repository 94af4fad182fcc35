/* Resized pictures and floats, bit for bit as Pillow's and diffusers'. */
#include "image/pixels.h"
#include "image/scale.h"
#include "image_common.h"
#include <math.h>

static void scaled_as_pillow_does(void **state) {
    struct world *w = *state;
    size_t list_size, raw_size, at = 0, cases = 0;
    char *list = test_data(w, "scale.txt", &list_size);
    uint8_t *raw = (uint8_t *)test_data(w, "scale.raw", &raw_size);
    for (char *line = list, *next; *line; line = next, cases++) {
        next = strchr(line, '\n') + 1;
        char name[32];
        int filter, width, height;
        assert_int_equal(sscanf(line, "%31s %d %d %d", name, &filter, &width, &height), 4);
        struct image im, out;
        test_image(w, name, IMAGE_KEEP_ALPHA, &im);
        assert_int_equal(
            image_scale(&im, w->mem, width, height, (enum scale_filter)filter, &out, &w->err),
            KADR_OK);
        assert_true(at + image_bytes(&out) <= raw_size);
        if (memcmp(out.data, raw + at, image_bytes(&out)) != 0)
            fail_msg("%.*s differs", (int)(next - line - 1), line);
        at += image_bytes(&out);
        image_free(&im);
        image_free(&out);
    }
    assert_int_equal(at, raw_size);
    assert_int_equal(cases, 110);
    mem_free(list);
    mem_free(raw);
}

static void wrong_sizes_are_refused(void **state) {
    struct world *w = *state;
    struct image im, out;
    static const int sizes[][2] = {{0, 5}, {5, 0}, {-1, 5}, {5, IMAGE_SIDE + 1}};
    test_image(w, "rgba.png", IMAGE_KEEP_ALPHA, &im);
    for (size_t i = 0; i < 4; i++)
        for (int f = SCALE_NEAREST; f <= SCALE_LANCZOS; f++) {
            assert_int_equal(image_scale(&im, w->mem, sizes[i][0], sizes[i][1],
                                         (enum scale_filter)f, &out, &w->err),
                             KADR_EUSAGE);
            assert_null(out.data);
        }
    image_free(&im);
}

static void every_allocation_may_fail(void **state) {
    struct world *w = *state;
    struct image im, out;
    test_image(w, "rgba.png", IMAGE_KEEP_ALPHA, &im);
    for (int f = SCALE_NEAREST; f <= SCALE_LANCZOS; f++) {
        kadr_status status = KADR_EMEMORY;
        for (uint64_t n = 1; status; n++) {
            mem_fail_at(w->mem, n);
            status = image_scale(&im, w->mem, 20, 40, (enum scale_filter)f, &out, &w->err);
            mem_fail_at(w->mem, 0);
            assert_true(status == KADR_OK || status == KADR_EMEMORY);
            image_free(&out);
        }
    }
    image_free(&im);
}

static void init_pictures_are_diffusers(void **state) {
    struct world *w = *state;
    struct image im;
    size_t size;
    float have[16 * 24 * 3];
    char *want = test_data(w, "init.f32", &size);
    test_image(w, "rgb.png", IMAGE_KEEP_ALPHA, &im);
    assert_int_equal(pixels_prepare(&im, w->mem, 24, 16, have, &w->err), KADR_OK);
    assert_int_equal(size, sizeof have);
    assert_memory_equal(have, want, sizeof have);
    mem_free(want);
    image_free(&im);
}

static void masks_are_diffusers(void **state) {
    struct world *w = *state;
    struct image im;
    size_t size;
    float mask[48 * 64], small[48], odd[45];
    test_image(w, "rgb.png", IMAGE_KEEP_ALPHA, &im);
    assert_int_equal(pixels_prepare_mask(&im, w->mem, 64, 48, mask, &w->err), KADR_OK);
    pixels_mask_to_latents(mask, 64, 48, 8, 6, small);
    pixels_mask_to_latents(mask, 64, 48, 9, 5, odd);
    char *want = test_data(w, "mask.f32", &size);
    assert_int_equal(size, sizeof mask);
    assert_memory_equal(mask, want, sizeof mask);
    mem_free(want);
    want = test_data(w, "mask_latents.f32", &size);
    assert_int_equal(size, sizeof small);
    assert_memory_equal(small, want, sizeof small);
    mem_free(want);
    want = test_data(w, "mask_odd.f32", &size);
    assert_int_equal(size, sizeof odd);
    assert_memory_equal(odd, want, sizeof odd);
    mem_free(want);
    image_free(&im);
}

static void decoded_floats_are_diffusers(void **state) {
    struct world *w = *state;
    size_t size, count;
    float *given = (float *)test_data(w, "decoded.f32", &size);
    uint8_t *want = (uint8_t *)test_data(w, "decoded.raw", &count);
    assert_int_equal(size, count * sizeof *given);
    uint8_t *have = mem_alloc(w->mem, count);
    pixels_from_floats(given, count, have);
    assert_memory_equal(have, want, count);
    /* There and back again. */
    float *back = mem_array(w->mem, count, sizeof *back);
    uint8_t *again = mem_alloc(w->mem, count);
    pixels_to_floats(have, count, back);
    pixels_from_floats(back, count, again);
    assert_memory_equal(have, again, count);
    const float odd[3] = {(float)NAN, (float)INFINITY, -(float)INFINITY};
    pixels_from_floats(odd, 3, have);
    assert_int_equal(have[0], 0);
    assert_int_equal(have[1], 255);
    assert_int_equal(have[2], 0);
    mem_free(given);
    mem_free(want);
    mem_free(have);
    mem_free(back);
    mem_free(again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(scaled_as_pillow_does),     TEST(wrong_sizes_are_refused),
        TEST(every_allocation_may_fail), TEST(init_pictures_are_diffusers),
        TEST(masks_are_diffusers),       TEST(decoded_floats_are_diffusers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
