/* run.c: see run.h.
 *
 * Invariants: `bound` and `lane` say where tensors and weights point into, -1: nowhere. Nothing is
 * allocated while a segment runs.
 */
#include "run/run.h"
#include "base/file.h"
#include "run/stream.h"

struct run {
    struct mem *mem;
    struct run_config config;
    char *arena;
    size_t arena_bytes;
    struct stream *stream;
    struct file scratch;
    int bound, lane;
    int used, all;  /* share of the lanes that run */
    void **tensors; /* of the segment at hand: [lanes][tensors] */
    const void **weights;
    run_watch *watch;
    void *watch_user;
};

kadr_status run_prepare(const struct backend *backend, void *state, const struct run_source *source,
                        struct program *program, kadr_error *err) {
    for (int s = 0; s < program->segment_count; s++) {
        struct segment *seg = &program->segments[s];
        const struct graph *g = seg->graph;
        seg->needs.staging = 0;
        for (weight_id i = 0; i < g->weight_count; i++) {
            enum dtype stored;
            size_t staging;
            kadr_status st = source->find(source->user, &g->weights[i], &stored, err);
            if (!st) st = load_staging(backend, state, source, g, i, &staging, err);
            if (st) return st;
            if (staging > seg->needs.staging) seg->needs.staging = staging;
            seg->needs.weight_bytes[i] = backend->weight_size(state, g, i);
            seg->needs.part_bytes[i] = backend->part_size(state, g, i);
        }
        for (int i = 0; i < g->op_count; i++)
            seg->needs.workspace[i] = backend->workspace(state, g, &g->ops[i]);
    }
    return KADR_OK;
}

/* Ids that pick rows of a table are inputs: they lie in a buffer before the segment runs. */
static const int32_t *ids_of(void *user, int segment, const struct op *op) {
    struct run *r = user;
    const struct graph *g = r->config.program->segments[segment].graph;
    return run_buffer(r, g->tensors[op->in[0]].name, 0);
}

kadr_status run_open(struct run **out, struct mem *m, const struct run_config *config,
                     kadr_error *err) {
    size_t tensors = 1, weights = 1;
    for (int i = 0; i < config->program->segment_count; i++) {
        const struct segment *s = &config->program->segments[i];
        size_t own = (size_t)(s->graph->tensor_count * s->lanes);
        if (own > tensors) tensors = own;
        if ((size_t)s->graph->weight_count > weights) weights = (size_t)s->graph->weight_count;
    }
    struct run *r = mem_alloc(m, sizeof *r);
    if (!r) return err_nomem(err, "run", sizeof *r);
    r->mem = m;
    r->config = *config;
    r->bound = -1;
    r->scratch.fd = r->scratch.direct = -1;
    r->used = r->all = 1;
    r->tensors = mem_array(m, tensors, sizeof *r->tensors);
    r->weights = mem_array(m, weights, sizeof *r->weights);
    r->arena_bytes = config->plan->bytes ? config->plan->bytes : 1;
    r->arena = mem_map(m, r->arena_bytes);
    kadr_status st = KADR_OK;
    if (!r->tensors || !r->weights || !r->arena)
        st = err_nomem(err, "buffers and weights of this run", r->arena_bytes);
    if (!st && config->plan->scratch)
        st = file_open_scratch(&r->scratch, m, NULL, config->plan->scratch, err);
    const struct stream_config stream = {
        .run = &r->config, .arena = r->arena, .ids = ids_of, .user = r};
    if (!st) st = stream_open(&r->stream, m, &stream, err);
    if (st) run_close(r);
    else *out = r;
    return st;
}

void run_close(struct run *r) {
    if (!r) return;
    stream_close(r->stream);
    file_close(&r->scratch);
    if (r->arena) mem_unmap(r->mem, r->arena, r->arena_bytes);
    mem_free(r->tensors);
    mem_free((void *)r->weights);
    mem_free(r);
}

static void *copy_at(const struct run *r, int buffer, int lane) {
    const struct plan *plan = r->config.plan;
    if (lane >= r->config.program->buffers[buffer].lanes) lane = 0;
    return r->arena + plan->buffer[buffer] + (size_t)lane * plan->buffer_step[buffer];
}

void *run_buffer(struct run *r, const char *name, int lane) {
    int i = program_find(r->config.program, name);
    return i < 0 ? NULL : copy_at(r, i, lane);
}

void run_get_stats(struct run *r, struct run_stats *stats) {
    stream_get_stats(r->stream, stats);
}

void run_set_watch(struct run *r, run_watch *watch, void *user) {
    r->watch = watch;
    r->watch_user = user;
}

void run_use_lanes(struct run *r, int used, int all) {
    r->used = used;
    r->all = all;
}

static bool cancelled(const struct run *r) {
    return r->config.cancelled && r->config.cancelled(r->config.user);
}

