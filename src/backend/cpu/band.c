/* band.c: see band.h. */
#include "backend/cpu/band.h"

#include <string.h>

#define BAND_BYTES ((size_t)4 << 20)
#define LINE_GAP 64 /* bytes between rows, so that they do not fall on the same cache sets */
#define ROWS 16     /* of a task that makes rows */
#define NARROW 256  /* elements that are rounded to bf16 at a time before they are widened again */

/* Rows are pixels, one after the other: neither kernel nor padding. */
static bool is_flat(const struct op *op) {
    return op->kind == OP_LINEAR ||
           (op->kernel == 1 && op->stride == 1 && op->upsample == 1 && op->pad_before == 0);
}

static bool has_stats(const struct op *op) {
    return op->kind == OP_CONV && op->in[2] != NO_TENSOR;
}

/* Lines of the input that `lines` lines of the output look at. */
static int64_t lines_under(const struct op *op, int64_t lines) {
    return (lines - 1) * op->stride + op->kernel;
}

static void init_rows(struct band *b) {
    const struct cpu_op *o = b->o;
    const struct tensor *x = op_in(o, 0), *out = op_out(o);
    int64_t depth = b->channels * (b->form == BAND_PATCHES ? o->op->kernel * o->op->kernel : 1);
    bool plain = o->op->kind == OP_LINEAR || (o->op->in[1] == NO_TENSOR && !has_stats(o->op));
    size_t size = dtype_size(b->type), stride = (size_t)depth * size;
    b->pieces = b->samples = 1;
    b->k = panel_depth(b->type, depth);
    b->width = b->each = tensor_rows(out);
    b->row = chk_align((size_t)b->k * size, 64) + LINE_GAP;
    /* Rows a multiple of 4 KiB apart would share one set of the first cache; a BLAS copies them. */
    bool spread = stride % 4096 || o->cpu->blas.sgemm;
    if (b->form == BAND_ROWS && plain && x->dtype == b->type && b->k == depth && spread) {
        b->form = BAND_IN_PLACE;
        b->row = stride;
        b->most = b->each;
    } else b->most = max_i64(1, (int64_t)(BAND_BYTES / b->row));
}

static void init_picture(struct band *b) {
    const struct op *op = b->o->op;
    const struct tensor *out = op_out(b->o);
    b->samples = out->dim[0];
    b->each = out->dim[1];
    b->width = out->dim[2];
    b->columns = lines_under(op, b->width);
    b->pieces = op->kernel;
    b->k = op->kernel * b->channels;
    b->row = (size_t)op->stride * b->pixel;
    b->piece = chk_align((size_t)b->columns * b->pixel, 64) + LINE_GAP;
    b->line = (size_t)op->stride * b->piece;
    b->most = max_i64(op->kernel + 1, (int64_t)(BAND_BYTES / b->piece)) - op->kernel;
    b->most = b->most / op->stride + 1;
}

/* Of the part that runs, in whole pairs (winograd.c). A BLAS is given the same pieces whatever
 * runs.
 */
static int64_t lines_at_most(const struct band *b) {
    const struct cpu_op *o = b->o;
    if (!o->part || !o->part->rows || o->cpu->blas.sgemm) return b->each;
    int64_t lines = o->part->rows + o->part->rows % 2;
    return min_i64(b->each, b->form == BAND_PICTURE ? lines : lines * op_out(o)->dim[2]);
}

