/* replay.c: see replay.h. */
#include "replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct replay {
    const struct program *program;
    const struct plan *plan;
    int *arena, *scratch;         /* owners, by page */
    int marks;                    /* given out so far */
    int *made[PROGRAM_SEGMENTS];  /* by segment, lane and tensor: what it wrote last */
    int *stays[PROGRAM_SEGMENTS]; /* by segment and weight */
};

/* Where something lies. */
struct place {
    bool spilled;
    size_t offset, bytes;
};

static void mark(struct replay *r, struct place at, int who) {
    int *owner = at.spilled ? r->scratch : r->arena;
    if (!at.bytes) return;
    assert_int_equal(at.offset % PLAN_ALIGN, 0);
    assert_true(at.offset + at.bytes <= (at.spilled ? r->plan->scratch : r->plan->bytes));
    for (size_t p = at.offset / PLAN_ALIGN; p <= (at.offset + at.bytes - 1) / PLAN_ALIGN; p++)
        owner[p] = who;
}

static void look(const struct replay *r, struct place at, int who, const char *what) {
    const int *owner = at.spilled ? r->scratch : r->arena;
    if (!at.bytes) return;
    for (size_t p = at.offset / PLAN_ALIGN; p <= (at.offset + at.bytes - 1) / PLAN_ALIGN; p++)
        if (owner[p] != who) fail_msg("%s was overwritten", what);
}

static struct place at_arena(size_t offset, size_t bytes) {
    return (struct place){false, offset, bytes};
}

static struct place tensor_at(const struct replay *r, int segment, int lane, tensor_id t) {
    const struct graph *g = r->program->segments[segment].graph;
    const struct segment_plan *sp = &r->plan->segments[segment];
    struct place at = {sp->spilled[t], sp->tensor[lane * g->tensor_count + t],
                       tensor_bytes(&g->tensors[t])};
    int b = r->program->segments[segment].buffer[t];
    if (b < 0) return at;
    int copy = lane < r->program->buffers[b].lanes ? lane : 0;
    at.spilled = r->plan->buffer_spilled[b];
    at.offset = r->plan->buffer[b] + (size_t)copy * r->plan->buffer_step[b];
    return at;
}

/* Runs one operation of one lane: its inputs must be whole; then its output is written. */
static void replay_op(struct replay *r, int segment, int lane, const struct op *op, bool whole) {
    const struct segment *s = &r->program->segments[segment];
    const struct graph *g = s->graph;
    const struct segment_plan *sp = &r->plan->segments[segment];
    const int64_t rows = sp->band[op - g->ops];
    int *mine = r->made[segment] + lane * g->tensor_count;
    const struct place out = tensor_at(r, segment, lane, op->out);
    tensor_id used[OP_TENSORS];
    op_tensors(op, used);
    bool windows = false;
    for (int i = 0; i < OP_TENSORS; i++) {
        tensor_id t = used[i];
        if (t == NO_TENSOR) continue;
        const struct place at = tensor_at(r, segment, lane, t);
        windows = windows || at.spilled;
        if (t == op->out) continue;
        /* Between the parts of a product its own output may lie on its residual. */
        bool under = !whole && t == op->epi.residual && mine[op->out] &&
                     at.spilled == out.spilled && at.offset == out.offset;
        look(r, at, under ? mine[op->out] : mine[t], g->tensors[t].name);
    }
    assert_true(windows == (rows > 0));
    if (!mine[op->out]) mine[op->out] = ++r->marks;
    const size_t work =
        s->needs.workspace(s->needs.backend, g, op,
                           rows > 0 && bands_can(op) ? &(struct op_part){.rows = rows} : NULL);
    mark(r, at_arena(sp->workspace[op - g->ops], work), ++r->marks);
    if (windows) mark(r, at_arena(sp->windows, sp->window_bytes), ++r->marks);
    mark(r, out, mine[op->out]);
    /* Inputs that nothing is added to may not be under the output. */
    for (int i = 0; i < OP_INPUTS && op->kind != OP_ADD && whole; i++)
        if (op->in[i] != NO_TENSOR && !(op->kind == OP_ATTENTION && i == 4))
            look(r, tensor_at(r, segment, lane, op->in[i]), mine[op->in[i]], "an input");
}

