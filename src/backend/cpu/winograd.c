/* winograd.c: CONV. Most 3x3 convolutions of stride 1 go by Winograd's minimal filtering
 * F(2x2, 3x3) (Lavin and Gray 2015, arXiv 1509.09308): 16 products for each 2x2 pixels of the
 * output instead of 36. Tiles of 4x4 pixels of a band of the input (band.h) become 16 terms each;
 * each term of all tiles is multiplied with the same term of the weights, which a task makes for
 * its columns from the packed taps; 16 sums become four pixels, which are finished at once. All
 * other convolutions are plain products (gemm.c).
 *
 * Invariant: tiles begin at even rows and columns of the output, and a sum is one chain over the
 * channels, so bits depend on shapes alone.
 */
#include "backend/cpu/band.h"
#include "backend/cpu/finisher.h"

#define TERMS 16
#define CHANNELS 32                    /* at least, in and out, or transforming costs too much */
#define INPUT_BYTES ((size_t)12 << 20) /* for terms of tiles at a time, about, at most */
#define INPUT_TILES 512                /* enough that making terms of weights again costs little */
#define FINISH_TILES 16                /* that are finished at a time */
#define GAP 64                         /* bytes, so that terms do not fall on the same cache sets */
#define TASKS_A_THREAD 6               /* as many at least, where they would not come out even */

struct winograd {
    const struct cpu_op *o;
    const struct kernels *kernels;
    const struct gemm_kernel *kernel;
    struct band band;
    struct panels weight; /* count: of the part */
    struct finisher finisher;
    enum dtype type, as;            /* of the weights, and of what is multiplied */
    int64_t channels, across, down; /* tiles in a row; rows of tiles of a sample in this run, ... */
    int64_t from;                   /* the first of them */
    int64_t first_panel, end_col, step; /* panels that are multiplied together */
    int64_t room, row, rows; /* rows of tiles, of all samples: at a time; at hand: first, count */
    int64_t filled;          /* of them, before the band at hand */
    int64_t block, blocks;   /* tiles whose sums a thread holds; tasks for the same columns */
    size_t tile, input_step; /* bytes of terms: from tile to tile, from term to term */
    size_t panel, weight_step, sums_step; /* bytes, bytes, floats */
    size_t acc_row;                       /* floats */
    size_t input_at, weights_at, sums_at, acc_at, threads_at, thread_bytes, bytes;
};

/* A library for f32 products is left those that it would do, and a kernel what it does faster. */
static bool can(const struct cpu_op *o) {
    const struct op *op = o->op;
    const struct weight *w = &o->g->weights[op->w];
    const struct tensor *out = op_out(o);
    bool narrow = w->dtype == DTYPE_BF16 && o->cpu->kernels.gemm_bf16.run;
    if (narrow ? o->cpu->kernels.gemm_bf16.plain_conv : o->cpu->blas.sgemm != NULL) return false;
    return op->kernel == 3 && op->stride == 1 && w->dim[1] >= CHANNELS && w->dim[1] % 2 == 0 &&
           w->dim[0] >= CHANNELS && out->dim[1] % 2 == 0 && out->dim[2] % 2 == 0;
}

/* Of scratch: terms of the input for all threads; of a thread terms of weights, sums and pixels. */
static void lay_out(struct winograd *w) {
    size_t step = (size_t)w->step;
    w->tile = (size_t)w->channels * dtype_size(w->as) + GAP;
    int64_t most = min_i64((int64_t)(INPUT_BYTES / (TERMS * w->tile)), INPUT_TILES) / w->across;
    w->room = min_i64(max_i64(1, most), w->band.samples * w->down);
    w->input_step = (size_t)(w->room * w->across) * w->tile + GAP;
    w->input_at = scratch(&w->bytes, TERMS * w->input_step);
    w->panel = panel_bytes(w->as, w->channels);
    w->weight_step = step * w->panel + GAP;
    w->weights_at = scratch(&w->thread_bytes, TERMS * w->weight_step);
    most = (int64_t)(w->o->cpu->caches.l2 / 2 / (TERMS * step * PANEL * sizeof(float)));
    w->block = min_i64(max_i64(FINISH_TILES, most), w->room * w->across);
    w->sums_step = (size_t)w->block * step * PANEL + GAP / sizeof(float);
    w->sums_at = scratch(&w->thread_bytes, TERMS * w->sums_step * sizeof(float));
    w->acc_row = step * PANEL + GAP / sizeof(float);
    w->acc_at = scratch(&w->thread_bytes, 4 * FINISH_TILES * w->acc_row * sizeof(float));
    w->threads_at = scratch(&w->bytes, w->thread_bytes * (size_t)w->o->cpu->threads);
}

