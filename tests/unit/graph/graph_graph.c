/* Graphs: shapes that are worked out while building, errors that stick, sizes that wrap. */
#include "graph/graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct mem *m;
static struct graph g;

static int open_graph(void **unused) {
    (void)unused;
    m = mem_open(0);
    graph_init(&g, m, "test", DTYPE_F32);
    return 0;
}

static int close_graph(void **unused) {
    (void)unused;
    graph_free(&g);
    return (int)mem_close(m);
}

static void expect_shape(tensor_id t, int rank, const int64_t *dim) {
    assert_true(t != NO_TENSOR);
    assert_int_equal(g.tensors[t].rank, rank);
    for (int i = 0; i < rank; i++) assert_int_equal(g.tensors[t].dim[i], dim[i]);
}

static tensor_id picture(int64_t h, int64_t w, int64_t c) {
    return graph_input(&g, "x", DTYPE_F32, 4, (int64_t[]){2, h, w, c});
}

/* Sizes as torch.nn.Conv2d computes them: (in + pad - kernel) / stride + 1. */
static void convolutions(void **unused) {
    (void)unused;
    tensor_id x = picture(13, 20, 4);
    struct conv_shape s = {.out = 8, .kernel = 3, .stride = 1, .pad_before = 1, .pad_after = 1};
    expect_shape(graph_conv(&g, x, NO_TENSOR, "same", s, true, EPI_NONE), 4,
                 (int64_t[]){2, 13, 20, 8});
    s.stride = 2;
    tensor_id half = graph_conv(&g, x, NO_TENSOR, "half", s, true, EPI_NONE);
    expect_shape(half, 4, (int64_t[]){2, 7, 10, 8});
    s.stride = 1;
    s.upsample = 2;
    s.drop_h = 1;
    expect_shape(graph_conv(&g, half, NO_TENSOR, "up", s, true, EPI_NONE), 4,
                 (int64_t[]){2, 13, 20, 8});
    s = (struct conv_shape){.out = 8, .kernel = 3, .stride = 2, .pad_after = 1};
    expect_shape(graph_conv(&g, x, NO_TENSOR, "vae", s, true, EPI_NONE), 4,
                 (int64_t[]){2, 6, 10, 8});
    assert_int_equal(g.weights[0].dim[1], 4);
    assert_false(graph_failed(&g));
}

static void geglu_halves(void **unused) {
    (void)unused;
    tensor_id x = graph_input(&g, "x", DTYPE_F32, 3, (int64_t[]){1, 5, 12});
    struct epilogue e = EPI_NONE;
    e.act = ACT_GEGLU;
    expect_shape(graph_linear(&g, x, "ff", 96, true, e), 3, (int64_t[]){1, 5, 48});
    assert_true(g.weights[0].geglu);
    assert_string_equal(g.weights[0].name, "ff.weight");
    assert_string_equal(g.weights[1].name, "ff.bias");
}

static void errors_stick(void **unused) {
    (void)unused;
    tensor_id x = picture(4, 4, 6);
    assert_int_equal(graph_group_norm(&g, x, NO_TENSOR, "norm", 4, 1e-5f, ACT_NONE), NO_TENSOR);
    assert_true(graph_failed(&g));
    kadr_error err;
    assert_int_equal(graph_status(&g, &err), KADR_EMODEL);
    assert_non_null(strstr(err.message, "norm"));
    int ops = g.op_count;
    assert_int_equal(graph_linear(&g, x, "after", 4, false, EPI_NONE), NO_TENSOR);
    assert_int_equal(g.op_count, ops);
}

static void sizes_that_wrap(void **unused) {
    (void)unused;
    int64_t huge = (int64_t)1 << 40;
    assert_int_equal(graph_input(&g, "x", DTYPE_F32, 3, (int64_t[]){huge, huge, 4}), NO_TENSOR);
    assert_true(graph_failed(&g));
}

static void residual_must_fit(void **unused) {
    (void)unused;
    tensor_id x = picture(4, 4, 6);
    struct epilogue e = EPI_NONE;
    e.residual = x;
    assert_int_equal(graph_linear(&g, x, "wide", 8, true, e), NO_TENSOR);
    assert_true(graph_failed(&g));
}

/* Attention of VAE size: 2 * 2 * tokens^2 * channels. */
static void work_is_counted(void **unused) {
    (void)unused;
    tensor_id q = picture(8, 8, 32);
    struct attention_inputs in = {q, q, q, NO_TENSOR, NO_TENSOR, NO_TENSOR, NO_TENSOR};
    tensor_id a = graph_attention(&g, "attn", in, 4, 0.35f, false);
    expect_shape(a, 4, (int64_t[]){2, 8, 8, 32});
    assert_true(op_flops(&g, &g.ops[0]) == 4.0 * 64 * 64 * 32 * 2);
    char line[200];
    op_describe(&g, &g.ops[0], line, sizeof line);
    assert_non_null(strstr(line, "attention"));
    op_describe(&g, &g.ops[0], line, 10); /* cut, not overrun */
}

static void no_memory(void **unused) {
    (void)unused;
    for (uint64_t n = 1; n < 12; n++) {
        struct mem *small = mem_open(0);
        struct graph one;
        mem_fail_at(small, n);
        graph_init(&one, small, "one", DTYPE_F32);
        tensor_id x = graph_input(&one, "x", DTYPE_F32, 2, (int64_t[]){3, 4});
        x = graph_linear(&one, x, "l", 5, true, EPI_NONE);
        graph_output(&one, x, "y");
        if (graph_failed(&one)) assert_int_equal(graph_status(&one, NULL), KADR_EMEMORY);
        graph_free(&one);
        assert_int_equal(mem_close(small), 0);
    }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_graph, close_graph)
    const struct CMUnitTest tests[] = {
        TEST(convolutions),      TEST(geglu_halves),    TEST(errors_stick), TEST(sizes_that_wrap),
        TEST(residual_must_fit), TEST(work_is_counted), TEST(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
