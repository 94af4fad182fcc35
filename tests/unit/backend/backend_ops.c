/* backend_ops.c: every operation of the CPU backend, with each level of kernels that this machine
 * can run, on random shapes against references written as the definition reads, in double; and the
 * same bits from any number of threads.
 *
 * How near is near depends on the numbers: where large terms cancel out, whoever computes in f32
 * loses digits. References therefore tell each value's size, too: the sum of the magnitudes of what
 * was added up to it, which is what the rounding of f32 is relative to.
 */
#include "backend/cpu/bits.h"
#include "backend/cpu/kernels.h"
#include "lab.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* With a BLAS (with_blas.c) products alone are others, and opening a backend costs more. */
static int rounds(int usual) {
    if (getenv("KADR_BLAS")) usual /= 3;
    return getenv("KADR_LONG") ? usual * 10 : usual;
}

static double activated(double x, enum act act) {
    switch (act) {
    case ACT_SILU: return x / (1 + exp(-x));
    case ACT_GELU:
    case ACT_GEGLU: return 0.5 * x * (1 + erf(x / sqrt(2.0)));
    case ACT_QUICK_GELU: return x / (1 + exp(-1.702 * x));
    default: return x;
    }
}

static double at(const struct lab *l, tensor_id t, int64_t i) {
    return l->tensor[t][i];
}

/* A value and its size. */
struct sum {
    double v, size;
};

static void add(struct sum *s, double v) {
    s->v += v;
    s->size += fabs(v);
}

/* The sum `acc` of output element [row][col] becomes its value. */
static struct sum epilogue(const struct lab *l, int64_t row, int64_t col, struct sum acc,
                           struct sum gate) {
    const struct op *op = lab_op(l);
    const struct tensor *out = lab_tensor(l, op->out);
    int64_t width = tensor_width(out), per_sample = tensor_rows(out) / out->dim[0];
    if (op->b != NO_WEIGHT) add(&acc, l->weight[op->b][col]);
    if (op->b != NO_WEIGHT && op->epi.act == ACT_GEGLU) add(&gate, l->weight[op->b][width + col]);
    if (op->epi.sample_add != NO_TENSOR)
        add(&acc, at(l, op->epi.sample_add, row / per_sample * width + col));
    if (op->epi.act == ACT_GEGLU) {
        double by = activated(gate.v, ACT_GELU); /* its slope is about 1 at most */
        acc = (struct sum){acc.v * by, acc.size * fabs(by) + fabs(acc.v) * gate.size};
    } else acc.v = activated(acc.v, op->epi.act);
    if (op->epi.residual != NO_TENSOR) add(&acc, at(l, op->epi.residual, row * width + col));
    double scale = op->epi.scale == 0 ? 1.0 : (double)op->epi.scale;
    return (struct sum){acc.v * scale, acc.size * scale};
}

static bool is_i8(const struct lab *l) {
    return l->g.weights[lab_op(l)->w].dtype == DTYPE_I8;
}

static void reference_linear(const struct lab *l, struct sum *y) {
    const struct op *op = lab_op(l);
    int64_t k = tensor_width(lab_tensor(l, op->in[0])), n = tensor_width(lab_tensor(l, op->out));
    double *x = malloc((size_t)k * sizeof *x);
    for (int64_t r = 0; r < tensor_rows(lab_tensor(l, op->out)); r++) {
        double top = 0;
        for (int64_t i = 0; i < k; i++) top = fmax(top, fabs(x[i] = at(l, op->in[0], r * k + i)));
        for (int64_t i = 0; i < k && is_i8(l) && top > 0; i++) x[i] = lab_quantised(x[i], top);
        for (int64_t c = 0; c < n; c++) {
            struct sum acc = {0}, gate = {0};
            for (int64_t i = 0; i < k; i++) {
                add(&acc, x[i] * l->weight[op->w][c * k + i]);
                if (op->epi.act == ACT_GEGLU) add(&gate, x[i] * l->weight[op->w][(n + c) * k + i]);
            }
            y[r * n + c] = epilogue(l, r, c, acc, gate);
        }
    }
    free(x);
}

static double activated(double x, enum act act);

/* A stored value as the convolution sees it: c is its channel in the joined input. */
static double seen(const struct lab *l, int64_t n, int64_t c, double v) {
    const struct op *op = lab_op(l);
    if (op->in[2] == NO_TENSOR) return v;
    int64_t channels = l->g.weights[op->w].dim[1];
    double factor = at(l, op->in[2], n * 2 * channels + c),
           summand = at(l, op->in[2], (n * 2 + 1) * channels + c);
    v = activated(v * factor + summand, op->in_act);
    return l->g.dtype == DTYPE_BF16 ? bf16_to_f32(f32_to_bf16((float)v)) : v;
}

/* Value of channel c of the picture that the convolution sees. */
static double pixel(const struct lab *l, int64_t n, int64_t y, int64_t x, int64_t c) {
    const struct op *op = lab_op(l);
    const struct tensor *a = lab_tensor(l, op->in[0]);
    int64_t h = a->dim[1] * op->upsample - op->drop_h, w = a->dim[2] * op->upsample - op->drop_w;
    if (y < 0 || x < 0 || y >= h || x >= w) return 0;
    int64_t place = (n * a->dim[1] + y / op->upsample) * a->dim[2] + x / op->upsample;
    if (c < a->dim[3]) return seen(l, n, c, at(l, op->in[0], place * a->dim[3] + c));
    return seen(l, n, c,
                at(l, op->in[1], place * lab_tensor(l, op->in[1])->dim[3] + c - a->dim[3]));
}

