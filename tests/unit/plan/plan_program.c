/* Plans of random programs under random budgets. The checker replays each plan: it walks units,
 * lanes and operations as the executor does and writes into a map of the arena, page by page, who
 * owns it; nobody may find another's mark where his own must still be. It shares nothing with the
 * planner but the walk. */
#include "plan/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint32_t state = 7;
static uint32_t next(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(state >> 4) * below) >> 28);
}

/* ---- Random programs */

#define LAYERS 24

/* A net of layers that reach back to any earlier output, with residuals and additions. */
static void random_graph(struct graph *g, const char *name, int rows) {
    char input[32], output[32];
    snprintf(input, sizeof input, "%s.in", name);
    snprintf(output, sizeof output, "%s.out", name);
    tensor_id all[LAYERS + 2];
    int count = 0;
    int64_t width = 64 * (1 + (int64_t)next(6));
    all[count++] = graph_input(g, input, DTYPE_F32, 2, (int64_t[]){rows, width});
    all[count++] = graph_linear(g, all[0], "first", width, true, EPI_NONE);
    int layers = 2 + (int)next(LAYERS - 3);
    for (int i = 0; i < layers; i++) {
        char label[32];
        snprintf(label, sizeof label, "layer.%d", i);
        tensor_id x = all[1 + next((uint32_t)count - 1)];
        struct epilogue e = EPI_NONE;
        if (next(2)) e.residual = all[1 + next((uint32_t)count - 1)];
        bool linear = next(4);
        tensor_id y = linear ? graph_linear(g, x, label, width, next(2), e)
                             : graph_add(g, x, all[1 + next((uint32_t)count - 1)]);
        all[count++] = y;
    }
    graph_output(g, graph_linear(g, all[count - 1], "last", width, true, EPI_NONE), output);
}

struct sample {
    struct mem *mem;
    struct graph graph[3];
    int graphs;
    struct program program;
};

static void fill_needs(struct segment *s) {
    const struct graph *g = s->graph;
    s->needs.staging = next(20000);
    for (int i = 0; i < g->weight_count; i++) {
        size_t columns = (size_t)g->weights[i].dim[0];
        bool cut = g->weights[i].use == WEIGHT_MATRIX;
        s->needs.part_bytes[i] =
            cut ? PART_COLUMNS * 64 * (1 + (size_t)next(next(2) ? 40 : 400)) : 0;
        s->needs.weight_bytes[i] =
            cut ? s->needs.part_bytes[i] / PART_COLUMNS * columns : columns * 4;
    }
    for (int i = 0; i < g->op_count; i++) s->needs.workspace[i] = next(9000);
}

static void sample_open(struct sample *s) {
    static const char *const names[] = {"a", "b", "c"};
    kadr_error err;
    s->mem = mem_open(0);
    program_init(&s->program, s->mem);
    s->graphs = 1 + (int)next(3);
    for (int i = 0; i < s->graphs; i++) {
        graph_init(&s->graph[i], s->mem, names[i], DTYPE_F32);
        random_graph(&s->graph[i], names[i], 1 + (int)next(60));
        int lanes = next(2) ? 1 : 2 + (int)next(4);
        if (program_add(&s->program, names[i], &s->graph[i], lanes, next(2) ? 20 : 1, &err) < 0)
            fail_msg("%s", err.message);
        fill_needs(&s->program.segments[i]);
    }
}

static void sample_close(struct sample *s) {
    program_free(&s->program);
    for (int i = 0; i < s->graphs; i++) graph_free(&s->graph[i]);
    assert_int_equal(mem_close(s->mem), 0);
}

/* ---- The replay */

struct replay {
    const struct program *program;
    const struct plan *plan;
    int *owner; /* by page of the arena */
    int marks;  /* given out so far */
};

static void mark(struct replay *r, size_t offset, size_t bytes, int who) {
    if (!bytes) return;
    assert_int_equal(offset % PLAN_ALIGN, 0);
    assert_true(offset + bytes <= r->plan->bytes);
    for (size_t p = offset / PLAN_ALIGN; p <= (offset + bytes - 1) / PLAN_ALIGN; p++)
        r->owner[p] = who;
}

