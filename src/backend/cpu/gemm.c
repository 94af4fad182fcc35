/* gemm.c: LINEAR and CONV: one blocked product. A task computes a block of rows x columns of the
 * output: for each piece of the depth it gathers a block of A, multiplies it with the packed
 * weights into f32 sums, and finishes strips of columns while they are in cache.
 *
 * Invariant: a sum is one chain over ascending k, whatever the blocks (kernels.h), so block sizes
 * may follow caches and threads without changing a bit.
 */
#include "backend/cpu/patches.h"

#define STRIP 4     /* panels that are finished together; even, for GEGLU's pairs */
#define LINE_GAP 64 /* bytes between rows of A, so that they do not fall on the same cache sets */

struct blocks {
    int64_t rows, depth, panels;
    int64_t row_blocks, panel_blocks;
    int64_t most_rows;   /* no fewer rows have larger blocks */
    int64_t most_panels; /* no part of the columns has wider blocks: what scratch is laid out for */
};

/* A convolution reads what normalisation makes of its input through a band of rows of the picture,
 * so that it never exists as a whole. */
#define BAND_BYTES ((size_t)4 << 20)
struct band {
    bool used;
    int64_t rows;   /* of the output, of one band */
    size_t at, row; /* in the workspace; bytes of a row of the input */
};

struct gemm {
    const struct cpu *cpu;
    const struct gemm_kernel *kernel;
    struct patches patches;
    struct panels weight;         /* count: of the part */
    int64_t first_panel, end_col; /* where the part begins, and the output column where it ends */
    enum dtype type;              /* of the weights */
    enum dtype as;                /* of both operands while they are multiplied */
    struct blocks blocks;
    int64_t row, rows; /* of A that this pass multiplies */
    int64_t rows_per_sample;
    int64_t cols; /* of the output */
    bool geglu;
    const char *b;
    const float *sample_add;
    struct finish finish;                /* whole output: blocks take their share */
    size_t a_stride, b_stride, c_stride; /* b: of an unpacked panel */
    size_t b_at, c_at, thread_bytes;     /* in a thread's workspace, after A */
    size_t bytes;                        /* of the whole workspace */
    struct band band;
    char *workspace;
};

/* Cuts so that one panel tile of B stays in the first cache, the block of A and the sums in the
 * second, and every thread has several blocks of equal size. */
static struct blocks choose_blocks(const struct cpu *cpu, const struct gemm_kernel *kernel,
                                   size_t size, int64_t rows, int64_t depth, int64_t panels,
                                   int64_t panel_step) {
    struct blocks b;
    size_t l1 = cpu->caches.l1d, l2 = cpu->caches.l2;
    int64_t most = (int64_t)(l1 / 2 / ((size_t)kernel->panels * PANEL * size));
    most = max_i64(128, min_i64(most, 1024)) / 64 * 64;
    b.depth = chk_align((size_t)ceil_div(depth, ceil_div(depth, most)), 2);

    most = (int64_t)(l2 / 3 / ((size_t)b.depth * size));
    most = max_i64(kernel->rows, min_i64(most, 256) / kernel->rows * kernel->rows);
    b.most_rows = min_i64(most, ceil_div(rows, kernel->rows) * kernel->rows);
    b.row_blocks = ceil_div(rows, most);
    b.rows = ceil_div(ceil_div(rows, b.row_blocks), kernel->rows) * kernel->rows;
    b.row_blocks = ceil_div(rows, b.rows);

    most = (int64_t)(l2 / 2 / ((size_t)most * PANEL * sizeof(float)));
    most = max_i64(panel_step, min_i64(most, 64) / panel_step * panel_step);
    /* Few rows: narrower blocks, until there is work for everybody. */
    int64_t wanted = ceil_div(4 * cpu->threads, b.row_blocks);
    most = min_i64(most, max_i64(panel_step, panels / wanted / panel_step * panel_step));
    b.most_panels = most;
    b.panel_blocks = ceil_div(panels, most);
    b.panels = ceil_div(ceil_div(panels, b.panel_blocks), panel_step) * panel_step;
    b.panel_blocks = ceil_div(panels, b.panels);
    return b;
}