static void reference_conv(const struct lab *l, struct sum *y) {
    const struct op *op = lab_op(l);
    const struct tensor *out = lab_tensor(l, op->out);
    const struct weight *w = &l->g.weights[op->w];
    int64_t row = 0;
    for (int64_t n = 0; n < out->dim[0]; n++)
        for (int64_t oy = 0; oy < out->dim[1]; oy++)
            for (int64_t ox = 0; ox < out->dim[2]; ox++, row++) {
                for (int64_t m = 0; m < out->dim[3]; m++) {
                    struct sum acc = {0};
                    for (int64_t c = 0; c < w->dim[1]; c++)
                        for (int64_t ky = 0; ky < op->kernel; ky++)
                            for (int64_t kx = 0; kx < op->kernel; kx++) {
                                double v = pixel(l, n, oy * op->stride - op->pad_before + ky,
                                                 ox * op->stride - op->pad_before + kx, c);
                                add(&acc,
                                    v * l->weight[op->w][((m * w->dim[1] + c) * op->kernel + ky) *
                                                             op->kernel +
                                                         kx]);
                            }
                    y[row * out->dim[3] + m] = epilogue(l, row, m, acc, (struct sum){0});
                }
            }
}

static double joined(const struct lab *l, int64_t row, int64_t c) {
    const struct op *op = lab_op(l);
    int64_t c1 = tensor_width(lab_tensor(l, op->in[0]));
    if (c < c1) return at(l, op->in[0], row * c1 + c);
    return at(l, op->in[1], row * tensor_width(lab_tensor(l, op->in[1])) + c - c1);
}

static void reference_group_stats(const struct lab *l, struct sum *y) {
    const struct op *op = lab_op(l);
    const struct tensor *x = lab_tensor(l, op->in[0]);
    int64_t c = lab_tensor(l, op->out)->dim[2], rows = tensor_rows(x) / x->dim[0];
    int64_t width = c / op->groups;
    for (int64_t n = 0; n < x->dim[0]; n++)
        for (int64_t ch = 0; ch < c; ch++) {
            double mean = 0, var = 0, count = (double)(rows * width);
            int64_t first = ch / width * width;
            for (int64_t i = 0; i < rows * width; i++)
                mean += joined(l, n * rows + i / width, first + i % width) / count;
            for (int64_t i = 0; i < rows * width; i++)
                var += pow(joined(l, n * rows + i / width, first + i % width) - mean, 2) / count;
            double factor = l->weight[op->w][ch] / sqrt(var + (double)op->eps);
            add(&y[n * 2 * c + ch], factor);
            add(&y[(n * 2 + 1) * c + ch], l->weight[op->b][ch]);
            add(&y[(n * 2 + 1) * c + ch], -mean * factor);
        }
}

static void reference_group_norm(const struct lab *l, struct sum *y) {
    const struct op *op = lab_op(l);
    const struct tensor *out = lab_tensor(l, op->out);
    int64_t c = tensor_width(out), rows = tensor_rows(out) / out->dim[0], width = c / op->groups;
    for (int64_t n = 0; n < out->dim[0]; n++)
        for (int64_t g = 0; g < op->groups; g++) {
            double mean = 0, var = 0, count = (double)(rows * width);
            for (int64_t i = 0; i < rows * width; i++)
                mean += joined(l, n * rows + i / width, g * width + i % width) / count;
            for (int64_t i = 0; i < rows * width; i++)
                var +=
                    pow(joined(l, n * rows + i / width, g * width + i % width) - mean, 2) / count;
            for (int64_t i = 0; i < rows * width; i++) {
                int64_t row = n * rows + i / width, ch = g * width + i % width;
                double factor = l->weight[op->w][ch] / sqrt(var + (double)op->eps);
                struct sum *v = &y[row * c + ch];
                add(v, joined(l, row, ch) * factor);
                add(v, -mean * factor);
                add(v, l->weight[op->b][ch]);
                v->v = activated(v->v, op->epi.act);
            }
        }
}

static void reference_layer_norm(const struct lab *l, struct sum *y) {
    const struct op *op = lab_op(l);
    const struct tensor *out = lab_tensor(l, op->out);
    int64_t c = tensor_width(out);
    for (int64_t r = 0; r < tensor_rows(out); r++) {
        double mean = 0, var = 0;
        for (int64_t i = 0; i < c; i++) mean += at(l, op->in[0], r * c + i) / (double)c;
        for (int64_t i = 0; i < c; i++)
            var += pow(at(l, op->in[0], r * c + i) - mean, 2) / (double)c;
        for (int64_t i = 0; i < c; i++) {
            double factor = l->weight[op->w][i] / sqrt(var + (double)op->eps);
            add(&y[r * c + i], at(l, op->in[0], r * c + i) * factor);
            add(&y[r * c + i], -mean * factor);
            add(&y[r * c + i], l->weight[op->b][i]);
        }
    }
}

