/* Pictures written: what comes back, the same bytes each time, texts in the chunks that PIL and
 * A1111 use. */
#include "image/image.h"
#include "image_common.h"

static const char settings[] = "a fox\nNegative prompt: blur\nSteps: 2, Sampler: Euler, Seed: 1";
static const char wide[] = "лиса в снегу 🦊";
static const char json[] = "{\"seed\":1}";

static void encode(struct world *w, const struct image *im, enum image_format format, int quality,
                   const char *parameters, struct buf *out) {
    struct image_text texts[] = {{"parameters", parameters}, {"kadr", json}};
    buf_init(out, w->mem);
    if (image_encode(im, w->mem, (struct image_style){format, quality}, texts, 2, out, &w->err))
        fail_msg("%s", w->err.message);
}

static void decode(struct world *w, const struct buf *b, struct image *im) {
    if (image_decode(im, w->mem, b->data, b->size, "x", IMAGE_KEEP_ALPHA, NULL, &w->err))
        fail_msg("%s", w->err.message);
}

static void lossless_forms_come_back(void **state) {
    struct world *w = *state;
    static const char *const files[] = {"rgb.png", "rgba.png"};
    static const enum image_format formats[] = {IMAGE_PNG, IMAGE_WEBP};
    for (int i = 0; i < 4; i++) {
        struct image im, back;
        struct buf first, second;
        test_image(w, files[i / 2], IMAGE_KEEP_ALPHA, &im);
        encode(w, &im, formats[i % 2], 0, settings, &first);
        encode(w, &im, formats[i % 2], 0, settings, &second);
        assert_int_equal(first.size, second.size);
        assert_memory_equal(first.data, second.data, first.size);
        assert_int_equal(image_format_of(first.data, first.size), formats[i % 2]);
        decode(w, &first, &back);
        assert_int_equal(back.channels, im.channels);
        assert_memory_equal(back.data, im.data, image_bytes(&im));
        image_free(&im);
        image_free(&back);
        buf_free(&first);
        buf_free(&second);
    }
}

static double mean_difference(const struct image *a, const struct image *b) {
    double sum = 0;
    assert_int_equal(image_bytes(a), image_bytes(b));
    for (size_t i = 0; i < image_bytes(a); i++) sum += abs(a->data[i] - b->data[i]);
    return sum / (double)image_bytes(a);
}

static void lossy_forms_come_back_alike(void **state) {
    struct world *w = *state;
    static const enum image_format formats[] = {IMAGE_JPEG, IMAGE_WEBP};
    for (int i = 0; i < 2; i++) {
        struct image im, good, poor;
        struct buf high, low;
        test_image(w, "rgb.png", IMAGE_KEEP_ALPHA, &im);
        encode(w, &im, formats[i], 95, settings, &high);
        encode(w, &im, formats[i], 20, settings, &low);
        decode(w, &high, &good);
        decode(w, &low, &poor);
        assert_true(low.size < high.size);
        assert_true(mean_difference(&im, &good) < 25);
        assert_true(mean_difference(&im, &good) < mean_difference(&im, &poor));
        image_free(&im);
        image_free(&good);
        image_free(&poor);
        buf_free(&high);
        buf_free(&low);
    }
}

static void jpeg_lays_alpha_over_white(void **state) {
    struct world *w = *state;
    struct image im, back;
    struct buf b;
    assert_int_equal(image_make(&im, w->mem, 16, 16, 4, &w->err), KADR_OK);
    encode(w, &im, IMAGE_JPEG, 95, settings, &b);
    decode(w, &b, &back);
    assert_int_equal(back.channels, 3);
    assert_int_equal(back.data[0], 255);
    assert_int_equal(im.channels, 4);
    image_free(&im);
    image_free(&back);
    buf_free(&b);
}

static bool holds(const struct buf *b, const char *bytes, size_t size) {
    return memmem(b->data, b->size, bytes, size) != NULL;
}

static void texts_come_back(void **state) {
    struct world *w = *state;
    static const enum image_format formats[] = {IMAGE_PNG, IMAGE_JPEG, IMAGE_WEBP};
    static const char *const values[] = {settings, wide, "caf\xC3\xA9", ""};
    struct image im;
    test_image(w, "rgb.png", IMAGE_KEEP_ALPHA, &im);
    for (int i = 0; i < 12; i++) {
        struct buf b;
        struct arena a;
        struct image_text *texts;
        size_t count;
        arena_init(&a, w->mem);
        encode(w, &im, formats[i % 3], 90, values[i / 3], &b);
        assert_int_equal(image_decode_texts(&a, b.data, b.size, "x", &texts, &count, &w->err), 0);
        assert_int_equal(count, 2);
        assert_string_equal(image_text_find(texts, count, "parameters"), values[i / 3]);
        assert_string_equal(image_text_find(texts, count, "kadr"), json);
        assert_null(image_text_find(texts, count, "other"));
        arena_free(&a);
        buf_free(&b);
    }
    image_free(&im);
}

/* Latin-1 stands in tEXt, anything else in iTXt, as PIL's PngInfo.add_text does it. */
static void chunks_are_those_of_pil(void **state) {
    struct world *w = *state;
    struct image im;
    struct buf b;
    test_image(w, "rgb.png", IMAGE_KEEP_ALPHA, &im);
    encode(w, &im, IMAGE_PNG, 0, "caf\xC3\xA9", &b);
    assert_true(holds(&b, "tEXtparameters\0caf\xE9", 19));
    buf_free(&b);
    encode(w, &im, IMAGE_PNG, 0, wide, &b);
    assert_true(holds(&b, "iTXtparameters\0\0\0\0\0\xD0\xBB", 21));
    assert_true(holds(&b, "tEXtkadr\0{", 10));
    buf_free(&b);
    image_free(&im);
}