static void look(const struct replay *r, size_t offset, size_t bytes, int who, const char *what) {
    if (!bytes) return;
    for (size_t p = offset / PLAN_ALIGN; p <= (offset + bytes - 1) / PLAN_ALIGN; p++)
        if (r->owner[p] != who) fail_msg("%s was overwritten", what);
}

static size_t tensor_at(const struct replay *r, int segment, int lane, tensor_id t) {
    const struct segment *s = &r->program->segments[segment];
    int b = program_bound(r->program, s->graph, t);
    if (b < 0) return r->plan->segments[segment].tensor[lane * s->graph->tensor_count + t];
    return r->plan->buffer[b] +
           (size_t)(lane < r->program->buffers[b].lanes ? lane : 0) * r->plan->buffer_step[b];
}

/* Runs one operation of one lane: its inputs must be whole; then its output is written. */
static void replay_op(struct replay *r, int segment, int lane, const struct op *op, int *mine,
                      bool whole) {
    const struct graph *g = r->program->segments[segment].graph;
    const struct segment_plan *sp = &r->plan->segments[segment];
    int *of_lane = mine + lane * g->tensor_count;
    tensor_id used[OP_TENSORS];
    op_tensors(op, used);
    for (int i = 0; i < OP_TENSORS; i++) {
        tensor_id t = used[i];
        if (t == NO_TENSOR || t == op->out) continue;
        /* Between the parts of a product its own output may lie on its residual. */
        bool under = !whole && t == op->epi.residual && of_lane[op->out] &&
                     tensor_at(r, segment, lane, t) == tensor_at(r, segment, lane, op->out);
        look(r, tensor_at(r, segment, lane, t), tensor_bytes(&g->tensors[t]),
             under ? of_lane[op->out] : of_lane[t], g->tensors[t].name);
    }
    if (!of_lane[op->out]) of_lane[op->out] = ++r->marks;
    mark(r, sp->workspace, sp->workspace_bytes, ++r->marks);
    mark(r, tensor_at(r, segment, lane, op->out), tensor_bytes(&g->tensors[op->out]),
         of_lane[op->out]);
    /* Inputs but the residual may not be under the output. */
    for (int i = 0; i < OP_INPUTS && op->kind != OP_ADD; i++)
        if (op->in[i] != NO_TENSOR && whole)
            look(r, tensor_at(r, segment, lane, op->in[i]), tensor_bytes(&g->tensors[op->in[i]]),
                 of_lane[op->in[i]], "an input");
}

/* Weights of a unit lie apart from each other in its slot. */
static void check_slot(const struct segment *s, const struct segment_plan *sp,
                       const struct unit *u) {
    size_t from[2 * LAYERS * 4], to[2 * LAYERS * 4];
    int n = 0;
    for (int i = u->first; i <= u->last; i++) {
        const weight_id of[2] = {s->graph->ops[i].w, s->graph->ops[i].b};
        for (int j = 0; j < 2; j++) {
            if (of[j] == NO_WEIGHT || !walk_streams(s, sp->stays, of[j])) continue;
            from[n] = sp->walk.at[of[j]];
            to[n] = from[n] + walk_part_bytes(s, of[j], &u->part);
            assert_true(to[n] <= u->bytes);
            for (int k = 0; k < n; k++)
                if (from[n] < to[k] && from[k] < to[n]) fail_msg("two weights overlap in a slot");
            n++;
        }
    }
}

