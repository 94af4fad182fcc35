/* run_time.c: what plan_cost predicts beside what a run takes. The backend and the source of the
 * weights only sleep, so that both are as quick as the rates say: the reader, the executor and the
 * ring are the real ones. Half of the network waits for the disk and half for the processor, where
 * neither the longer of both nor their sum is right. No run may be quicker than predicted; that
 * none takes longer holds on a machine that has nothing else to do alone: with KADR_LONG=1.
 */
#include "plan/cost.h"
#include "run/run.h"

#include "base/sys.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define LAYERS 12
#define ROWS 64
#define WIDTH 512
#define STEPS 3
#define TRIES 5
#define TOLERANCE 0.1 /* of the time */

#define LATE 4e-3 /* seconds: waking that much too late is made up for */

/* A layer is read in 15 ms and computed in 6; attention takes 12. */
static const struct plan_rates rates = {.product = 2.0 * ROWS * WIDTH * WIDTH / 6e-3,
                                        .conv = 1,
                                        .product_i8 = 1,
                                        .attention = 4.0 * ROWS * ROWS * WIDTH / 12e-3,
                                        .bytes = 1e18,
                                        .disk = 4.0 * WIDTH * WIDTH / 15e-3};

/* When the reader, and the executor, last were done. */
static double reader_done, executor_done;

static void rest(double *done, double seconds) {
    const double now = sys_seconds(), end = (now - *done < LATE ? *done : now) + seconds;
    if (end > now) nanosleep(&(struct timespec){.tv_nsec = (long)((end - now) * 1e9)}, NULL);
    *done = end;
}

/* ---- What sleeps */

static kadr_status find(void *user, const struct weight *w, enum dtype *dtype, kadr_error *err) {
    (void)user, (void)w, (void)err;
    *dtype = DTYPE_F32;
    return KADR_OK;
}

static kadr_status read_rows(void *user, const struct weight *w, int64_t row, int64_t rows,
                             void *to, kadr_error *err) {
    (void)user, (void)row, (void)to, (void)err;
    rest(&reader_done, (double)(rows * w->dim[1] * 4) / rates.disk);
    return KADR_OK;
}

static size_t workspace(void *state, const struct graph *g, const struct op *op,
                        const struct op_part *part) {
    (void)state, (void)g, (void)op, (void)part;
    return 0;
}

static size_t weight_size(void *state, const struct graph *g, weight_id w) {
    (void)state;
    return (size_t)(g->weights[w].dim[0] * g->weights[w].dim[1]) * 4;
}

static size_t part_size(void *state, const struct graph *g, weight_id w) {
    return weight_size(state, g, w) / (size_t)g->weights[w].dim[0] * PART_COLUMNS;
}

static void pack(void *state, const struct graph *g, weight_id w, int64_t column, int64_t row,
                 int64_t rows, const void *stored, enum dtype from, void *packed) {
    (void)state, (void)g, (void)w, (void)column, (void)row, (void)rows;
    (void)stored, (void)from, (void)packed;
}

static void compute(void *state, const struct graph *g, const struct op *op,
                    const struct op_part *part, void *const *tensors, const void *const *weights,
                    void *scratch) {
    (void)state, (void)tensors, (void)weights, (void)scratch;
    const double rate = op->kind == OP_ATTENTION ? rates.attention : rates.product;
    double share = part && part->count ? (double)part->count / WIDTH : 1;
    rest(&executor_done, op_flops(g, op) * share / rate);
}

static const struct backend sleeper = {.workspace = workspace,
                                       .weight_size = weight_size,
                                       .part_size = part_size,
                                       .pack = pack,
                                       .run = compute};

/* ---- */

