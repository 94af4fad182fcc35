/* fuzz_cast.c: cast files and entries of the option `cast`. The input's first line follows the
 * cast's name in the entry; the rest is the header of the cast's file, whose data is a hole as long
 * as the header says. What is accepted is read wholly.
 */
#include "draw/casting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DATA_MOST ((long long)1 << 24)

static char folder[64], file[96];

static void leave(void) {
    remove(file);
    rmdir(folder);
}

static void arrive(void) {
    snprintf(folder, sizeof folder, "/tmp/kadr-fuzz-XXXXXX");
    if (!mkdtemp(folder)) abort();
    snprintf(file, sizeof file, "%s/x.cast", folder);
    atexit(leave);
}

/* The largest end of any data_offsets. */
static long long data_bytes(const char *header) {
    long long most = 0;
    for (const char *p = header; (p = strstr(p, "\"data_offsets\":[")); p++) {
        const char *comma = strpbrk(p, ",]");
        long long end = comma && *comma == ',' ? strtoll(comma + 1, NULL, 10) : 0;
        if (end > most && end <= DATA_MOST) most = end;
    }
    return most;
}

static void write_cast(const char *header) {
    uint64_t length = strlen(header);
    FILE *f = fopen(file, "wb");
    if (!f || fwrite(&length, 8, 1, f) != 1 || fwrite(header, 1, length, f) != length) abort();
    if (fclose(f) || truncate(file, (off_t)(8 + (long long)length + data_bytes(header)))) abort();
}

static void read_all(struct mem *m, const struct casting *c, const struct unet_config *unet) {
    struct unet_transformer t = {0};
    struct image small;
    char name[128];
    kadr_error err = {0};
    while (unet_next_transformer(unet, &t))
        for (int i = 0; i < t.depth * 4; i++) {
            uint16_t *to = mem_array(m, (size_t)(c->cast->tokens * t.width), sizeof *to);
            if (!to) abort();
            unet_attention_name(name, sizeof name, &t, i / 4);
            if (cast_read(c->cast, name, i % 2 ? 'v' : 'k', i % 4 >= 2, t.width, DTYPE_BF16, to,
                          &err))
                abort();
            mem_free(to);
        }
    if (!cast_thumbnail(c->cast, m, &small, &err)) image_free(&small);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!*folder) arrive();
    struct mem *m = mem_open((size_t)256 << 20);
    struct draw_model model = {.mem = m,
                               .unet = {.levels = 2,
                                        .level = {{.channels = 4, .heads = 1, .layers = 1},
                                                  {.channels = 8,
                                                   .heads = 2,
                                                   .layers = 1,
                                                   .depth = 1,
                                                   .up_depth = {1, 1},
                                                   .down_cross = true,
                                                   .up_cross = true}},
                                        .mid_depth = 1}};
    char *text = mem_alloc(m, size + 2);
    const char *header = "";
    struct cast_shelf shelf = {.mem = m};
    struct castings c = {.count = 0};
    kadr_error err = {0};
    if (!text || weights_open_empty(m, NULL, "fuzz", &model.weights, &err)) abort();
    memcpy(text + 1, data, size);
    *text = 'x';
    char *line = strchr(text, '\n');
    if (line) {
        *line = 0;
        header = line + 1;
    }
    write_cast(header);
    kadr_request *rq = kadr_request_new();
    if (!rq || kadr_request_set(rq, "cast-folder", folder, &err)) abort();
    if (!kadr_request_set(rq, "cast", text, &err)) {
        kadr_status st = castings_open(&c, &shelf, rq, &model, &err);
        if (st && (err.status != st || !err.message[0])) abort();
        if (!st && c.count == 1) read_all(m, &c.list[0], &model.unet);
    }
    castings_close(&c);
    cast_shelf_close(&shelf);
    kadr_request_free(rq);
    weights_close(model.weights);
    mem_free(text);
    if (mem_close(m)) abort();
    return 0;
}
