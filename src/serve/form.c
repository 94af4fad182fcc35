/* form.c: forms as browsers and OpenAI's clients send them, taken apart by libmicrohttpd. What has
 * a file name is a file, the rest are texts; how clients call their files does not matter. */
#include "serve/inside.h"

#include <string.h>

static struct form_part *part_named(struct form *f, const char *name) {
    for (int i = 0; i < f->count; i++)
        if (!strcmp(f->part[i].name, name)) return &f->part[i];
    return NULL;
}

/* Pieces of one part come one after the other; a second part of that name begins at 0 again. */
static enum MHD_Result on_part(void *user, enum MHD_ValueKind kind, const char *key,
                               const char *filename, const char *type, const char *coding,
                               const char *data, uint64_t offset, size_t size) {
    struct form *f = user;
    struct form_part *part = key ? part_named(f, key) : NULL;
    size_t n = key ? strlen(key) : 0;
    (void)kind, (void)type, (void)coding;
    f->broken |= !key || (part && !offset);
    if (!part && (f->count == FORM_PARTS || n >= sizeof part->name)) f->broken = true;
    if (f->broken) return MHD_NO;
    if (!part) {
        part = &f->part[f->count++];
        memcpy(part->name, key, n + 1);
        part->file = filename != NULL;
        buf_init(&part->data, f->mem);
    }
    buf_add(&part->data, data, size);
    f->broken = !buf_ok(&part->data);
    return f->broken ? MHD_NO : MHD_YES;
}

bool form_read(struct form *f, struct call *c) {
    *f = (struct form){.mem = c->serve->mem, .fields = json_object()};
    struct MHD_PostProcessor *pp = MHD_create_post_processor(c->http, 4096, on_part, f);
    bool ok = pp && f->fields && MHD_post_process(pp, c->body.data, c->body.size) == MHD_YES;
    if (pp) ok = MHD_destroy_post_processor(pp) == MHD_YES && ok;
    for (int i = 0; ok && !f->broken && i < f->count; i++) {
        const struct form_part *part = &f->part[i];
        if (part->file) continue;
        json_t *text = json_stringn(part->data.data, part->data.size); /* NULL: no UTF-8 */
        ok = text && !json_object_set_new(f->fields, part->name, text);
    }
    if (ok && !f->broken) return true;
    form_free(f);
    call_fail(c, 400,
              "body: expected a form of at most %d parts with different names, texts in UTF-8",
              FORM_PARTS);
    return false;
}

void form_free(struct form *f) {
    for (int i = 0; i < f->count; i++) buf_free(&f->part[i].data);
    json_decref(f->fields);
    *f = (struct form){0};
}

const struct buf *form_file(struct form *f, const char *name) {
    const struct form_part *part = part_named(f, name);
    return part && part->file ? &part->data : NULL;
}