static int by_offset(const void *a, const void *b) {
    const size_t *x = a, *y = b;
    return x[0] < y[0] ? -1 : x[0] > y[0];
}

/* Weights of a unit lie apart from each other in its slot. */
static void check_slot(const struct segment *s, const struct segment_plan *sp,
                       const struct unit *u) {
    size_t(*span)[2] = calloc((size_t)(u->last - u->first + 1) * 2, sizeof *span), n = 0;
    for (int i = u->first; i <= u->last; i++) {
        const weight_id of[2] = {s->graph->ops[i].w, s->graph->ops[i].b};
        for (int j = 0; j < 2; j++) {
            if (of[j] == NO_WEIGHT || !walk_streams(s, sp->stays, of[j])) continue;
            span[n][0] = sp->walk.at[of[j]];
            span[n][1] = span[n][0] + walk_part_bytes(s, of[j], &u->part);
            assert_true(span[n][1] <= u->bytes);
            n++;
        }
    }
    qsort(span, n, sizeof *span, by_offset);
    for (size_t i = 1; i < n; i++)
        if (span[i][0] < span[i - 1][1]) fail_msg("two weights overlap in a slot");
    free(span);
}

/* What the host puts into buffers, and what earlier segments left there. */
static void take_inputs(struct replay *r, int segment) {
    const struct segment *s = &r->program->segments[segment];
    const struct graph *g = s->graph;
    for (int lane = 0; lane < s->lanes; lane++)
        for (tensor_id t = 0; t < g->tensor_count; t++) {
            if (g->tensors[t].role != TENSOR_INPUT) continue;
            int *mine = &r->made[segment][lane * g->tensor_count + t];
            int b = s->buffer[t];
            const struct program_buffer *buffer = &r->program->buffers[b];
            if (buffer->carried) {
                const struct graph *maker = r->program->segments[buffer->first].graph;
                for (tensor_id o = 0; o < maker->tensor_count; o++)
                    if (maker->tensors[o].role == TENSOR_OUTPUT &&
                        strcmp(maker->tensors[o].name, buffer->name) == 0)
                        *mine = r->made[buffer->first][lane * maker->tensor_count + o];
                look(r, tensor_at(r, segment, lane, t), *mine, buffer->name);
            } else {
                *mine = ++r->marks;
                mark(r, tensor_at(r, segment, lane, t), *mine);
            }
        }
}

static void replay_segment(struct replay *r, int segment) {
    const struct segment *s = &r->program->segments[segment];
    const struct segment_plan *sp = &r->plan->segments[segment];
    const struct graph *g = s->graph;
    int *stay = r->stays[segment];
    memset(r->made[segment], 0, (size_t)(g->tensor_count * s->lanes) * sizeof(int));
    take_inputs(r, segment);
    for (weight_id w = 0; w < g->weight_count; w++)
        if (sp->stays[w] && !stay[w]) {
            stay[w] = ++r->marks;
            mark(r, at_arena(sp->weight[w], s->needs.weight_bytes[w]), stay[w]);
        }
    for (int u = 0; u < sp->walk.count; u++) {
        const struct unit *unit = &sp->walk.units[u];
        assert_true(unit->bytes <= sp->ring_bytes);
        check_slot(s, sp, unit);
        mark(r, at_arena(sp->staging, s->needs.staging), ++r->marks);
        mark(r, at_arena(sp->ring, sp->ring_bytes), ++r->marks);
        int ring = r->marks;
        for (int lane = 0; lane < s->lanes; lane++)
            for (int i = unit->first; i <= unit->last; i++)
                replay_op(r, segment, lane, &g->ops[i], !unit->part.count);
        look(r, at_arena(sp->ring, sp->ring_bytes), ring, "the ring");
    }
    for (weight_id w = 0; w < g->weight_count; w++)
        if (sp->stays[w])
            look(r, at_arena(sp->weight[w], s->needs.weight_bytes[w]), stay[w],
                 "a weight that stays");
    for (int lane = 0; lane < s->lanes; lane++)
        for (tensor_id t = 0; t < g->tensor_count; t++)
            if (g->tensors[t].role == TENSOR_OUTPUT)
                look(r, tensor_at(r, segment, lane, t),
                     r->made[segment][lane * g->tensor_count + t], "an output");
}

