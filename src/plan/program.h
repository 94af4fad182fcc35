/* program.h: a whole run as data: segments in the order in which they run, each a graph that runs
 * `repeats` times, and the buffers that carry values between segments and to and from the host.
 * Everything that takes part in a run is in it, so that lifetimes can be worked out over the whole.
 *
 * Graph inputs and outputs are bound to buffers by name. Time is counted in ticks: a segment has
 * one tick for loading its weights, one for each operation and one for what the host reads
 * afterwards.
 */
#ifndef KADR_PLAN_PROGRAM_H
#define KADR_PLAN_PROGRAM_H

#include "graph/graph.h"

#define PROGRAM_SEGMENTS 32

/* What a backend wants for a graph, asked before planning. */
struct segment_needs {
    size_t *weight_bytes; /* by weight: packed */
    size_t *workspace;    /* by operation */
    size_t staging;       /* for reading and packing, at the loading tick */
};

struct segment {
    const char *stage;         /* for progress and reports: "encode", "denoise", ... */
    const struct graph *graph; /* borrowed */
    int repeats;
    struct segment_needs needs;
};

struct program_buffer {
    const char *name;
    size_t bytes;
    int first, last; /* segments that use it; the host may use it from the loading tick of the first
                        to the last tick of the last */
};

struct program {
    struct arena arena;
    struct segment segments[PROGRAM_SEGMENTS];
    int segment_count;
    struct program_buffer *buffers;
    int buffer_count, buffer_room;
    bool keep_weights; /* weights, once loaded, stay until the end of the run: for several pictures
                        */
};

void program_init(struct program *p, struct mem *m);
void program_free(struct program *p); /* idempotent */

/* Appends a segment; -1 with the error filled when the graph failed or its inputs contradict a
 * buffer. */
int program_add(struct program *p, const char *stage, const struct graph *g, int repeats,
                kadr_error *err);

/* Index of a buffer, or -1. */
int program_find(const struct program *p, const char *name);

/* Lets a buffer live over segments [first, last] at least: for what the host wants earlier or
 * later. */
void program_hold(struct program *p, int buffer, int first, int last);

/* The buffer that a graph's input or output is bound to; -1 for temps. */
int program_bound(const struct program *p, const struct graph *g, tensor_id t);

#endif
