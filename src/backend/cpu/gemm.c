/* gemm.c: LINEAR and CONV (but see winograd.c): one blocked product. A task computes a block of
 * rows x columns of the output: for each cut of the depth it walks over the columns, tile by tile
 * of the kernel, while the rows of A and the panels at hand stay in the second cache; after the
 * last cut a tile is finished while it is in the first.
 *
 * Invariant: a sum is one chain over ascending k, whatever the blocks (kernels.h), so block sizes
 * may follow caches and threads without changing a bit.
 */
#include "backend/cpu/band.h"
#include "backend/cpu/finisher.h"

#include <string.h>

#define TASKS_A_THREAD 6 /* as many at least, where there are columns enough */
#define BUSY 0.97        /* of the threads' time that tasks should fill */

struct blocks {
    int64_t k, pieces; /* of A's depth at a time: either whole pieces, or a part of one */
    int64_t most_rows, rows, row_blocks;
    int64_t panels, panel_blocks;
    bool once; /* the depth is not cut: sums are finished at once */
};

/* How a product is cut for a BLAS (blas.h): by shapes alone. */
struct blas_cut {
    int64_t unit, tile;   /* rows that are cut alike (a sample, a long line), and of a piece */
    int64_t panels, k;    /* of one product */
    int64_t first, tiles; /* pieces that the rows at hand have a part in */
    size_t a_at;          /* in a thread's workspace */
};

struct gemm {
    const struct cpu *cpu;
    const struct gemm_kernel *kernel;
    struct band a;
    struct panels weight;         /* count: of the part */
    int64_t first_panel, end_col; /* where the part begins, and the output column where it ends */
    int64_t step;                 /* panels that are finished together: two for GEGLU's pairs */
    enum dtype type;              /* of the weights */
    struct blocks blocks;
    struct blas_cut blas; /* tile 0: our kernels multiply */
    int64_t row, rows;    /* of A that this pass multiplies */
    bool geglu;
    const char *b;
    struct finisher finisher;
    size_t b_bytes, c_stride;        /* of an unpacked panel; floats */
    size_t b_at, c_at, thread_bytes; /* in a thread's workspace */
    size_t bytes;                    /* of the whole workspace */
    char *workspace;
};

/* ---- Blocks ------------------------------------------------------------------------------------
 */

static bool near_rows(const struct gemm *m) {
    return m->kernel->near == NEAR_ROWS;
}

/* A long depth saves loads and stores of sums; but what should stay near must have room. */
static size_t depth_room(const struct gemm *m) {
    const struct cpu_caches *caches = &m->cpu->caches;
    switch (m->kernel->near) {
    case NEAR_ROWS: return caches->l1d * 5 / 6;
    case NEAR_NEITHER: return caches->l2 / 5;
    default: return caches->l1d / 2;
    }
}

static void cut_depth(struct gemm *m) {
    struct blocks *bl = &m->blocks;
    int64_t across = near_rows(m) ? m->kernel->rows : m->step * PANEL;
    int64_t unit = depth_unit(m->kernel);
    int64_t most = (int64_t)(depth_room(m) / dtype_size(m->a.type)) / across;
    most = max_i64(128, most) / unit * unit;
    bl->k = m->a.k;
    bl->pieces = m->a.pieces;
    if (m->a.k <= most) bl->pieces = ceil_div(bl->pieces, ceil_div(bl->pieces, most / bl->k));
    else {
        bl->pieces = 1;
        bl->k = ceil_div(ceil_div(bl->k, ceil_div(bl->k, most)), unit) * unit;
    }
    bl->once = bl->k == m->a.k && bl->pieces == m->a.pieces;
}

