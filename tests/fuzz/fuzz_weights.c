/* fuzz_weights.c: checkpoints, LoRAs and embeddings by the names and shapes of their tensors. The
 * input is text, "DTYPE NAME DIM DIM ..." a line; a sound safetensors file without data (a hole) is
 * made of it, so that what reads names and shapes is reached. Behind a line "---" the lines of a
 * second file begin, which is added as LoRA, VAE and embedding.
 */
#include "base/buf.h"
#include "weights/safetensors.h"
#include "weights/weights.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ELEMENTS ((uint64_t)1 << 24) /* of a tensor: what is larger is left out */

static char folder[64], model[96], added[96];

static void leave(void) {
    remove(model);
    remove(added);
    rmdir(folder);
}

static void arrive(void) {
    snprintf(folder, sizeof folder, "/tmp/kadr-fuzz-XXXXXX");
    if (!mkdtemp(folder)) abort();
    snprintf(model, sizeof model, "%s/model.safetensors", folder);
    snprintf(added, sizeof added, "%s/added.safetensors", folder);
    atexit(leave);
}

/* One line as a member of the header; `at` is where its data lies. */
static void add_tensor(struct buf *b, const char *line, size_t size, uint64_t *at) {
    static const char *const types[] = {"F32", "F16", "BF16", "F8_E4M3", "I64", "F64"};
    static const uint64_t bits[] = {32, 16, 16, 8, 64, 64};
    const char *end = line + size, *name = memchr(line, ' ', size), *p = name;
    if (!name) return;
    size_t type = (unsigned char)line[0] % 6;
    for (size_t i = 0; i < 6; i++)
        if (strlen(types[i]) == (size_t)(name - line) &&
            strncmp(types[i], line, (size_t)(name - line)) == 0)
            type = i;
    for (p = ++name; p<end && * p> ' ' && *p < 127 && *p != '"' && *p != '\\'; p++) {
    }
    size_t length = (size_t)(p - name);
    char shape[128] = "";
    size_t used = 0;
    uint64_t elements = 1;
    for (int rank = 0; p < end && rank < 8; rank++) {
        while (p < end && *p == ' ') p++;
        if (p == end || !isdigit((unsigned char)*p)) break;
        uint64_t dim = 0;
        while (p < end && isdigit((unsigned char)*p) && dim < ELEMENTS)
            dim = dim * 10 + (uint64_t)(*p++ - '0');
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%s%llu", rank ? "," : "",
                                 (unsigned long long)dim);
        if (dim && elements > ELEMENTS / dim) return;
        elements *= dim;
    }
    uint64_t bytes = elements * bits[type] / 8;
    buf_printf(b, "%s\"%.*s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}",
               b->size > 1 ? "," : "", (int)length, name, types[type], shape,
               (unsigned long long)*at, (unsigned long long)(*at + bytes));
    *at += bytes;
}

/* Writes the lines up to "---" or the end; returns what follows. */
static const char *write_file(struct mem *m, const char *path, const char *text, const char *end) {
    struct buf b;
    uint64_t at = 0;
    buf_init(&b, m);
    buf_putc(&b, '{');
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((stop ? stop : end) - text);
        const char *line = text;
        text = stop ? stop + 1 : end;
        if (n == 3 && memcmp(line, "---", 3) == 0) break;
        add_tensor(&b, line, n, &at);
    }
    buf_putc(&b, '}');
    FILE *f = fopen(path, "wb");
    uint64_t length = b.size;
    if (!buf_ok(&b) || !f || fwrite(&length, 8, 1, f) != 1 ||
        fwrite(b.data, 1, b.size, f) != b.size)
        abort();
    if (fclose(f) || truncate(path, (off_t)(8 + length + at))) abort();
    buf_free(&b);
    return text;
}

/* The first and the last row of every small tensor. */
static void read_rows(struct mem *m, struct weights *w) {
    kadr_error err;
    for (size_t i = 0; i < weights_count(w); i++) {
        const struct weights_tensor *t = weights_at(w, i);
        if (weights_find(w, t->name) != t) abort();
        int64_t rows = t->rank ? t->dim[0] : 1, row = 1;
        for (int k = 1; k < t->rank; k++) row *= t->dim[k];
        if (rows < 1 || row > 1 << 12) continue;
        void *to = mem_alloc(m, (size_t)row * 8);
        if (!to) abort();
        weights_read(w, t, 0, 1, to, &err);
        weights_read(w, t, rows - 1, 1, to, &err);
        mem_free(to);
    }
}

static void must_tell(kadr_status st, const kadr_error *err) {
    if (st && (err->status != st || !err->message[0])) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!*folder) arrive();
    struct mem *m = mem_open((size_t)256 << 20);
    const char *text = (const char *)data, *end = text + size;
    struct weights *w = NULL;
    struct weights_embedding e;
    kadr_error err = {0};
    text = write_file(m, model, text, end);
    bool more = text < end;
    if (more) write_file(m, added, text, end);
    kadr_status st = weights_open(m, NULL, model, &w, &err);
    must_tell(st, &err);
    if (!st && more) must_tell(weights_replace(w, "vae", added, &err), &err);
    if (!st && more) {
        st = weights_add_lora(w, added, 0.5, &err);
        must_tell(st, &err);
    }
    if (w && !st) read_rows(m, w);
    weights_close(w);
    if (more) {
        const int64_t width[2] = {768, 1280};
        must_tell(weights_embedding_read(m, added, width, &e, &err), &err);
        weights_embedding_free(&e);
    }
    if (mem_close(m)) abort();
    return 0;
}
