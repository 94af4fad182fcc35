/* bands.h: what is too large to be held lies in a scratch file, and operations see it through
 * windows. Those on pictures run band by band: the windows hold the rows that are wanted at the
 * moment. Others have what they touch there as a whole (keys and values of a prompt). What is
 * computed is the same to the bit.
 */
#ifndef KADR_PLAN_BANDS_H
#define KADR_PLAN_BANDS_H

#include "plan/program.h"

/* Marks the temps of at least `least` bytes whose every use can go band by band: those of
 * convolutions and statistics with one sample. `place`: the tensor in whose place each lies. */
void bands_choose(const struct graph *g, const tensor_id *place, size_t least, bool *spilled);

/* Rows of a band of the operation for which all windows together have at most `most` bytes (one row
 * or the least that can be, if need be); 0: it touches nothing that is spilled. Where bands cannot
 * be, there is one, of one row. */
int64_t bands_height(const struct graph *g, const struct op *op, const bool *spilled, size_t most);

/* Whether the operation works on rows of a picture, and can be told to do some of them. */
static inline bool bands_can(const struct op *op) {
    return op->kind == OP_CONV || op->kind == OP_GROUP_STATS;
}

/* Rows of the operation's picture in all; 1 where bands cannot be. */
int64_t bands_rows(const struct graph *g, const struct op *op);

/* Whether the operation leaves `t` alone or can see it as a whole through a window. */
bool bands_sees_whole(const struct op *op, tensor_id t);

struct window {
    tensor_id tensor;
    int64_t first, rows; /* of the tensor's picture; one that is seen whole is one row */
    size_t at, row;      /* offset among the windows; bytes of a row */
};
#define WINDOWS 4 /* x, x2, residual or keys, values; the output is last */

/* The windows of rows [row, row + rows) in a plan of bands of `height`; returns their number. */
int bands_windows(const struct graph *g, const struct op *op, const bool *spilled, int64_t height,
                  int64_t row, int64_t rows, struct window *windows);

/* Bytes of all windows of a band of that height. */
size_t bands_window_bytes(const struct graph *g, const struct op *op, const bool *spilled,
                          int64_t height);

#endif