/* Rows whose part of A stays in the second cache; whole lines, or a line in equal parts. */
static void cut_rows(struct gemm *m) {
    struct blocks *bl = &m->blocks;
    size_t row = (size_t)bl->k * dtype_size(m->a.type);
    bool picture = m->a.form == BAND_PICTURE;
    if (picture && row > m->a.row) row = m->a.row; /* neighbours share the rest */
    int64_t most = (int64_t)(m->cpu->caches.l2 * 3 / 8 / row);
    most = max_i64(m->kernel->rows, min_i64(most, near_rows(m) ? 384 : 512));
    if (picture && most >= m->a.width) most = most / m->a.width * m->a.width;
    else if (picture) most = ceil_div(m->a.width, ceil_div(m->a.width, most));
    bl->most_rows = most;
}

/* Sums that wait for the next cut of the depth lie in the second cache, too, and panels that all
 * rows of a block pass by. */
static int64_t most_panels(const struct gemm *m, int64_t panels) {
    const struct blocks *bl = &m->blocks;
    size_t sums = bl->once ? 0 : (size_t)bl->most_rows * PANEL * sizeof(float);
    size_t each = near_rows(m) ? panel_bytes(m->a.type, bl->k * bl->pieces) : 0;
    if (each < sums) each = sums;
    if (!each) return panels;
    int64_t most = (int64_t)(m->cpu->caches.l2 / 2 / each);
    return min_i64(panels, max_i64(m->step, most / m->step * m->step));
}

/* Equal blocks of columns, as few as keep all threads busy to the end. */
static void cut_panels(struct gemm *m) {
    struct blocks *bl = &m->blocks;
    int64_t count = m->weight.count, threads = m->cpu->threads, best = 0;
    double best_share = 0;
    for (int64_t n = ceil_div(count, most_panels(m, count)); n <= ceil_div(count, m->step); n++) {
        int64_t panels = ceil_div(ceil_div(count, n), m->step) * m->step;
        int64_t tasks = bl->row_blocks * ceil_div(count, panels);
        double share = (double)(bl->row_blocks * count) /
                       (double)(threads * ceil_div(tasks, threads) * panels);
        if (share > best_share) best = panels, best_share = share;
        if (share >= BUSY && tasks >= TASKS_A_THREAD * threads) {
            best = panels;
            break;
        }
    }
    bl->panels = best;
    bl->panel_blocks = ceil_div(count, best);
}

/* Blocks of the rows at hand. */
static void cut_blocks(struct gemm *m) {
    struct blocks *bl = &m->blocks;
    int64_t unit = near_rows(m) ? m->kernel->rows : 1;
    if (m->a.form == BAND_PICTURE) unit = bl->most_rows >= m->a.width ? m->a.width : 1;
    int64_t rows = ceil_div(m->rows, unit);
    bl->row_blocks = ceil_div(rows, max_i64(1, bl->most_rows / unit));
    bl->rows = ceil_div(rows, bl->row_blocks) * unit;
    bl->row_blocks = ceil_div(m->rows, bl->rows);
    cut_panels(m);
}

/* ---- Through a BLAS ----------------------------------------------------------------------------
 */

#define BLAS_LEAST 16   /* rows of a sample */
#define BLAS_TOGETHER 4 /* products that share a copy of A */

static void cut_for_blas(struct gemm *m) {
    struct blas_cut *b = &m->blas;
    bool picture = m->a.form == BAND_PICTURE, lines = picture && m->a.width <= BLAS_ROWS;
    int64_t most = lines ? min_i64(BLAS_ROWS / m->a.width, m->a.most) * m->a.width
                         : min_i64(BLAS_ROWS, picture ? m->a.width : m->a.most);
    b->unit = picture && !lines ? m->a.width : m->finisher.rows_per_sample;
    b->tile = lines ? most : ceil_div(b->unit, ceil_div(b->unit, most));
    b->panels = m->geglu ? BLAS_COLUMNS / PANEL : PART_COLUMNS / PANEL;
    b->k = ceil_div(m->a.k, ceil_div(m->a.k, BLAS_DEPTH));
    b->k = (int64_t)chk_align((size_t)b->k, 4); /* pairs may not be torn */
    m->c_stride = (size_t)(min_i64(BLAS_TOGETHER * b->panels, m->weight.count) * PANEL);
    m->thread_bytes = 0;
    b->a_at = scratch(&m->thread_bytes, (size_t)(b->tile * b->k) * sizeof(float));
    m->b_at = scratch(&m->thread_bytes, (size_t)(b->k * b->panels * PANEL) * sizeof(float));
    m->c_at = scratch(&m->thread_bytes, (size_t)b->tile * m->c_stride * sizeof(float));
}

