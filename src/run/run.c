/* run.c: see run.h.
 *
 * Invariants: `bound` and `lane` say where tensors and weights point into, -1: nowhere. Nothing is
 * allocated while a segment runs.
 */
#include "run/run.h"
#include "base/chk.h"
#include "base/sys.h"
#include "run/scratch.h"
#include "run/stream.h"

#include <string.h>

struct run {
    struct mem *mem;
    struct run_config config;
    char *arena;
    size_t arena_bytes;
    struct stream *stream;
    struct scratch *scratch; /* NULL: nothing is spilled */
    int bound, lane;
    int used, all; /* share of the lanes that run */
    struct segment_part part;
    struct run_kind kinds[OP_KINDS];
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
        seg->needs.workspace = backend->workspace;
        seg->needs.backend = state;
        for (weight_id i = 0; i < g->weight_count; i++) {
            enum dtype stored;
            size_t staging;
            kadr_status st = source->find(source->user, &g->weights[i], &stored, err);
            if (!st) st = load_staging(backend, state, source, g, i, &staging, err);
            if (st) return st;
            if (staging > seg->needs.staging) seg->needs.staging = staging;
            seg->needs.weight_bytes[i] = backend->weight_size(state, g, i);
            if (g->weights[i].picked) /* other ids in each lane, other rows */
                seg->needs.weight_bytes[i] =
                    chk_align(seg->needs.weight_bytes[i], PLAN_ALIGN) * (size_t)seg->lanes;
            seg->needs.part_bytes[i] = backend->part_size(state, g, i);
        }
    }
    return KADR_OK;
}

/* Lanes of a segment that run. */
static int lanes_used(const struct run *r, const struct segment *s) {
    return s->lanes > 1 ? s->lanes * r->used / r->all : 1;
}

/* Ids that pick rows of a table are inputs: they lie in a buffer before the segment runs. */
static const int32_t *ids_of(void *user, int segment, const struct op *op, int lane) {
    struct run *r = user;
    const struct segment *s = &r->config.program->segments[segment];
    if (lane >= lanes_used(r, s)) return NULL;
    return run_buffer(r, s->graph->tensors[op->in[0]].name, lane);
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
    r->used = r->all = 1;
    r->tensors = mem_array(m, tensors, sizeof *r->tensors);
    r->weights = mem_array(m, weights, sizeof *r->weights);
    r->arena_bytes = config->plan->bytes ? config->plan->bytes : 1;
    r->arena = mem_map(m, r->arena_bytes);
    for (int i = 0; r->arena && i < config->program->segment_count; i++) {
        const struct segment_plan *sp = &config->plan->segments[i];
        if (sp->ring_bytes) sys_large_pages(r->arena + sp->ring, sp->ring_bytes);
    }
    kadr_status st = KADR_OK;
    if (!r->tensors || !r->weights || !r->arena)
        st = err_nomem(err, "buffers and weights of this run", r->arena_bytes);
    if (!st && config->plan->scratch) st = scratch_open(&r->scratch, m, config->plan->scratch, err);
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
    scratch_close(r->scratch);
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
    return i < 0 || r->config.plan->buffer_spilled[i] ? NULL : copy_at(r, i, lane);
}

void run_get_stats(struct run *r, struct run_stats *stats) {
    struct scratch_stats scratch = {0};
    stream_get_stats(r->stream, stats);
    if (r->scratch) scratch_get_stats(r->scratch, &scratch);
    stats->seconds_waited += scratch.waited;
    stats->scratch_bytes = scratch.bytes;
    memcpy(stats->kinds, r->kinds, sizeof stats->kinds);
}

void run_set_watch(struct run *r, run_watch *watch, void *user) {
    r->watch = watch;
    r->watch_user = user;
}

void run_use_lanes(struct run *r, int used, int all) {
    r->used = used;
    r->all = all;
}