/* Points tensors of the segment at their places. */
static void bind_segment(struct run *r, int segment, int lane) {
    const struct program *p = r->config.program;
    const struct segment *s = &p->segments[segment];
    const struct segment_plan *sp = &r->config.plan->segments[segment];
    int tensors = s->graph->tensor_count;
    for (int l = 0; l < s->lanes; l++)
        for (int i = 0; i < tensors; i++) {
            int b = program_bound(p, s->graph, i);
            r->tensors[l * tensors + i] = b >= 0 ? copy_at(r, b, s->lanes > 1 ? l : lane)
                                                 : r->arena + sp->tensor[l * tensors + i];
        }
    r->bound = segment;
    r->lane = lane;
}

/* Points the weights of a unit at its slot or at where they stay. */
static void bind_weights(struct run *r, const struct segment *s, const struct segment_plan *sp,
                         const struct unit *u, char *slot) {
    for (int i = u->first; i <= u->last; i++) {
        const weight_id of[2] = {s->graph->ops[i].w, s->graph->ops[i].b};
        for (int j = 0; j < 2; j++) {
            weight_id w = of[j];
            if (w == NO_WEIGHT) continue;
            r->weights[w] =
                walk_streams(s, sp->stays, w) ? slot + sp->walk.at[w] : r->arena + sp->weight[w];
        }
    }
}

/* One band: what it reads comes from the scratch file into the windows, what it makes goes back. */
static kadr_status run_band(struct run *r, const struct graph *g, const struct segment_plan *sp,
                            const struct op *op, const struct op_part *part, int64_t height,
                            const size_t *offset, void **tensors, kadr_error *err) {
    struct window w[WINDOWS];
    int n = bands_windows(g, op, sp->spilled, height, part->row, part->rows, w);
    for (int i = 0; i < n; i++) {
        char *window = r->arena + sp->windows + w[i].at;
        uint64_t at = offset[w[i].tensor] + (uint64_t)w[i].first * w[i].row;
        /* As if the whole picture lay around the window; only rows of the window are touched. */
        tensors[w[i].tensor] = (void *)((uintptr_t)window - (uintptr_t)w[i].first * w[i].row);
        if (w[i].tensor == op->out) continue;
        kadr_status st = file_read_at(&r->scratch, at, window, (size_t)w[i].rows * w[i].row, err);
        if (st) return st;
    }
    r->config.backend->run(r->config.state, g, op, part, tensors, r->weights,
                           r->arena + sp->workspace);
    const struct window *out = &w[n - 1];
    if (!n || out->tensor != op->out) return KADR_OK;
    return file_write_at(&r->scratch, offset[op->out] + (uint64_t)out->first * out->row,
                         r->arena + sp->windows + out->at, (size_t)out->rows * out->row, err);
}

static kadr_status run_bands(struct run *r, const struct graph *g, const struct segment_plan *sp,
                             int i, const struct op_part *columns, const size_t *offset,
                             void **tensors, kadr_error *err) {
    int64_t height = sp->band[i], all = bands_rows(g, &g->ops[i]);
    struct op_part part = *columns;
    for (part.row = 0; part.row < all; part.row += height) {
        if (cancelled(r)) return err_set(err, KADR_EINTERRUPTED, "interrupted");
        part.rows = all - part.row < height ? all - part.row : height;
        kadr_status st = run_band(r, g, sp, &g->ops[i], &part, height, offset, tensors, err);
        if (st) return st;
    }
    return KADR_OK;
}

static kadr_status run_unit(struct run *r, const struct segment *s, const struct segment_plan *sp,
                            const struct unit *u, kadr_error *err) {
    const struct graph *g = s->graph;
    int lanes = s->lanes > 1 ? s->lanes * r->used / r->all : 1;
    for (int lane = 0; lane < lanes; lane++)
        for (int i = u->first; i <= u->last; i++) {
            if (cancelled(r)) return err_set(err, KADR_EINTERRUPTED, "interrupted");
            const struct op *op = &g->ops[i];
            void **tensors = r->tensors + lane * g->tensor_count;
            if (sp->band[i]) {
                const size_t *offset = sp->tensor + lane * g->tensor_count;
                kadr_status st = run_bands(r, g, sp, i, &u->part, offset, tensors, err);
                if (st) return st;
                continue;
            }
            r->config.backend->run(r->config.state, g, op, &u->part, tensors, r->weights,
                                   r->arena + sp->workspace);
            if (r->watch) r->watch(r->watch_user, g, op, tensors[op->out]);
        }
    return KADR_OK;
}

kadr_status run_segment(struct run *r, int segment, int lane, bool again, kadr_error *err) {
    const struct segment *s = &r->config.program->segments[segment];
    const struct segment_plan *sp = &r->config.plan->segments[segment];
    if (r->bound != segment || r->lane != lane) bind_segment(r, segment, lane);
    stream_begin(r->stream, segment, again);
    for (int i = 0; i < sp->walk.count; i++) {
        char *slot;
        kadr_status st = stream_await(r->stream, &slot, err);
        if (st) return st;
        bind_weights(r, s, sp, &sp->walk.units[i], slot);
        st = run_unit(r, s, sp, &sp->walk.units[i], err);
        if (st) return st;
        stream_done(r->stream);
    }
    return KADR_OK;
}
