/* run.c: see run.h.
 *
 * Invariants: loaded[s] says that the weights of segment s are in their slots; unless the program
 * keeps weights, that is true of one segment at most. `bound` is the segment that tensors and
 * weights point into, or -1. Nothing is allocated while a segment runs.
 */
#include "run/run.h"
#include "base/chk.h"

#include <string.h>

/* Pieces in which weights are read: large enough for a disk, small beside any plan. */
#define STAGING_BYTES ((size_t)2 << 20)

struct run {
    struct mem *mem;
    struct run_config config;
    char *arena;
    size_t arena_bytes;
    bool loaded[PROGRAM_SEGMENTS];
    int bound;
    uint64_t bytes_read;
    void **tensors; /* of the segment at hand */
    const void **weights;
    run_watch *watch;
    void *watch_user;
};

static size_t row_bytes(const struct weight *w, enum dtype stored) {
    size_t n = dtype_size(stored);
    for (int i = 1; i < w->rank; i++) n *= (size_t)w->dim[i];
    return n;
}

/* Rows of one piece: a multiple of BACKEND_PACK_ROWS that fits the staging block, at least one such
 * group. */
static int64_t piece_rows(const struct weight *w, enum dtype stored) {
    size_t rows = STAGING_BYTES / row_bytes(w, stored) / BACKEND_PACK_ROWS * BACKEND_PACK_ROWS;
    if (rows < BACKEND_PACK_ROWS) rows = BACKEND_PACK_ROWS;
    return (int64_t)rows < w->dim[0] ? (int64_t)rows : w->dim[0];
}

kadr_status run_prepare(const struct backend *backend, void *state, const struct run_source *source,
                        struct program *program, kadr_error *err) {
    for (int s = 0; s < program->segment_count; s++) {
        struct segment *seg = &program->segments[s];
        const struct graph *g = seg->graph;
        seg->needs.staging = 0;
        for (weight_id i = 0; i < g->weight_count; i++) {
            const struct weight *w = &g->weights[i];
            enum dtype stored;
            kadr_status st = source->find(source->user, w, &stored, err);
            if (st) return st;
            size_t staging = row_bytes(w, stored) * (size_t)piece_rows(w, stored);
            if (staging > seg->needs.staging) seg->needs.staging = staging;
            seg->needs.weight_bytes[i] = backend->weight_size(state, g, i);
        }
        for (int i = 0; i < g->op_count; i++)
            seg->needs.workspace[i] = backend->workspace(state, g, &g->ops[i]);
    }
    return KADR_OK;
}

kadr_status run_open(struct run **out, struct mem *m, const struct run_config *config,
                     kadr_error *err) {
    int tensors = 1, weights = 1;
    for (int i = 0; i < config->program->segment_count; i++) {
        const struct graph *g = config->program->segments[i].graph;
        if (g->tensor_count > tensors) tensors = g->tensor_count;
        if (g->weight_count > weights) weights = g->weight_count;
    }
    struct run *r = mem_alloc(m, sizeof *r);
    if (!r) return err_nomem(err, "run", sizeof *r);
    r->mem = m;
    r->config = *config;
    r->bound = -1;
    r->tensors = mem_array(m, (size_t)tensors, sizeof *r->tensors);
    r->weights = mem_array(m, (size_t)weights, sizeof *r->weights);
    r->arena_bytes = config->plan->bytes ? config->plan->bytes : 1;
    r->arena = mem_map(m, r->arena_bytes);
    if (!r->tensors || !r->weights || !r->arena) {
        size_t wanted = r->arena_bytes;
        run_close(r);
        return err_nomem(err, "buffers and weights of this run", wanted);
    }
    *out = r;
    return KADR_OK;
}

void run_close(struct run *r) {
    if (!r) return;
    if (r->arena) mem_unmap(r->mem, r->arena, r->arena_bytes);
    mem_free(r->tensors);
    mem_free((void *)r->weights);
    mem_free(r);
}

void *run_buffer(struct run *r, const char *name) {
    int i = program_find(r->config.program, name);
    return i < 0 ? NULL : r->arena + r->config.plan->buffer[i];
}

uint64_t run_bytes_read(const struct run *r) {
    return r->bytes_read;
}

void run_set_watch(struct run *r, run_watch *watch, void *user) {
    r->watch = watch;
    r->watch_user = user;
}

static bool cancelled(const struct run *r) {
    return r->config.cancelled && r->config.cancelled(r->config.user);
}