void run_use_part(struct run *r, struct segment_part part) {
    r->part = part;
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
            int b = s->buffer[i];
            r->tensors[l * tensors + i] = b >= 0 ? copy_at(r, b, s->lanes > 1 ? l : lane)
                                                 : r->arena + sp->tensor[l * tensors + i];
        }
    r->bound = segment;
    r->lane = lane;
}

/* Points the weights of a unit at its slot or at where they stay; rows that were picked at the
 * lane's. */
static void bind_weights(struct run *r, const struct segment *s, const struct segment_plan *sp,
                         const struct unit *u, char *slot, int lane) {
    for (int i = u->first; i <= u->last; i++) {
        const weight_id of[2] = {s->graph->ops[i].w, s->graph->ops[i].b};
        for (int j = 0; j < 2; j++) {
            weight_id w = of[j];
            if (w == NO_WEIGHT) continue;
            r->weights[w] =
                walk_streams(s, sp->stays, w) ? slot + sp->walk.at[w] : r->arena + sp->weight[w];
            if (s->graph->weights[w].picked)
                r->weights[w] = slot + sp->walk.at[w] + load_picked_at(s, w, lane);
        }
    }
}

/* The share of a whole operation that a part is. */
static double share_of(const struct graph *g, const struct op *op, const struct op_part *part) {
    int64_t width = tensor_width(&g->tensors[op->out]), left = width - part->first;
    double share = 1;
    if (part->count) share = (double)(part->count < left ? part->count : left) / (double)width;
    if (part->rows) share *= (double)part->rows / (double)bands_rows(g, op);
    return share;
}

static void compute(struct run *r, const struct graph *g, const struct op *op,
                    const struct op_part *part, void **tensors, char *workspace) {
    struct run_kind *kind = &r->kinds[op->kind];
    double from = sys_seconds();
    r->config.backend->run(r->config.state, g, op, part, tensors, r->weights, workspace);
    kind->seconds += sys_seconds() - from;
    kind->flops += op_flops(g, op) * share_of(g, op, part);
    kind->count++;
}

/* ---- Operations on what lies in the scratch file */

/* An operation of one lane. */
struct banded {
    struct run *run;
    const struct graph *g;
    const struct segment_plan *sp;
    const struct op *op;
    const size_t *offset; /* by tensor: in the scratch file */
    void **tensors;
};

/* A band, the set of windows that it has, and the number of the last request before it can run. */
struct band {
    struct op_part part;
    struct window w[WINDOWS];
    int windows;
    char *set;
    uint64_t ready;
};

static uint64_t place_of(const struct banded *b, const struct window *w) {
    return b->offset[w->tensor] + (uint64_t)w->first * w->row;
}

/* The window leaves the same rest as its place in the file: see scratch.h. */
static char *memory_of(const struct banded *b, const struct band *band, const struct window *w) {
    return band->set + w->at + place_of(b, w) % PLAN_ALIGN;
}

/* Asks for what the band reads. A part of the columns leaves the others in their rows as they are.
 */
static void fetch_band(const struct banded *b, struct band *band) {
    const struct op_part *part = &band->part;
    band->windows = bands_windows(b->g, b->op, b->sp->spilled, b->sp->band[b->op - b->g->ops],
                                  part->row, part->rows, band->w);
    for (int i = 0; i < band->windows; i++) {
        const struct window *w = &band->w[i];
        if (w->tensor == b->op->out && !part->count) continue;
        scratch_read(b->run->scratch, place_of(b, w), memory_of(b, band, w),
                     (size_t)w->rows * w->row);
    }
    band->ready = scratch_last(b->run->scratch);
}