static void reference_attention(const struct lab *l, struct sum *y) {
    const struct op *op = lab_op(l);
    const struct tensor *q = lab_tensor(l, op->in[0]), *k = lab_tensor(l, op->in[1]);
    int64_t c = tensor_width(q), d = c / op->heads, tq = tensor_rows(q) / q->dim[0];
    int64_t keys = tensor_rows(k) / k->dim[0];
    double *p = calloc((size_t)keys, sizeof *p);
    for (int64_t row = 0; row < tensor_rows(q); row++)
        for (int64_t head = 0; head < op->heads; head++) {
            int64_t n = row / tq, count = keys, first = n * keys * c + head * d;
            if (op->in[3] != NO_TENSOR) count = (int64_t)at(l, op->in[3], n);
            if (op->causal && count > row % tq + 1) count = row % tq + 1;
            double top = -INFINITY, sum = 0,
                   largest = 0; /* scores' size: exp makes a factor of it */
            for (int64_t j = 0; j < count; j++) {
                struct sum score = {0};
                for (int64_t i = 0; i < d; i++)
                    add(&score, at(l, op->in[0], row * c + head * d + i) *
                                    at(l, op->in[1], first + j * c + i) * (double)op->scale);
                p[j] = score.v;
                top = fmax(top, p[j]);
                largest = fmax(largest, score.size);
            }
            for (int64_t j = 0; j < count; j++) sum += p[j] = exp(p[j] - top);
            for (int64_t i = 0; i < d; i++) {
                struct sum v = {0};
                double by = 1;
                for (int64_t j = 0; j < count; j++)
                    add(&v, p[j] / sum * at(l, op->in[2], first + j * c + i));
                if (op->in[5] != NO_TENSOR) by *= at(l, op->in[5], n);
                if (op->in[6] != NO_TENSOR) by *= at(l, op->in[6], row);
                int64_t to = row * c + head * d + i;
                y[to] = (struct sum){v.v * by, v.size * fabs(by) * (1 + largest)};
                if (op->in[4] != NO_TENSOR) add(&y[to], at(l, op->in[4], to));
            }
        }
    free(p);
}

static void reference_embed(const struct lab *l, struct sum *y) {
    const struct op *op = lab_op(l);
    const struct tensor *out = lab_tensor(l, op->out);
    int64_t c = tensor_width(out), rows = l->g.weights[op->w].dim[0];
    for (int64_t i = 0; i < tensor_rows(out); i++)
        for (int64_t j = 0; j < c; j++) {
            int64_t id = (int64_t)at(l, op->in[0], i);
            double v =
                id < rows ? l->weight[op->w][id * c + j] : at(l, op->in[1], (id - rows) * c + j);
            y[i * c + j].v = v + l->weight[op->b][i % out->dim[1] * c + j];
        }
}

/* As diffusers computes it, in f32 where it does. */
static void reference_timestep(const struct lab *l, struct sum *y) {
    const struct op *op = lab_op(l);
    const struct tensor *t = lab_tensor(l, op->in[0]);
    int64_t count = (int64_t)tensor_elements(t);
    int64_t width = (int64_t)tensor_elements(lab_tensor(l, op->out)) / count, half = width / 2;
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < half; j++) {
            float e = (float)(-log(10000.0)) * (float)j / ((float)half - op->shift);
            float angle = (float)at(l, op->in[0], i) * expf(e);
            y[i * width + j].v = op->flip ? cos((double)angle) : sin((double)angle);
            y[i * width + half + j].v = op->flip ? sin((double)angle) : cos((double)angle);
        }
}

static void reference_simple(const struct lab *l, struct sum *y) {
    const struct op *op = lab_op(l);
    const struct tensor *x = lab_tensor(l, op->in[0]), *out = lab_tensor(l, op->out);
    int64_t n = (int64_t)tensor_elements(out), w = tensor_width(out);
    for (int64_t i = 0; i < n; i++) {
        if (op->kind == OP_ADD) y[i].v = at(l, op->in[0], i) + at(l, op->in[1], i);
        else if (op->kind == OP_ACT) {
            add(&y[i], at(l, op->in[0], i));
            y[i].v = activated(y[i].v, op->epi.act);
        } else if (op->kind == OP_GATHER)
            y[i].v = at(l, op->in[0],
                        (i / w * x->dim[1] + (int64_t)at(l, op->in[1], i / w)) * w + i % w);
        else if (op->order == ORDER_SAME) y[i].v = at(l, op->in[0], i);
        else {
            bool last = op->order == ORDER_NCHW_TO_NHWC; /* channels of the output are last */
            int64_t c = last ? w : out->dim[1], plane = n / out->dim[0] / c, rest = i % (plane * c);
            int64_t ch = last ? rest % c : rest / plane, p = last ? rest / c : rest % plane;
            y[i].v = at(l, op->in[0], i - rest + (last ? ch * plane + p : p * c + ch));
        }
    }
}

