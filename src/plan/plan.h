/* plan.h: a program with its needs -> an offset for everything. A pure function: the same program
 * gives the same plan. What a run takes from the arena is what the plan says, because the executor
 * has no other place to put things.
 */
#ifndef KADR_PLAN_PLAN_H
#define KADR_PLAN_PLAN_H

#include "plan/program.h"

struct segment_plan {
    size_t *tensor;    /* by tensor: offset in the arena */
    size_t *weight;    /* by weight */
    size_t *workspace; /* by operation */
    size_t staging;    /* offset of the staging block */
    size_t weight_bytes, temp_bytes,
        workspace_bytes; /* resident weights; peak of temps; largest workspace */
};

struct plan {
    struct arena arena;
    size_t bytes;   /* of the whole arena */
    size_t bound;   /* what no placement could undercut */
    size_t *buffer; /* by program buffer: offset */
    size_t buffer_bytes;
    struct segment_plan segments[PROGRAM_SEGMENTS];
};

/* Every segment's needs must be filled. `align` is a power of two. */
kadr_status plan_make(struct plan *plan, struct mem *m, const struct program *program, size_t align,
                      kadr_error *err);
void plan_free(struct plan *plan); /* idempotent */

#endif
