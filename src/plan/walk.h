/* walk.h: the order in which a segment's operations run. A unit is a run of whole operations, or a
 * part of one product whose weight is cut; the weights of a unit are in memory together. Within a
 * unit the lanes take turns, so that between the turns only what crosses the unit's borders is held
 * for every lane.
 *
 * Weights that stay have places of their own. The others are streamed: they are read for their unit
 * into a slot and are gone after it.
 *
 * Ticks of a segment: one before the first unit; one for each operation of each turn; one after the
 * last, for what the host reads.
 */
#ifndef KADR_PLAN_WALK_H
#define KADR_PLAN_WALK_H

#include "plan/program.h"

/* All offsets are multiples of this: what reading past the page cache wants. */
#define PLAN_ALIGN ((size_t)4096)

/* What of a segment one run does. All zeros: everything. */
struct segment_part {
    int first, every; /* lanes first, first + every, ...; every 0: all */
    bool reuse;       /* without the operations of the graph's cut */
};

/* How many of `lanes` that are. */
static inline int part_lanes(const struct segment_part *part, int lanes) {
    return part->every && part->first < lanes ? (lanes - 1 - part->first) / part->every + 1 : lanes;
}

struct unit {
    int first, last;     /* operations, inclusive */
    struct op_part part; /* of `first` alone; count 0: whole operations */
    size_t bytes;        /* of its slot */
};

struct walk {
    struct unit *units;
    int count;
    size_t *at;      /* by weight: offset in its unit's slot */
    size_t largest;  /* bytes of the largest slot */
    size_t streamed; /* bytes of all of them */
    size_t spared;   /* of those, bytes of the graph's cut */
    int ticks;
};

/* What decides a walk. */
struct walk_limits {
    const bool *stays;   /* by weight; a picked table never stays */
    const int64_t *band; /* by operation, see segment_plan */
    size_t slot;         /* bytes that a slot may have, unless what cannot be cut needs more */
    size_t banded_slot;  /* that of an operation with bands may have: each part of its weight goes
                            through all of them again */
};

/* Everything lives in `a`. */
kadr_status walk_make(struct walk *w, struct arena *a, const struct segment *s,
                      const struct walk_limits *limits, kadr_error *err);

/* Whether a run of that part leaves the unit out. No unit crosses a border of the cut. */
static inline bool walk_leaves_out(const struct graph *g, const struct unit *u, bool reuse) {
    return reuse && graph_in_cut(g, u->first);
}

/* Whether the weight is streamed. */
static inline bool walk_streams(const struct segment *s, const bool *stays, weight_id w) {
    return s->graph->weights[w].picked || !stays[w];
}

/* Bytes of the part of a weight; of the whole without one. */
size_t walk_part_bytes(const struct segment *s, weight_id w, const struct op_part *part);

/* Columns of a product's output. */
int64_t walk_columns(const struct weight *w);

#endif