static void files_are_written_whole_or_not(void **state) {
    struct world *w = *state;
    struct image im, back;
    struct image_text text = {"parameters", settings};
    char folder[] = "/tmp/kadr-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.png", folder);
    test_image(w, "rgb.png", IMAGE_KEEP_ALPHA, &im);
    assert_int_equal(image_write_png(&im, w->mem, path, &text, 1, &w->err), KADR_OK);
    assert_int_equal(image_read(&back, w->mem, path, IMAGE_KEEP_ALPHA, NULL, &w->err), KADR_OK);
    assert_memory_equal(back.data, im.data, image_bytes(&im));
    image_free(&back);
    remove(path);
    snprintf(path, sizeof path, "%s/no/a.png", folder);
    assert_int_equal(image_write_png(&im, w->mem, path, &text, 1, &w->err), KADR_EIO);
    assert_non_null(strstr(w->err.message, path));
    text.key = "";
    snprintf(path, sizeof path, "%s/a.png", folder);
    assert_int_equal(image_write_png(&im, w->mem, path, &text, 1, &w->err), KADR_EUSAGE);
    assert_false(file_exists(path));
    image_free(&im);
    remove(folder);
}

static void wrong_wishes_are_refused(void **state) {
    struct world *w = *state;
    struct image im;
    struct buf b;
    static const struct image_style styles[] = {{IMAGE_UNKNOWN, 0},
                                                {IMAGE_JPEG, 0},
                                                {IMAGE_JPEG, 101},
                                                {IMAGE_WEBP, -1},
                                                {IMAGE_WEBP, 101}};
    buf_init(&b, w->mem);
    test_image(w, "rgb.png", IMAGE_KEEP_ALPHA, &im);
    for (size_t i = 0; i < sizeof styles / sizeof *styles; i++)
        assert_int_equal(image_encode(&im, w->mem, styles[i], NULL, 0, &b, &w->err), KADR_EUSAGE);
    char *many = mem_alloc(w->mem, 70000);
    memset(many, 'x', 69999);
    struct image_text text = {"parameters", many};
    assert_int_equal(
        image_encode(&im, w->mem, (struct image_style){IMAGE_JPEG, 90}, &text, 1, &b, &w->err),
        KADR_EUSAGE);
    mem_free(many);
    buf_free(&b);
    image_free(&im);
    assert_int_equal(image_make(&im, w->mem, 0, 5, 3, &w->err), KADR_EUSAGE);
    assert_int_equal(image_make(&im, w->mem, 5, IMAGE_SIDE + 1, 3, &w->err), KADR_EUSAGE);
}

static void every_allocation_may_fail(void **state) {
    struct world *w = *state;
    struct image im;
    test_image(w, "rgba.png", IMAGE_KEEP_ALPHA, &im);
    for (int f = IMAGE_PNG; f <= IMAGE_WEBP; f++) {
        kadr_status status = KADR_EMEMORY;
        for (uint64_t n = 1; status; n++) {
            struct buf b;
            struct image_text texts[] = {{"parameters", wide}, {"kadr", json}};
            buf_init(&b, w->mem);
            mem_fail_at(w->mem, n);
            status = image_encode(&im, w->mem, (struct image_style){(enum image_format)f, 80},
                                  texts, 2, &b, &w->err);
            mem_fail_at(w->mem, 0);
            assert_true(status == KADR_OK || status == KADR_EMEMORY);
            buf_free(&b);
        }
    }
    image_free(&im);
}

static void parts_are_cut_and_laid(void **state) {
    struct world *w = *state;
    struct image im, part, paper;
    test_image(w, "rgb.png", IMAGE_KEEP_ALPHA, &im);
    assert_int_equal(image_crop(&im, w->mem, 30, 20, 7, 3, &part, &w->err), KADR_OK);
    for (int y = 0; y < 3; y++)
        assert_memory_equal(part.data + y * 21, im.data + ((20 + y) * 37 + 30) * 3, 21);
    static const int outside[][4] = {{-1, 0, 5, 5}, {31, 0, 7, 3}, {0, 21, 5, 3}, {0, 0, 0, 1}};
    for (size_t i = 0; i < 4; i++) {
        struct image none;
        const int *o = outside[i];
        assert_int_equal(image_crop(&im, w->mem, o[0], o[1], o[2], o[3], &none, &w->err),
                         KADR_EUSAGE);
    }
    static const int places[][2] = {{0, 0}, {4, 2}, {-3, -2}, {8, 4}, {-100, 0}, {100, 100}};
    for (size_t i = 0; i < 6; i++) {
        int x0 = places[i][0], y0 = places[i][1];
        assert_int_equal(image_make(&paper, w->mem, 10, 5, 3, &w->err), KADR_OK);
        image_lay(&paper, &part, x0, y0);
        for (int y = 0; y < 5; y++)
            for (int x = 0; x < 10; x++) {
                bool inside = x >= x0 && x < x0 + 7 && y >= y0 && y < y0 + 3;
                int want = inside ? part.data[((y - y0) * 7 + x - x0) * 3 + 1] : 0;
                assert_int_equal(paper.data[(y * 10 + x) * 3 + 1], want);
            }
        image_free(&paper);
    }
    image_free(&part);
    image_free(&im);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(lossless_forms_come_back),   TEST(lossy_forms_come_back_alike),
        TEST(jpeg_lays_alpha_over_white), TEST(texts_come_back),
        TEST(chunks_are_those_of_pil),    TEST(files_are_written_whole_or_not),
        TEST(wrong_wishes_are_refused),   TEST(every_allocation_may_fail),
        TEST(parts_are_cut_and_laid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
