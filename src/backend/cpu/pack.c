/* pack.c: weights from their stored order into panels (kernels.h). A convolution's depth runs over
 * taps first and channels within: k = (ky * kw + kx) * channels + c.
 */
#include "backend/cpu/bits.h"
#include "backend/cpu/cpu.h"

#include <string.h>

#define CHUNK 64 /* elements of a row that are converted at a time; even */

struct panels weight_panels(const struct weight *w) {
    struct panels p = {.k = 1};
    for (int i = 1; i < w->rank; i++) p.k *= w->dim[i];
    p.count = w->geglu ? 2 * ceil_div(w->dim[0] / 2, PANEL) : ceil_div(w->dim[0], PANEL);
    p.bytes = panel_bytes(w->dtype, p.k);
    if (w->dtype == DTYPE_I8) p.bytes += sizeof(struct i8_tail);
    return p;
}

size_t cpu_weight_size(const struct weight *w) {
    if (w->use == WEIGHT_MATRIX || w->use == WEIGHT_CONV) {
        struct panels p = weight_panels(w);
        return (size_t)p.count * p.bytes;
    }
    size_t n = dtype_size(w->dtype) * (size_t)(w->picked ? w->picked : w->dim[0]);
    for (int i = 1; i < w->rank; i++) n *= (size_t)w->dim[i];
    return n;
}

/* Panels of so many columns of the output: twice as many where each column has a gate. */
static int64_t panels_before(const struct weight *w, int64_t columns) {
    return columns / PANEL * (w->geglu ? 2 : 1);
}

size_t cpu_part_size(const struct weight *w) {
    bool panels = w->use == WEIGHT_MATRIX || w->use == WEIGHT_CONV;
    return panels ? (size_t)panels_before(w, BACKEND_PACK_ROWS) * weight_panels(w).bytes : 0;
}

/* Panel of a stored row and its column there; *left is how many rows from it on go to the same
 * panel. */
static int64_t panel_of(const struct weight *w, int64_t row, int64_t *column, int64_t *left) {
    int64_t half = w->geglu ? w->dim[0] / 2 : w->dim[0];
    int64_t r = row % half;
    *column = r % PANEL;
    *left = min_i64(PANEL - *column, half - r);
    return w->geglu ? r / PANEL * 2 + row / half : r / PANEL;
}

void cpu_pack_panel(const struct kernels *k, void *panel, enum dtype to, const void *rows,
                    enum dtype from, size_t stride, int cols, size_t depth) {
    if (to == from) {
        k->pack_panel(panel, rows, stride, cols, depth, to);
        return;
    }
    char block[PANEL * CHUNK * 4];
    for (size_t i = 0; i < depth; i += CHUNK) {
        size_t n = depth - i < CHUNK ? depth - i : CHUNK;
        for (size_t r = 0; r < (size_t)cols; r++)
            k->convert(block + r * CHUNK * dtype_size(to), to,
                       (const char *)rows + (r * stride + i) * dtype_size(from), from, n);
        k->pack_panel((char *)panel + panel_bytes(to, (int64_t)i), block, CHUNK, cols, n, to);
    }
}

/* A convolution's rows: each chunk is gathered in the packed order first. */
static void pack_taps(const struct kernels *kernels, const struct weight *w, const char *stored,
                      enum dtype from, int64_t depth, int64_t cols, char *panel) {
    int64_t channels = w->dim[1], taps = depth / channels;
    size_t size = dtype_size(from);
    char block[PANEL * CHUNK * 4];
    for (int64_t k = 0; k < depth; k += CHUNK) {
        int64_t n = min_i64(CHUNK, depth - k);
        for (int64_t r = 0; r < cols; r++)
            for (int64_t i = 0; i < n; i++) {
                int64_t tap = (k + i) / channels, c = (k + i) % channels;
                memcpy(block + (size_t)(r * CHUNK + i) * size,
                       stored + (size_t)(r * depth + c * taps + tap) * size, size);
            }
        cpu_pack_panel(kernels, panel + panel_bytes(w->dtype, k), w->dtype, block, from, CHUNK,
                       (int)cols, (size_t)n);
    }
}

/* A GEGLU's half may begin inside a piece, so that a piece's rows begin inside a panel: the columns
 * that are there already stay. */
static void pack_columns(const struct kernels *kernels, const struct weight *w, const char *stored,
                         enum dtype from, int64_t depth, int64_t column, int64_t count,
                         char *panel) {
    const size_t unit = 4, line = PANEL * unit; /* an f32, or a pair of bf16 */
    char piece[PANEL * CHUNK * 4];
    for (int64_t k = 0; k < depth; k += CHUNK) {
        int64_t n = min_i64(CHUNK, depth - k);
        cpu_pack_panel(kernels, piece, w->dtype, stored + (size_t)k * dtype_size(from), from,
                       (size_t)depth, (int)count, (size_t)n);
        char *to = panel + panel_bytes(w->dtype, k) + (size_t)column * unit;
        for (size_t at = 0; at < panel_bytes(w->dtype, n); at += line)
            memcpy(to + at, piece + at, (size_t)count * unit);
    }
}

void cpu_pack(const struct kernels *kernels, const struct weight *w, int64_t column, int64_t row,
              int64_t rows, const void *stored, enum dtype from, void *packed) {
    if (w->use == WEIGHT_VECTOR || w->use == WEIGHT_TABLE) {
        size_t width = 1;
        for (int i = 1; i < w->rank; i++) width *= (size_t)w->dim[i];
        kernels->convert((char *)packed + (size_t)row * width * dtype_size(w->dtype), w->dtype,
                         stored, from, (size_t)rows * width);
        return;
    }
    struct panels p = weight_panels(w);
    const char *at = stored;
    for (int64_t done = 0; done < rows;) {
        int64_t inside, left, panel = panel_of(w, row + done, &inside, &left);
        int64_t count = min_i64(left, rows - done);
        char *to = (char *)packed + (size_t)(panel - panels_before(w, column)) * p.bytes;
        if (w->dtype == DTYPE_I8) cpu_pack_i8(kernels, at, from, p.k, inside, count, to);
        else if (inside) pack_columns(kernels, w, at, from, p.k, inside, count, to);
        else if (w->use == WEIGHT_CONV) pack_taps(kernels, w, at, from, p.k, count, to);
        else cpu_pack_panel(kernels, to, w->dtype, at, from, (size_t)p.k, (int)count, (size_t)p.k);
        at += (size_t)(count * p.k) * dtype_size(from);
        done += count;
    }
}

/* Element k of a column. */
static float panel_at(const char *panel, enum dtype type, int64_t k, int64_t column) {
    if (type == DTYPE_F32) return ((const float *)(const void *)panel)[k * PANEL + column];
    const uint16_t *pairs = (const uint16_t *)(const void *)panel;
    return bf16_to_f32(pairs[(k / 2 * PANEL + column) * 2 + k % 2]);
}

void cpu_unpack(const struct weight *w, int64_t column, int64_t row, int64_t rows,
                const void *packed, float *stored) {
    struct panels p = weight_panels(w);
    int64_t channels = w->dim[1], taps = p.k / channels;
    for (int64_t done = 0; done < rows; done++, stored += p.k) {
        int64_t inside, left, panel = panel_of(w, row + done, &inside, &left);
        const char *from =
            (const char *)packed + (size_t)(panel - panels_before(w, column)) * p.bytes;
        for (int64_t tap = 0; tap < taps; tap++)
            for (int64_t c = 0; c < channels; c++)
                stored[c * taps + tap] = panel_at(from, w->dtype, tap * channels + c, inside);
    }
}