/* ---- The operation -----------------------------------------------------------------------------
 */

static void init(struct gemm *m, const struct cpu_op *o) {
    const struct op *op = o->op;
    const struct weight *w = &o->g->weights[op->w];
    enum dtype as;
    *m = (struct gemm){
        .cpu = o->cpu, .workspace = o->workspace, .type = w->dtype, .geglu = w->geglu};
    m->kernel = gemm_for(&o->cpu->kernels, w->dtype, &as);
    band_init(&m->a, o, as, &m->bytes);
    m->weight = weight_panels(w);
    m->step = max_i64(m->geglu ? 2 : 1, m->kernel->panels);
    m->end_col = tensor_width(op_out(o));
    finisher_init(&m->finisher, o);
    cut_depth(m);
    cut_rows(m);
    int64_t sums = most_panels(m, m->weight.count);
    if (m->blocks.once) sums = m->step;
    m->c_stride = (size_t)sums * PANEL + PANEL;
    m->b_bytes = panel_bytes(DTYPE_F32, m->blocks.k * m->blocks.pieces + 1);
    if (as != m->type) m->b_at = scratch(&m->thread_bytes, (size_t)m->step * m->b_bytes);
    int64_t rows = m->blocks.once ? m->kernel->rows : m->blocks.most_rows;
    m->c_at = scratch(&m->thread_bytes, (size_t)rows * m->c_stride * sizeof(float));
    if (o->cpu->blas.sgemm && as == DTYPE_F32 && m->finisher.rows_per_sample >= BLAS_LEAST)
        cut_for_blas(m);
    m->finisher.whole.acc_stride = m->c_stride;
    size_t threads_at = scratch(&m->bytes, m->thread_bytes * (size_t)o->cpu->threads);
    if (m->workspace) m->workspace += threads_at;
    if (o->part && o->part->count) {
        int64_t per = m->geglu ? 2 : 1;
        m->end_col = min_i64(m->end_col, o->part->first + o->part->count);
        m->first_panel = o->part->first / PANEL * per;
        m->weight.count = ceil_div(m->end_col - o->part->first, PANEL) * per;
    }
    m->b = op_weight(o, op->w);
}

/* Output columns of panels [panel, panel + panels) of the part; *cols: how many. */
static int64_t columns_of(const struct gemm *m, int64_t panel, int64_t panels, int64_t *cols) {
    int64_t per = m->geglu ? 2 : 1, col = (m->first_panel + panel) / per * PANEL;
    *cols = min_i64(panels / per * PANEL, m->end_col - col);
    return col;
}

/* Sums of int8 become f32 in place. */
static void dequantise(const struct gemm *m, int64_t row, int64_t rows, int64_t panel,
                       int64_t panels, float *acc) {
    const float *by = m->a.scale + (row - m->a.first);
    for (int64_t p = 0; p < panels; p++)
        m->cpu->kernels.dequantise(acc + p * PANEL, m->c_stride, (size_t)rows, by,
                                   (const void *)(m->b + (size_t)(panel + p) * m->weight.bytes +
                                                  panel_bytes(DTYPE_I8, m->weight.k)));
}

