/* bands.h: pictures inside a network that are too large to be held. They lie in a scratch file, and
 * the operations that touch them run band by band: rows of the picture that an operation wants at
 * the moment are in windows. What is computed is the same to the bit.
 */
#ifndef KADR_PLAN_BANDS_H
#define KADR_PLAN_BANDS_H

#include "plan/program.h"

/* Marks the temps of at least `least` bytes whose every use can go band by band: those of
 * convolutions and statistics with one sample. `place`: the tensor in whose place each lies. */
void bands_choose(const struct graph *g, const tensor_id *place, size_t least, bool *spilled);

/* Rows of a band of the operation for which all windows together have at most `most` bytes (one row
 * or the least that can be, if need be); 0: it touches nothing that is spilled. */
int64_t bands_height(const struct graph *g, const struct op *op, const bool *spilled, size_t most);

/* Rows of the operation's picture in all. */
int64_t bands_rows(const struct graph *g, const struct op *op);

struct window {
    tensor_id tensor;
    int64_t first, rows; /* of the tensor's picture */
    size_t at, row;      /* offset among the windows; bytes of a row */
};
#define WINDOWS 4 /* x, x2, residual, output: the output is last */

/* The windows of rows [row, row + rows) in a plan of bands of `height`; returns their number. */
int bands_windows(const struct graph *g, const struct op *op, const bool *spilled, int64_t height,
                  int64_t row, int64_t rows, struct window *windows);

/* Bytes of all windows of a band of that height. */
size_t bands_window_bytes(const struct graph *g, const struct op *op, const bool *spilled,
                          int64_t height);

#endif