static void reference_concat(const struct lab *l, struct sum *y) {
    const struct op *op = lab_op(l);
    const struct tensor *a = lab_tensor(l, op->in[0]), *b = lab_tensor(l, op->in[1]);
    int64_t c1 = tensor_width(a), c2 = tensor_width(b), i = 0;
    if (op->axis_last) {
        for (int64_t r = 0; r < tensor_rows(a); r++)
            for (int64_t c = 0; c < c1 + c2; c++) y[i++].v = joined(l, r, c);
        return;
    }
    for (int64_t n = 0; n < a->dim[0]; n++) {
        for (int64_t j = 0; j < a->dim[1] * c1; j++)
            y[i++].v = at(l, op->in[0], n * a->dim[1] * c1 + j);
        for (int64_t j = 0; j < b->dim[1] * c1; j++)
            y[i++].v = at(l, op->in[1], n * b->dim[1] * c1 + j);
    }
}

static void reference(const struct lab *l, struct sum *y) {
    switch (lab_op(l)->kind) {
    case OP_EMBED: reference_embed(l, y); break;
    case OP_LINEAR: reference_linear(l, y); break;
    case OP_CONV: reference_conv(l, y); break;
    case OP_GROUP_STATS: reference_group_stats(l, y); break;
    case OP_GROUP_NORM: reference_group_norm(l, y); break;
    case OP_LAYER_NORM: reference_layer_norm(l, y); break;
    case OP_ATTENTION: reference_attention(l, y); break;
    case OP_TIMESTEP: reference_timestep(l, y); break;
    case OP_CONCAT: reference_concat(l, y); break;
    default: reference_simple(l, y);
    }
}

/* Values of the last output; freed by the caller. */
static struct sum *expected(const struct lab *l) {
    struct sum *y = calloc(tensor_elements(lab_tensor(l, lab_op(l)->out)), sizeof *y);
    assert_non_null(y);
    reference(l, y);
    return y;
}

#define F32_STEP 0x1p-23 /* of what is added up: a rounding of each of two operands */
#define BAR_F32 2e-6     /* of the largest value: what adds up over a long depth */

/* Compares a run with the reference; floats may differ by rounding, more in bf16. */
static void compare(const struct lab *l, const void *bytes, const struct sum *y, const char *level,
                    int round) {
    const struct tensor *out = lab_tensor(l, lab_op(l)->out);
    double top = 0, worst = 0;
    size_t n = tensor_elements(out), where = 0;
    bool narrow = out->dtype == DTYPE_BF16 || l->g.dtype == DTYPE_BF16;
    double bar = narrow ? 0x1p-8 : BAR_F32;
    /* Products of bf16 round the weights of the keys, too. */
    if (lab_op(l)->kind == OP_ATTENTION && l->g.dtype == DTYPE_BF16) bar *= 2;
    for (size_t i = 0; i < n; i++) top = fmax(top, fabs(y[i].v));
    for (size_t i = 0; i < n; i++) {
        double v = out->dtype == DTYPE_BF16 ? bf16_to_f32(((const uint16_t *)bytes)[i])
                                            : ((const float *)bytes)[i];
        double room = bar * (0.3 * top + fabs(y[i].v)) + F32_STEP * y[i].size + 1e-36;
        double d = fabs(v - y[i].v) / room;
        if (!(d <= worst)) worst = d, where = i;
    }
    if (worst <= 1) return;
    char line[512];
    op_describe(&l->g, lab_op(l), line, sizeof line);
    fail_msg("%s, round %d: %s: error %g of what is allowed at %zu of %zu", level, round, line,
             worst, where, n);
}

static void check(struct lab *l, int round) {
    lab_fill(l);
    struct sum *y = expected(l);
    unsigned flags = 0;
    for (size_t i = 0; i < kernel_level_count; i++) {
        flags |= kernel_levels[i].flags;
        if (flags & ~cpu_flags()) break;
        l->parts = false;
        void *one = lab_run(l, 1, flags);
        l->parts = true;
        void *three = lab_run(l, 2 + round % 2, flags);
        compare(l, one, y, kernel_levels[i].name, round);
        assert_memory_equal(one, three, tensor_bytes(lab_tensor(l, lab_op(l)->out)));
        assert_false(l->spoiled);
        mem_free(one);
        mem_free(three);
    }
    free(y);
    lab_close(l);
}

static void open_round(struct lab *l, int round) {
    lab_open(l, round % 2 ? DTYPE_BF16 : DTYPE_F32, (uint64_t)round + 1);
    if (round % 3 == 0) graph_products(&l->g, DTYPE_I8);
}

static tensor_id input(struct lab *l, const char *name, enum dtype type, int rank,
                       const int64_t *dim) {
    return graph_input(&l->g, name, type, rank, dim);
}

/* A random epilogue for an output of this shape. */
static struct epilogue random_epilogue(struct lab *l, int rank, const int64_t *dim) {
    struct epilogue e = EPI_NONE;
    e.act = (enum act)lab_random(l, 4);
    if (lab_random(l, 3) == 0)
        e.sample_add = input(l, "add", DTYPE_F32, 2, (int64_t[]){dim[0], dim[rank - 1]});
    if (lab_random(l, 2))
        e.residual = input(l, "residual", lab_random(l, 4) ? l->g.dtype : DTYPE_F32, rank, dim);
    if (lab_random(l, 2)) e.scale = 0.75f;
    e.f32_out = lab_random(l, 4) == 0;
    return e;
}