static kadr_status interrupted(kadr_error *err) {
    return err_set(err, KADR_EINTERRUPTED, "interrupted");
}

static kadr_status load_weight(struct run *r, const struct graph *g, weight_id i, char *staging,
                               void *packed, kadr_error *err) {
    const struct weight *w = &g->weights[i];
    const struct run_source *source = r->config.source;
    enum dtype stored;
    kadr_status st = source->find(source->user, w, &stored, err);
    if (st) return st;
    int64_t piece = piece_rows(w, stored);
    for (int64_t row = 0; row < w->dim[0]; row += piece) {
        if (cancelled(r)) return interrupted(err);
        int64_t rows = w->dim[0] - row < piece ? w->dim[0] - row : piece;
        st = source->read(source->user, w, row, rows, staging, err);
        if (st) return st;
        r->bytes_read += (uint64_t)rows * row_bytes(w, stored);
        r->config.backend->pack(r->config.state, g, i, 0, row, rows, staging, stored, packed);
    }
    return KADR_OK;
}

/* The rows of a table that the ids pick, which must be in their buffer already. */
static kadr_status load_picked(struct run *r, const struct graph *g, const struct op *op,
                               char *staging, void *packed, kadr_error *err) {
    const struct weight *w = &g->weights[op->w];
    const struct run_source *source = r->config.source;
    const int32_t *id = r->tensors[op->in[0]];
    enum dtype stored;
    kadr_status st = source->find(source->user, w, &stored, err);
    for (int64_t i = 0; i < w->picked && !st; i++) {
        if (id[i] < 0 || id[i] >= w->dim[0]) continue; /* one of the extra rows */
        st = source->read(source->user, w, id[i], 1, staging, err);
        if (st) break;
        r->bytes_read += row_bytes(w, stored);
        r->config.backend->pack(r->config.state, g, op->w, 0, i, 1, staging, stored, packed);
    }
    return st;
}

/* Points tensors and weights of the segment at their places. */
static void bind_segment(struct run *r, int segment) {
    const struct program *p = r->config.program;
    const struct plan *plan = r->config.plan;
    const struct graph *g = p->segments[segment].graph;
    const struct segment_plan *sp = &plan->segments[segment];
    for (int i = 0; i < g->tensor_count; i++) {
        int b = program_bound(p, g, i);
        r->tensors[i] = r->arena + (b >= 0 ? plan->buffer[b] : sp->tensor[i]);
    }
    for (int i = 0; i < g->weight_count; i++) r->weights[i] = r->arena + sp->weight[i];
    r->bound = segment;
}

static kadr_status load_segment(struct run *r, int segment, kadr_error *err) {
    const struct graph *g = r->config.program->segments[segment].graph;
    const struct segment_plan *sp = &r->config.plan->segments[segment];
    /* Staging may lie where another segment's weights were. */
    if (!r->config.program->keep_weights) memset(r->loaded, 0, sizeof r->loaded);
    for (weight_id i = 0; i < g->weight_count; i++) {
        if (g->weights[i].picked) continue;
        kadr_status st =
            load_weight(r, g, i, r->arena + sp->staging, r->arena + sp->weight[i], err);
        if (st) return st;
    }
    r->loaded[segment] = true;
    return KADR_OK;
}

kadr_status run_segment(struct run *r, int segment, kadr_error *err) {
    const struct graph *g = r->config.program->segments[segment].graph;
    if (r->bound != segment) bind_segment(r, segment);
    if (!r->loaded[segment]) {
        kadr_status st = load_segment(r, segment, err);
        if (st) return st;
    }
    const struct segment_plan *sp = &r->config.plan->segments[segment];
    for (int i = 0; i < g->op_count; i++) {
        if (g->ops[i].kind != OP_EMBED) continue;
        kadr_status st = load_picked(r, g, &g->ops[i], r->arena + sp->staging,
                                     r->arena + sp->weight[g->ops[i].w], err);
        if (st) return st;
    }
    const size_t *workspace = r->config.plan->segments[segment].workspace;
    for (int i = 0; i < g->op_count; i++) {
        if (cancelled(r)) return interrupted(err);
        const struct op *op = &g->ops[i];
        r->config.backend->run(r->config.state, g, op, NULL, r->tensors, r->weights,
                               r->arena + workspace[i]);
        if (r->watch) r->watch(r->watch_user, g, op, r->tensors[op->out]);
    }
    return KADR_OK;
}
