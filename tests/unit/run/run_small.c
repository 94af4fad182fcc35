/* run_small.c: the executor with a small network in two segments, against the same in plain C:
 * whole, streamed in every budget, with any number of threads; failing sources and cancelling. Uses
 * no test library: tools/check-macos links it for a system that has none of ours.
 */
#include "plan/cost.h"
#include "run/run.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 2
#define IN 1024
#define DEEP 4    /* layers */
#define DEEP_I8 9 /* so that the weights do not fit beside the smallest ring */
#define OUT 9
#define LANES 2
#define STEPS 3

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                             \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* ---- Weights: numbers that depend on name and place ---- */

static float number(const char *name, int64_t i) {
    uint32_t h = 2166136261u;
    while (*name) h = (h ^ (unsigned char)*name++) * 16777619u;
    h = (h ^ (uint32_t)i) * 2654435761u;
    h = (h ^ h >> 15) * 2246822519u;
    return (float)(int32_t)(h ^ h >> 13) * 0x1p-33f;
}

struct source {
    const char *missing, *broken; /* names of weights; NULL: none */
    int reads;                    /* the reader's; looked at between runs */
};

static kadr_status find(void *user, const struct weight *w, enum dtype *dtype, kadr_error *err) {
    const struct source *s = user;
    if (s->missing && strcmp(w->name, s->missing) == 0)
        return err_set(err, KADR_EMODEL, "model: no tensor %s", w->name);
    *dtype = DTYPE_F32;
    return KADR_OK;
}

static kadr_status read_rows(void *user, const struct weight *w, int64_t row, int64_t rows,
                             void *to, kadr_error *err) {
    struct source *s = user;
    int64_t width = 1;
    for (int i = 1; i < w->rank; i++) width *= w->dim[i];
    CHECK(row >= 0 && rows >= 1 && row + rows <= w->dim[0]);
    if (s->broken && strcmp(w->name, s->broken) == 0)
        return err_set(err, KADR_EIO, "model: cannot read %s", w->name);
    for (int64_t i = 0; i < rows * width; i++) ((float *)to)[i] = number(w->name, row * width + i);
    s->reads++;
    return KADR_OK;
}

/* ---- The network: four times x = silu(norm(x) A' + a); out = x B' + b + c, c = silu(condition C'
 * + c0) from the segment before ---- */

static void describe_first(struct graph *g) {
    tensor_id x = graph_input(g, "condition", DTYPE_F32, 2, (const int64_t[]){ROWS, IN});
    x = graph_linear(g, x, "first", OUT, true, EPI_NONE);
    graph_output(g, graph_act(g, x, ACT_SILU), "c");
}

static const char *layer(char name[16], const char *what, int i) {
    snprintf(name, 16, "%s%d", what, i);
    return name;
}

static void describe_second(struct graph *g, int deep) {
    struct epilogue silu = EPI_NONE;
    silu.act = ACT_SILU;
    tensor_id x = graph_input(g, "x", DTYPE_F32, 2, (const int64_t[]){ROWS, IN});
    tensor_id c = graph_input(g, "c", DTYPE_F32, 2, (const int64_t[]){ROWS, OUT});
    char name[16];
    for (int i = 0; i < deep; i++) {
        if (i == 1) graph_cut_begin(g);
        x = graph_layer_norm(g, x, layer(name, "norm", i), 1e-5f);
        x = graph_linear(g, x, layer(name, "wide", i), IN, true, silu);
        if (i == deep - 2) graph_cut_end(g, x, "kept");
    }
    x = graph_linear(g, x, "narrow", OUT, true, EPI_NONE);
    graph_output(g, graph_add(g, x, c), "out");
}

static double silu(double x) {
    return x / (1 + exp(-x));
}

static double input(const char *name, int lane, int i) {
    return number(name, lane * 100000 + i) * 4;
}

