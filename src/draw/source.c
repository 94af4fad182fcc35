/* source.c: see source.h. */
#include "draw/source.h"

static kadr_status find(void *user, const struct weight *w, enum dtype *dtype, kadr_error *err) {
    const struct weights_tensor *t;
    kadr_status st = weights_expect(user, w->name, w->rank, w->dim, &t, err);
    if (st) return st;
    const char *layout;
    enum dtype packed_in;
    bool halves = t->dtype == DTYPE_F16 && w->dtype == DTYPE_F32;
    if (weights_packing(user, &layout, &packed_in) && t->dtype != w->dtype && !halves)
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

static bool packed(void *user, const struct weight *w, size_t bytes, enum dtype *stored) {
    const struct weights_tensor *t = weights_find(user, w->name);
    if (!t) return false;
    *stored = t->dtype;
    if (t->dtype == DTYPE_F16 && w->dtype == DTYPE_F32) return weights_packed_size(t) == bytes / 2;
    return t->dtype == w->dtype && weights_packed_size(t) == bytes;
}

static void translate(const struct weights *w, const struct run_piece *from, int count,
                      struct weights_piece *to) {
    for (int i = 0; i < count; i++)
        to[i] = (struct weights_piece){.tensor = weights_find(w, from[i].weight->name),
                                       .at = from[i].at,
                                       .size = from[i].size,
                                       .to = from[i].to};
}

static kadr_status read_packed(void *user, const struct run_piece *pieces, int count,
                               kadr_error *err) {
    struct weights_piece piece[RUN_PIECES];
    translate(user, pieces, count, piece);
    return weights_read_packed(piece, (size_t)count, err);
}

static kadr_status check_packed(void *user, const struct run_piece *pieces, int count,
                                kadr_error *err) {
    struct weights_piece piece[RUN_PIECES];
    translate(user, pieces, count, piece);
    return weights_check_packed(user, piece, (size_t)count, err);
}

static bool added(void *user, const struct weight *w) {
    return weights_is_added_to(weights_find(user, w->name));
}

static kadr_status add(void *user, const struct weight *w, int64_t row, int64_t rows, float *to,
                       kadr_error *err) {
    return weights_add(user, weights_find(user, w->name), row, rows, to, err);
}

/* A model on paper has every weight, and none is ever read. */
static kadr_status find_on_paper(void *user, const struct weight *w, enum dtype *dtype,
                                 kadr_error *err) {
    (void)user;
    (void)err;
    *dtype = w->dtype;
    return KADR_OK;
}

static bool packed_on_paper(void *user, const struct weight *w, size_t bytes, enum dtype *stored) {
    (void)user;
    (void)bytes;
    *stored = w->dtype;
    return true;
}

struct run_source draw_source(struct weights *w) {
    if (!w) return (struct run_source){.find = find_on_paper, .packed = packed_on_paper};
    return (struct run_source){.user = w,
                               .find = find,
                               .read = read_rows,
                               .packed = packed,
                               .read_packed = read_packed,
                               .check_packed = check_packed,
                               .added = added,
                               .add = add};
}