static void init(struct winograd *w, const struct cpu_op *o) {
    const struct weight *weight = &o->g->weights[o->op->w];
    const struct tensor *out = op_out(o);
    *w = (struct winograd){.o = o,
                           .kernels = &o->cpu->kernels,
                           .type = weight->dtype,
                           .channels = weight->dim[1],
                           .across = out->dim[2] / 2,
                           .down = out->dim[1] / 2,
                           .end_col = tensor_width(out)};
    w->kernel = gemm_for(w->kernels, w->type, &w->as);
    w->step = w->kernel->panels;
    w->weight = weight_panels(weight);
    if (o->part && o->part->rows) {
        w->from = o->part->row / 2;
        w->down = ceil_div(o->part->rows, 2);
    }
    band_init(&w->band, o, w->as, &w->bytes);
    lay_out(w);
    if (o->part && o->part->count) {
        w->first_panel = o->part->first / PANEL;
        w->end_col = min_i64(w->end_col, o->part->first + o->part->count);
        w->weight.count = ceil_div(w->end_col - o->part->first, PANEL);
    }
    finisher_init(&w->finisher, o);
    w->finisher.whole.acc_stride = w->acc_row;
}

/* One row of tiles of the band at hand. */
static void input_task(void *user, size_t task, int thread) {
    (void)thread;
    const struct winograd *w = user;
    size_t tile = ((size_t)w->filled + task) * (size_t)w->across;
    const struct winograd_input in = {.x = w->band.at + 2 * task * w->band.piece,
                                      .type = w->as,
                                      .line = w->band.piece,
                                      .pixel = w->band.pixel,
                                      .tiles = (size_t)w->across,
                                      .channels = (size_t)w->channels,
                                      .out = w->o->workspace + w->input_at + tile * w->tile,
                                      .out_tile = w->tile,
                                      .out_step = w->input_step};
    w->kernels->winograd_input(&in);
}

/* Tiles [tile, tile + tiles) of those at hand, which are of one row, from their sums. */
static void finish_tiles(const struct winograd *w, int64_t tile, int64_t tiles, int64_t panel,
                         int64_t panels, const float *sums, float *acc) {
    int64_t row = w->row + tile / w->across, x = tile % w->across * 2;
    int64_t y = (w->from + row % w->down) * 2, width = w->across * 2;
    int64_t col = (w->first_panel + panel) * PANEL;
    size_t line = (size_t)(2 * tiles) * w->acc_row;
    const struct winograd_output out = {.sums = sums,
                                        .step = w->sums_step,
                                        .stride = (size_t)w->step * PANEL,
                                        .tiles = (size_t)tiles,
                                        .cols = (size_t)(panels * PANEL),
                                        .out = acc,
                                        .out_line = line,
                                        .out_pixel = w->acc_row};
    w->kernels->winograd_output(&out);
    int64_t first = (row / w->down * w->band.each + y) * width + x;
    int64_t cols = min_i64(panels * PANEL, w->end_col - col);
    for (int64_t i = 0; i < 2; i++, first += width, acc += line)
        finisher_part(&w->finisher, first, 2 * tiles, col, cols, acc, NULL);
}

/* All terms of tiles [tile, tile + tiles) of those at hand. A narrow product's panel should stay in
 * the first cache: see gemm.c. */