static void linear(const double *x, int in, const char *name, int out, double *y) {
    char weight[64], bias[64];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    for (int o = 0; o < out; o++) {
        y[o] = (double)number(bias, o);
        for (int i = 0; i < in; i++) y[o] += x[i] * (double)number(weight, o * in + i);
    }
}

static void normalize(double *x, const char *name) {
    char weight[64], bias[64];
    double mean = 0, square = 0;
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    for (int i = 0; i < IN; i++) mean += x[i] / IN;
    for (int i = 0; i < IN; i++) square += (x[i] - mean) * (x[i] - mean) / IN;
    for (int i = 0; i < IN; i++)
        x[i] = (x[i] - mean) / sqrt(square + 1e-5) * (double)number(weight, i) +
               (double)number(bias, i);
}

/* One row of what must come out. */
static void expected(int deep, int lane, int row, double *out) {
    double x[IN], y[IN], c[OUT];
    char name[16];
    for (int i = 0; i < IN; i++) x[i] = input("condition", lane, row * IN + i);
    linear(x, IN, "first", OUT, c);
    for (int i = 0; i < IN; i++) x[i] = input("x", lane, row * IN + i);
    for (int k = 0; k < deep; k++) {
        normalize(x, layer(name, "norm", k));
        linear(x, IN, layer(name, "wide", k), IN, y);
        for (int i = 0; i < IN; i++) x[i] = silu(y[i]);
    }
    linear(x, IN, "narrow", OUT, out);
    for (int i = 0; i < OUT; i++) out[i] += silu(c[i]);
}

/* ---- Running it ---- */

struct lab {
    struct mem *mem;
    struct pool *pool;
    void *state;
    struct graph graph[2];
    struct program program;
    struct source user;
    struct run_source source;
    int segment[2];
    atomic_int asked; /* from both threads */
    int cancel_at;    /* cancel_at 0: never */
};

static bool cancelled(void *user) {
    struct lab *l = user;
    return l->cancel_at && atomic_fetch_add(&l->asked, 1) + 1 >= l->cancel_at;
}

static void lab_open(struct lab *l, int threads, enum dtype products) {
    kadr_error err = {0};
    memset(l, 0, sizeof *l);
    l->mem = mem_open(0);
    CHECK(!pool_open(&l->pool, l->mem, threads, &err));
    const struct backend_config config = {l->mem, l->pool, cpu_flags()};
    CHECK(!backend_cpu.open(&config, &l->state, &err));
    l->source = (struct run_source){.user = &l->user, .find = find, .read = read_rows};
    program_init(&l->program, l->mem);
    for (int i = 0; i < 2; i++) {
        graph_init(&l->graph[i], l->mem, i ? "second" : "first", DTYPE_F32);
        graph_products(&l->graph[i], products);
    }
    describe_first(&l->graph[0]);
    describe_second(&l->graph[1], products == DTYPE_I8 ? DEEP_I8 : DEEP);
    for (int i = 0; i < 2; i++) {
        l->segment[i] = program_add(&l->program, "test", &l->graph[i], LANES, i ? STEPS : 1, &err);
        CHECK(l->segment[i] >= 0);
    }
}

static void lab_close(struct lab *l) {
    program_free(&l->program);
    for (int i = 0; i < 2; i++) graph_free(&l->graph[i]);
    backend_cpu.close(l->state);
    pool_close(l->pool);
    CHECK(mem_close(l->mem) == 0);
}