/* Blocks of the rows at hand. */
static void cut_blocks(struct gemm *m) {
    int64_t step = max_i64(m->geglu ? 2 : 1, m->kernel->panels);
    m->blocks = choose_blocks(m->cpu, m->kernel, dtype_size(m->as), m->rows, m->weight.k,
                              m->weight.count, step);
}

/* Rows of the input that `rows` rows of the output look at. */
static int64_t rows_under(const struct op *op, int64_t rows) {
    return (rows - 1) * op->stride + op->kernel;
}

static void init_band(struct band *b, const struct cpu_op *o, size_t *used) {
    const struct op *op = o->op;
    *b = (struct band){.used = op->kind == OP_CONV && op->in[2] != NO_TENSOR};
    if (!b->used) return;
    const struct weight *w = &o->g->weights[op->w];
    b->row = (size_t)(op_in(o, 0)->dim[2] * w->dim[1]) * dtype_size(o->g->dtype);
    int64_t all = op_out(o)->dim[1];
    b->rows = max_i64(1, (int64_t)(BAND_BYTES / b->row) - op->kernel) / op->stride;
    b->rows = max_i64(1, min_i64(b->rows, all));
    b->at = scratch(used, (size_t)rows_under(op, b->rows) * b->row);
}

static void init(struct gemm *m, const struct cpu_op *o) {
    const struct op *op = o->op;
    const struct weight *w = &o->g->weights[op->w];
    const struct tensor *out = op_out(o);
    *m = (struct gemm){
        .cpu = o->cpu, .workspace = o->workspace, .type = w->dtype, .geglu = w->geglu};
    m->kernel = gemm_for(&o->cpu->kernels, w->dtype, &m->as);
    m->weight = weight_panels(w);
    patches_init(&m->patches, o);
    m->rows = tensor_rows(out);
    m->rows_per_sample = m->rows / out->dim[0];
    m->cols = m->end_col = tensor_width(out);
    if (o->part && o->part->count) {
        int64_t per = m->geglu ? 2 : 1;
        m->end_col = min_i64(m->cols, o->part->first + o->part->count);
        m->first_panel = o->part->first / PANEL * per;
        m->weight.count = ceil_div(m->end_col - o->part->first, PANEL) * per;
    }
    cut_blocks(m);
    size_t block_rows = (size_t)m->blocks.most_rows;
    m->a_stride = chk_align((size_t)m->blocks.depth * dtype_size(m->as), 64) + LINE_GAP;
    m->b_stride = panel_bytes(DTYPE_F32, m->blocks.depth);
    m->c_stride = (size_t)m->blocks.most_panels * PANEL + PANEL;
    scratch(&m->thread_bytes, block_rows * m->a_stride);
    if (m->as != m->type)
        m->b_at = scratch(&m->thread_bytes, (size_t)m->kernel->panels * m->b_stride);
    m->c_at = scratch(&m->thread_bytes, block_rows * m->c_stride * sizeof(float));
    m->bytes = m->thread_bytes * (size_t)o->cpu->threads;
    init_band(&m->band, o, &m->bytes);

    const struct epilogue *epi = &op->epi;
    m->b = op_weight(o, op->w);
    m->sample_add = op_data(o, epi->sample_add);
    m->finish = (struct finish){.bias = op_weight(o, op->b),
                                .residual = op_data(o, epi->residual),
                                .residual_stride = (size_t)m->cols,
                                .out = op_data(o, op->out),
                                .out_stride = (size_t)m->cols,
                                .out_type = out->dtype,
                                .acc_stride = m->c_stride,
                                .act = epi->act == ACT_GEGLU ? ACT_GELU : epi->act,
                                .scale = epi->scale == 0 ? 1 : epi->scale};
    if (epi->residual != NO_TENSOR) m->finish.residual_type = o->g->tensors[epi->residual].dtype;
}

