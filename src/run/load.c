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

static bool is_packed(const struct run_source *source, const struct weight *w, size_t bytes) {
    return !w->picked && source->packed && source->packed(source->user, w, bytes);
}

kadr_status load_staging(const struct backend *backend, void *state,
                         const struct run_source *source, const struct graph *g, weight_id i,
                         size_t *bytes, kadr_error *err) {
    const struct weight *w = &g->weights[i];
    enum dtype stored;
    *bytes = 0;
    if (is_packed(source, w, backend->weight_size(state, g, i))) return KADR_OK;
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

kadr_status load_weight(struct loader *l, const struct segment *s, weight_id i,
                        const struct op_part *part, void *to, kadr_error *err) {
    const struct weight *w = &s->graph->weights[i];
    const struct run_source *source = l->config->source;
    size_t whole = s->needs.weight_bytes[i], per = s->needs.part_bytes[i];
    if (!part || !part->count || !per) part = NULL;
    if (is_packed(source, w, whole)) {
        size_t at = part ? per * (size_t)(part->first / PART_COLUMNS) : 0;
        size_t size = walk_part_bytes(s, i, part);
        if (cancelled(l)) return err_set(err, KADR_EINTERRUPTED, "interrupted");
        l->bytes_read += size;
        return source->read_packed(source->user, w, at, size, to, err);
    }
    enum dtype stored;
    kadr_status st = source->find(source->user, w, &stored, err);
    if (st) return st;
    if (!part) return load_rows(l, s->graph, i, stored, 0, 0, w->dim[0], to, err);
    int64_t first = part->first, end = first + part->count, gate = walk_columns(w);
    st = load_rows(l, s->graph, i, stored, first, first, end, to, err);
    if (!st && w->geglu)
        st = load_rows(l, s->graph, i, stored, first, gate + first, gate + end, to, err);
    return st;
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