/* Panels [panel, panel + panels) of the part, rows [row, row + rows), whose sums begin at acc. */
static void finish_tile(const struct gemm *m, int64_t row, int64_t rows, int64_t panel,
                        int64_t panels, float *acc) {
    if (m->type == DTYPE_I8) dequantise(m, row, rows, panel, panels, acc);
    for (int64_t done = 0; done < rows;) {
        int64_t r = row + done, cols, count = finisher_rows(&m->finisher, r, rows - done);
        const float *at = acc + (size_t)done * m->c_stride;
        for (int64_t p = 0; p < panels; p += m->geglu ? 2 : panels) {
            int64_t col = columns_of(m, panel + p, m->geglu ? 2 : panels, &cols);
            const float *value = at + p * PANEL;
            finisher_part(&m->finisher, r, count, col, cols, value,
                          m->geglu ? value + PANEL : NULL);
        }
        done += count;
    }
}

/* What finishing a tile reads and writes, fetched while it is multiplied. */
static void fetch_finish(const struct gemm *m, int64_t row, int64_t rows, int64_t panel,
                         int64_t panels) {
    const struct finish *f = &m->finisher.whole;
    int64_t cols, col = columns_of(m, panel, panels, &cols);
    size_t residual = dtype_size(f->residual_type), out = dtype_size(f->out_type);
    for (int64_t r = row; r < row + rows; r++) {
        size_t at = (size_t)(r * m->finisher.cols + col);
        if (f->residual) __builtin_prefetch((const char *)f->residual + at * residual, 0, 3);
        __builtin_prefetch((const char *)f->out + at * out, 1, 3);
    }
}

/* ---- A task of a BLAS ---------------------------------------------------------------------------
 */

/* The tile of a row, and a tile's first row and how many it has. */
static int64_t blas_tile(const struct blas_cut *b, int64_t row) {
    return row / b->unit * ceil_div(b->unit, b->tile) + row % b->unit / b->tile;
}
static int64_t blas_rows(const struct blas_cut *b, int64_t tile, int64_t *rows) {
    int64_t per = ceil_div(b->unit, b->tile), inside = tile % per * b->tile;
    *rows = min_i64(b->tile, b->unit - inside);
    return tile / per * b->unit + inside;
}

/* Rows of A, elements [at, at + k) of a piece; where a row is not at hand, zeros. */
static const float *rows_for_blas(const struct gemm *m, int64_t row, int64_t rows, int64_t piece,
                                  int64_t at, int64_t k, char *copy, size_t *stride) {
    int64_t end = min_i64(row + rows, m->row + m->rows), left = 0;
    size_t skip = (size_t)piece * m->a.piece + (size_t)at * sizeof(float), bytes = (size_t)k * 4;
    const char *a = row >= m->row ? band_row(&m->a, row, &left) + skip : NULL;
    *stride = m->a.row / sizeof(float);
    bool apart = *stride >= (size_t)k; /* pixels under a kernel are not: a BLAS refuses that */
    if (left >= rows && end == row + rows && apart) return (const float *)(const void *)a;
    *stride = (size_t)k;
    for (int64_t r = row; r < row + rows; r++, copy += bytes)
        if (r < m->row || r >= end) memset(copy, 0, bytes);
        else memcpy(copy, band_row(&m->a, r, &left) + skip, bytes);
    return (const float *)(void *)(copy - (size_t)rows * bytes);
}

/* Panels side by side: [k][panels * PANEL], as f32. */
static void panels_for_blas(const struct gemm *m, int64_t panel, int64_t panels, int64_t depth,
                            int64_t k, float *to) {
    enum { LINES = 32 };
    const size_t stride = (size_t)panels * PANEL, line = PANEL * sizeof(float);
    for (int64_t p = 0; p < panels; p++)
        for (int64_t i = 0; i < k; i += LINES) {
            float lines[LINES * PANEL];
            const char *from =
                m->b + (size_t)(panel + p) * m->weight.bytes + panel_bytes(m->type, depth + i);
            int64_t n = min_i64(LINES, k - i);
            if (m->type == DTYPE_BF16) {
                m->cpu->kernels.unpack(lines, from, (size_t)(n + n % 2));
                from = (const char *)lines;
            }
            for (int64_t j = 0; j < n; j++)
                memcpy(to + (size_t)(i + j) * stride + p * PANEL, from + (size_t)j * line, line);
        }
}

