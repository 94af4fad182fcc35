/* norm.c: GROUP_NORM (over two inputs as if joined, with SiLU), its statistics alone, and
 * LAYER_NORM.
 *
 * A group's statistics: rows are cut into at most CHUNKS chunks by their number alone; each channel
 * of a chunk is summed in pieces of PIECE rows in f32, relative to the channel's first value, the
 * pivot (so that a large mean costs no digits), the pieces in double; chunks and channels are
 * joined in order. So rows may come in parts that are whole pieces: the sums are the same.
 */
#include "backend/cpu/cpu.h"

#include <math.h>
#include <string.h>

#define CHUNKS 32
#define PIECE 64      /* rows */
#define LAYER_ROWS 16 /* rows of a task */
#define PIVOTS 64     /* channels that are summed at a time */

struct group_norm {
    const struct cpu_op *o;
    int64_t n, rows, c1, c; /* rows of a sample; channels of x, of both */
    int64_t chunk, chunks;
    double *moments;      /* [n][chunks][2][c]: sums and squares about the pivot */
    float *pivot;         /* [n][c] */
    float *scale, *shift; /* of a sample, [c]; the next sample's are `step` on */
    int64_t step;
    int64_t from, to; /* rows of each sample that this run looks at */
};

static size_t init_group(struct group_norm *m, const struct cpu_op *o) {
    const struct tensor *x = op_in(o, 0), *x2 = op_in(o, 1);
    *m = (struct group_norm){.o = o, .n = x->dim[0], .c1 = tensor_width(x)};
    m->c = m->c1 + (x2 ? tensor_width(x2) : 0);
    m->rows = tensor_rows(x) / m->n;
    m->chunk = ceil_div(ceil_div(m->rows, CHUNKS), PIECE) * PIECE;
    m->chunks = ceil_div(m->rows, m->chunk);
    m->step = 2 * m->c;
    m->to = m->rows;
    size_t used = 0;
    size_t per_channel = (size_t)(m->n * m->c);
    size_t moments = scratch(&used, per_channel * (size_t)m->chunks * 2 * sizeof(double));
    size_t affine = scratch(&used, per_channel * 2 * sizeof(float));
    size_t pivot = scratch(&used, per_channel * sizeof(float));
    if (o->workspace) {
        m->moments = (double *)(void *)(o->workspace + moments);
        m->scale = (float *)(void *)(o->workspace + affine);
        m->shift = m->scale + m->c;
        m->pivot = (float *)(void *)(o->workspace + pivot);
    }
    return used;
}

/* Where channel c of row r of the joined input lies, and how far rows are apart. */
static const char *channel_at(const struct group_norm *m, int64_t sample, int64_t row, int64_t c,
                              int64_t *stride) {
    const struct cpu_op *o = m->o;
    bool second = c >= m->c1;
    *stride = second ? m->c - m->c1 : m->c1;
    const char *x = op_data(o, o->op->in[second ? 1 : 0]);
    int64_t at = (sample * m->rows + row) * *stride + (second ? c - m->c1 : c);
    return x + (size_t)at * dtype_size(op_in(o, 0)->dtype);
}

/* Channels [c, c + count) lie in one input. */
static void chunk_moments(const struct group_norm *m, int64_t sample, int64_t chunk, int64_t c,
                          int64_t count) {
    const struct kernels *k = &m->o->cpu->kernels;
    enum dtype type = op_in(m->o, 0)->dtype;
    float sum[PIVOTS], square[PIVOTS];
    double *sums = m->moments + (size_t)((sample * m->chunks + chunk) * 2 * m->c + c);
    double *squares = sums + m->c;
    int64_t stride;
    int64_t first = max_i64(m->from, chunk * m->chunk);
    int64_t end = min_i64(m->to, (chunk + 1) * m->chunk);
    if (first == chunk * m->chunk) {
        memset(sums, 0, (size_t)count * sizeof *sums);
        memset(squares, 0, (size_t)count * sizeof *squares);
    }
    const float *pivot = m->pivot + sample * m->c + c;
    for (int64_t row = first; row < end; row += PIECE) {
        const char *x = channel_at(m, sample, row, c, &stride);
        k->moments(x, type, (size_t)min_i64(PIECE, end - row), (size_t)stride, (size_t)count, pivot,
                   sum, square);
        for (int64_t i = 0; i < count; i++) {
            sums[i] += sum[i];
            squares[i] += square[i];
        }
    }
}

static void moments_task(void *user, size_t task, int thread) {
    (void)thread;
    const struct group_norm *m = user;
    int64_t first = m->from / m->chunk, chunks = ceil_div(m->to, m->chunk) - first;
    int64_t sample = (int64_t)task / chunks, chunk = first + (int64_t)task % chunks;
    for (int64_t c = 0; c < m->c;) {
        int64_t count = min_i64(PIVOTS, (c < m->c1 ? m->c1 : m->c) - c);
        chunk_moments(m, sample, chunk, c, count);
        c += count;
    }
}

/* Mean and squares about it of one channel of a sample. */
static void channel_moments(const struct group_norm *m, int64_t sample, int64_t c, double *mean,
                            double *squares) {
    double sum = 0, square = 0;
    for (int64_t i = 0; i < m->chunks; i++) {
        const double *at = m->moments + (size_t)((sample * m->chunks + i) * 2 * m->c + c);
        sum += at[0];
        square += at[m->c];
    }
    *mean = m->pivot[sample * m->c + c] + sum / (double)m->rows;
    *squares = square - sum * sum / (double)m->rows;
}

/* Joins a group's channels and writes, per channel, the factor and the summand that normalise it.
 */