static void replay_segment(struct replay *r, int segment, int *stay) {
    const struct segment *s = &r->program->segments[segment];
    const struct segment_plan *sp = &r->plan->segments[segment];
    const struct graph *g = s->graph;
    int *mine = calloc((size_t)(g->tensor_count * s->lanes), sizeof *mine);
    for (int lane = 0; lane < s->lanes; lane++)
        for (tensor_id t = 0; t < g->tensor_count; t++)
            if (g->tensors[t].role == TENSOR_INPUT) {
                mine[lane * g->tensor_count + t] = ++r->marks;
                mark(r, tensor_at(r, segment, lane, t), tensor_bytes(&g->tensors[t]), r->marks);
            }
    for (weight_id w = 0; w < g->weight_count; w++)
        if (sp->stays[w] && !stay[w]) {
            stay[w] = ++r->marks;
            mark(r, sp->weight[w], s->needs.weight_bytes[w], stay[w]);
        }
    for (int u = 0; u < sp->walk.count; u++) {
        const struct unit *unit = &sp->walk.units[u];
        assert_true(unit->bytes <= sp->ring_bytes);
        check_slot(s, sp, unit);
        mark(r, sp->staging, s->needs.staging, ++r->marks);
        mark(r, sp->ring, sp->ring_bytes, ++r->marks);
        int ring = r->marks;
        for (int lane = 0; lane < s->lanes; lane++)
            for (int i = unit->first; i <= unit->last; i++)
                replay_op(r, segment, lane, &g->ops[i], mine, !unit->part.count);
        look(r, sp->ring, sp->ring_bytes, ring, "the ring");
    }
    for (weight_id w = 0; w < g->weight_count; w++)
        if (sp->stays[w])
            look(r, sp->weight[w], s->needs.weight_bytes[w], stay[w], "a weight that stays");
    for (int lane = 0; lane < s->lanes; lane++)
        for (tensor_id t = 0; t < g->tensor_count; t++)
            if (g->tensors[t].role == TENSOR_OUTPUT)
                look(r, tensor_at(r, segment, lane, t), tensor_bytes(&g->tensors[t]),
                     mine[lane * g->tensor_count + t], "an output");
    free(mine);
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

static void check_plan(const struct program *p, const struct plan *plan) {
    struct replay r = {p, plan, calloc(plan->bytes / PLAN_ALIGN + 1, sizeof(int)), 0};
    int *stay[3] = {0};
    for (int i = 0; i < p->segment_count; i++)
        stay[i] = calloc((size_t)p->segments[i].graph->weight_count + 1, sizeof(int));
    /* Twice: what is kept for the next picture must be there then. */
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < p->segment_count; i++) {
            check_walk(&p->segments[i], &plan->segments[i].walk);
            size_t n = (size_t)p->segments[i].graph->weight_count + 1;
            if (!plan->keep) memset(stay[i], 0, n * sizeof(int));
            replay_segment(&r, i, stay[i]);
            if (p->segments[i].repeats > 1) replay_segment(&r, i, stay[i]);
        }
    for (int i = 0; i < p->segment_count; i++) free(stay[i]);
    free(r.owner);
}

static void random_programs(void **unused) {
    (void)unused;
    int rounds = getenv("KADR_LONG") ? 1000000 : 800;
    for (int round = 0; round < rounds; round++) {
        struct sample s;
        struct plan all, some, again;
        kadr_error err;
        sample_open(&s);
        struct plan_options options = {.keep = next(2)};
        assert_int_equal(plan_make(&all, s.mem, &s.program, &options, &err), KADR_OK);
        check_plan(&s.program, &all);
        assert_true(all.bound <= all.bytes);
        options.budget = all.bytes / 8 + next((uint32_t)all.bytes);
        assert_int_equal(plan_make(&some, s.mem, &s.program, &options, &err), KADR_OK);
        check_plan(&s.program, &some);
        assert_int_equal(plan_make(&again, s.mem, &s.program, &options, &err), KADR_OK);
        assert_int_equal(some.bytes, again.bytes);
        for (int i = 0; i < s.program.segment_count; i++)
            assert_int_equal(some.segments[i].ring, again.segments[i].ring);
        plan_free(&all);
        plan_free(&some);
        plan_free(&again);
        sample_close(&s);
    }
}

/* Whatever is refused, it is an error and nothing is lost. */
static void no_memory(void **unused) {
    (void)unused;
    struct sample s;
    sample_open(&s);
    struct plan_options options = {.budget = 100000, .keep = true};
    for (uint64_t n = 1;; n++) {
        struct plan plan;
        kadr_error err;
        mem_fail_at(s.mem, n);
        kadr_status st = plan_make(&plan, s.mem, &s.program, &options, &err);
        mem_fail_at(s.mem, 0);
        if (!st) plan_free(&plan);
        if (!st) break;
        assert_int_equal(st, KADR_EMEMORY);
    }
    sample_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_programs),
                                       cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
