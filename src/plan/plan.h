/* plan.h: a program with its needs and a budget -> an offset for everything, and which weights stay
 * in memory. A pure function: the same program and budget give the same plan. What a run takes from
 * the arena is what the plan says, because the executor has no other place to put things.
 */
#ifndef KADR_PLAN_PLAN_H
#define KADR_PLAN_PLAN_H

#include "plan/bands.h"
#include "plan/place.h"
#include "plan/walk.h"

struct plan_options {
    size_t budget; /* bytes that the arena may have; 0: any */
    bool keep;     /* other pictures follow: keep all weights until the end, if that fits */
    bool record;   /* keep what lies where and when in plan.blocks, for pictures of the plan */
};

/* Something that has a place in the arena for some time. */
enum plan_block_kind {
    BLOCK_BUFFER, /* carries values between segments */
    BLOCK_TENSOR,
    BLOCK_WEIGHTS, /* that stay, of one segment */
    BLOCK_WORKSPACE,
    BLOCK_STAGING,
    BLOCK_RING,
    BLOCK_WINDOWS,
};
struct plan_block {
    enum plan_block_kind kind;
    const char *name; /* of the buffer, tensor or segment's network */
    struct block place;
};

struct segment_plan {
    struct walk walk;
    size_t *tensor;        /* [lanes][tensors]: offset of a temp in the arena or the scratch file */
    bool *spilled;         /* by tensor, bound or not: it lies in the scratch file */
    int64_t *band;         /* by operation: rows of a band; 0: it touches nothing that is spilled */
    size_t windows;        /* offset of the first of two sets: one computes, the other is filled */
    size_t window_set;     /* from the one to the other: the most that a band's windows take */
    size_t window_bytes;   /* of both */
    bool *stays;           /* by weight */
    size_t *weight;        /* by weight that stays: offset in the arena */
    size_t *workspace;     /* by operation: offset */
    size_t staging;        /* offset */
    size_t ring;           /* offset of the ring of slots */
    size_t ring_bytes;     /* 0: nothing is streamed */
    size_t resident_bytes; /* of weights that stay */
    size_t temp_bytes;     /* the most that temps take at one tick */
    size_t workspace_bytes; /* the most that an operation wants */
    size_t bound;           /* the most that lives at one of its ticks */
};

struct plan {
    struct arena arena;
    struct plan_options options;
    size_t bytes;   /* of the whole arena; more than the budget when the program does not fit */
    size_t scratch; /* bytes of the scratch file; 0: none is needed */
    size_t bound;   /* what no placement could undercut */
    int tried;      /* choices that were looked at until this one was found */
    int placed;     /* those of them whose blocks were placed, which is what takes time */
    bool keep;      /* all weights stay until the end of the run */
    size_t *buffer; /* by program buffer: offset of its first copy in the arena or scratch file */
    bool *buffer_spilled; /* by program buffer: it lies in the scratch file */
    size_t *buffer_step;  /* from one copy to the next */
    size_t buffer_bytes;
    struct segment_plan segments[PROGRAM_SEGMENTS];
    struct plan_block *blocks; /* NULL unless recorded */
    int block_count;
    int first[PROGRAM_SEGMENTS + 1]; /* tick of each segment; the last entry ends the program */
};

/* Every segment's needs must be filled. Each segment goes the roomiest of the ways that fit, and
 * keeps as many weights as fit beside; when nothing fits, the plan is the smallest. */
kadr_status plan_make(struct plan *plan, struct mem *m, const struct program *program,
                      const struct plan_options *options, kadr_error *err);
void plan_free(struct plan *plan); /* idempotent */

/* Bytes of weights that running that part of the segment once reads, when those that stay are
 * there. */
size_t plan_bytes_read(const struct plan *plan, int segment, struct segment_part part);

#endif
