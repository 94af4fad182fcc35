/* pack.c: weights from their stored order into panels (kernels.h). A convolution's depth runs over
 * taps first and channels within: k = (ky * kw + kx) * channels + c.
 */
#include "backend/cpu/cpu.h"

#include <string.h>

#define CHUNK 64 /* elements of a row that are converted at a time; even */

struct panels weight_panels(const struct weight *w) {
    struct panels p = {.k = 1};
    for (int i = 1; i < w->rank; i++) p.k *= w->dim[i];
    p.count = w->geglu ? 2 * ceil_div(w->dim[0] / 2, PANEL) : ceil_div(w->dim[0], PANEL);
    p.bytes = panel_bytes(w->dtype, p.k);
    return p;
}

size_t cpu_weight_size(const struct weight *w) {
    if (w->use == WEIGHT_MATRIX || w->use == WEIGHT_CONV) {
        struct panels p = weight_panels(w);
        return (size_t)p.count * p.bytes;
    }
    size_t n = dtype_size(w->dtype);
    for (int i = 0; i < w->rank; i++) n *= (size_t)w->dim[i];
    return n;
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

/* `count` rows from `stored`, elements [k, k + n) in the packed order of k, converted into block.
 */
static void read_block(const struct kernels *kernels, const struct weight *w, const char *stored,
                       enum dtype from, int64_t depth, int64_t count, int64_t k, int64_t n,
                       char *block) {
    size_t from_size = dtype_size(from), size = dtype_size(w->dtype);
    int64_t taps = w->use == WEIGHT_CONV ? w->dim[2] * w->dim[3] : 1, channels = w->dim[1];
    for (int64_t r = 0; r < count; r++) {
        const char *row = stored + (size_t)(r * depth) * from_size;
        char *to = block + (size_t)(r * CHUNK) * size;
        if (taps == 1) {
            kernels->convert(to, w->dtype, row + (size_t)k * from_size, from, (size_t)n);
            continue;
        }
        char gathered[CHUNK * 4];
        for (int64_t i = 0; i < n; i++) {
            int64_t tap = (k + i) / channels, c = (k + i) % channels;
            memcpy(gathered + (size_t)i * from_size, row + (size_t)(c * taps + tap) * from_size,
                   from_size);
        }
        kernels->convert(to, w->dtype, gathered, from, (size_t)n);
    }
}

/* Rows that fill one panel from its first column, or some of its columns when a piece ended inside
 * (only a GEGLU's halves can: pieces are multiples of PANEL). */
static void pack_rows(const struct kernels *kernels, const struct weight *w, const char *stored,
                      enum dtype from, int64_t depth, int64_t column, int64_t count, char *panel) {
    size_t size = dtype_size(w->dtype);
    char block[PANEL * CHUNK * 4], piece[PANEL * CHUNK * 4];
    for (int64_t k = 0; k < depth; k += CHUNK) {
        int64_t n = min_i64(CHUNK, depth - k);
        char *to = panel + panel_bytes(w->dtype, k);
        read_block(kernels, w, stored, from, depth, count, k, n, block);
        if (column == 0) {
            kernels->pack_panel(to, block, CHUNK, (int)count, (size_t)n, w->dtype);
            continue;
        }
        kernels->pack_panel(piece, block, CHUNK, (int)count, (size_t)n, w->dtype);
        size_t unit = w->dtype == DTYPE_BF16 ? 2 * size : size; /* a column's share of a line */
        for (size_t at = 0; at < panel_bytes(w->dtype, n); at += PANEL * unit)
            memcpy(to + at + (size_t)column * unit, piece + at, (size_t)count * unit);
    }
}

void cpu_pack(const struct kernels *kernels, const struct weight *w, int64_t row, int64_t rows,
              const void *stored, enum dtype from, void *packed) {
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
        int64_t column, left, panel = panel_of(w, row + done, &column, &left);
        int64_t count = min_i64(left, rows - done);
        pack_rows(kernels, w, at, from, p.k, column, count,
                  (char *)packed + (size_t)panel * p.bytes);
        at += (size_t)(count * p.k) * dtype_size(from);
        done += count;
    }
}
