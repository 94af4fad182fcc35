/* Pictures read: the pixels that Pillow reads, texts, alpha, limits, and files that mean harm. */
#include "base/file.h"
#include "image/image.h"
#include "image_common.h"

static void read_raw(struct world *w, const char *name, const struct image *im) {
    char raw[64];
    size_t size;
    snprintf(raw, sizeof raw, "%s.raw", name);
    char *want = test_data(w, raw, &size);
    assert_int_equal(size, image_bytes(im));
    assert_memory_equal(im->data, want, size);
    mem_free(want);
}

static void pixels_equal_pillows(void **state) {
    static const struct {
        const char *name;
        int channels;
    } files[] = {
        {"rgb.png", 3},           {"rgba.png", 4},         {"grey.png", 3},
        {"grey_alpha.png", 4},    {"palette.png", 3},      {"bits.png", 3},
        {"palette_alpha.png", 4}, {"palette_2bit.png", 3}, {"interlaced.png", 3},
        {"rgb16.png", 3},         {"texts.png", 3},        {"full.jpg", 3},
        {"colour.jpg", 3},        {"progressive.jpg", 3},  {"grey.jpg", 3},
        {"cmyk.jpg", 3},          {"way1.jpg", 3},         {"way2.jpg", 3},
        {"way3.jpg", 3},          {"way4.jpg", 3},         {"way5.jpg", 3},
        {"way6.jpg", 3},          {"way7.jpg", 3},         {"way8.jpg", 3},
        {"lossless.webp", 3},     {"lossy.webp", 3},       {"alpha.webp", 4},
        {"moving.webp", 4},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct image im;
        print_message("%s\n", files[i].name);
        test_image(w, files[i].name, IMAGE_KEEP_ALPHA, &im);
        assert_int_equal(im.channels, files[i].channels);
        read_raw(w, files[i].name, &im);
        image_free(&im);
    }
}

static void alpha_is_composed_or_dropped(void **state) {
    struct world *w = *state;
    struct image kept, over, dropped;
    test_image(w, "rgba.png", IMAGE_KEEP_ALPHA, &kept);
    test_image(w, "rgba.png", IMAGE_OVER_WHITE, &over);
    test_image(w, "rgba.png", IMAGE_DROP_ALPHA, &dropped);
    assert_int_equal(over.channels, 3);
    assert_int_equal(dropped.channels, 3);
    for (size_t i = 0; i < (size_t)(kept.width * kept.height); i++)
        for (size_t c = 0; c < 3; c++) {
            double a = kept.data[4 * i + 3] / 255.0, v = kept.data[4 * i + c];
            assert_int_equal(dropped.data[3 * i + c], kept.data[4 * i + c]);
            assert_int_equal(over.data[3 * i + c], (int)(v * a + 255 * (1 - a) + 0.5));
        }
    image_free(&kept);
    image_free(&over);
    image_free(&dropped);
}

static void texts_are_read(void **state) {
    struct world *w = *state;
    struct arena a;
    struct image_text *texts;
    size_t count;
    char path[512];
    arena_init(&a, w->mem);
    test_path(path, sizeof path, "texts.png");
    assert_int_equal(image_read_texts(&a, path, &texts, &count, &w->err), KADR_OK);
    assert_int_equal(count, 4);
    assert_string_equal(image_text_find(texts, count, "parameters"),
                        "a caf\xC3\xA9\nSteps: 1, Sampler: Euler, Seed: 2");
    assert_string_equal(image_text_find(texts, count, "Title"), "лиса 🦊");
    assert_int_equal(strlen(image_text_find(texts, count, "Comment")), 280);
    assert_string_equal(image_text_find(texts, count, "kadr"), "{\"prompt\":\"x\"}");
    test_path(path, sizeof path, "rgb.png");
    assert_int_equal(image_read_texts(&a, path, &texts, &count, &w->err), KADR_OK);
    assert_int_equal(count, 0);
    arena_free(&a);
}

/* ---- Files that mean harm ------------------------------------------------------------------- */
static kadr_status decode(struct world *w, const void *data, size_t size) {
    struct image im;
    struct arena a;
    struct image_text *texts;
    size_t count;
    kadr_error ignored;
    arena_init(&a, w->mem);
    image_decode_texts(&a, data, size, "hostile", &texts, &count, &ignored);
    arena_free(&a);
    memset(&w->err, 0, sizeof w->err);
    struct image_limits limits = {1 << 20, 1 << 20, 0};
    kadr_status status =
        image_decode(&im, w->mem, data, size, "hostile", IMAGE_OVER_WHITE, &limits, &w->err);
    if (status) {
        assert_null(im.data);
        assert_int_equal(w->err.status, status);
        assert_true(strncmp(w->err.message, "hostile: ", 9) == 0 || status == KADR_EMEMORY);
    }
    image_free(&im);
    return status;
}

