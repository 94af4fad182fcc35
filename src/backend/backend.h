/* backend.h: what can compute a graph. A backend is a const struct of functions over its own state;
 * adding one adds a folder here and no line in model/.
 *
 * The order of use: open; needs and weight_size for every operation and weight (the planner places
 * what they ask for); pack each weight when it is loaded; run each operation in order; close.
 */
#ifndef KADR_BACKEND_BACKEND_H
#define KADR_BACKEND_BACKEND_H

#include "base/cpu.h"
#include "base/pool.h"
#include "graph/graph.h"

/* Offsets that the planner gives out are multiples of this. */
#define BACKEND_ALIGN 64
/* Weights are cut at multiples of so many rows, which are columns of the output. */
#define BACKEND_PACK_ROWS PART_COLUMNS

struct backend_config {
    struct mem *mem;
    struct pool *pool;  /* borrowed; its threads run the operations */
    unsigned cpu_flags; /* which kernels may be used, see cpu.h */
};

struct backend {
    const char *name;
    const char *layout; /* of its packed weights: a model packed by one serves all that share it */

    kadr_status (*open)(const struct backend_config *config, void **state, kadr_error *err);
    void (*close)(void *state); /* idempotent on NULL */

    /* Who multiplies in f32: "kadr", or the library that is used for it. Borrowed. */
    const char *(*multiplier)(void *state);

    /* Scratch bytes that `op` wants while it runs (all threads together), or that part of it (NULL:
     * all); never fewer for more rows. Deterministic. */
    size_t (*workspace)(void *state, const struct graph *g, const struct op *op,
                        const struct op_part *part);

    /* Bytes of a weight in the form that run wants (packed); of a picked table: of its rows. */
    size_t (*weight_size)(void *state, const struct graph *g, weight_id w);

    /* Bytes of BACKEND_PACK_ROWS columns of the output in the packed form, which lie in ascending
     * order of columns; 0: run wants the weight whole. */
    size_t (*part_size)(void *state, const struct graph *g, weight_id w);

    /* Converts rows [row, row + rows) of the weight's first dimension, given as they are stored in
     * the model (row-major, dtype `from`: f32, f16 or bf16), into the packed form, of which
     * `packed` holds what belongs to output columns from `column` on (a multiple of
     * BACKEND_PACK_ROWS). Rows may come in pieces in ascending order; each piece starts at a
     * multiple of BACKEND_PACK_ROWS of the first dimension. The last piece also fills padding. */
    void (*pack)(void *state, const struct graph *g, weight_id w, int64_t column, int64_t row,
                 int64_t rows, const void *stored, enum dtype from, void *packed);

    /* The other way round, for weights of f32 and bf16 that are packed in panels: rows [row, row +
     * rows) of the first dimension, row-major, as f32. */
    void (*unpack)(void *state, const struct graph *g, weight_id w, int64_t column, int64_t row,
                   int64_t rows, const void *packed, float *stored);

    /* `count` elements of f16 as f32: what a weight of f32 becomes that a packed model holds in
     * f16, any range of it. */
    void (*widen)(void *state, const void *from, float *to, size_t count);

    /* Runs one operation, or those columns of its output (`part` NULL: all). tensors[i] and
     * weights[i] belong to graph tensor and weight i, weights[op->w] to the part; workspace has the
     * size that was asked for. Never fails: everything was checked and placed before. The output
     * may not overlap an input, except: OP_ADD's and OP_ATTENTION's `add`, an epilogue's residual.
     */
    void (*run)(void *state, const struct graph *g, const struct op *op, const struct op_part *part,
                void *const *tensors, const void *const *weights, void *workspace);
};

extern const struct backend backend_cpu;

#endif
