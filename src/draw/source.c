/* source.c: see source.h. */
#include "draw/source.h"

static kadr_status find(void *user, const struct weight *w, enum dtype *dtype, kadr_error *err) {
    const struct weights_tensor *t;
    kadr_status st = weights_expect(user, w->name, w->rank, w->dim, &t, err);
    if (!st) *dtype = t->dtype;
    return st;
}

static kadr_status read_rows(void *user, const struct weight *w, int64_t row, int64_t rows,
                             void *to, kadr_error *err) {
    const struct weights_tensor *t;
    kadr_status st = weights_expect(user, w->name, w->rank, w->dim, &t, err);
    return st ? st : weights_read(user, t, row, rows, to, err);
}

struct run_source draw_source(struct weights *w) {
    return (struct run_source){.user = w, .find = find, .read = read_rows};
}