static void multiply(const struct winograd *w, int64_t tile, int64_t tiles, int64_t panels,
                     const char *weights, float *sums) {
    size_t size = dtype_size(w->as);
    int64_t cut = w->kernel->near == NEAR_NEITHER ? w->channels : 256;
    for (size_t term = 0; term < TERMS; term++)
        for (int64_t k = 0; k < w->channels; k += cut) {
            const struct gemm_tile all = {
                .k = (size_t)min_i64(cut, w->channels - k),
                .a = w->o->workspace + w->input_at + term * w->input_step + (size_t)tile * w->tile +
                     (size_t)k * size,
                .a_stride = w->tile,
                .b = weights + term * w->weight_step + panel_bytes(w->as, k),
                .b_stride = w->panel,
                .c = sums + term * w->sums_step,
                .c_stride = (size_t)w->step * PANEL,
                .accumulate = k > 0};
            gemm_tiles(w->kernel, &all, tiles, panels);
        }
}

/* Some panels, and a share of the tiles at hand. */
static void multiply_task(void *user, size_t task, int thread) {
    const struct winograd *w = user;
    char *own = w->o->workspace + w->threads_at + (size_t)thread * w->thread_bytes;
    char *weights = own + w->weights_at;
    float *sums = (float *)(void *)(own + w->sums_at), *acc = (float *)(void *)(own + w->acc_at);
    const char *packed = op_weight(w->o, w->o->op->w);
    int64_t panel = (int64_t)task / w->blocks * w->step, all = w->rows * w->across;
    int64_t panels = min_i64(w->step, w->weight.count - panel);
    int64_t share = ceil_div(all, w->blocks), first = (int64_t)task % w->blocks * share;
    int64_t end = min_i64(first + share, all);
    for (int64_t i = 0; i < panels; i++)
        w->kernels->winograd_weights(weights + (size_t)i * w->panel, w->weight_step, w->as,
                                     packed + (size_t)(panel + i) * w->weight.bytes, w->type,
                                     (size_t)w->channels);
    for (int64_t tile = first, n; tile < end; tile += n) {
        n = ceil_div(end - tile, ceil_div(end - tile, w->block));
        multiply(w, tile, n, panels, weights, sums);
        for (int64_t done = 0, count; done < n; done += count) {
            count = min_i64(n - done, w->across - (tile + done) % w->across);
            count = min_i64(count, FINISH_TILES);
            finish_tiles(w, tile + done, count, panel, panels,
                         sums + (size_t)(done * w->step * PANEL), acc);
        }
    }
    gemm_leave(w->kernel);
}

/* Rows of tiles at hand become terms, band by band. */
static void make_terms(struct winograd *w) {
    int64_t lines;
    for (w->filled = 0; w->filled < w->rows; w->filled += lines) {
        int64_t row = w->row + w->filled, y = row % w->down;
        lines = min_i64(min_i64(w->rows - w->filled, w->down - y), w->band.most / 2);
        band_fill(&w->band, row / w->down, 2 * (w->from + y), 2 * lines);
        pool_run(w->o->cpu->pool, (size_t)lines, input_task, w);
    }
}

size_t cpu_conv_workspace(const struct cpu_op *o) {
    if (!can(o)) return cpu_gemm_workspace(o);
    struct winograd w;
    init(&w, o);
    return w.bytes;
}

void cpu_conv_run(const struct cpu_op *o) {
    if (!can(o)) {
        cpu_gemm_run(o);
        return;
    }
    struct winograd w;
    init(&w, o);
    int64_t all = w.band.samples * w.down, passes = ceil_div(all, w.room);
    int64_t groups = ceil_div(w.weight.count, w.step), threads = o->cpu->threads;
    for (w.blocks = 1; groups * w.blocks % threads && groups * w.blocks < TASKS_A_THREAD * threads;)
        w.blocks++;
    for (; w.row < all; w.row += w.rows) {
        w.rows = min_i64(ceil_div(all, passes), all - w.row);
        make_terms(&w);
        pool_run(o->cpu->pool, (size_t)(groups * w.blocks), multiply_task, &w);
    }
}