static void test_linear(void **state) {
    (void)state;
    struct lab l;
    for (int round = 0; round < rounds(120); round++) {
        open_round(&l, round);
        int64_t n = lab_size(&l, 3), t = lab_size(&l, 90), k = lab_size(&l, round % 10 ? 90 : 1400);
        int64_t m = lab_size(&l, round % 10 == 5 ? 700 : 90);
        tensor_id x =
            input(&l, "x", lab_random(&l, 4) ? l.g.dtype : DTYPE_F32, 3, (int64_t[]){n, t, k});
        bool geglu = lab_random(&l, 4) == 0;
        struct epilogue e = random_epilogue(&l, 3, (int64_t[]){n, t, m});
        if (geglu) e.act = ACT_GEGLU;
        graph_linear(&l.g, x, "linear", geglu ? 2 * m : m, lab_random(&l, 2), e);
        if (l.g.dtype == DTYPE_BF16) /* an f32 input counts as rounded: some kernels round it */
            for (size_t i = 0; i < (size_t)(n * t * k); i++)
                lab_values(&l, x)[i] = bf16_to_f32(f32_to_bf16((float)lab_normal(&l)));
        check(&l, round);
    }
}

static void test_conv(void **state) {
    (void)state;
    struct lab l;
    for (int round = 0; round < rounds(100); round++) {
        open_round(&l, round);
        int64_t n = lab_size(&l, 2), h = lab_size(&l, 9), w = lab_size(&l, 9);
        int64_t c1 = lab_size(&l, round % 10 ? 20 : 150),
                c2 = lab_random(&l, 2) ? lab_size(&l, 20) : 0;
        struct conv_shape s = {.out = lab_size(&l, 40), .kernel = lab_random(&l, 4) ? 3 : 1};
        s.stride = 1 + (int)lab_random(&l, 2);
        s.pad_before = (int)lab_random(&l, 2);
        s.pad_after = s.kernel == 3 && h * w > 0 ? 1 : 0;
        s.upsample = 1 + (int)lab_random(&l, 2);
        if (s.upsample == 2) s.drop_h = (int)lab_random(&l, 2), s.drop_w = (int)lab_random(&l, 2);
        if (h < 3) h = 3;
        if (w < 3) w = 3;
        if (round % 20 < 2) h = 3, w = 20 + lab_size(&l, 300); /* lines of a tile and longer */
        tensor_id x = input(&l, "x", l.g.dtype, 4, (int64_t[]){n, h, w, c1});
        tensor_id x2 = c2 ? input(&l, "x2", l.g.dtype, 4, (int64_t[]){n, h, w, c2}) : NO_TENSOR;
        int64_t up = s.upsample;
        int64_t oh = (h * up - s.drop_h + s.pad_before + s.pad_after - s.kernel) / s.stride + 1;
        int64_t ow = (w * up - s.drop_w + s.pad_before + s.pad_after - s.kernel) / s.stride + 1;
        struct epilogue e = random_epilogue(&l, 4, (int64_t[]){n, oh, ow, s.out});
        graph_conv(&l.g, x, x2, "conv", s, lab_random(&l, 2), e);
        check(&l, round);
    }
}

static void test_group_norm(void **state) {
    (void)state;
    struct lab l;
    for (int round = 0; round < rounds(60); round++) {
        open_round(&l, round);
        int64_t groups = lab_size(&l, 8), n = lab_size(&l, 3),
                t = lab_size(&l, round % 8 ? 40 : 3000);
        int64_t c1 = lab_size(&l, 70), c2 = lab_random(&l, 2) ? lab_size(&l, 70) : 0;
        c1 += (groups - (c1 + c2) % groups) % groups;
        tensor_id x = input(&l, "x", l.g.dtype, 3, (int64_t[]){n, t, c1});
        tensor_id x2 = c2 ? input(&l, "x2", l.g.dtype, 3, (int64_t[]){n, t, c2}) : NO_TENSOR;
        graph_group_norm(&l.g, x, x2, "norm", (int)groups, 1e-5f,
                         lab_random(&l, 2) ? ACT_SILU : ACT_NONE);
        check(&l, round);
    }
}

static void test_group_stats(void **state) {
    (void)state;
    struct lab l;
    for (int round = 0; round < rounds(60); round++) {
        open_round(&l, round);
        int64_t groups = lab_size(&l, 8), n = lab_random(&l, 2) ? 1 : lab_size(&l, 3);
        int64_t h = lab_size(&l, round % 8 ? 20 : 300), w = lab_size(&l, 20);
        int64_t c1 = lab_size(&l, 70), c2 = lab_random(&l, 2) ? lab_size(&l, 70) : 0;
        c1 += (groups - (c1 + c2) % groups) % groups;
        tensor_id x = input(&l, "x", l.g.dtype, 4, (int64_t[]){n, h, w, c1});
        tensor_id x2 = c2 ? input(&l, "x2", l.g.dtype, 4, (int64_t[]){n, h, w, c2}) : NO_TENSOR;
        graph_group_stats(&l.g, x, x2, "norm", (int)groups, 1e-2f);
        check(&l, round);
    }
}