static kadr_status carry_out(struct lab *l, const struct plan *plan, float *out, kadr_error *err) {
    struct run *run;
    const struct run_config config = {&backend_cpu, l->state,  &l->source, &l->program,
                                      plan,         cancelled, l};
    kadr_status st = run_open(&run, l->mem, &config, err);
    if (st) return st;
    for (int lane = 0; lane < LANES; lane++)
        for (int i = 0; i < ROWS * IN; i++)
            ((float *)run_buffer(run, "condition", lane))[i] = (float)input("condition", lane, i);
    st = run_segment(run, l->segment[0], 0, false, err);
    for (int step = 0; !st && step < STEPS; step++) {
        for (int lane = 0; lane < LANES; lane++)
            for (int i = 0; i < ROWS * IN; i++)
                ((float *)run_buffer(run, "x", lane))[i] = (float)input("x", lane, i);
        st = run_segment(run, l->segment[1], 0, step + 1 < STEPS, err);
        for (int lane = 0; !st && lane < LANES; lane++)
            memcpy(out + lane * ROWS * OUT, run_buffer(run, "out", lane), ROWS * OUT * sizeof *out);
    }
    run_close(run);
    return st;
}

/* Runs with that budget; the arena takes what the plan says. Returns the plan's bytes. */
static size_t run_with(struct lab *l, size_t budget, float *out) {
    const struct plan_options options = {.budget = budget};
    struct plan plan;
    struct mem_stats before, after;
    kadr_error err = {0};
    CHECK(!plan_make(&plan, l->mem, &l->program, &options, &err));
    size_t bytes = plan.bytes;
    if (!budget || bytes <= budget) {
        mem_get_stats(l->mem, &before);
        CHECK(!carry_out(l, &plan, out, &err));
        mem_get_stats(l->mem, &after);
        CHECK(before.now == after.now);
    }
    plan_free(&plan);
    return bytes;
}

static void same_numbers_however_it_is_run(enum dtype products, double bar) {
    static float first[LANES * ROWS * OUT], again[LANES * ROWS * OUT];
    int streamed = 0;
    double worst = 0, top = 0;
    for (int threads = 1; threads <= 3; threads += 2) {
        struct lab l;
        kadr_error err = {0};
        lab_open(&l, threads, products);
        CHECK(!run_prepare(&backend_cpu, l.state, &l.source, &l.program, &err));
        l.user.reads = 0;
        size_t whole = run_with(&l, 0, again);
        int reads = l.user.reads;
        if (threads == 1) memcpy(first, again, sizeof first);
        CHECK(memcmp(first, again, sizeof first) == 0);
        for (size_t budget = whole; budget > whole / 8; budget -= whole / 8) {
            memset(again, 0, sizeof again);
            l.user.reads = 0;
            if (run_with(&l, budget, again) > budget) break; /* it does not get smaller */
            CHECK(memcmp(first, again, sizeof first) == 0);
            streamed += l.user.reads > reads;
        }
        lab_close(&l);
    }
    CHECK(streamed > 0);
    for (int lane = 0; lane < LANES; lane++)
        for (int row = 0; row < ROWS; row++) {
            double want[OUT];
            expected(products == DTYPE_I8 ? DEEP_I8 : DEEP, lane, row, want);
            for (int i = 0; i < OUT; i++) {
                double got = (double)first[(lane * ROWS + row) * OUT + i];
                worst = fmax(worst, fabs(got - want[i]));
                top = fmax(top, fabs(want[i]));
            }
        }
    printf("largest relative error %.2g; %d streamed runs\n", worst / top, streamed);
    CHECK(worst <= bar * top);
}

