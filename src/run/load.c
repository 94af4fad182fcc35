/* load.c: see load.h. */
#include "run/load.h"

/* Pieces in which weights are read: large enough for a disk, small beside any plan. */
#define PIECE_BYTES ((size_t)2 << 20)

static size_t row_bytes(const struct weight *w, enum dtype stored) {
    size_t n = dtype_size(stored);
    for (int i = 1; i < w->rank; i++) n *= (size_t)w->dim[i];
    return n;
}

/* Rows of one piece: a multiple of BACKEND_PACK_ROWS that fits, at least one such group. */
static int64_t piece_rows(const struct weight *w, enum dtype stored) {
    size_t rows = PIECE_BYTES / row_bytes(w, stored) / BACKEND_PACK_ROWS * BACKEND_PACK_ROWS;
    if (rows < BACKEND_PACK_ROWS) rows = BACKEND_PACK_ROWS;
    return (int64_t)rows < w->dim[0] ? (int64_t)rows : w->dim[0];
}

static bool is_packed(const struct run_source *source, const struct weight *w, size_t bytes,
                      enum dtype *stored) {
    return !w->picked && source->packed && source->packed(source->user, w, bytes, stored);
}

static bool is_added_to(const struct run_source *source, const struct weight *w) {
    return source->added && source->added(source->user, w);
}

kadr_status load_staging(const struct backend *backend, void *state,
                         const struct run_source *source, const struct graph *g, weight_id i,
                         size_t *bytes, kadr_error *err) {
    const struct weight *w = &g->weights[i];
    enum dtype stored;
    *bytes = 0;
    if (is_packed(source, w, backend->weight_size(state, g, i), &stored)) {
        if (is_added_to(source, w))
            *bytes = row_bytes(w, DTYPE_F32) * (size_t)piece_rows(w, DTYPE_F32);
        if (stored != w->dtype && *bytes < PIECE_BYTES + 2 * PLAN_ALIGN)
            *bytes = PIECE_BYTES + 2 * PLAN_ALIGN;
        return KADR_OK;
    }
    kadr_status st = source->find(source->user, w, &stored, err);
    if (!st) *bytes = row_bytes(w, stored) * (size_t)(w->picked ? 1 : piece_rows(w, stored));
    return st;
}

static bool cancelled(const struct loader *l) {
    return l->config->cancelled && l->config->cancelled(l->config->user);
}

/* Rows [first, end), of which `to` holds the columns from `column` on. */
static kadr_status load_rows(struct loader *l, const struct graph *g, weight_id i,
                             enum dtype stored, int64_t column, int64_t first, int64_t end,
                             void *to, kadr_error *err) {
    const struct weight *w = &g->weights[i];
    const struct run_source *source = l->config->source;
    int64_t piece = piece_rows(w, stored);
    for (int64_t row = first; row < end; row += piece) {
        if (cancelled(l)) return err_set(err, KADR_EINTERRUPTED, "interrupted");
        int64_t rows = end - row < piece ? end - row : piece;
        kadr_status st = source->read(source->user, w, row, rows, l->staging, err);
        if (st) return st;
        l->bytes_read += (uint64_t)rows * row_bytes(w, stored);
        l->config->backend->pack(l->config->state, g, i, column, row, rows, l->staging, stored, to);
    }
    return KADR_OK;
}

/* Rows [first, end) of a packed weight, of which `packed` holds the columns from `column` on. */
static kadr_status add_rows(struct loader *l, const struct graph *g, weight_id i, int64_t column,
                            int64_t first, int64_t end, void *packed, kadr_error *err) {
    const struct weight *w = &g->weights[i];
    const struct run_config *c = l->config;
    int64_t piece = piece_rows(w, DTYPE_F32);
    for (int64_t row = first; row < end; row += piece) {
        if (cancelled(l)) return err_set(err, KADR_EINTERRUPTED, "interrupted");
        int64_t rows = end - row < piece ? end - row : piece;
        c->backend->unpack(c->state, g, i, column, row, rows, packed, l->staging);
        kadr_status st = c->source->add(c->source->user, w, row, rows, l->staging, err);
        if (st) return st;
        c->backend->pack(c->state, g, i, column, row, rows, l->staging, DTYPE_F32, packed);
    }
    return KADR_OK;
}

/* The same for all rows of a part (NULL: all). */
static kadr_status add_to(struct loader *l, const struct graph *g, weight_id i,
                          const struct op_part *part, void *packed, kadr_error *err) {
    const struct weight *w = &g->weights[i];
    if (!part) return add_rows(l, g, i, 0, 0, w->dim[0], packed, err);
    int64_t first = part->first, end = first + part->count, gate = walk_columns(w);
    kadr_status st = add_rows(l, g, i, first, first, end, packed, err);
    if (!st && w->geglu) st = add_rows(l, g, i, first, gate + first, gate + end, packed, err);
    return st;
}

