/* Plans of random programs under random budgets, each replayed: see replay.h. */
#include "replay.h"

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

/* What the graph before left behind is used by a product of its own. */
static void use_carried(struct graph *g, const char *name, const struct graph *before) {
    const struct tensor *t = NULL;
    char output[32];
    for (int i = 0; i < before->tensor_count; i++)
        if (before->tensors[i].role == TENSOR_OUTPUT) t = &before->tensors[i];
    snprintf(output, sizeof output, "%s.side", name);
    tensor_id x = graph_input(g, t->name, t->dtype, t->rank, t->dim);
    graph_output(g, graph_linear(g, x, "side", 64, false, EPI_NONE), output);
}

/* A net of layers that reach back to any earlier output, with residuals and additions. */
static void random_graph(struct graph *g, const char *name, int rows, const struct graph *before) {
    char input[32], output[32];
    snprintf(input, sizeof input, "%s.in", name);
    snprintf(output, sizeof output, "%s.out", name);
    tensor_id all[LAYERS + 2];
    int count = 0;
    int64_t width = 64 * (1 + (int64_t)next(6));
    all[count++] = graph_input(g, input, DTYPE_F32, 2, (int64_t[]){rows, width});
    all[count++] = graph_linear(g, all[0], "first", width, true, EPI_NONE);
    if (before) use_carried(g, name, before);
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

/* None, some, or more than operations share. */
static size_t some_workspace(void *unused, const struct graph *g, const struct op *op,
                             const struct op_part *part) {
    (void)unused;
    size_t n = (size_t)(op - g->ops);
    return n * 7 % 5 * 3000 + (n % 6 == 4 ? 600000 : 0) / (part ? 2 : 1);
}

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
    s->needs.workspace = some_workspace;
}

static void sample_open(struct sample *s) {
    static const char *const names[] = {"a", "b", "c"};
    kadr_error err;
    s->mem = mem_open(0);
    program_init(&s->program, s->mem);
    s->graphs = 1 + (int)next(3);
    int lanes = 1;
    for (int i = 0; i < s->graphs; i++) {
        graph_init(&s->graph[i], s->mem, names[i], DTYPE_F32);
        random_graph(&s->graph[i], names[i], 1 + (int)next(60),
                     i && next(2) ? &s->graph[i - 1] : NULL);
        if (!i || next(2)) lanes = next(2) ? 1 : 2 + (int)next(4);
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

static void random_programs(void **unused) {
    (void)unused;
    int rounds = getenv("KADR_LONG") ? 1000000 : 800, spilled = 0;
    for (int round = 0; round < rounds; round++) {
        struct sample s;
        struct plan all, some, again;
        kadr_error err;
        sample_open(&s);
        struct plan_options options = {.keep = next(2)};
        assert_int_equal(plan_make(&all, s.mem, &s.program, &options, &err), KADR_OK);
        replay_plan(&s.program, &all);
        assert_true(all.bound <= all.bytes);
        options.budget = all.bytes / 8 + next((uint32_t)all.bytes);
        assert_int_equal(plan_make(&some, s.mem, &s.program, &options, &err), KADR_OK);
        replay_plan(&s.program, &some);
        spilled += some.scratch > 0;
        assert_int_equal(plan_make(&again, s.mem, &s.program, &options, &err), KADR_OK);
        assert_int_equal(some.bytes, again.bytes);
        for (int i = 0; i < s.program.segment_count; i++)
            assert_int_equal(some.segments[i].ring, again.segments[i].ring);
        plan_free(&all);
        plan_free(&some);
        plan_free(&again);
        sample_close(&s);
    }
    print_message("%d programs, %d of them with buffers in the scratch file\n", rounds, spilled);
    assert_true(spilled > 0);
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