void band_init(struct band *b, const struct cpu_op *o, enum dtype type, size_t *used) {
    const struct op *op = o->op;
    const struct weight *w = &o->g->weights[op->w];
    const struct tensor *x = op_in(o, 0);
    *b = (struct band){.o = o, .type = type, .channels = w->dim[1]};
    b->pixel = (size_t)b->channels * dtype_size(type);
    if (op->kind == OP_CONV) {
        b->up_h = x->dim[1] * op->upsample - op->drop_h;
        b->up_w = x->dim[2] * op->upsample - op->drop_w;
    }
    int64_t line = op->kind == OP_CONV ? op->kernel * b->channels : 0;
    if (is_flat(op)) b->form = BAND_ROWS;
    else if (panel_depth(w->dtype, line) != line) b->form = BAND_PATCHES;
    else b->form = BAND_PICTURE;
    if (b->form == BAND_PICTURE) init_picture(b);
    else init_rows(b);
    b->most = min_i64(b->most, lines_at_most(b));
    if (b->form == BAND_IN_PLACE) {
        b->at = op_data(o, op->in[0]);
        return;
    }
    size_t bytes = b->form == BAND_PICTURE ? (size_t)lines_under(op, b->most) * b->piece
                                           : (size_t)b->most * b->row;
    b->offset = scratch(used, bytes);
    if (type == DTYPE_I8) b->scales = scratch(used, (size_t)b->most * sizeof(float));
}

/* ---- Making one --------------------------------------------------------------------------------
 */

struct fill {
    const struct band *b;
    char *to;
    float *scale;                 /* int8: of each row */
    int64_t sample, first, count; /* lines of the doubled picture, or rows */
};

/* `count` pixels of one input, normalised to the graph's dtype, to `to`, `stride` bytes apart. */
static void normalise(const struct band *b, int second, int64_t pixel, int64_t count, char *to,
                      size_t stride) {
    const struct cpu_op *o = b->o;
    const struct tensor *x = op_in(o, 0), *own = op_in(o, second);
    int64_t sample = pixel / (x->dim[1] * x->dim[2]), width = tensor_width(own);
    const float *scale = (const float *)op_data(o, o->op->in[2]) + sample * 2 * b->channels +
                         (second ? tensor_width(x) : 0);
    const float *shift = scale + b->channels;
    const char *from = (const char *)op_data(o, o->op->in[second]) +
                       (size_t)(pixel * width) * dtype_size(own->dtype);
    if (b->type == o->g->dtype) {
        o->cpu->kernels.scale_shift(to, stride / dtype_size(b->type), from, (size_t)width,
                                    own->dtype, b->type, (size_t)count, (size_t)width, scale, shift,
                                    o->op->in_act);
        return;
    }
    for (int64_t p = 0; p < count; p++)
        for (int64_t c = 0; c < width; c += NARROW) {
            uint16_t rounded[NARROW];
            size_t n = (size_t)min_i64(NARROW, width - c);
            o->cpu->kernels.scale_shift(
                rounded, n, from + (size_t)(p * width + c) * dtype_size(own->dtype), n, own->dtype,
                o->g->dtype, 1, n, scale + c, shift + c, o->op->in_act);
            o->cpu->kernels.convert(to + (size_t)p * stride + (size_t)c * dtype_size(b->type),
                                    b->type, rounded, o->g->dtype, n);
        }
}

/* `count` pixels of one sample, from number `pixel` of the stored ones on, `stride` bytes apart. */
static void fill_pixels(const struct band *b, int64_t pixel, int64_t count, char *to,
                        size_t stride) {
    const struct cpu_op *o = b->o;
    for (int i = 0; i < 2 && (i == 0 || (o->op->kind == OP_CONV && op_in(o, 1))); i++) {
        const struct tensor *x = op_in(o, i);
        size_t width = (size_t)tensor_width(x), size = dtype_size(x->dtype);
        const char *from = (const char *)op_data(o, o->op->in[i]) + (size_t)pixel * width * size;
        if (has_stats(o->op)) normalise(b, i, pixel, count, to, stride);
        else
            for (int64_t p = 0; p < count; p++, from += width * size)
                o->cpu->kernels.convert(to + (size_t)p * stride, b->type, from, x->dtype, width);
        to += width * dtype_size(b->type);
    }
}