/* Rows of one sample, output columns [col, col + cols) from sums at acc (and gate). */
static void finish_part(const struct gemm *m, int64_t row, int64_t rows, int64_t col, int64_t cols,
                        const float *acc, const float *gate) {
    struct finish f = m->finish;
    f.rows = rows;
    f.cols = cols;
    f.acc = acc;
    f.gate = gate;
    if (f.bias && gate) f.gate_bias = f.bias + m->cols + col;
    if (f.bias) f.bias += col;
    if (m->sample_add) f.add = m->sample_add + row / m->rows_per_sample * m->cols + col;
    size_t at = (size_t)(row * m->cols + col);
    if (f.residual) f.residual = (const char *)f.residual + at * dtype_size(f.residual_type);
    f.out = (char *)f.out + at * dtype_size(f.out_type);
    m->cpu->kernels.finish(&f);
}

/* Panels [panel, panel + panels) of the part, rows [row, row + rows), whose sums begin at acc. */
static void finish_strip(const struct gemm *m, int64_t row, int64_t rows, int64_t panel,
                         int64_t panels, const float *acc) {
    panel += m->first_panel;
    for (int64_t done = 0; done < rows;) {
        int64_t r = row + done, count = rows - done;
        if (m->sample_add) count = min_i64(count, m->rows_per_sample - r % m->rows_per_sample);
        const float *at = acc + (size_t)done * m->c_stride;
        if (!m->geglu) {
            int64_t col = panel * PANEL;
            finish_part(m, r, count, col, min_i64(panels * PANEL, m->end_col - col), at, NULL);
        } else
            for (int64_t p = 0; p < panels; p += 2) {
                int64_t col = (panel + p) / 2 * PANEL;
                const float *value = at + p * PANEL;
                finish_part(m, r, count, col, min_i64(PANEL, m->end_col - col), value,
                            value + PANEL);
            }
        done += count;
    }
}

/* Sums of `panels` panels that begin at b, over `depth`. */
static void multiply(const struct gemm *m, int64_t rows, int64_t panels, int64_t depth, char *a,
                     const char *b, float *acc, bool accumulate) {
    size_t even = (size_t)(depth + depth % 2);
    if (m->as == m->type) {
        gemm_tiles(m->kernel, rows, panels, m->as == DTYPE_BF16 ? even : (size_t)depth, a,
                   m->a_stride, b, m->weight.bytes, even * PANEL * dtype_size(m->as), acc,
                   m->c_stride, accumulate);
        return;
    }
    char *unpacked = a + m->b_at;
    int64_t step = m->kernel->panels;
    for (int64_t p = 0; p < panels; p += step) {
        int64_t count = min_i64(step, panels - p);
        for (int64_t i = 0; i < count; i++)
            m->cpu->kernels.unpack((float *)(void *)(unpacked + (size_t)i * m->b_stride),
                                   b + (size_t)(p + i) * m->weight.bytes, even);
        gemm_tiles(m->kernel, rows, count, (size_t)depth, a, m->a_stride, unpacked, m->b_stride, 0,
                   acc + p * PANEL, m->c_stride, accumulate);
    }
}

static void gemm_task(void *user, size_t task, int thread) {
    const struct gemm *m = user;
    const struct blocks *bl = &m->blocks;
    char *a = m->workspace + (size_t)thread * m->thread_bytes;
    float *c = (float *)(void *)(a + m->c_at);
    /* Neighbouring tasks share the weights: they stay in the shared cache while rows pass by. */
    int64_t first = (int64_t)task % bl->row_blocks * bl->rows;
    int64_t panel = (int64_t)task / bl->row_blocks * bl->panels;
    int64_t row = m->row + first, rows = min_i64(bl->rows, m->rows - first);
    int64_t panels = min_i64(bl->panels, m->weight.count - panel);
    for (int64_t k = 0; k < m->weight.k; k += bl->depth) {
        int64_t depth = min_i64(bl->depth, m->weight.k - k);
        patches_gather(&m->patches, &m->cpu->kernels, row, rows, k, depth, m->as, a, m->a_stride);
        const char *b = m->b + (size_t)panel * m->weight.bytes + panel_bytes(m->type, k);
        for (int64_t p = 0; p < panels; p += STRIP) {
            int64_t count = min_i64(STRIP, panels - p);
            float *acc = c + p * PANEL;
            multiply(m, rows, count, depth, a, b + (size_t)p * m->weight.bytes, acc, k > 0);
            if (k + depth == m->weight.k) finish_strip(m, row, rows, panel + p, count, acc);
        }
    }
}