static void group_task(void *user, size_t task, int thread) {
    (void)thread;
    const struct group_norm *m = user;
    const struct op *op = m->o->op;
    const float *weight = op_weight(m->o, op->w), *bias = op_weight(m->o, op->b);
    int64_t width = m->c / op->groups, sample = (int64_t)task / op->groups;
    int64_t first = (int64_t)task % op->groups * width;
    double mean = 0, squares = 0, between = 0, channel, within;
    for (int64_t c = first; c < first + width; c++) {
        channel_moments(m, sample, c, &channel, &within);
        double d = channel - mean, seen = (double)(c - first);
        mean += d / (seen + 1);
        squares += within;
        between += d * d * seen / (seen + 1);
    }
    double variance = (squares / (double)m->rows + between) / (double)width;
    double r = 1.0 / sqrt((variance > 0 ? variance : 0) + (double)op->eps);
    for (int64_t c = first; c < first + width; c++) {
        double scale = r * (weight ? (double)weight[c] : 1);
        m->scale[sample * m->step + c] = (float)scale;
        m->shift[sample * m->step + c] = (float)((bias ? (double)bias[c] : 0) - mean * scale);
    }
}

static void normalise_task(void *user, size_t task, int thread) {
    (void)thread;
    const struct group_norm *m = user;
    const struct tensor *out = op_out(m->o);
    int64_t sample = (int64_t)task / m->chunks, row = (int64_t)task % m->chunks * m->chunk;
    size_t rows = (size_t)min_i64(m->chunk, m->rows - row);
    char *to = (char *)op_data(m->o, m->o->op->out) +
               (size_t)((sample * m->rows + row) * m->c) * dtype_size(out->dtype);
    for (int64_t c = 0; c < m->c; c += m->c1) {
        if (c > m->c1) break;
        int64_t stride, count = c ? m->c - m->c1 : m->c1;
        const char *x = channel_at(m, sample, row, c, &stride);
        m->o->cpu->kernels.scale_shift(to + (size_t)c * dtype_size(out->dtype), (size_t)m->c, x,
                                       (size_t)stride, op_in(m->o, 0)->dtype, out->dtype, rows,
                                       (size_t)count, m->scale + sample * m->step + c,
                                       m->shift + sample * m->step + c, m->o->op->epi.act);
    }
}

size_t cpu_group_norm_workspace(const struct cpu_op *o) {
    struct group_norm m;
    return init_group(&m, o);
}

/* Sums of the rows at hand; the first of them are the pivots. */
static void take_moments(struct group_norm *m) {
    const struct cpu_op *o = m->o;
    for (int64_t i = 0; i < (m->from ? 0 : m->n); i++)
        for (int64_t c = 0; c < m->c; c = c < m->c1 ? m->c1 : m->c) {
            int64_t stride;
            const char *x = channel_at(m, i, 0, c, &stride);
            o->cpu->kernels.convert(m->pivot + i * m->c + c, DTYPE_F32, x, op_in(o, 0)->dtype,
                                    (size_t)stride);
        }
    int64_t chunks = ceil_div(m->to, m->chunk) - m->from / m->chunk;
    pool_run(o->cpu->pool, (size_t)(m->n * chunks), moments_task, m);
}

void cpu_group_norm_run(const struct cpu_op *o) {
    struct group_norm m;
    init_group(&m, o);
    take_moments(&m);
    pool_run(o->cpu->pool, (size_t)(m.n * o->op->groups), group_task, &m);
    pool_run(o->cpu->pool, (size_t)(m.n * m.chunks), normalise_task, &m);
}

void cpu_group_stats_run(const struct cpu_op *o) {
    struct group_norm m;
    init_group(&m, o);
    int64_t width = op_in(o, 0)->dim[2];
    if (o->part && o->part->rows) {
        m.from = o->part->row * width;
        m.to = m.from + o->part->rows * width;
    }
    m.scale = op_data(o, o->op->out);
    m.shift = m.scale + m.c;
    take_moments(&m);
    if (m.to == m.rows) pool_run(o->cpu->pool, (size_t)(m.n * o->op->groups), group_task, &m);
}

static size_t layer_row_bytes(const struct cpu_op *o) {
    return chk_align((size_t)tensor_width(op_in(o, 0)) * sizeof(float), BACKEND_ALIGN);
}

size_t cpu_layer_norm_workspace(const struct cpu_op *o) {
    return layer_row_bytes(o) * (size_t)o->cpu->threads;
}

static void layer_task(void *user, size_t task, int thread) {
    const struct cpu_op *o = user;
    const struct tensor *x = op_in(o, 0), *out = op_out(o);
    size_t width = (size_t)tensor_width(x);
    int64_t first = (int64_t)task * LAYER_ROWS;
    int64_t end = min_i64(first + LAYER_ROWS, tensor_rows(x));
    float *row = (float *)(void *)(o->workspace + (size_t)thread * layer_row_bytes(o));
    const char *from = op_data(o, o->op->in[0]);
    char *to = op_data(o, o->op->out);
    for (int64_t r = first; r < end; r++) {
        size_t at = (size_t)r * width;
        o->cpu->kernels.layer_norm(to + at * dtype_size(out->dtype),
                                   from + at * dtype_size(x->dtype), x->dtype, out->dtype, width,
                                   op_weight(o, o->op->w), op_weight(o, o->op->b), o->op->eps, row);
    }
}

void cpu_layer_norm_run(const struct cpu_op *o) {
    struct cpu_op own = *o;
    pool_run(o->cpu->pool, (size_t)ceil_div(tensor_rows(op_in(o, 0)), LAYER_ROWS), layer_task,
             &own);
}
