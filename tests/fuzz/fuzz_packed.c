/* fuzz_packed.c: what a packed model says about itself. The input is the JSON in its header; the
 * file around it is sound. What is accepted is read whole, in one piece and in two.
 */
#include "base/buf.h"
#include "base/json.h"
#include "weights/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGE 4096
#define MOST (4 * PAGE) /* bytes that a tensor of this file can have */

static const char *const tensors[] = {"kadr.json", "tokenizer.vocab.json", "unet.a.weight",
                                      "unet.b.bias"};
#define TENSORS (sizeof tensors / sizeof *tensors)

static char folder[64], model[96];

static void leave(void) {
    remove(model);
    rmdir(folder);
}

static void arrive(void) {
    snprintf(folder, sizeof folder, "/tmp/kadr-fuzz-XXXXXX");
    if (!mkdtemp(folder)) abort();
    snprintf(model, sizeof model, "%s/model.kadr", folder);
    atexit(leave);
}

/* As many checksums as the text seems to have items. */
static size_t count_items(const char *text, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i + 6 <= size; i++) n += memcmp(text + i, "\"form\"", 6) == 0;
    return n;
}

static json_t *header(const char *text, size_t size) {
    json_t *all = json_object();
    json_t *about = json_stringn(text, size);
    if (!about) about = json_string("");
    json_object_set_new(all, "__metadata__", json_pack("{s:o}", "kadr", about));
    for (size_t i = 0; i < TENSORS; i++)
        json_object_set_new(all, tensors[i],
                            json_pack("{s:s,s:[i],s:[i,i]}", "dtype", "U8", "shape", PAGE,
                                      "data_offsets", (int)i * PAGE, (int)(i + 1) * PAGE));
    int end = (int)TENSORS * PAGE, n = (int)count_items(text, size);
    json_object_set_new(all, "checksums",
                        json_pack("{s:s,s:[i],s:[i,i]}", "dtype", "U64", "shape", n, "data_offsets",
                                  end, end + n * 8));
    return all;
}

static void write_file(struct mem *m, const char *text, size_t size) {
    struct buf b;
    buf_init(&b, m);
    json_t *all = header(text, size);
    if (!json_put(&b, all, JSON_COMPACT)) abort();
    json_decref(all);
    FILE *f = fopen(model, "wb");
    uint64_t length = b.size;
    if (!f || fwrite(&length, 8, 1, f) != 1 || fwrite(b.data, 1, b.size, f) != b.size) abort();
    off_t end = (off_t)(8 + length + TENSORS * PAGE + count_items(text, size) * 8);
    if (fclose(f) || truncate(model, end)) abort();
    buf_free(&b);
}

static void must_tell(kadr_status st, const kadr_error *err) {
    if (st && (err->status != st || !err->message[0])) abort();
}

static void read_all(struct mem *m, struct weights *w) {
    kadr_error err = {0};
    char *to = mem_map(m, MOST + PAGE), *text;
    if (!to) abort();
    for (size_t i = 0; i < weights_count(w); i++) {
        const struct weights_tensor *t = weights_at(w, i);
        uint64_t bytes = weights_packed_size(t);
        if (bytes > MOST) abort();
        const struct weights_piece pieces[] = {
            {t, 0, (size_t)bytes, to}, {t, 0, (size_t)bytes / 2, to}, {t, bytes, 1, to}};
        must_tell(weights_read_packed(pieces, 1, &err), &err);
        must_tell(weights_check_packed(w, pieces, 1, &err), &err);
        must_tell(weights_read_packed(pieces, 2, &err), &err);
        must_tell(weights_check_packed(w, pieces, 2, &err), &err);
        if (!weights_read_packed(pieces, 3, &err)) abort();
        if (t->dtype == DTYPE_F32 || t->dtype == DTYPE_BF16)
            must_tell(weights_read(w, t, 0, 1, to, &err), &err);
        size_t size;
        must_tell(weights_read_text(w, m, t->name, &text, &size, &err), &err);
        mem_free(text);
    }
    mem_unmap(m, to, MOST + PAGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!*folder) arrive();
    struct mem *m = mem_open((size_t)64 << 20);
    struct weights *w = NULL;
    kadr_error err = {0};
    write_file(m, (const char *)data, size);
    kadr_status st = weights_open(m, NULL, model, &w, &err);
    must_tell(st, &err);
    if (!st) read_all(m, w);
    weights_close(w);
    if (mem_close(m)) abort();
    return 0;
}
