/* fixture.h: what the tests of src/weights share: a folder for files that are made while the tests
 * run, numbers by the formula of tests/reference/weights.py, and their CRC-32. */
#ifndef KADR_TESTS_WEIGHTS_FIXTURE_H
#define KADR_TESTS_WEIGHTS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "weights/safetensors.h"
#include "weights/weights.h"

struct fixture {
    struct mem *mem;
    struct arena arena; /* paths and data of one test */
    char folder[64];
};

static inline int fixture_remove(const char *path, const struct stat *st, int kind,
                                 struct FTW *where) {
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static inline int fixture_open(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->mem = mem_open(0);
    arena_init(&f->arena, f->mem);
    snprintf(f->folder, sizeof f->folder, "/tmp/kadr-weights-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    *state = f;
    return 0;
}

/* Nothing may be left in the ledger. */
static inline int fixture_close(void **state) {
    struct fixture *f = *state;
    nftw(f->folder, fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
    arena_free(&f->arena);
    assert_int_equal(mem_close(f->mem), 0);
    free(f);
    return 0;
}

/* A path in the fixture's folder; folders on the way are made. */
static inline const char *fixture_path(struct fixture *f, const char *name) {
    kadr_error err;
    char *path = arena_printf(&f->arena, "%s/%s", f->folder, name);
    char *folder = arena_printf(&f->arena, "%.*s", (int)(strrchr(path, '/') - path), path);
    assert_int_equal(file_make_folders(folder, &err), KADR_OK);
    return path;
}

static inline const char *fixture_write(struct fixture *f, const char *name, const void *data,
                                        size_t size) {
    const char *path = fixture_path(f, name);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
    return path;
}

static inline const char *fixture_text(struct fixture *f, const char *name, const char *text) {
    return fixture_write(f, name, text, strlen(text));
}

/* A safetensors file from a header as text and `data` bytes of zeros. */
static inline const char *fixture_header(struct fixture *f, const char *name, const char *header,
                                         size_t data) {
    struct buf b;
    buf_init(&b, f->mem);
    uint64_t n = strlen(header);
    for (int i = 0; i < 8; i++) buf_putc(&b, (char)(n >> 8 * i));
    buf_puts(&b, header);
    for (size_t i = 0; i < data; i++) buf_putc(&b, 0);
    const char *path = fixture_write(f, name, b.data, b.size);
    buf_free(&b);
    return path;
}

/* A file that the reference scripts made. */
static inline json_t *fixture_data(struct fixture *f, const char *name) {
    json_t *json = NULL;
    kadr_error err = {0};
    char *path = arena_printf(&f->arena, "%s/weights/%s", getenv("KADR_TEST_DATA"), name);
    if (json_read(f->mem, path, (size_t)1 << 26, KADR_EIO, &json, &err))
        fail_msg("%s", err.message);
    return json;
}

/* k / 1024 as f16; -1024 <= k < 1024. */
static inline uint16_t fixture_half(int k) {
    unsigned sign = k < 0 ? 0x8000 : 0, m = (unsigned)abs(k), e = 15;
    if (!m) return (uint16_t)sign;
    while (m < 1024) m <<= 1, e--;
    return (uint16_t)(sign | e << 10 | (m & 1023));
}

/* numbers(name, ...) of tests/reference/weights.py; tensor(name, ...) of lora.py, which gives the
 * alphas of a network one value: their names count up to the second underscore. */
static inline void fixture_numbers(const char *name, uint16_t *to, size_t count) {
    uint64_t seed = 0xCBF29CE484222325u;
    int left = strstr(name, ".alpha") ? 2 : -1; /* underscores */
    for (const char *p = name; *p; p++) {
        if (*p == '_' && --left == 0) break;
        seed = (seed ^ (unsigned char)*p) * 0x100000001B3u;
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t x = seed + (i + 1) * 0x9E3779B97F4A7C15u;
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
        x = (x ^ x >> 27) * 0x94D049BB133111EBu;
        x ^= x >> 31;
        to[i] = fixture_half((int)(x >> 40 & 0x7FF) - 1024);
    }
}

static inline uint32_t fixture_crc(const void *data, size_t size) {
    static uint32_t table[256]; /* filled once, the same each time */
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
            table[i] = c;
        }
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++)
        crc = table[(crc ^ ((const unsigned char *)data)[i]) & 255] ^ crc >> 8;
    return ~crc;
}

/* Writes a file of f16 tensors by the formula, names and shapes from {"name": [shape], ...}. */
static inline const char *fixture_model(struct fixture *f, const char *file, const json_t *shapes,
                                        const char *const *metadata) {
    struct arena a;
    kadr_error err = {0};
    size_t n = json_object_size(shapes), i = 0;
    const char *name, *path = fixture_path(f, file);
    json_t *shape;
    arena_init(&a, f->mem);
    struct safetensors_out *out = arena_array(&a, n, sizeof *out);
    json_object_foreach((json_t *)shapes, name, shape) {
        size_t count = 1;
        out[i].name = name;
        out[i].dtype = SAFETENSORS_F16;
        out[i].rank = (int)json_array_size(shape);
        for (int d = 0; d < out[i].rank; d++) {
            out[i].dim[d] = json_integer_value(json_array_get(shape, (size_t)d));
            count *= (size_t)out[i].dim[d];
        }
        uint16_t *data = arena_array(&a, count, sizeof *data);
        fixture_numbers(name, data, count);
        out[i++].data = data;
    }
    if (safetensors_write(f->mem, path, out, n, metadata, &err)) fail_msg("%s", err.message);
    arena_free(&a);
    return path;
}

static inline struct weights *fixture_weights(struct fixture *f, const char *path) {
    struct weights *w = NULL;
    kadr_error err = {0};
    if (weights_open(f->mem, NULL, path, &w, &err)) fail_msg("%s", err.message);
    return w;
}

/* All of a tensor, read in pieces of `piece` rows; to be freed with mem_free. */
static inline void *fixture_read(struct fixture *f, const struct weights *w,
                                 const struct weights_tensor *t, int64_t piece, size_t *size) {
    kadr_error err = {0};
    int64_t rows = t->rank ? t->dim[0] : 1;
    size_t row = dtype_size(t->dtype);
    for (int i = 1; i < t->rank; i++) row *= (size_t)t->dim[i];
    *size = row * (size_t)rows;
    char *data = mem_alloc(f->mem, *size);
    for (int64_t r = 0; r < rows; r += piece) {
        int64_t some = rows - r < piece ? rows - r : piece;
        if (weights_read(w, t, r, some, data + (size_t)r * row, &err)) fail_msg("%s", err.message);
    }
    return data;
}

#endif
