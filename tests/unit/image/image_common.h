/* What the tests of pictures share: a ledger that must be empty in the end, and test data. */
#ifndef KADR_TESTS_IMAGE_COMMON_H
#define KADR_TESTS_IMAGE_COMMON_H

#include "base/file.h"
#include "image/image.h"
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

static inline void test_path(char *path, size_t size, const char *name) {
    snprintf(path, size, "%s/image/%s", getenv("KADR_TEST_DATA"), name);
}

/* A file of tests/data/image; to be freed with mem_free. */
static inline char *test_data(struct world *w, const char *name, size_t *size) {
    char path[512], *data;
    test_path(path, sizeof path, name);
    assert_int_equal(file_read_all(w->mem, path, 1 << 24, KADR_EIO, &data, size, &w->err), KADR_OK);
    return data;
}

static inline void test_image(struct world *w, const char *name, enum image_alpha alpha,
                              struct image *im) {
    char path[512];
    test_path(path, sizeof path, name);
    if (image_read(im, w->mem, path, alpha, NULL, &w->err)) fail_msg("%s", w->err.message);
}

#endif