static void describe(struct graph *g) {
    const int64_t shape[3] = {1, ROWS, WIDTH};
    tensor_id x = graph_input(g, "x", DTYPE_F32, 3, shape);
    for (int i = 0; i < LAYERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "layer%d", i);
        x = graph_linear(g, x, name, WIDTH, false, EPI_NONE);
    }
    for (int i = 0; i < LAYERS; i++) {
        const struct attention_inputs in = {x, x, x, NO_TENSOR, NO_TENSOR, NO_TENSOR, NO_TENSOR};
        x = graph_attention(g, "attention", in, 8, 0.125f, false);
    }
    graph_output(g, x, "y");
}

struct taken {
    double first, later; /* seconds of the first run, and of one of the others */
};

static struct taken run_it(struct mem *m, const struct program *program, const struct plan *plan) {
    const struct run_source source = {.find = find, .read = read_rows};
    const struct run_config config = {
        .backend = &sleeper, .source = &source, .program = program, .plan = plan};
    struct run *run;
    struct taken t;
    kadr_error err;
    assert_int_equal(run_open(&run, m, &config, &err), KADR_OK);
    double from = sys_seconds();
    assert_int_equal(run_segment(run, 0, 0, true, &err), KADR_OK);
    t.first = sys_seconds() - from;
    for (int i = 1; i < STEPS; i++)
        assert_int_equal(run_segment(run, 0, 0, i + 1 < STEPS, &err), KADR_OK);
    t.later = (sys_seconds() - from - t.first) / (STEPS - 1);
    run_close(run);
    return t;
}

/* With so many of the weights' bytes allowed beside the rest; the cost that was predicted. */
static struct plan_cost check_budget(double share) {
    struct mem *m = mem_open(0);
    struct graph g;
    struct program program;
    struct plan plan;
    struct plan_cost cost;
    kadr_error err;
    const struct run_source source = {.find = find, .read = read_rows};
    program_init(&program, m);
    graph_init(&g, m, "net", DTYPE_F32);
    describe(&g);
    assert_int_equal(program_add(&program, "denoise", &g, 1, STEPS, &err), 0);
    assert_int_equal(run_prepare(&sleeper, NULL, &source, &program, &err), KADR_OK);
    assert_int_equal(plan_make(&plan, m, &program, &(struct plan_options){0}, &err), KADR_OK);
    const double weights = (double)LAYERS * WIDTH * WIDTH * 4;
    const struct plan_options options = {.budget = plan.bytes - (size_t)(weights * (1 - share))};
    plan_free(&plan);
    assert_int_equal(plan_make(&plan, m, &program, &options, &err), KADR_OK);
    assert_true(plan.bytes <= options.budget);
    cost = plan_cost(&plan, &program, 0, (struct segment_part){0}, &rates);
    for (int try = 0;; try++) {
        const struct taken t = run_it(m, &program, &plan);
        print_message("%3.0f %% of the weights stay: %.3f s first, %.3f s a step; predicted %.3f, "
                      "%.3f (%.3f of computing, %.3f of reading)\n",
                      (double)plan.segments[0].resident_bytes / weights * 100, t.first, t.later,
                      cost.first, cost.seconds, cost.compute, cost.read);
        assert_true(t.first > (1 - TOLERANCE) * cost.first);
        assert_true(t.later > (1 - TOLERANCE) * cost.seconds);
        bool soon =
            t.first < (1 + TOLERANCE) * cost.first && t.later < (1 + TOLERANCE) * cost.seconds;
        if (soon || !getenv("KADR_LONG")) break;
        assert_true(try + 1 < TRIES);
    }
    plan_free(&plan);
    program_free(&program);
    graph_free(&g);
    assert_int_equal(mem_close(m), 0);
    return cost;
}

static void as_predicted(void **unused) {
    (void)unused;
    struct plan_cost all = check_budget(1), some = check_budget(0.7), few = check_budget(0.4);
    assert_true(all.read == 0 && all.first > 1.2 * all.seconds);
    assert_true(some.read < few.read && some.seconds < few.seconds);
    /* Neither would do. */
    assert_true(few.seconds > 1.15 * fmax(few.compute, few.read));
    assert_true(few.seconds < 0.85 * (few.compute + few.read));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_predicted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
