/* send.c: see send.h. */
#include "serve/send.h"

#include "base/file.h"
#include <inttypes.h>

#define FILE_MOST ((size_t)1 << 30)

kadr_status send_read(struct serve *s, int64_t id, char **data, size_t *size, kadr_error *err) {
    char *path = NULL;
    kadr_status st = store_picture_file(s->store, id, &path, err);
    if (!st && !path) st = err_set(err, KADR_EIO, "picture %" PRId64 " was deleted", id);
    if (!st) st = file_read_all(s->mem, path, FILE_MOST, KADR_EIO, data, size, err);
    mem_free(path);
    return st;
}

kadr_status send_convert(struct mem *m, struct image_style style, const char *data, size_t size,
                         kadr_status (*change)(void *user, struct image *im, kadr_error *err),
                         void *user, struct buf *to, kadr_error *err) {
    struct image im = {0};
    struct arena a;
    struct image_text *texts;
    size_t count;
    arena_init(&a, m);
    kadr_status st = image_decode_texts(&a, data, size, "picture", &texts, &count, err);
    if (!st) st = image_decode(&im, m, data, size, "picture", IMAGE_DROP_ALPHA, NULL, err);
    if (!st && change) st = change(user, &im, err);
    if (!st) st = image_encode(&im, m, style, texts, count, to, err);
    image_free(&im);
    arena_free(&a);
    return st;
}
