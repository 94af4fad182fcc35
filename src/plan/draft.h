/* draft.h: one choice of a plan, laid out: walks, lifetimes, and what they need. Inside plan/
 * alone.
 *
 * Lifetimes: a temp lives in its lane from the operation that writes it to the last that reads it;
 * an operation's output takes the place of the residual that it is added to, when that ends there.
 * The workspace of an operation that wants much lives while it runs. A buffer lives through all
 * segments from the first to the last that use it; weights that stay, the ring, staging and the
 * workspace of all other operations through their segment (weights that are kept: always).
 */
#ifndef KADR_PLAN_DRAFT_H
#define KADR_PLAN_DRAFT_H

#include "plan/plan.h"

/* One way to plan a segment: through what it streams, and what lies in the scratch file. */
struct way {
    size_t ring;
    bool carry;            /* buffers that are only carried from segment to segment */
    size_t spill, windows; /* temps of so many bytes (0: none); bytes of the windows onto them */
};

/* What all choices are made for. */
struct task {
    struct mem *mem;
    const struct program *program;
    const struct plan_options *options;
    bool *can_spill; /* by program buffer: every operation can see it through a window */
    bool *held[PROGRAM_SEGMENTS]; /* what a choice's arrays of that name are */
    int tried, placed;            /* choices so far, and those of them whose blocks were placed */
};

/* A whole plan: a way for each segment, and how many weights stay. */
struct choice {
    const struct way *way[PROGRAM_SEGMENTS];
    bool keep;
    size_t resident;              /* bytes of weights that may stay in segments that repeat */
    bool *held[PROGRAM_SEGMENTS]; /* by tensor: it is not spilled though it is large; NULL: none */
};

struct layout {
    struct block *blocks;
    struct block *spilled; /* of the same index: what lies in the scratch file instead */
    int count;
    int first[PROGRAM_SEGMENTS + 1]; /* tick of each segment; the last entry ends the program */
};

struct draft {
    const struct task *task;
    const struct program *program; /* the task's */
    struct plan *plan;
    struct layout layout;
    int temps[PROGRAM_SEGMENTS]; /* index of each segment's first block */
    tensor_id *place[PROGRAM_SEGMENTS];
};

/* Whether every operation can see the buffer through a window. */
bool draft_can_spill(const struct program *p, int buffer);

/* Walks, lifetimes and bound of a choice; nothing is placed. */
kadr_status draft_open(struct draft *d, struct plan *plan, struct task *task,
                       const struct choice *choice, kadr_error *err);
void draft_close(struct draft *d); /* also after a failed open; the plan is the caller's */

/* Whether blocks are placed; without, the plan's bytes are the bound. */
enum placing { PLACE_NEVER, PLACE_WHAT_MAY_FIT, PLACE_ALWAYS };

/* The plan of a choice; nothing to be freed where that fails. */
kadr_status draft_plan(struct plan *plan, struct task *task, const struct choice *choice,
                       enum placing placing, kadr_error *err);

#endif