/* Every operation runs once in each lane, every column of a cut product exactly once. */
static void check_walk(const struct segment *s, const struct walk *w) {
    int op = 0;
    int64_t column = 0;
    for (int u = 0; u < w->count; u++) {
        const struct unit *unit = &w->units[u];
        assert_int_equal(unit->first, op);
        if (!unit->part.count) {
            op = unit->last + 1;
            continue;
        }
        int64_t all = walk_columns(&s->graph->weights[s->graph->ops[op].w]);
        assert_int_equal(unit->part.first, column);
        column += unit->part.count;
        if (column == all) op++, column = 0;
    }
    assert_int_equal(op, s->graph->op_count);
    assert_int_equal(column, 0);
}

/* Windows of all bands of an operation: every row of the output once, in order, none outside. */
static void check_bands(const struct segment *s, const struct segment_plan *sp, int i) {
    const struct graph *g = s->graph;
    const struct op *op = &g->ops[i];
    int64_t height = sp->band[i], all = bands_rows(g, op), next = 0;
    if (!height) return;
    bool several = height < all;
    for (int64_t row = 0; row < all; row += height) {
        struct window w[WINDOWS];
        int64_t rows = all - row < height ? all - row : height;
        int n = bands_windows(g, op, sp->spilled, height, row, rows, w);
        assert_true(n > 0);
        for (int k = 0; k < n; k++) {
            const struct tensor *t = &g->tensors[w[k].tensor];
            size_t end = w[k].at + (size_t)w[k].rows * w[k].row;
            assert_true((size_t)(w[k].first + w[k].rows) * w[k].row <= tensor_bytes(t));
            assert_true(w[k].first >= 0 && w[k].rows > 0);
            if (w[k].row % PLAN_ALIGN) end += PLAN_ALIGN - 1; /* the rest that the place leaves */
            assert_true(end <= (several ? sp->window_set : sp->window_bytes));
            if (k + 1 < n) assert_true(end <= w[k + 1].at);
            if (w[k].tensor != op->out || !bands_can(op)) continue;
            assert_int_equal(w[k].first, next);
            next += w[k].rows;
        }
    }
    if (sp->spilled[op->out] && bands_can(op)) assert_int_equal(next, all);
}

void replay_plan(const struct program *p, const struct plan *plan) {
    struct replay r = {.program = p, .plan = plan};
    r.arena = calloc(plan->bytes / PLAN_ALIGN + 1, sizeof(int));
    r.scratch = calloc(plan->scratch / PLAN_ALIGN + 1, sizeof(int));
    for (int i = 0; i < p->segment_count; i++) {
        const struct segment *s = &p->segments[i];
        r.stays[i] = calloc((size_t)s->graph->weight_count + 1, sizeof(int));
        r.made[i] = calloc((size_t)(s->graph->tensor_count * s->lanes) + 1, sizeof(int));
        check_walk(s, &plan->segments[i].walk);
        for (int o = 0; o < s->graph->op_count; o++) check_bands(s, &plan->segments[i], o);
    }
    /* Twice: what is kept for the next picture must be there then. */
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < p->segment_count; i++) {
            size_t n = (size_t)p->segments[i].graph->weight_count + 1;
            if (!plan->keep) memset(r.stays[i], 0, n * sizeof(int));
            replay_segment(&r, i);
            if (p->segments[i].repeats > 1) replay_segment(&r, i);
        }
    for (int i = 0; i < p->segment_count; i++) {
        free(r.stays[i]);
        free(r.made[i]);
    }
    free(r.arena);
    free(r.scratch);
}
