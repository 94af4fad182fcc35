/* packed_write.c: see packed.h. */
#include "base/buf.h"
#include "base/chk.h"
#include "weights/packed.h"
#include "weights/safetensors.h"

#include <string.h>
#include <xxhash.h>

struct packed_writer {
    struct mem *mem;
    struct file_writer file;
    const struct packed_item *items;
    size_t count, at; /* the item at hand */
    uint64_t done;    /* bytes of it */
    XXH64_state_t *hash;
    uint64_t *sums;
};

static json_t *item_json(const struct packed_item *item) {
    json_t *shape = json_array();
    for (int i = 0; i < item->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)item->dim[i]));
    return json_pack("{s:s,s:s,s:o,s:I}", "form",
                     item->panels              ? "panels"
                     : item->dtype == DTYPE_U8 ? "text"
                                               : "rows",
                     "dtype", dtype_name(item->dtype), "shape", shape, "bytes",
                     (json_int_t)item->bytes);
}

/* What safetensors' own header does not say. */
static char *about_text(struct mem *m, const struct packed_about *about,
                        const struct packed_item *items, size_t count) {
    json_t *list = json_object();
    for (size_t i = 0; i < count; i++)
        json_object_set_new(list, items[i].name, item_json(&items[i]));
    json_t *all =
        json_pack("{s:i,s:s,s:s,s:O,s:o}", "version", PACKED_VERSION, "layout", about->layout,
                  "dtype", dtype_name(about->dtype), "configs", about->configs, "items", list);
    struct buf b;
    buf_init(&b, m);
    bool ok = json_put(&b, all, JSON_COMPACT);
    json_decref(all);
    char *text = ok ? buf_take(&b) : NULL;
    buf_free(&b);
    return text;
}

kadr_status packed_begin(struct packed_writer **out, struct mem *m, const char *path,
                         const struct packed_about *about, const struct packed_item *items,
                         size_t count, kadr_error *err) {
    struct packed_writer *w = mem_alloc(m, sizeof *w);
    if (!w) return err_nomem(err, "packed model", sizeof *w);
    *w = (struct packed_writer){
        .mem = m, .file = {.fd = -1}, .items = items, .count = count, .hash = XXH64_createState()};
    struct safetensors_out *list = mem_array(m, count + 1, sizeof *list);
    w->sums = mem_array(m, count + 1, sizeof *w->sums);
    char *text = about_text(m, about, items, count);
    kadr_status st = KADR_OK;
    if (!list || !w->sums || !text || !w->hash) st = err_nomem(err, "packed model", count * 64);
    for (size_t i = 0; i < count && !st; i++)
        list[i] = (struct safetensors_out){
            .name = items[i].name,
            .dtype = SAFETENSORS_U8,
            .rank = 1,
            .dim = {(int64_t)chk_align((size_t)items[i].bytes, PACKED_ALIGN)}};
    if (!st) {
        list[count] = (struct safetensors_out){
            .name = "checksums", .dtype = SAFETENSORS_U64, .rank = 1, .dim = {(int64_t)count}};
        const char *metadata[] = {"format", "kadr", "kadr", text, NULL};
        st = safetensors_begin(&w->file, m, path, list, count + 1, metadata, PACKED_ALIGN, err);
    }
    if (!st) XXH64_reset(w->hash, 0);
    mem_free(list);
    mem_free(text);
    if (st) packed_close(w);
    else *out = w;
    return st;
}

/* The padding behind an item, and its checksum. */
static kadr_status end_item(struct packed_writer *w, kadr_error *err) {
    static const char zeros[PACKED_ALIGN];
    uint64_t bytes = w->items[w->at].bytes;
    w->sums[w->at++] = XXH64_digest(w->hash);
    w->done = 0;
    XXH64_reset(w->hash, 0);
    return file_writer_add(&w->file, zeros,
                           (size_t)(chk_align((size_t)bytes, PACKED_ALIGN) - bytes), err);
}

kadr_status packed_add(struct packed_writer *w, const void *data, size_t size, kadr_error *err) {
    if (w->at == w->count || size > w->items[w->at].bytes - w->done)
        return err_set(err, KADR_EOTHER, "packed model: more bytes than were announced");
    XXH64_update(w->hash, data, size);
    w->done += size;
    kadr_status st = file_writer_add(&w->file, data, size, err);
    if (!st && w->done == w->items[w->at].bytes) st = end_item(w, err);
    return st;
}

kadr_status packed_commit(struct packed_writer *w, kadr_error *err) {
    if (w->at != w->count)
        return err_set(err, KADR_EOTHER, "packed model: %s is not complete", w->items[w->at].name);
    kadr_status st = file_writer_add(&w->file, w->sums, w->count * sizeof *w->sums, err);
    return st ? st : file_writer_commit(&w->file, err);
}

void packed_close(struct packed_writer *w) {
    if (!w) return;
    file_writer_abort(&w->file);
    XXH64_freeState(w->hash);
    mem_free(w->sums);
    mem_free(w);
}