size_t cpu_gemm_workspace(const struct cpu_op *o) {
    struct gemm m;
    init(&m, o);
    return m.bytes;
}

static void multiply_rows(struct gemm *m, int64_t row, int64_t rows) {
    m->row = row;
    m->rows = rows;
    cut_blocks(m);
    pool_run(m->cpu->pool, (size_t)(m->blocks.row_blocks * m->blocks.panel_blocks), gemm_task, m);
}

/* One band of one sample, filled with what normalisation makes of rows [first, first + rows) of the
 * input. */
struct fill {
    const struct cpu_op *o;
    char *band;
    int64_t sample, first, rows;
};

static void fill_task(void *user, size_t task, int thread) {
    (void)thread;
    const struct fill *f = user;
    const struct cpu_op *o = f->o;
    const struct tensor *x = op_in(o, 0), *x2 = op_in(o, 1);
    int64_t c1 = tensor_width(x), c = o->g->weights[o->op->w].dim[1], w = x->dim[2];
    int64_t row = (f->sample * x->dim[1] + f->first + (int64_t)task) * w;
    size_t size = dtype_size(o->g->dtype);
    char *to = f->band + task * (size_t)(w * c) * size;
    const float *scale = (const float *)op_data(o, o->op->in[2]) + f->sample * 2 * c;
    for (int second = 0; second <= (x2 != NULL); second++) {
        int64_t at = second ? c1 : 0, count = second ? c - c1 : c1;
        const char *from = (const char *)op_data(o, o->op->in[second]) +
                           (size_t)(row * count) * dtype_size(x->dtype);
        o->cpu->kernels.scale_shift(to + (size_t)at * size, (size_t)c, from, (size_t)count,
                                    x->dtype, o->g->dtype, (size_t)w, (size_t)count, scale + at,
                                    scale + c + at, o->op->in_act);
    }
}

/* Rows [row, row + rows) of a sample's picture: normalised rows under them into the band first. */
static void run_band(struct gemm *m, const struct cpu_op *o, int64_t sample, int64_t row,
                     int64_t rows) {
    const struct op *op = o->op;
    const struct tensor *x = op_in(o, 0), *out = op_out(o);
    int64_t first = max_i64(0, row * op->stride - op->pad_before);
    int64_t end = min_i64(x->dim[1], row * op->stride - op->pad_before + rows_under(op, rows));
    struct fill f = {o, o->workspace + m->band.at, sample, first, end - first};
    pool_run(o->cpu->pool, (size_t)f.rows, fill_task, &f);
    /* As if the whole picture lay around the band. */
    uintptr_t base = (uintptr_t)f.band - (uintptr_t)(sample * x->dim[1] + first) * m->band.row;
    m->patches.x = (const char *)base; /* NOLINT: only rows of the band are looked at */
    m->patches.x2 = NULL;
    m->patches.type = o->g->dtype;
    m->patches.c = o->g->weights[op->w].dim[1];
    m->patches.c2 = 0;
    multiply_rows(m, (sample * out->dim[1] + row) * out->dim[2], rows * out->dim[2]);
}

void cpu_gemm_run(const struct cpu_op *o) {
    struct gemm m;
    init(&m, o);
    const struct tensor *out = op_out(o);
    bool cut = o->part && o->part->rows;
    if (!m.band.used) {
        int64_t width = cut ? out->dim[2] : 1;
        multiply_rows(&m, cut ? o->part->row * width : 0, cut ? o->part->rows * width : m.rows);
        return;
    }
    int64_t from = cut ? o->part->row : 0, to = cut ? from + o->part->rows : out->dim[1];
    for (int64_t sample = 0; sample < out->dim[0]; sample++)
        for (int64_t row = from; row < to; row += m.band.rows)
            run_band(&m, o, sample, row, min_i64(m.band.rows, to - row));
}
