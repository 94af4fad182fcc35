/* pack_i8.c: weights into int8 panels (kernels.h): each output column with a scale of its own, its
 * largest magnitude over 127. They are linear layers: a row lies as it is
 * stored.
 */
#include "backend/cpu/cpu.h"

#include <string.h>

#define CHUNK 256 /* elements of a row that are quantised at a time; of four */

/* n elements of a row as bytes, and their sum; what fills up the last four is zero. */
static int32_t quantise(const struct kernels *k, const void *from, enum dtype type, size_t n,
                        float by, int8_t *bytes) {
    uint8_t *to = (uint8_t *)bytes;
    int32_t sum = 0;
    k->quantise(to, from, type, n, by);
    for (size_t i = 0; i < n; i++) sum += bytes[i] = (int8_t)(to[i] ^ (k->i8_zero ? 0x80 : 0));
    for (size_t i = n; i % 4; i++) bytes[i] = 0;
    return sum;
}

void cpu_pack_i8(const struct kernels *kernels, const void *rows, enum dtype from, int64_t depth,
                 int64_t column, int64_t count, char *panel) {
    const size_t all = (size_t)depth, size = dtype_size(from);
    const char *stored = rows;
    char piece[PANEL * CHUNK];
    int8_t bytes[PANEL * CHUNK];
    struct i8_tail *tail = (struct i8_tail *)(void *)(panel + panel_bytes(DTYPE_I8, depth));
    float by[PANEL];
    if (!column) memset(tail, 0, sizeof *tail);
    for (int64_t row = 0; row < count; row++) {
        float top = kernels->peak(stored + (size_t)row * all * size, from, all);
        tail->scale[column + row] = i8_scale(top, &by[row]);
        tail->sum[column + row] = 0;
    }
    for (size_t k = 0; k < all; k += CHUNK) {
        size_t n = all - k < CHUNK ? all - k : CHUNK, lines = (n + 3) / 4;
        for (int64_t row = 0; row < count; row++)
            tail->sum[column + row] += quantise(kernels, stored + ((size_t)row * all + k) * size,
                                                from, n, by[row], bytes + row * CHUNK);
        /* A four of bytes is a word of 32 bits, of which a panel is a transposition. */
        kernels->pack_panel(piece, bytes, CHUNK / 4, (int)count, lines, DTYPE_F32);
        char *to = panel + panel_bytes(DTYPE_I8, (int64_t)k);
        if (!column) memcpy(to, piece, lines * PANEL * 4);
        for (size_t line = 0; column && line < lines; line++)
            memcpy(to + (line * PANEL + (size_t)column) * 4, piece + line * PANEL * 4,
                   (size_t)count * 4);
    }
}