/* What normalisation makes of x is convolved without being a tensor. */
static void test_normed_conv(void **state) {
    (void)state;
    struct lab l;
    for (int round = 0; round < rounds(60); round++) {
        open_round(&l, round);
        int64_t n = lab_random(&l, 2) ? 1 : lab_size(&l, 3), h = 2 + lab_size(&l, 12),
                w = 2 + lab_size(&l, 12), c1 = lab_size(&l, 40),
                c2 = lab_random(&l, 2) ? lab_size(&l, 20) : 0;
        struct conv_shape s = {.out = lab_size(&l, 40), .kernel = lab_random(&l, 4) ? 3 : 1};
        s.stride = 1 + (lab_random(&l, 4) == 0);
        s.pad_before = s.pad_after = s.kernel == 3;
        tensor_id x = input(&l, "x", l.g.dtype, 4, (int64_t[]){n, h, w, c1});
        tensor_id x2 = c2 ? input(&l, "x2", l.g.dtype, 4, (int64_t[]){n, h, w, c2}) : NO_TENSOR;
        tensor_id stats = input(&l, "stats", DTYPE_F32, 3, (int64_t[]){n, 2, c1 + c2});
        int64_t oh = (h + 2 * s.pad_before - s.kernel) / s.stride + 1;
        int64_t ow = (w + 2 * s.pad_before - s.kernel) / s.stride + 1;
        struct epilogue e = random_epilogue(&l, 4, (int64_t[]){n, oh, ow, s.out});
        graph_normed_conv(&l.g, x, x2, stats, lab_random(&l, 2) ? ACT_SILU : ACT_NONE, "conv", s,
                          lab_random(&l, 2), e);
        check(&l, round);
    }
}

/* Where linear layers are in int8, convolutions give the bits that they give without. */
static void test_conv_beside_int8(void **state) {
    static const struct conv_shape shapes[] = {
        {.out = 40, .kernel = 1, .stride = 1},
        {.out = 40, .kernel = 3, .stride = 1, .pad_before = 1, .pad_after = 1},
        {.out = 40, .kernel = 3, .stride = 2, .pad_before = 1, .pad_after = 1},
        {.out = 40, .kernel = 3, .stride = 1, .pad_before = 1, .pad_after = 1, .upsample = 2}};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        void *out[2];
        struct lab l[2];
        for (int bytes = 0; bytes < 2; bytes++) {
            struct graph *g = &l[bytes].g;
            lab_open(&l[bytes], DTYPE_BF16, (uint64_t)i + 1);
            if (bytes) graph_products(g, DTYPE_I8);
            tensor_id x = input(&l[bytes], "x", DTYPE_BF16, 4, (int64_t[]){2, 6, 8, 64});
            graph_conv(g, x, NO_TENSOR, "conv", shapes[i], true, EPI_NONE);
            lab_fill(&l[bytes]);
            out[bytes] = lab_run(&l[bytes], 2, cpu_flags());
        }
        assert_memory_equal(out[0], out[1], tensor_bytes(lab_tensor(&l[0], lab_op(&l[0])->out)));
        for (int bytes = 0; bytes < 2; bytes++) {
            mem_free(out[bytes]);
            lab_close(&l[bytes]);
        }
    }
}

/* A mean far larger than the spread must not cost digits. */
static void test_group_norm_offset(void **state) {
    (void)state;
    struct lab l;
    lab_open(&l, DTYPE_F32, 7);
    const int64_t dim[3] = {1, 2500, 8};
    tensor_id x = input(&l, "x", DTYPE_F32, 3, dim);
    for (int64_t i = 0; i < 2500 * 8; i++)
        lab_values(&l, x)[i] = (float)(1000 + 0.0625 * lab_normal(&l));
    graph_group_norm(&l.g, x, NO_TENSOR, "norm", 1, 1e-6f, ACT_NONE);
    lab_fill(&l);
    struct sum *y = expected(&l);
    double worst = 0;
    float *out = lab_run(&l, 1, cpu_flags());
    for (int64_t i = 0; i < 2500 * 8; i++) worst = fmax(worst, fabs((double)out[i] - y[i].v));
    /* 1000 * 16 in f32 has steps of 0.001. */
    assert_true(worst < 4e-3);
    free(y);
    mem_free(out);
    lab_close(&l);
}

static void test_layer_norm(void **state) {
    (void)state;
    struct lab l;
    for (int round = 0; round < rounds(60); round++) {
        open_round(&l, round);
        int64_t n = lab_size(&l, 3), t = lab_size(&l, 40),
                c = 1 + lab_size(&l, round % 8 ? 100 : 1500);
        graph_layer_norm(&l.g, input(&l, "x", l.g.dtype, 3, (int64_t[]){n, t, c}), "norm", 1e-5f);
        check(&l, round);
    }
}