static void blas_task(void *user, size_t task, int thread) {
    const struct gemm *m = user;
    const struct blas_cut *b = &m->blas;
    char *own = m->workspace + (size_t)thread * m->thread_bytes;
    float *columns = (float *)(void *)(own + m->b_at), *sums = (float *)(void *)(own + m->c_at);
    int64_t rows, row = blas_rows(b, b->first + (int64_t)task % b->tiles, &rows);
    int64_t panel = (int64_t)task / b->tiles * BLAS_TOGETHER * b->panels;
    int64_t panels = min_i64(BLAS_TOGETHER * b->panels, m->weight.count - panel);
    for (int64_t piece = 0; piece < m->a.pieces; piece++)
        for (int64_t at = 0, k; at < m->a.k; at += k) {
            k = min_i64(b->k, m->a.k - at);
            size_t stride;
            const float *a = rows_for_blas(m, row, rows, piece, at, k, own + b->a_at, &stride);
            for (int64_t p = 0, n; p < panels; p += n) {
                n = min_i64(b->panels, panels - p);
                panels_for_blas(m, panel + p, n, piece * m->a.k + at, k, columns);
                blas_product(&m->cpu->blas, rows, n * PANEL, k, a, stride, columns,
                             (size_t)(n * PANEL), piece || at, sums + p * PANEL, m->c_stride);
            }
        }
    int64_t first = max_i64(row, m->row), end = min_i64(row + rows, m->row + m->rows);
    finish_tile(m, first, end - first, panel, panels, sums + (size_t)(first - row) * m->c_stride);
}

static void run_blas(struct gemm *m) {
    struct blas_cut *b = &m->blas;
    b->first = blas_tile(b, m->row);
    b->tiles = blas_tile(b, m->row + m->rows - 1) + 1 - b->first;
    int64_t blocks = ceil_div(m->weight.count, BLAS_TOGETHER * b->panels);
    pool_run(m->cpu->pool, (size_t)(b->tiles * blocks), blas_task, m);
}

/* Lines of a band: whole tiles where it has some. */
static int64_t lines_for_blas(const struct gemm *m, int64_t lines) {
    int64_t tile = m->a.form == BAND_PICTURE ? m->blas.tile / m->a.width : m->blas.tile;
    return tile > 1 && lines > tile ? lines / tile * tile : lines;
}

/* ---- A task ------------------------------------------------------------------------------------
 */

/* A cut of the depth, and the block that it belongs to. */
struct cut {
    const struct gemm *m;
    int64_t row, rows, panel, panels;
    int64_t piece, pieces, at, k; /* of A: pieces [piece, piece + pieces), elements [at, at + k) */
    int64_t next; /* the first panel of the task that this thread is likely to do after this one */
    bool first, last;
    float *sums;
    char *unpacked;
};

static const char *panel_at(const struct cut *c, int64_t panel) {
    const struct gemm *m = c->m;
    int64_t k = c->piece * m->a.k + c->at;
    return m->b + (size_t)panel * m->weight.bytes + panel_bytes(m->type, k);
}

/* Panels that the kernel can read: as they are, or unpacked. */
static const char *panels_of(const struct cut *c, int64_t panel, int64_t panels, size_t *stride) {
    const struct gemm *m = c->m;
    *stride = m->a.type == m->type ? m->weight.bytes : m->b_bytes;
    if (m->a.type == m->type) return panel_at(c, panel);
    size_t depth = (size_t)(c->pieces * c->k);
    for (int64_t i = 0; i < panels; i++)
        m->cpu->kernels.unpack((float *)(void *)(c->unpacked + (size_t)i * m->b_bytes),
                               panel_at(c, panel + i), depth + depth % 2);
    return c->unpacked;
}

