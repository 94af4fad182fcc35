/* packed.h: writing kadr's packed models. docs/packed-format.md describes the file: a safetensors
 * container whose tensors lie in the order in which a drawing reads them, each at a multiple of
 * 4096 bytes, in the form in which it is computed with, and a checksum of each.
 */
#ifndef KADR_WEIGHTS_PACKED_H
#define KADR_WEIGHTS_PACKED_H

#include "weights/weights.h"

#define PACKED_VERSION 1
#define PACKED_ALIGN 4096

struct packed_item {
    const char *name; /* canonical; or of a text file, as "tokenizer.vocab.json" */
    bool panels;      /* in the backend's form; else row-major in `dtype` */
    enum dtype dtype; /* in which it is computed with; DTYPE_U8: a text file */
    int rank;
    int64_t dim[GRAPH_RANK]; /* as stored in the model */
    uint64_t bytes;
};

struct packed_about {
    const char *layout; /* name of the backend's form */
    enum dtype dtype;   /* of the networks */
    json_t *configs;    /* component -> its configuration; borrowed */
};

struct packed_writer;
/* `items` are borrowed until the end. */
kadr_status packed_begin(struct packed_writer **out, struct mem *m, const char *path,
                         const struct packed_about *about, const struct packed_item *items,
                         size_t count, kadr_error *err);
/* The next bytes of the item at hand; when it has all of its bytes, the next one begins. */
kadr_status packed_add(struct packed_writer *w, const void *data, size_t size, kadr_error *err);
/* After the last item: puts the file in its place. */
kadr_status packed_commit(struct packed_writer *w, kadr_error *err);
void packed_close(struct packed_writer *w); /* leaves nothing behind unless committed */

#endif