static void test_attention(void **state) {
    (void)state;
    struct lab l;
    for (int round = 0; round < rounds(80); round++) {
        open_round(&l, round);
        int64_t heads = lab_size(&l, 4), d = lab_size(&l, round % 10 ? 70 : 160);
        int64_t n = lab_size(&l, 2), t = lab_size(&l, round % 5 ? 60 : 250);
        bool causal = lab_random(&l, 3) == 0;
        int64_t s = causal ? t : lab_size(&l, round % 5 ? 60 : 400), c = heads * d;
        struct attention_inputs in = {NO_TENSOR, NO_TENSOR, NO_TENSOR, NO_TENSOR,
                                      NO_TENSOR, NO_TENSOR, NO_TENSOR};
        in.q = input(&l, "q", l.g.dtype, 3, (int64_t[]){n, t, c});
        in.k = input(&l, "k", l.g.dtype, 3, (int64_t[]){n, s, c});
        in.v = input(&l, "v", l.g.dtype, 3, (int64_t[]){n, s, c});
        if (lab_random(&l, 2)) {
            in.lengths = input(&l, "lengths", DTYPE_I32, 1, &n);
            for (int64_t i = 0; i < n; i++) lab_values(&l, in.lengths)[i] = (double)lab_size(&l, s);
        }
        if (lab_random(&l, 2)) in.add = input(&l, "add", l.g.dtype, 3, (int64_t[]){n, t, c});
        if (lab_random(&l, 2)) in.gain = input(&l, "gain", DTYPE_F32, 1, &n);
        if (lab_random(&l, 2)) in.mask = input(&l, "mask", DTYPE_F32, 2, (int64_t[]){n, t});
        float scale = round % 3 ? 1.0f / sqrtf((float)d) : 1.0f;
        graph_attention(&l.g, "attention", in, (int)heads, scale, causal);
        check(&l, round);
    }
}

/* Attention of one wide head, whose queries are `of` over and over. */
static void many_keys(struct lab *l, int round, int64_t queries, const struct lab *of) {
    const int64_t n = 1, keys = 1100, width = 1024;
    struct attention_inputs in = {NO_TENSOR, NO_TENSOR, NO_TENSOR, NO_TENSOR,
                                  NO_TENSOR, NO_TENSOR, NO_TENSOR};
    open_round(l, round);
    in.q = input(l, "q", l->g.dtype, 3, (int64_t[]){1, queries, width});
    in.k = input(l, "k", l->g.dtype, 3, (int64_t[]){1, keys, width});
    in.v = input(l, "v", l->g.dtype, 3, (int64_t[]){1, keys, width});
    in.lengths = input(l, "lengths", DTYPE_I32, 1, &n);
    lab_values(l, in.lengths)[0] = 1070;
    graph_attention(&l->g, "attention", in, 1, 0.03125f, false);
    if (!of) return;
    int64_t period = of->g.tensors[in.q].dim[1] * width;
    for (int64_t i = 0; i < queries * width; i++)
        lab_values(l, in.q)[i] = of->tensor[in.q][i % period];
    for (tensor_id t = in.k; t <= in.v; t++)
        memcpy(lab_values(l, t), of->tensor[t], (size_t)(keys * width) * sizeof(double));
}

/* Keys and values that are packed in spans, queries that are taken in several blocks: as near to
 * the reference as any, and each row the same whichever block it is in. */
static void test_attention_spans(void **state) {
    (void)state;
    for (int round = 0; round < 2; round++) {
        enum { FEW = 24, MANY = 1600 };
        struct lab few, many;
        many_keys(&few, round, FEW, NULL);
        lab_fill(&few);
        struct sum *y = expected(&few);
        char *a = lab_run(&few, 1, cpu_flags());
        compare(&few, a, y, "spans", round);
        many_keys(&many, round, MANY, &few);
        lab_fill(&many);
        char *b = lab_run(&many, 2, cpu_flags());
        assert_false(few.spoiled || many.spoiled);
        size_t row = tensor_bytes(lab_tensor(&few, lab_op(&few)->out)) / FEW;
        for (size_t i = 0; i < MANY; i++) assert_memory_equal(b + i * row, a + i % FEW * row, row);
        free(y);
        mem_free(a);
        mem_free(b);
        lab_close(&few);
        lab_close(&many);
    }
}

static void test_embed(void **state) {
    (void)state;
    struct lab l;
    for (int round = 0; round < 12; round++) {
        open_round(&l, round);
        int64_t n = lab_size(&l, 3), t = lab_size(&l, 9), rows = 40, m = 3, c = lab_size(&l, 80);
        tensor_id ids = input(&l, "ids", DTYPE_I32, 2, (int64_t[]){n, t});
        tensor_id extra =
            round % 3 ? input(&l, "extra", DTYPE_F32, 2, (int64_t[]){m, c}) : NO_TENSOR;
        for (int64_t i = 0; i < n * t; i++)
            lab_values(&l, ids)[i] = lab_random(&l, (uint32_t)(rows + (round % 3 ? m : 0)));
        graph_embed(&l.g, ids, extra, "tokens", rows, "positions", t + 2, c);
        check(&l, round);
    }
}

static void test_timestep(void **state) {
    (void)state;
    struct lab l;
    for (int round = 0; round < 12; round++) {
        open_round(&l, round);
        int64_t n = lab_size(&l, 3), m = lab_size(&l, 6);
        tensor_id t = input(&l, "t", DTYPE_F32, 2, (int64_t[]){n, m});
        for (int64_t i = 0; i < n * m; i++) lab_values(&l, t)[i] = (float)lab_random(&l, 1024);
        graph_timestep(&l.g, t, 2 * (2 + lab_size(&l, 160)), round % 3, (float)(round % 2));
        check(&l, round);
    }
}