/* Has a tile fetch its share of the panels that are multiplied after these: those of the same size
 * that follow them in memory. */
static void fetch_panels(const struct cut *c, struct gemm_tile *t, int64_t panel, int64_t tile,
                         int64_t tiles) {
    const struct gemm *m = c->m;
    size_t line = PANEL * 4; /* of a panel: an f32, a pair or a four of each column */
    size_t all = line * (size_t)m->step, share = 8;
    while (share * (size_t)tiles < all && share < line) share *= 2;
    size_t done = share * (size_t)tile, steps = t->pieces * t->k * dtype_size(m->type) / 4;
    t->ahead = t->b;
    t->ahead_step = 0;
    if (done >= all || panel + m->step >= c->panel + c->panels) return;
    t->ahead = panel_at(c, panel + m->step + (int64_t)(done / line)) + done % line * steps;
    t->ahead_step = share;
}

/* The same where rows pass by all panels of the block: each tile of rows has its share fetched of
 * what is multiplied with the next cut of the depth, or first of all by the next task. */
static void fetch_cut(const struct cut *c, struct gemm_tile *t, int64_t panel, int64_t tile,
                      int64_t tiles) {
    const struct gemm *m = c->m;
    size_t cut = panel_bytes(m->type, c->pieces * c->k), count = (size_t)t->panels;
    size_t share = chk_align((size_t)ceil_div((int64_t)(count * cut), tiles), 64),
           at = share * (size_t)tile;
    size_t steps = cut / (PANEL * 4);
    const char *next = panel_at(c, panel) + cut;
    if (c->last) {
        panel += c->next - c->panel;
        next = panel < m->weight.count ? m->b + (size_t)panel * m->weight.bytes : NULL;
    }
    t->ahead = t->b;
    t->ahead_step = 0;
    if (!next || at >= count * cut) return;
    t->ahead = next + at / cut * m->weight.bytes + at % cut;
    t->ahead_step = (share + steps - 1) / steps;
}

/* Rows [row, row + rows) of the block, of one tile, by panels that are finished together, which lie
 * at b. */
static void multiply_tile(const struct cut *c, int64_t row, int64_t rows, int64_t panel,
                          int64_t panels, const char *b, size_t stride) {
    const struct gemm *m = c->m;
    int64_t left, tiles = ceil_div(c->rows, m->kernel->rows);
    const char *a = band_row(&m->a, row, &left);
    float *sums = c->sums;
    if (!m->blocks.once)
        sums += (size_t)(row - c->row) * m->c_stride + (size_t)(panel - c->panel) * PANEL;
    if (c->last) fetch_finish(m, row, rows, panel, panels);
    struct gemm_tile t = {.rows = (int)rows,
                          .k = (size_t)c->k,
                          .pieces = (size_t)c->pieces,
                          .a = a + (size_t)c->piece * m->a.piece +
                               (size_t)c->at * dtype_size(m->a.type),
                          .a_stride = m->a.row,
                          .a_piece = m->a.piece,
                          .b_stride = stride,
                          .c_stride = m->c_stride,
                          .accumulate = !c->first};
    for (int64_t p = 0; p < panels; p += m->kernel->panels) {
        t.panels = (int)min_i64(m->kernel->panels, panels - p);
        t.b = b + (size_t)p * stride;
        t.c = sums + p * PANEL;
        int64_t tile = (row - c->row) / m->kernel->rows;
        if (near_rows(m)) fetch_cut(c, &t, panel + p, tile, tiles);
        else fetch_panels(c, &t, panel, tile, tiles);
        m->kernel->run(&t);
    }
    if (c->last) finish_tile(m, row, rows, panel, panels, sums);
}

/* How many rows from `row` on are a tile: equal parts of those that are evenly spaced, or whole
 * tiles and what is left. */
