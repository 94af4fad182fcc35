/* fuzz_tokenizer.c: the files of a tokenizer, and text. The input is a tokenizer.json, up to a byte
 * 0 the text that is encoded with it; the rest of the time the text meets the built-in vocabulary.
 */
#include "base/file.h"
#include "model/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64], path[96];
static struct mem *lasting;
static struct tokenizer *shipped[2];

static void leave(void) {
    for (int i = 0; i < 2; i++) tokenizer_close(shipped[i]);
    mem_close(lasting);
    remove(path);
    rmdir(folder);
}

static void arrive(void) {
    kadr_error err;
    snprintf(folder, sizeof folder, "/tmp/kadr-fuzz-XXXXXX");
    if (!mkdtemp(folder)) abort();
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    lasting = mem_open(0);
    for (int i = 0; i < 2; i++)
        if (tokenizer_open_shipped(lasting, i ? TOKENIZER_SDXL_2 : TOKENIZER_SDXL_1, NULL,
                                   &shipped[i], &err))
            abort();
    atexit(leave);
}

/* Ids are in range, and what they stand for is told again by the same ids' text. */
static void encode(struct mem *m, const struct tokenizer *t, const char *text, size_t size) {
    struct tokens ids;
    struct buf told;
    kadr_error err;
    tokens_init(&ids, m);
    buf_init(&told, m);
    if (tokenizer_encode(t, text, size, &ids, &err) == KADR_OK) {
        for (size_t i = 0; i < ids.count; i++)
            if (ids.id[i] < 0 || ids.id[i] >= tokenizer_size(t)) abort();
        tokenizer_decode(t, ids.id, ids.count, &told);
    }
    buf_free(&told);
    tokens_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!lasting) arrive();
    struct mem *m = mem_open((size_t)256 << 20);
    const char *text = size ? memchr(data, 0, size) : NULL;
    size_t json = text ? (size_t)(text - (const char *)data) : size;
    size_t length = text ? size - json - 1 : 0;
    kadr_error err = {0};
    text = text ? text + 1 : "";
    if (json && data[0] == '{') {
        struct tokenizer *t = NULL;
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(data, 1, json, f) != json || fclose(f)) abort();
        kadr_status st = tokenizer_open(m, folder, NULL, &t, &err);
        if (st) {
            if (err.status != st || !err.message[0]) abort();
        } else encode(m, t, text, length);
        tokenizer_close(t);
    } else {
        encode(m, shipped[0], (const char *)data, size);
        encode(m, shipped[1], (const char *)data, size);
    }
    if (mem_close(m)) abort();
    return 0;
}
