/* fuzz_png.c: pictures from outside. Decodes any bytes as a picture and as its texts, under limits
 * and with a small ledger; what is read as settings is read again after it was written. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct mem *m = mem_open((size_t)64 << 20);
    struct image_limits limits = {1 << 20, 1 << 20};
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
    return 0;
}