static void test_simple(void **state) {
    (void)state;
    struct lab l;
    for (int round = 0; round < rounds(60); round++) {
        open_round(&l, round);
        const int64_t dim[4] = {lab_size(&l, 3), lab_size(&l, 9), lab_size(&l, 9),
                                lab_size(&l, 90)};
        tensor_id x = input(&l, "x", lab_random(&l, 2) ? l.g.dtype : DTYPE_F32, 4, dim), index;
        switch (round / 2 % 5) {
        case 0: graph_add(&l.g, x, input(&l, "b", l.g.dtype, 4, dim)); break;
        case 1: graph_act(&l.g, x, (enum act)lab_random(&l, 4)); break;
        case 2:
            graph_convert(&l.g, x, lab_random(&l, 2) ? DTYPE_F32 : DTYPE_BF16, ORDER_SAME);
            break;
        case 3:
            graph_convert(&l.g, x, lab_random(&l, 2) ? DTYPE_F32 : DTYPE_BF16,
                          1 + lab_random(&l, 2));
            break;
        default:
            x = input(&l, "tokens", l.g.dtype, 3, dim);
            index = input(&l, "index", DTYPE_I32, 1, dim);
            for (int64_t i = 0; i < dim[0]; i++)
                lab_values(&l, index)[i] = lab_random(&l, (uint32_t)dim[1]);
            graph_gather(&l.g, x, index);
        }
        check(&l, round);
    }
}

static void test_concat(void **state) {
    (void)state;
    struct lab l;
    for (int round = 0; round < 20; round++) {
        open_round(&l, round);
        int64_t dim[3] = {lab_size(&l, 3), lab_size(&l, 9), lab_size(&l, 90)};
        bool last = round / 2 % 2;
        tensor_id a = input(&l, "a", l.g.dtype, 3, dim);
        dim[last ? 2 : 1] = lab_size(&l, 30);
        graph_concat(&l.g, a, input(&l, "b", l.g.dtype, 3, dim), last);
        check(&l, round);
    }
}

/* Packed and unpacked again, whole and in parts of columns, weights are what they were, as rounded
 * to their dtype. */
static void test_unpack(void **state) {
    (void)state;
    for (int round = 0; round < 24; round++) {
        struct lab l;
        struct graph g;
        void *cpu;
        kadr_error err;
        bool conv = round % 3 == 1, geglu = round % 3 == 2;
        lab_open(&l, round % 2 ? DTYPE_BF16 : DTYPE_F32, (uint64_t)round);
        graph_init(&g, l.mem, "one", round % 2 ? DTYPE_BF16 : DTYPE_F32);
        int64_t k = 1 + lab_size(&l, 90), m = 32 * (1 + lab_size(&l, 12));
        struct epilogue epi = EPI_NONE;
        if (geglu) epi.act = ACT_GEGLU;
        const struct conv_shape three = {
            .out = m, .kernel = 3, .stride = 1, .pad_before = 1, .pad_after = 1};
        if (conv)
            graph_conv(&g, graph_input(&g, "x", g.dtype, 4, (int64_t[]){1, 4, 4, k}), NO_TENSOR,
                       "w", three, false, EPI_NONE);
        else
            graph_linear(&g, graph_input(&g, "x", g.dtype, 2, (int64_t[]){4, k}), "w", m, false,
                         epi);
        struct pool *pool;
        assert_int_equal(pool_open(&pool, l.mem, 1, &err), KADR_OK);
        const struct backend_config config = {l.mem, pool, 0};
        assert_int_equal(backend_cpu.open(&config, &cpu, &err), KADR_OK);
        int64_t depth = conv ? 9 * k : k, half = geglu ? m / 2 : m;
        float *stored = mem_array(l.mem, (size_t)(m * depth), sizeof *stored);
        float *again = mem_array(l.mem, (size_t)(m * depth), sizeof *again);
        size_t size = backend_cpu.weight_size(cpu, &g, 0), part = backend_cpu.part_size(cpu, &g, 0);
        char *packed = mem_alloc(l.mem, size);
        for (int64_t i = 0; i < m * depth; i++)
            stored[i] = bf16_to_f32(f32_to_bf16((float)lab_normal(&l)));
        backend_cpu.pack(cpu, &g, 0, 0, 0, m, stored, DTYPE_F32, packed);
        for (int64_t c = 0; c < half; c += PART_COLUMNS) {
            int64_t n = half - c < PART_COLUMNS ? half - c : PART_COLUMNS;
            const char *at = packed + part * (size_t)(c / PART_COLUMNS);
            for (int64_t gate = 0; gate < m; gate += half)
                backend_cpu.unpack(cpu, &g, 0, c, gate + c, n, at, again + (gate + c) * depth);
        }
        assert_memory_equal(again, stored, (size_t)(m * depth) * sizeof *stored);
        mem_free(packed);
        mem_free(stored);
        mem_free(again);
        backend_cpu.close(cpu);
        pool_close(pool);
        graph_free(&g);
        lab_close(&l);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_group_norm),
        cmocka_unit_test(test_group_stats),
        cmocka_unit_test(test_normed_conv),
        cmocka_unit_test(test_conv_beside_int8),
        cmocka_unit_test(test_group_norm_offset),
        cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_spans),
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_timestep),
        cmocka_unit_test(test_simple),
        cmocka_unit_test(test_concat),
        cmocka_unit_test(test_unpack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