kadr_status load_read(struct loader *l, kadr_error *err) {
    const struct run_source *source = l->config->source;
    if (!l->pieces) return KADR_OK;
    if (cancelled(l)) return err_set(err, KADR_EINTERRUPTED, "interrupted");
    for (int i = 0; i < l->pieces; i++) l->bytes_read += l->piece[i].size;
    return source->read_packed(source->user, l->piece, l->pieces, err);
}

kadr_status load_check(struct loader *l, kadr_error *err) {
    const struct run_source *source = l->config->source;
    int count = l->pieces;
    l->pieces = 0;
    return count ? source->check_packed(source->user, l->piece, count, err) : KADR_OK;
}

static kadr_status read_and_check(struct loader *l, kadr_error *err) {
    kadr_status st = load_read(l, err);
    return st ? st : load_check(l, err);
}

bool load_is_plain(const struct loader *l, const struct segment *s, weight_id i) {
    const struct weight *w = &s->graph->weights[i];
    const struct run_source *source = l->config->source;
    enum dtype stored;
    return is_packed(source, w, s->needs.weight_bytes[i], &stored) && stored == w->dtype &&
           !is_added_to(source, w);
}

/* Bytes [at, at + size) of the packed form, as they are or from f16. */
static kadr_status read_packed(struct loader *l, const struct weight *w, enum dtype stored,
                               size_t at, size_t size, char *to, kadr_error *err) {
    if (stored == w->dtype) {
        l->piece[l->pieces++] = (struct run_piece){w, at, size, to};
        return l->pieces == RUN_PIECES ? read_and_check(l, err) : KADR_OK;
    }
    size_t end = (at + size) / 2, n;
    for (size_t from = at / 2; from < end; from += n, to += 2 * n) {
        if (cancelled(l)) return err_set(err, KADR_EINTERRUPTED, "interrupted");
        n = end - from < PIECE_BYTES ? end - from : PIECE_BYTES;
        char *piece = (char *)l->staging + from % PLAN_ALIGN; /* so that it passes by the cache */
        l->piece[l->pieces++] = (struct run_piece){w, from, n, piece};
        kadr_status st = read_and_check(l, err);
        if (st) return st;
        l->config->backend->widen(l->config->state, piece, (float *)(void *)to,
                                  n / sizeof(uint16_t));
    }
    return KADR_OK;
}

kadr_status load_weight(struct loader *l, const struct segment *s, weight_id i,
                        const struct op_part *part, void *to, kadr_error *err) {
    const struct weight *w = &s->graph->weights[i];
    const struct run_source *source = l->config->source;
    size_t whole = s->needs.weight_bytes[i], per = s->needs.part_bytes[i];
    if (!part || !part->count || !per) part = NULL;
    enum dtype stored;
    if (is_packed(source, w, whole, &stored)) {
        size_t at = part ? per * (size_t)(part->first / PART_COLUMNS) : 0;
        kadr_status read = read_packed(l, w, stored, at, walk_part_bytes(s, i, part), to, err);
        if (read || !is_added_to(source, w)) return read;
        read = read_and_check(l, err);
        return read ? read : add_to(l, s->graph, i, part, to, err);
    }
    kadr_status st = source->find(source->user, w, &stored, err);
    if (st) return st;
    if (!part) return load_rows(l, s->graph, i, stored, 0, 0, w->dim[0], to, err);
    int64_t first = part->first, end = first + part->count, gate = walk_columns(w);
    st = load_rows(l, s->graph, i, stored, first, first, end, to, err);
    if (!st && w->geglu)
        st = load_rows(l, s->graph, i, stored, first, gate + first, gate + end, to, err);
    return st;
}

size_t load_picked_at(const struct segment *s, weight_id w, int lane) {
    return s->needs.weight_bytes[w] / (size_t)s->lanes * (size_t)lane;
}

kadr_status load_picked(struct loader *l, const struct segment *s, weight_id i, const int32_t *id,
                        void *to, kadr_error *err) {
    const struct weight *w = &s->graph->weights[i];
    const struct run_source *source = l->config->source;
    enum dtype stored;
    kadr_status st = source->find(source->user, w, &stored, err);
    for (int64_t at = 0; at < w->picked && !st; at++) {
        if (id[at] < 0 || id[at] >= w->dim[0]) continue; /* one of the extra rows */
        st = source->read(source->user, w, id[at], 1, l->staging, err);
        if (st) break;
        l->bytes_read += row_bytes(w, stored);
        l->config->backend->pack(l->config->state, s->graph, i, 0, at, 1, l->staging, stored, to);
    }
    return st;
}
