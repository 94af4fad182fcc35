/* source.c: see source.h. */
#include "draw/source.h"

static kadr_status find(void *user, const struct weight *w, enum dtype *dtype, kadr_error *err) {
    const struct weights_tensor *t;
    kadr_status st = weights_expect(user, w->name, w->rank, w->dim, &t, err);
    if (st) return st;
    const char *layout;
    enum dtype packed_in;
    if (weights_packing(user, &layout, &packed_in) && t->dtype != w->dtype)
        return err_set(err, KADR_EMODEL,
                       "%s: %s is packed in %s, and is computed with in %s: pack the model again",
                       weights_path(user), w->name, dtype_name(t->dtype), dtype_name(w->dtype));
    *dtype = t->dtype;
    return KADR_OK;
}

static kadr_status read_rows(void *user, const struct weight *w, int64_t row, int64_t rows,
                             void *to, kadr_error *err) {
    const struct weights_tensor *t;
    kadr_status st = weights_expect(user, w->name, w->rank, w->dim, &t, err);
    return st ? st : weights_read(user, t, row, rows, to, err);
}

static bool packed(void *user, const struct weight *w, size_t bytes) {
    const struct weights_tensor *t = weights_find(user, w->name);
    return t && t->dtype == w->dtype && weights_packed_size(t) == bytes;
}

static kadr_status read_packed(void *user, const struct weight *w, size_t at, size_t size, void *to,
                               kadr_error *err) {
    return weights_read_packed(user, weights_find(user, w->name), at, size, to, err);
}

/* A model on paper has every weight, and none is ever read. */
static kadr_status find_on_paper(void *user, const struct weight *w, enum dtype *dtype,
                                 kadr_error *err) {
    (void)user;
    (void)err;
    *dtype = w->dtype;
    return KADR_OK;
}

static bool packed_on_paper(void *user, const struct weight *w, size_t bytes) {
    (void)user;
    (void)w;
    (void)bytes;
    return true;
}

struct run_source draw_source(struct weights *w) {
    if (!w) return (struct run_source){.find = find_on_paper, .packed = packed_on_paper};
    return (struct run_source){
        .user = w, .find = find, .read = read_rows, .packed = packed, .read_packed = read_packed};
}