/* A part leaves the other lanes' numbers alone, and costs what its lanes cost. */
static void some_lanes(void) {
    static float all[LANES * ROWS * OUT];
    const struct plan_rates rates = {1e9, 1e9, 1e9, 1e9, 1e9, 1e9};
    const struct segment_part second = {.first = 1, .every = 2}, whole = {0};
    struct lab l;
    struct plan plan;
    struct run *run;
    kadr_error err = {0};
    lab_open(&l, 2, DTYPE_F32);
    CHECK(!run_prepare(&backend_cpu, l.state, &l.source, &l.program, &err));
    run_with(&l, 0, all);
    CHECK(!plan_make(&plan, l.mem, &l.program, &(struct plan_options){0}, &err));
    double full = plan_cost(&plan, &l.program, l.segment[1], whole, &rates).compute;
    double part = plan_cost(&plan, &l.program, l.segment[1], second, &rates).compute;
    CHECK(fabs(part * LANES - full * (LANES / 2)) < 1e-9 * full);
    const struct run_config config = {&backend_cpu, l.state,   &l.source, &l.program,
                                      &plan,        cancelled, &l};
    CHECK(!run_open(&run, l.mem, &config, &err));
    for (int lane = 0; lane < LANES; lane++)
        for (int i = 0; i < ROWS * IN; i++) {
            ((float *)run_buffer(run, "condition", lane))[i] = (float)input("condition", lane, i);
            ((float *)run_buffer(run, "x", lane))[i] = (float)input("x", lane, i);
        }
    CHECK(!run_segment(run, l.segment[0], 0, false, &err));
    for (int lane = 0; lane < LANES; lane++)
        memset(run_buffer(run, "out", lane), 0xA5, ROWS * OUT * sizeof *all);
    run_use_part(run, second);
    CHECK(!run_segment(run, l.segment[1], 0, false, &err));
    for (int lane = 0; lane < LANES; lane++) {
        const unsigned char *out = run_buffer(run, "out", lane);
        if (lane % 2) CHECK(!memcmp(out, all + lane * ROWS * OUT, ROWS * OUT * sizeof *all));
        for (size_t i = 0; lane % 2 == 0 && i < ROWS * OUT * sizeof *all; i++)
            CHECK(out[i] == 0xA5);
    }
    run_close(run);
    plan_free(&plan);
    lab_close(&l);
}

static void put_x(struct run *run, float by) {
    for (int lane = 0; lane < LANES; lane++)
        for (int i = 0; i < ROWS * IN; i++)
            ((float *)run_buffer(run, "x", lane))[i] = (float)input("x", lane, i) * by;
}

static void take_out(struct run *run, float *out) {
    for (int lane = 0; lane < LANES; lane++)
        memcpy(out + lane * ROWS * OUT, run_buffer(run, "out", lane), ROWS * OUT * sizeof *out);
}

/* Without the cut, what comes out is what the last run with it gave, whatever x is now: nothing
 * else reaches the end. Weights of the cut are not read then. */
static void cut_is_kept(size_t budget) {
    static float first[LANES * ROWS * OUT], kept[LANES * ROWS * OUT], last[LANES * ROWS * OUT];
    const struct segment_part all = {0}, reuse = {.reuse = true};
    struct lab l;
    struct plan plan;
    struct run *run;
    kadr_error err = {0};
    lab_open(&l, 2, DTYPE_F32);
    CHECK(!run_prepare(&backend_cpu, l.state, &l.source, &l.program, &err));
    CHECK(!plan_make(&plan, l.mem, &l.program, &(struct plan_options){.budget = budget}, &err));
    const struct run_config config = {&backend_cpu, l.state,   &l.source, &l.program,
                                      &plan,        cancelled, &l};
    CHECK(!run_open(&run, l.mem, &config, &err));
    for (int lane = 0; lane < LANES; lane++)
        for (int i = 0; i < ROWS * IN; i++)
            ((float *)run_buffer(run, "condition", lane))[i] = (float)input("condition", lane, i);
    CHECK(!run_segment(run, l.segment[0], 0, false, &err));
    for (int round = 0; round < 3; round++) {
        struct run_stats stats;
        put_x(run, (float)(1 + round));
        run_use_part(run, all);
        CHECK(!run_segment(run, l.segment[1], 0, true, &err));
        take_out(run, first);
        run_get_stats(run, &stats);
        uint64_t before = stats.bytes_read;
        put_x(run, -1);
        run_use_part(run, reuse);
        CHECK(!run_segment(run, l.segment[1], 0, round < 2, &err));
        take_out(run, kept);
        CHECK(!memcmp(first, kept, sizeof first));
        run_get_stats(run, &stats);
        size_t most = plan_bytes_read(&plan, l.segment[1], all);
        if (most) CHECK(stats.bytes_read - before < most);
        if (round) CHECK(memcmp(first, last, sizeof first));
        memcpy(last, first, sizeof last);
    }
    CHECK(plan_bytes_read(&plan, l.segment[1], reuse) <= plan_bytes_read(&plan, l.segment[1], all));
    run_close(run);
    plan_free(&plan);
    lab_close(&l);
}