static void fill_line(void *user, size_t task, int thread) {
    (void)thread;
    const struct fill *f = user;
    const struct band *b = f->b;
    const struct op *op = b->o->op;
    const struct tensor *x = op_in(b->o, 0);
    int64_t y = f->first + (int64_t)task, pad = op->pad_before;
    char *to = f->to + task * b->piece;
    if (y < 0 || y >= b->up_h) {
        memset(to, 0, b->piece);
        return;
    }
    int64_t seen = min_i64(b->up_w, b->columns - pad);
    char *end = to + (size_t)(pad + seen) * b->pixel;
    int64_t first = (f->sample * x->dim[1] + y / op->upsample) * x->dim[2];
    memset(to, 0, (size_t)pad * b->pixel);
    memset(end, 0, (size_t)(to + b->piece - end));
    to += (size_t)pad * b->pixel;
    if (op->upsample == 1) {
        fill_pixels(b, first, seen, to, b->pixel);
        return;
    }
    for (int64_t i = 0; i < seen; i++, to += b->pixel)
        if (i % 2) memcpy(to, to - b->pixel, b->pixel);
        else fill_pixels(b, first + i / 2, 1, to, b->pixel);
}

/* Row `row` of A as bytes, with a scale of its own, which is returned. */
static float fill_bytes(const struct band *b, int64_t row, char *to) {
    const struct kernels *kernels = &b->o->cpu->kernels;
    const struct tensor *x = op_in(b->o, 0);
    size_t width = (size_t)tensor_width(x);
    const char *from =
        (const char *)op_data(b->o, b->o->op->in[0]) + (size_t)row * width * dtype_size(x->dtype);
    float by, scale = i8_scale(kernels->peak(from, x->dtype, width), &by);
    kernels->quantise((uint8_t *)to, from, x->dtype, width, by);
    return scale;
}

/* All taps of row `row` of A. */
static void fill_patch(const struct band *b, int64_t row, char *to) {
    const struct op *op = b->o->op;
    const struct tensor *x = op_in(b->o, 0), *out = op_out(b->o);
    int64_t ox = row % out->dim[2], oy = row / out->dim[2] % out->dim[1];
    int64_t sample = row / out->dim[2] / out->dim[1];
    for (int64_t tap = 0; tap < op->kernel * op->kernel; tap++, to += b->pixel) {
        int64_t v = oy * op->stride - op->pad_before + tap / op->kernel;
        int64_t u = ox * op->stride - op->pad_before + tap % op->kernel;
        if (v < 0 || v >= b->up_h || u < 0 || u >= b->up_w) memset(to, 0, b->pixel);
        else
            fill_pixels(b, (sample * x->dim[1] + v / op->upsample) * x->dim[2] + u / op->upsample,
                        1, to, b->pixel);
    }
}

static void fill_rows(void *user, size_t task, int thread) {
    (void)thread;
    const struct fill *f = user;
    const struct band *b = f->b;
    int64_t first = (int64_t)task * ROWS, end = min_i64(first + ROWS, f->count);
    size_t used = b->pixel;
    if (b->form == BAND_PATCHES) used *= (size_t)(b->o->op->kernel * b->o->op->kernel);
    for (int64_t i = first; i < end; i++) {
        char *to = f->to + (size_t)i * b->row;
        if (b->type == DTYPE_I8) f->scale[i] = fill_bytes(b, f->first + i, to);
        else if (b->form == BAND_PATCHES) fill_patch(b, f->first + i, to);
        else fill_pixels(b, f->first + i, 1, to, b->row);
        memset(to + used, 0, b->row - LINE_GAP - used);
    }
}

void band_fill(struct band *b, int64_t sample, int64_t line, int64_t lines) {
    if (b->form == BAND_IN_PLACE) return;
    const struct cpu_op *o = b->o;
    struct fill f = {.b = b,
                     .to = o->workspace + b->offset,
                     .scale = (float *)(void *)(o->workspace + b->scales),
                     .sample = sample,
                     .first = line,
                     .count = lines};
    b->at = f.to;
    if (b->form != BAND_PICTURE) {
        b->first = line;
        b->scale = f.scale;
        pool_run(o->cpu->pool, (size_t)ceil_div(lines, ROWS), fill_rows, &f);
        return;
    }
    b->first = (sample * b->each + line) * b->width;
    f.first = line * o->op->stride - o->op->pad_before;
    pool_run(o->cpu->pool, (size_t)lines_under(o->op, lines), fill_line, &f);
}
