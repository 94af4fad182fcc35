/* band.h: the rows of A that a product multiplies. Those of a linear layer lie in its input, and
 * are taken there where they can be. Otherwise a band of the input is made in scratch, as it is to
 * be multiplied: converted, or quantised row by row; for a convolution normalised, doubled, with
 * zeros around it: it finds the lines under its kernel in it, so that no picture of patches ever
 * exists.
 *
 * Rows run over [n][out_h][out_w]. Those of one line are evenly spaced, and a row is `pieces`
 * pieces of `k` elements: the lines under the kernel, of which each is kernel pixels long.
 */
#ifndef KADR_BACKEND_CPU_BAND_H
#define KADR_BACKEND_CPU_BAND_H

#include "backend/cpu/cpu.h"

/* How the rows of a band lie. */
enum band_form {
    BAND_IN_PLACE, /* in the input: there is no band */
    BAND_ROWS,     /* row by row, one for each pixel of the input */
    BAND_PATCHES,  /* row by row, each with all its taps: where a line of the kernel is not whole
                      pairs of bf16 */
    BAND_PICTURE,  /* line by line of the input, with padding */
};

struct band {
    const struct cpu_op *o;
    enum dtype type; /* of what is multiplied */
    enum band_form form;
    int64_t width;         /* rows of A in a line; of all rows where they lie row by row */
    int64_t k, pieces;     /* k is whole pairs or fours where such are multiplied */
    size_t row, line;      /* bytes from row to row, and from line to line */
    size_t piece;          /* bytes from piece to piece */
    int64_t samples, each; /* bands begin anew with each sample, which has so many lines or rows */
    int64_t most;          /* lines or rows of a band */
    size_t offset, scales; /* in the workspace */
    const char *at;        /* where row `first` of A lies */
    int64_t first;
    const float *scale; /* int8: of row `first` and those that follow */
    int64_t channels;   /* of both inputs */
    size_t pixel;       /* bytes */
    int64_t columns;    /* PICTURE: pixels of a line of the band */
    int64_t up_h, up_w; /* of the picture that is convolved: doubled, cut; without padding */
};

/* For a LINEAR or CONV that is to be multiplied as `type`; *used grows by the scratch of a band. */
void band_init(struct band *b, const struct cpu_op *o, enum dtype type, size_t *used);

/* Makes lines (or rows) [line, line + lines) of the sample; lines <= most. Uses the pool. */
void band_fill(struct band *b, int64_t sample, int64_t line, int64_t lines);

/* Where row r of A lies; *left is how many from it on are evenly spaced. */
static inline const char *band_row(const struct band *b, int64_t r, int64_t *left) {
    int64_t line = (r - b->first) / b->width, x = (r - b->first) % b->width;
    *left = b->width - x;
    return b->at + (size_t)line * b->line + (size_t)x * b->row;
}

#endif