/* A chunk's checksum, bit by bit: from the PNG specification's definition. */
static uint32_t crc(const uint8_t *p, size_t size) {
    uint32_t c = 0xFFFFFFFF;
    for (size_t i = 0; i < size; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320 ^ c >> 1 : c >> 1;
    }
    return ~c;
}

static void put32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* The header of a PNG with other values, and its checksum made right. */
static void set_header(char *png, uint32_t width, uint32_t height, int depth, int colour) {
    uint8_t *p = (uint8_t *)png;
    put32(p + 16, width);
    put32(p + 20, height);
    p[24] = (uint8_t)depth;
    p[25] = (uint8_t)colour;
    put32(p + 29, crc(p + 12, 17));
}

static void wrong_headers_are_refused(void **state) {
    static const struct {
        uint32_t width, height;
        int depth, colour;
        kadr_status status;
        const char *says;
    } headers[] = {
        {0, 23, 8, 2, KADR_EIO, "damaged PNG"},
        {37, 0, 8, 2, KADR_EIO, "damaged PNG"},
        {0xFFFFFFFF, 23, 8, 2, KADR_EIO, "damaged PNG"},
        {0x7FFFFFFF, 1, 8, 2, KADR_EUSAGE, "expected at most"},
        {1, 0x7FFFFFFF, 8, 2, KADR_EUSAGE, "expected at most"},
        {32768, 32768, 8, 2, KADR_EUSAGE, "expected at most"},
        {65536, 65536, 8, 6, KADR_EUSAGE, "expected at most"},
        {37, 24, 8, 2, KADR_EIO, "damaged PNG"},
        {38, 23, 8, 2, KADR_EIO, "damaged PNG"},
        {37, 23, 3, 2, KADR_EIO, "damaged PNG"},
        {37, 23, 8, 5, KADR_EIO, "damaged PNG"},
        {37, 23, 8, 3, KADR_EIO, "damaged PNG"},
        {37, 23, 16, 6, KADR_EIO, "damaged PNG"},
    };
    struct world *w = *state;
    size_t size;
    char *png = test_data(w, "rgb.png", &size);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        set_header(png, headers[i].width, headers[i].height, headers[i].depth, headers[i].colour);
        assert_int_equal(decode(w, png, size), headers[i].status);
        assert_non_null(strstr(w->err.message, headers[i].says));
    }
    mem_free(png);
}

static void cut_files_are_refused(void **state) {
    static const char *const files[] = {"rgb.png",       "interlaced.png",  "palette_alpha.png",
                                        "full.jpg",      "progressive.jpg", "cmyk.jpg",
                                        "lossless.webp", "lossy.webp",      "moving.webp"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t size;
        char *data = test_data(w, files[i], &size);
        size_t cuts[] = {0, 1, 7, 11, 12, 20, 33, size / 4, size / 2, size * 3 / 4, size - 40};
        for (size_t j = 0; j < sizeof cuts / sizeof *cuts; j++)
            assert_int_not_equal(decode(w, data, cuts[j]), KADR_OK);
        mem_free(data);
    }
}

static void wrong_checksums_are_refused(void **state) {
    struct world *w = *state;
    size_t size;
    char *png = test_data(w, "rgb.png", &size);
    png[29] ^= 1; /* IHDR's */
    assert_int_equal(decode(w, png, size), KADR_EIO);
    png[29] ^= 1;
    png[60] ^= 1; /* inside IDAT */
    assert_int_equal(decode(w, png, size), KADR_EIO);
    mem_free(png);
}

static void what_is_no_picture_is_refused(void **state) {
    struct world *w = *state;
    assert_int_equal(decode(w, "GIF89a......", 12), KADR_EUSAGE);
    assert_string_equal(w->err.message, "hostile: not a picture; expected PNG, JPEG or WebP");
    assert_int_equal(decode(w, "", 0), KADR_EUSAGE);
    struct image im;
    assert_int_equal(image_read(&im, w->mem, "no/such.png", IMAGE_KEEP_ALPHA, NULL, &w->err),
                     KADR_EIO);
    assert_non_null(strstr(w->err.message, "no/such.png"));
}