static void cuts(void) {
    struct lab l;
    struct plan plan;
    kadr_error err = {0};
    lab_open(&l, 1, DTYPE_F32);
    CHECK(!run_prepare(&backend_cpu, l.state, &l.source, &l.program, &err));
    CHECK(!plan_make(&plan, l.mem, &l.program, &(struct plan_options){0}, &err));
    size_t whole = plan.bytes;
    plan_free(&plan);
    CHECK(!plan_make(&plan, l.mem, &l.program, &(struct plan_options){.budget = whole / 2}, &err));
    const struct segment_part all = {0}, reuse = {.reuse = true};
    CHECK(plan_bytes_read(&plan, 1, reuse) < plan_bytes_read(&plan, 1, all));
    plan_free(&plan);
    /* What may be left out may not be read later, but for what is kept. */
    struct graph *g = &l.graph[0];
    graph_free(g);
    graph_init(g, l.mem, "wrong", DTYPE_F32);
    tensor_id x = graph_input(g, "condition", DTYPE_F32, 2, (const int64_t[]){ROWS, IN});
    graph_cut_begin(g);
    tensor_id inside = graph_act(g, x, ACT_SILU), end = graph_act(g, inside, ACT_SILU);
    graph_cut_end(g, end, "kept");
    graph_output(g, graph_add(g, inside, end), "late");
    CHECK(program_add(&l.program, "test", g, 1, 1, &err) == -1);
    CHECK(strstr(err.message, "left out"));
    lab_close(&l);
    cut_is_kept(0);
    cut_is_kept(whole / 2);
    cut_is_kept(whole * 3 / 4);
}

static void failures_are_passed_on(void) {
    static const char *const names[] = {"first.weight", "norm0.bias", "wide3.weight",
                                        "narrow.bias"};
    static float out[LANES * ROWS * OUT];
    struct lab l;
    struct plan plan;
    kadr_error err = {0};
    lab_open(&l, 2, DTYPE_F32);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        l.user.missing = names[i];
        CHECK(run_prepare(&backend_cpu, l.state, &l.source, &l.program, &err) == KADR_EMODEL);
        CHECK(strstr(err.message, names[i]));
    }
    l.user.missing = NULL;
    CHECK(!run_prepare(&backend_cpu, l.state, &l.source, &l.program, &err));
    CHECK(!plan_make(&plan, l.mem, &l.program, &(struct plan_options){0}, &err));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        l.user.broken = names[i];
        CHECK(carry_out(&l, &plan, out, &err) == KADR_EIO);
        CHECK(strstr(err.message, names[i]));
    }
    l.user.broken = NULL;
    int ended = 0;
    for (l.cancel_at = 1; l.cancel_at < 10000 && ended < 2; l.cancel_at += 1 + l.cancel_at / 2) {
        l.asked = 0;
        kadr_status st = carry_out(&l, &plan, out, &err);
        CHECK(st == KADR_OK || st == KADR_EINTERRUPTED);
        ended += st == KADR_OK;
    }
    CHECK(ended == 2); /* asked between operations, and not for ever */
    plan_free(&plan);
    lab_close(&l);
}

int main(void) {
    same_numbers_however_it_is_run(DTYPE_F32, 1e-5);
    same_numbers_however_it_is_run(DTYPE_I8, 5e-2);
    some_lanes();
    cuts();
    failures_are_passed_on();
    return 0;
}
