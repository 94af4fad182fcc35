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
    int64_t most_panels; /* no part of the columns has wider blocks: what scratch is laid out for */
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
    int64_t rows, rows_per_sample;
    int64_t cols; /* of the output */
    bool geglu;
    const char *b;
    const float *sample_add;
    struct finish finish;                /* whole output: blocks take their share */
    size_t a_stride, b_stride, c_stride; /* b: of an unpacked panel */
    size_t b_at, c_at, thread_bytes;     /* in a thread's workspace, after A */
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
    b.row_blocks = ceil_div(rows, most);
    b.rows = ceil_div(ceil_div(rows, b.row_blocks), kernel->rows) * kernel->rows;
    b.row_blocks = ceil_div(rows, b.rows);

    most = (int64_t)(l2 / 2 / ((size_t)b.rows * PANEL * sizeof(float)));
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
    if (o->part) {
        int64_t per = m->geglu ? 2 : 1;
        m->end_col = min_i64(m->cols, o->part->first + o->part->count);
        m->first_panel = o->part->first / PANEL * per;
        m->weight.count = ceil_div(m->end_col - o->part->first, PANEL) * per;
    }
    int64_t step = max_i64(m->geglu ? 2 : 1, m->kernel->panels);
    m->blocks = choose_blocks(o->cpu, m->kernel, dtype_size(m->as), m->rows, m->weight.k,
                              m->weight.count, step);
    size_t block_rows = (size_t)m->blocks.rows;
    m->a_stride = chk_align((size_t)m->blocks.depth * dtype_size(m->as), 64) + LINE_GAP;
    m->b_stride = panel_bytes(DTYPE_F32, m->blocks.depth);
    m->c_stride = (size_t)m->blocks.most_panels * PANEL + PANEL;
    scratch(&m->thread_bytes, block_rows * m->a_stride);
    if (m->as != m->type)
        m->b_at = scratch(&m->thread_bytes, (size_t)m->kernel->panels * m->b_stride);
    m->c_at = scratch(&m->thread_bytes, block_rows * m->c_stride * sizeof(float));

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
    int64_t row = (int64_t)task % bl->row_blocks * bl->rows;
    int64_t panel = (int64_t)task / bl->row_blocks * bl->panels;
    int64_t rows = min_i64(bl->rows, m->rows - row);
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
    return m.thread_bytes * (size_t)o->cpu->threads;
}

void cpu_gemm_run(const struct cpu_op *o) {
    struct gemm m;
    init(&m, o);
    pool_run(o->cpu->pool, (size_t)(m.blocks.row_blocks * m.blocks.panel_blocks), gemm_task, &m);
}
