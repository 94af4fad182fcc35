/* run_bands.c: a decoder's block of convolutions whose pictures do not fit, so that they lie in the
 * scratch file and are worked on in bands, and whose weights do not fit either, so that they come
 * in parts: whatever the budget, the same bits. */
#include "run/run.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <string.h>

#define SIDE 32
#define IN 8
#define OUT 3
#define WIDE 384 /* so that weights are larger than the smallest ring */
#define GROUPS 32

static float number(const char *name, int64_t i) {
    uint32_t h = 2166136261u;
    while (*name) h = (h ^ (unsigned char)*name++) * 16777619u;
    h = (h ^ (uint32_t)i) * 2654435761u;
    h = (h ^ h >> 15) * 2246822519u;
    return (float)(int32_t)(h ^ h >> 13) * 0x1p-33f;
}

static kadr_status find(void *user, const struct weight *w, enum dtype *dtype, kadr_error *err) {
    (void)user, (void)w, (void)err;
    *dtype = DTYPE_F32;
    return KADR_OK;
}

static kadr_status read_rows(void *user, const struct weight *w, int64_t row, int64_t rows,
                             void *to, kadr_error *err) {
    int64_t width = 1;
    (void)user, (void)err;
    for (int i = 1; i < w->rank; i++) width *= w->dim[i];
    for (int64_t i = 0; i < rows * width; i++)
        ((float *)to)[i] = 0.2f * number(w->name, row * width + i);
    return KADR_OK;
}

static tensor_id normed(struct graph *g, tensor_id x, const char *norm, const char *conv,
                        int64_t out, struct epilogue epi) {
    const struct conv_shape three = {out, 3, 1, 1, 1, 1, 0, 0};
    tensor_id stats = graph_group_stats(g, x, NO_TENSOR, norm, GROUPS, 1e-5f);
    return graph_normed_conv(g, x, NO_TENSOR, stats, ACT_SILU, conv, three, true, epi);
}

/* As a decoder's: in, a residual block with a shortcut of pixels, doubled, out. */
static void describe(struct graph *g) {
    const struct conv_shape three = {WIDE, 3, 1, 1, 1, 1, 0, 0}, one = {WIDE, 1, 1, 0, 0, 1, 0, 0},
                            doubled = {WIDE, 3, 1, 1, 1, 2, 0, 0};
    tensor_id x = graph_input(g, "x", DTYPE_F32, 4, (const int64_t[]){1, SIDE, SIDE, IN});
    x = graph_conv(g, x, NO_TENSOR, "in", three, true, EPI_NONE);
    struct epilogue add = EPI_NONE;
    add.residual = graph_conv(g, x, NO_TENSOR, "shortcut", one, true, EPI_NONE);
    tensor_id y = normed(g, x, "norm1", "conv1", WIDE, EPI_NONE);
    x = normed(g, y, "norm2", "conv2", WIDE, add);
    x = graph_conv(g, x, NO_TENSOR, "up", doubled, true, EPI_NONE);
    x = normed(g, x, "norm3", "out", OUT, EPI_NONE);
    graph_output(g, x, "picture");
}

/* Whether some operation is both cut into parts of columns and run in bands. */
static bool is_cut_both_ways(const struct segment_plan *sp) {
    for (int i = 0; i < sp->walk.count; i++)
        if (sp->walk.units[i].part.count && sp->band[sp->walk.units[i].first]) return true;
    return false;
}

static void same_bits_in_every_budget(void **state) {
    (void)state;
    enum { PIXELS = 4 * SIDE * SIDE * OUT };
    static float whole[PIXELS];
    struct mem *m = mem_open(0);
    struct pool *pool;
    struct graph g;
    struct program program;
    struct plan plan;
    void *cpu;
    kadr_error err = {0};
    size_t budget = 0;
    int both = 0, runs = 0;
    assert_int_equal(pool_open(&pool, m, 2, &err), 0);
    const struct backend_config config = {m, pool, cpu_flags()};
    assert_int_equal(backend_cpu.open(&config, &cpu, &err), 0);
    const struct run_source source = {.find = find, .read = read_rows};
    program_init(&program, m);
    graph_init(&g, m, "decoder", DTYPE_F32);
    describe(&g);
    assert_false(graph_failed(&g));
    int segment = program_add(&program, "decode", &g, 1, 1, &err);
    assert_int_equal(run_prepare(&backend_cpu, cpu, &source, &program, &err), 0);
    for (;; runs++) {
        const struct plan_options options = {.budget = budget};
        struct run *run;
        assert_int_equal(plan_make(&plan, m, &program, &options, &err), 0);
        if (budget && plan.bytes > budget) break; /* it does not get smaller */
        both += is_cut_both_ways(&plan.segments[segment]);
        const struct run_config how = {&backend_cpu, cpu, &source, &program, &plan, NULL, NULL};
        assert_int_equal(run_open(&run, m, &how, &err), 0);
        float *x = run_buffer(run, "x", 0);
        for (int i = 0; i < SIDE * SIDE * IN; i++) x[i] = 4 * number("x", i);
        assert_int_equal(run_segment(run, segment, 0, false, &err), 0);
        const float *picture = run_buffer(run, "picture", 0);
        if (!budget) memcpy(whole, picture, sizeof whole);
        assert_memory_equal(picture, whole, sizeof whole);
        run_close(run);
        budget = plan.bytes * 3 / 4;
        plan_free(&plan);
    }
    print_message("%d budgets, %d of them cut both ways\n", runs, both);
    plan_free(&plan);
    assert_true(both > 0);
    backend_cpu.close(cpu);
    program_free(&program);
    graph_free(&g);
    pool_close(pool);
    assert_int_equal(mem_close(m), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits_in_every_budget)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
