/* patches.c: see patches.h. */
#include "backend/cpu/patches.h"

#include <string.h>

void patches_init(struct patches *p, const struct cpu_op *o) {
    const struct op *op = o->op;
    const struct tensor *x = op_in(o, 0);
    *p = (struct patches){.x = op_data(o, op->in[0]),
                          .type = x->dtype,
                          .c = tensor_width(x),
                          .kernel = 1,
                          .stride = 1,
                          .up = 1};
    if (op->kind == OP_LINEAR) {
        p->h = p->up_h = p->out_h = 1;
        p->w = p->up_w = p->out_w = tensor_rows(x);
        return;
    }
    const struct tensor *x2 = op_in(o, 1), *out = op_out(o);
    p->x2 = op_data(o, op->in[1]);
    p->c2 = x2 ? tensor_width(x2) : 0;
    p->h = x->dim[1];
    p->w = x->dim[2];
    p->up = op->upsample;
    p->up_h = p->h * p->up - op->drop_h;
    p->up_w = p->w * p->up - op->drop_w;
    p->out_h = out->dim[1];
    p->out_w = out->dim[2];
    p->kernel = op->kernel;
    p->stride = op->stride;
    p->pad = op->pad_before;
}

/* Where the stored pixel under a tap lies, in pixels from the first one; -1: in the padding. */
static int64_t source(const struct patches *p, int64_t n, int64_t oy, int64_t ox, int64_t tap) {
    int64_t y = oy * p->stride - p->pad + tap / p->kernel;
    int64_t x = ox * p->stride - p->pad + tap % p->kernel;
    if (y < 0 || y >= p->up_h || x < 0 || x >= p->up_w) return -1;
    if (p->up == 2) y >>= 1, x >>= 1;
    return (n * p->h + y) * p->w + x;
}

/* One row: segments of a tap's channels in x, then in x2. */
static void gather_row(const struct patches *p, const struct kernels *kernels, int64_t n,
                       int64_t oy, int64_t ox, int64_t k, int64_t count, enum dtype type,
                       char *to) {
    size_t size = dtype_size(type), from_size = dtype_size(p->type);
    int64_t channels = p->c + p->c2, tap = k / channels, c = k % channels;
    while (count > 0) {
        bool second = c >= p->c;
        int64_t length = min_i64(count, (second ? channels : p->c) - c);
        int64_t at = source(p, n, oy, ox, tap);
        if (at < 0) memset(to, 0, (size_t)length * size);
        else {
            const char *from = second ? p->x2 + (size_t)(at * p->c2 + c - p->c) * from_size
                                      : p->x + (size_t)(at * p->c + c) * from_size;
            kernels->convert(to, type, from, p->type, (size_t)length);
        }
        to += (size_t)length * size;
        count -= length;
        c += length;
        if (c == channels) c = 0, tap++;
    }
}

void patches_gather(const struct patches *p, const struct kernels *kernels, int64_t row,
                    int64_t rows, int64_t k, int64_t n, enum dtype type, char *to, size_t stride) {
    int64_t ox = row % p->out_w, oy = row / p->out_w % p->out_h, image = row / p->out_w / p->out_h;
    size_t size = dtype_size(type);
    for (int64_t r = 0; r < rows; r++, to += stride) {
        gather_row(p, kernels, image, oy, ox, k, n, type, to);
        if (n % 2) memset(to + (size_t)n * size, 0, size);
        if (++ox < p->out_w) continue;
        ox = 0;
        if (++oy < p->out_h) continue;
        oy = 0;
        image++;
    }
}