static int64_t tile_rows(const struct cut *c, int64_t row) {
    int64_t left;
    band_row(&c->m->a, row, &left);
    left = min_i64(left, c->row + c->rows - row);
    if (near_rows(c->m)) return min_i64(left, c->m->kernel->rows);
    return ceil_div(left, ceil_div(left, c->m->kernel->rows));
}

/* Tile by tile: the same panels with all rows of the block, or the same rows with all panels. */
static void multiply_cut(const struct cut *c) {
    const struct gemm *m = c->m;
    const int64_t end_row = c->row + c->rows, end = c->panel + c->panels;
    size_t stride;
    if (near_rows(m)) {
        for (int64_t r = c->row, n; r < end_row; r += n) {
            n = tile_rows(c, r);
            for (int64_t p = c->panel, some; p < end; p += some) {
                some = min_i64(m->step, end - p);
                const char *b = panels_of(c, p, some, &stride);
                multiply_tile(c, r, n, p, some, b, stride);
            }
        }
        return;
    }
    for (int64_t p = c->panel, some; p < end; p += some) {
        some = min_i64(m->step, end - p);
        const char *b = panels_of(c, p, some, &stride);
        for (int64_t r = c->row, n; r < end_row; r += n) {
            n = tile_rows(c, r);
            multiply_tile(c, r, n, p, some, b, stride);
        }
    }
}

static void gemm_task(void *user, size_t task, int thread) {
    const struct gemm *m = user;
    const struct blocks *bl = &m->blocks;
    char *own = m->workspace + (size_t)thread * m->thread_bytes;
    /* Neighbouring tasks share the weights: they stay in the shared cache while rows pass by. */
    int64_t first = (int64_t)task % bl->row_blocks * bl->rows;
    struct cut c = {.m = m,
                    .row = m->row + first,
                    .rows = min_i64(bl->rows, m->rows - first),
                    .panel = (int64_t)task / bl->row_blocks * bl->panels,
                    .next = ((int64_t)task + m->cpu->threads) / bl->row_blocks * bl->panels,
                    .sums = (float *)(void *)(own + m->c_at),
                    .unpacked = own + m->b_at};
    c.panels = min_i64(bl->panels, m->weight.count - c.panel);
    for (; c.piece < m->a.pieces; c.piece += bl->pieces)
        for (c.at = 0; c.at < m->a.k; c.at += bl->k) {
            c.k = min_i64(bl->k, m->a.k - c.at);
            c.pieces = min_i64(bl->pieces, m->a.pieces - c.piece);
            c.first = c.piece == 0 && c.at == 0;
            c.last = c.piece + c.pieces == m->a.pieces && c.at + c.k == m->a.k;
            multiply_cut(&c);
        }
    gemm_leave(m->kernel);
}

size_t cpu_gemm_workspace(const struct cpu_op *o) {
    struct gemm m;
    init(&m, o);
    return m.bytes;
}

void cpu_gemm_run(const struct cpu_op *o) {
    struct gemm m;
    init(&m, o);
    struct band *a = &m.a;
    bool picture = a->form == BAND_PICTURE;
    int64_t unit = picture ? a->width : 1, from = 0, to = a->each;
    if (o->part && o->part->rows) {
        int64_t per = picture ? 1 : op_out(o)->dim[2];
        from = o->part->row * per;
        to = from + o->part->rows * per;
    }
    int64_t bands = ceil_div(to - from, a->most), lines = ceil_div(to - from, bands);
    if (m.blas.tile) lines = lines_for_blas(&m, lines);
    for (int64_t sample = 0; sample < a->samples; sample++)
        for (int64_t line = from; line < to; line += lines) {
            int64_t count = min_i64(lines, to - line);
            band_fill(a, sample, line, count);
            m.row = (sample * a->each + line) * unit;
            m.rows = count * unit;
            if (m.blas.tile) {
                run_blas(&m);
                continue;
            }
            cut_blocks(&m);
            pool_run(o->cpu->pool, (size_t)(m.blocks.row_blocks * m.blocks.panel_blocks), gemm_task,
                     &m);
        }
}