static kadr_status compute_band(const struct banded *b, const struct band *band, kadr_error *err) {
    struct run *r = b->run;
    kadr_status st = scratch_wait(r->scratch, band->ready, err);
    if (st) return st;
    struct op_part part = band->part;
    if (!bands_can(b->op)) part.row = part.rows = 0;
    /* As if the whole picture lay around each window; only rows of the window are touched. */
    for (int i = 0; i < band->windows; i++)
        b->tensors[band->w[i].tensor] = (void *)((uintptr_t)memory_of(b, band, &band->w[i]) -
                                                 (uintptr_t)band->w[i].first * band->w[i].row);
    compute(r, b->g, b->op, &part, b->tensors, r->arena + b->sp->workspace[b->op - b->g->ops]);
    for (int i = 0; i < band->windows; i++) {
        const struct window *w = &band->w[i];
        if (w->tensor == b->op->out)
            scratch_write(r->scratch, place_of(b, w), memory_of(b, band, w),
                          (size_t)w->rows * w->row);
    }
    return KADR_OK;
}

/* While one band is computed, the next one's rows come and the last one's go. */
static kadr_status run_bands(const struct banded *b, const struct op_part *columns,
                             kadr_error *err) {
    int64_t height = b->sp->band[b->op - b->g->ops], all = bands_rows(b->g, b->op);
    struct band bands[2];
    for (int64_t row = 0, n = 0; row < all; row += height, n++) {
        for (int64_t k = n ? n + 1 : 0; k <= n + 1 && k * height < all; k++) {
            struct band *next = &bands[k % 2];
            next->part = *columns;
            next->part.row = k * height;
            next->part.rows = all - next->part.row < height ? all - next->part.row : height;
            next->set = b->run->arena + b->sp->windows + (size_t)(k % 2) * b->sp->window_set;
            fetch_band(b, next);
        }
        if (cancelled(b->run)) return err_set(err, KADR_EINTERRUPTED, "interrupted");
        kadr_status st = compute_band(b, &bands[n % 2], err);
        if (st) return st;
    }
    return KADR_OK;
}

/* ---- Segments */

static kadr_status run_unit(struct run *r, const struct segment *s, const struct segment_plan *sp,
                            const struct unit *u, char *slot, kadr_error *err) {
    const struct graph *g = s->graph;
    int lanes = lanes_used(r, s);
    int first = s->lanes > 1 ? r->part.first : 0, every = r->part.every ? r->part.every : 1;
    for (int lane = first; lane < lanes; lane += every) {
        bind_weights(r, s, sp, u, slot, lane);
        for (int i = u->first; i <= u->last; i++) {
            if (cancelled(r)) return err_set(err, KADR_EINTERRUPTED, "interrupted");
            const struct op *op = &g->ops[i];
            void **tensors = r->tensors + lane * g->tensor_count;
            if (sp->band[i]) {
                const struct banded banded = {
                    r, g, sp, op, sp->tensor + lane * g->tensor_count, tensors};
                kadr_status st = run_bands(&banded, &u->part, err);
                if (st) return st;
                continue;
            }
            compute(r, g, op, &u->part, tensors, r->arena + sp->workspace[i]);
            if (r->watch) r->watch(r->watch_user, g, op, tensors[op->out]);
        }
    }
    return KADR_OK;
}

static kadr_status run_units(struct run *r, int segment, kadr_error *err) {
    const struct segment *s = &r->config.program->segments[segment];
    const struct segment_plan *sp = &r->config.plan->segments[segment];
    for (int i = 0; i < sp->walk.count; i++) {
        char *slot;
        kadr_status st = stream_await(r->stream, &slot, err);
        if (st) return st;
        const struct unit *u = &sp->walk.units[i];
        if (!walk_leaves_out(s->graph, u, r->part.reuse)) st = run_unit(r, s, sp, u, slot, err);
        if (st) return st;
        stream_done(r->stream);
    }
    return KADR_OK;
}

kadr_status run_segment(struct run *r, int segment, int lane, bool again, kadr_error *err) {
    if (r->bound != segment || r->lane != lane) bind_segment(r, segment, lane);
    stream_begin(r->stream, segment, again, r->part.reuse);
    kadr_status st = run_units(r, segment, err);
    /* The windows are memory of others from here on. */
    if (r->scratch) {
        kadr_status last = scratch_wait(r->scratch, scratch_last(r->scratch), st ? NULL : err);
        if (!st) st = last;
    }
    return st;
}
