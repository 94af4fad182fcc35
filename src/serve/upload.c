/* upload.c: pictures that clients send. They are decoded under a budget and written anew, so that
 * nothing of a file that a stranger made is kept or served, and known by a name that nobody can
 * guess. */
#include "serve/inside.h"

#include "base/file.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

kadr_status upload_decode(struct serve *s, const void *data, size_t size, const char *what,
                          struct image *out, kadr_error *err) {
    const struct image_limits limits = {s->limits.pixels, s->limits.body, SERVE_UNPACK};
    kadr_status st = image_decode(out, s->mem, data, size, what, IMAGE_KEEP_ALPHA, &limits, err);
    if (st == KADR_EIO) st = err->status = KADR_EUSAGE; /* damaged: the sender's fault */
    return st;
}

kadr_status upload_keep(struct serve *s, const struct image *im, char name[UPLOAD_NAME],
                        kadr_error *err) {
    uint8_t random[UPLOAD_NAME / 2];
    if (getentropy(random, sizeof random)) return err_errno(err, "a name", "getentropy");
    for (size_t i = 0; i < sizeof random; i++) snprintf(name + 2 * i, 3, "%02x", random[i]);
    char *path = store_upload_path(s->store, name);
    if (!path) return err_nomem(err, "a path", 0);
    kadr_status st = image_write_png(im, s->mem, path, NULL, 0, err);
    if (!st) st = store_add_upload(s->store, name, err);
    mem_free(path);
    return st;
}

kadr_status upload_name(struct serve *s, const struct image *im, json_t *ours, const char *field,
                        kadr_error *err) {
    char name[UPLOAD_NAME];
    kadr_status st = upload_keep(s, im, name, err);
    if (!st && json_object_set_new(ours, field, json_string(name)))
        st = err_nomem(err, "a request", 0);
    return st;
}

kadr_status upload_path(struct serve *s, const json_t *value, const char *what, char **path,
                        kadr_error *err) {
    kadr_status st = KADR_OK;
    *path = NULL;
    if (json_is_integer(value))
        st = store_picture_file(s->store, json_integer_value(value), path, err);
    else if (json_is_string(value))
        st = store_upload_file(s->store, json_string_value(value), path, err);
    if (!st && (!*path || !file_exists(*path)))
        st = err_set(err, KADR_EUSAGE,
                     "%s: expected the name of an upload or the number of a picture that is there",
                     what);
    if (st) {
        mem_free(*path);
        *path = NULL;
    }
    return st;
}

kadr_status upload_latents(struct serve *s, const char *name, char **path, kadr_error *err) {
    char *end;
    int64_t id = (int64_t)strtoll(name, &end, 10);
    bool number = *name >= '1' && *name <= '9' && !*end && strlen(name) < 19;
    *path = NULL;
    kadr_status st = number ? store_latents_file(s->store, id, path, err) : KADR_OK;
    if (!st && !*path)
        st = err_set(err, KADR_EUSAGE, "init: there are no latents of the picture %.20s", name);
    return st;
}
