/* fuzz_png.c: pictures from outside. Decodes any bytes as a picture and as its texts, under limits
 * and with a small ledger; what is read as settings is read again after it was written. In inputs
 * of even size the checksums of a PNG's chunks are put right first, or hardly any chunk would be
 * looked at. */
#include "image/parameters.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read must come back when it is written and read again. */
static void settings_come_back(struct mem *m, const char *text) {
    struct arena a;
    struct buf b;
    struct parameters first, second;
    kadr_error err;
    arena_init(&a, m);
    buf_init(&b, m);
    if (!parameters_read(&a, text, &first, &err)) {
        parameters_write(&first, &b);
        if (buf_ok(&b) && !parameters_read(&a, b.data, &second, &err))
            for (size_t i = 0; first.count >= 3 && i < first.count; i++)
                if (i < second.count && strcmp(first.list[i].key, second.list[i].key) != 0) abort();
    }
    buf_free(&b);
    arena_free(&a);
}

static uint32_t crc(const uint8_t *p, size_t size) {
    uint32_t c = 0xFFFFFFFFu;
    while (size--) {
        c ^= *p++;
        for (int i = 0; i < 8; i++) c = c >> 1 ^ (c & 1 ? 0xEDB88320u : 0);
    }
    return ~c;
}

static void put_checksums_right(uint8_t *p, size_t size) {
    if (size < 8 || memcmp(p, "\x89PNG\r\n\x1A\n", 8) != 0) return;
    for (size_t at = 8; size - at >= 12;) {
        uint32_t n = (uint32_t)p[at] << 24 | (uint32_t)p[at + 1] << 16 | (uint32_t)p[at + 2] << 8 |
                     p[at + 3];
        if (n > size - at - 12) return;
        uint32_t sum = crc(p + at + 4, (size_t)n + 4);
        for (int i = 0; i < 4; i++) p[at + 8 + n + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
        at += 12 + (size_t)n;
    }
}

static void decode(const uint8_t *data, size_t size) {
    struct mem *m = mem_open((size_t)64 << 20);
    struct image_limits limits = {1 << 20, 1 << 20, 0};
    struct image im;
    struct arena a;
    struct image_text *texts;
    size_t count;
    kadr_error err;
    if (!image_decode(&im, m, data, size, "input", IMAGE_OVER_WHITE, &limits, &err) &&
        (im.channels != 3 || (uint64_t)im.width * (uint64_t)im.height > limits.pixels))
        abort();
    image_free(&im);
    arena_init(&a, m);
    if (!image_decode_texts(&a, data, size, "input", &texts, &count, &err))
        for (size_t i = 0; i < count; i++) settings_come_back(m, texts[i].value);
    arena_free(&a);
    if (mem_close(m)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) abort();
    memcpy(copy, data, size);
    if (size % 2 == 0) put_checksums_right(copy, size);
    decode(copy, size);
    free(copy);
    return 0;
}
