/* program.h: a whole run as data: segments in the order in which they run, each a graph that runs
 * `repeats` times in `lanes` copies, and the buffers that carry values between segments and to and
 * from the host. Everything that takes part in a run is in it, so that lifetimes can be worked out
 * over the whole.
 *
 * Lanes are copies of one graph with values of their own and the same weights: the two branches of
 * guidance, or several pictures. They take turns, so that each weight is fetched once for all.
 *
 * Graph inputs and outputs are bound to buffers by name; a buffer has as many copies as the widest
 * segment that uses it has lanes. Time is counted in ticks, see walk.h.
 */
#ifndef KADR_PLAN_PROGRAM_H
#define KADR_PLAN_PROGRAM_H

#include "graph/graph.h"

#define PROGRAM_SEGMENTS 32

/* What a backend wants for a graph, asked before planning. */
struct segment_needs {
    size_t *weight_bytes; /* by weight: packed */
    size_t *part_bytes;   /* by weight: of PART_COLUMNS columns; 0: it cannot be cut */
    size_t staging;       /* for reading and packing, while the segment runs */
    /* Scratch bytes of that part of an operation (NULL: all of it). The planner asks. */
    size_t (*workspace)(void *backend, const struct graph *g, const struct op *op,
                        const struct op_part *part);
    void *backend; /* its state */
};

struct segment {
    const char *stage;         /* for progress and reports: "encode", "denoise", ... */
    const struct graph *graph; /* borrowed */
    int lanes;
    int repeats; /* about how often it runs for one picture: what keeping its weights is worth */
    int *buffer; /* by tensor: the buffer that an input or output is bound to; -1 for temps */
    struct segment_needs needs;
};

struct program_buffer {
    const char *name;
    size_t bytes; /* of one copy */
    int lanes;
    int first, last; /* segments that use it; the host may use it from the first tick of the first
                        (what a run makes that is not repeated: from when it is made) to the last
                        tick of the last */
    bool made;       /* the first of them writes it, and the others, of as many lanes, only read */
    bool carried;    /* made, and there are others: the host leaves it alone, so that it may lie in
                        the scratch file */
};

struct program {
    struct arena arena;
    struct segment segments[PROGRAM_SEGMENTS];
    int segment_count;
    struct program_buffer *buffers;
    int buffer_count, buffer_room;
};

void program_init(struct program *p, struct mem *m);
void program_free(struct program *p); /* idempotent */

/* Appends a segment; -1 with the error filled when the graph failed or its inputs contradict a
 * buffer. */
int program_add(struct program *p, const char *stage, const struct graph *g, int lanes, int repeats,
                kadr_error *err);

/* Index of a buffer, or -1. */
int program_find(const struct program *p, const char *name);

/* Lets a buffer live over segments [first, last] at least: for what the host wants earlier or
 * later. */
void program_hold(struct program *p, int buffer, int first, int last);

#endif