static void limits_hold(void **state) {
    struct world *w = *state;
    static const char *const files[] = {"rgb.png", "full.jpg", "lossy.webp", "moving.webp"};
    for (size_t i = 0; i < 4; i++) {
        size_t size;
        char *data = test_data(w, files[i], &size);
        struct image_limits fits = {37 * 23, size, 0}, pixels = {37 * 23 - 1, size, 0},
                            bytes = {37 * 23, size - 1, 0};
        struct image im;
        assert_int_equal(
            image_decode(&im, w->mem, data, size, "x", IMAGE_KEEP_ALPHA, &fits, &w->err), KADR_OK);
        image_free(&im);
        assert_int_equal(
            image_decode(&im, w->mem, data, size, "x", IMAGE_KEEP_ALPHA, &pixels, &w->err),
            KADR_EUSAGE);
        assert_int_equal(
            image_decode(&im, w->mem, data, size, "x", IMAGE_KEEP_ALPHA, &bytes, &w->err),
            KADR_EUSAGE);
        mem_free(data);
    }
    /* A ledger with no room for the pixels: refused by it, not by the system. */
    struct mem *small = mem_open(1 << 20);
    size_t size;
    char *png = test_data(w, "rgb.png", &size);
    struct image im;
    set_header(png, 8000, 8000, 8, 2);
    assert_int_equal(image_decode(&im, small, png, size, "x", IMAGE_KEEP_ALPHA, NULL, &w->err),
                     KADR_EMEMORY);
    struct mem_stats stats;
    struct arena a;
    struct image_text *texts;
    size_t count;
    set_header(png, 0x7FFFFFFF, 1, 16, 6); /* a row of 16 GiB, for texts that need none of it */
    arena_init(&a, small);
    assert_int_equal(image_decode_texts(&a, png, size, "x", &texts, &count, &w->err), KADR_EUSAGE);
    mem_get_stats(small, &stats);
    assert_true(stats.peak < 1 << 20);
    arena_free(&a);
    assert_int_equal(mem_close(small), 0);
    mem_free(png);
}

/* A progressive picture whose last scan is repeated: each costs a pass over the whole picture. */
static void endless_scans_are_refused(void **state) {
    struct world *w = *state;
    size_t size, scan;
    char *jpeg = test_data(w, "progressive.jpg", &size);
    for (scan = size - 2; memcmp(jpeg + scan, "\xFF\xDA", 2) != 0;) scan--;
    size_t length = size - 2 - scan;
    static const int times[] = {50, 500};
    for (int i = 0; i < 2; i++) {
        struct buf b;
        buf_init(&b, w->mem);
        buf_add(&b, jpeg, size - 2);
        for (int k = 0; k < times[i]; k++) buf_add(&b, jpeg + scan, length);
        buf_add(&b, "\xFF\xD9", 2);
        assert_int_equal(decode(w, b.data, b.size), i ? KADR_EIO : KADR_OK);
        if (i) assert_non_null(strstr(w->err.message, "more than 200 scans"));
        buf_free(&b);
    }
    mem_free(jpeg);
}

/* Bytes turned over one after the other: any answer is right but a crash, a leak or a picture of
 * another size than its own header tells. */
static void damaged_files_do_no_harm(void **state) {
    static const char *const files[] = {"texts.png",       "palette_alpha.png", "interlaced.png",
                                        "progressive.jpg", "way6.jpg",          "cmyk.jpg",
                                        "alpha.webp",      "moving.webp",       "lossy.webp"};
    struct world *w = *state;
    uint32_t dice = 1;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t size;
        char *data = test_data(w, files[i], &size);
        for (int round = 0; round < 150; round++) {
            dice = dice * 1664525 + 1013904223;
            size_t at = (dice >> 8) % (round < 75 && size > 100 ? 100 : size);
            char was = data[at];
            data[at] = (char)(dice >> 24);
            decode(w, data, size);
            data[at] = was;
        }
        mem_free(data);
    }
}

static void every_allocation_may_fail(void **state) {
    struct world *w = *state;
    static const char *const files[] = {"texts.png", "interlaced.png", "cmyk.jpg", "way6.jpg",
                                        "moving.webp"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t size;
        char *data = test_data(w, files[i], &size);
        struct image im;
        kadr_status status = KADR_EMEMORY;
        for (uint64_t n = 1; status; n++) {
            mem_fail_at(w->mem, n);
            status = image_decode(&im, w->mem, data, size, "x", IMAGE_OVER_WHITE, NULL, &w->err);
            mem_fail_at(w->mem, 0);
            assert_true(status == KADR_OK || status == KADR_EMEMORY);
            image_free(&im);
        }
        for (uint64_t n = 1; n < 40; n++) {
            struct arena a;
            struct image_text *texts;
            size_t count;
            arena_init(&a, w->mem);
            mem_fail_at(w->mem, n);
            status = image_decode_texts(&a, data, size, "x", &texts, &count, &w->err);
            mem_fail_at(w->mem, 0);
            assert_true(status == KADR_OK || status == KADR_EMEMORY);
            arena_free(&a);
        }
        mem_free(data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(pixels_equal_pillows),
        TEST(alpha_is_composed_or_dropped),
        TEST(texts_are_read),
        TEST(wrong_headers_are_refused),
        TEST(cut_files_are_refused),
        TEST(wrong_checksums_are_refused),
        TEST(what_is_no_picture_is_refused),
        TEST(limits_hold),
        TEST(endless_scans_are_refused),
        TEST(damaged_files_do_no_harm),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
