/* cost.h: about how long a planned program takes. A pure function of the plan and of what the
 * machine does in a second; reports print it, and the choice between plans goes by it.
 *
 * The reader and the executor are followed unit by unit: a unit is computed when its weights are
 * there and the one before it is done, and weights are read as far ahead as the ring has room. So
 * a step whose layers wait for the disk here and for the processor there takes longer than the
 * longer of both in all.
 */
#ifndef KADR_PLAN_COST_H
#define KADR_PLAN_COST_H

#include "plan/plan.h"

/* What a machine does in a second, all threads together. */
struct plan_rates {
    double product;    /* operations of linear layers */
    double conv;       /* of convolutions */
    double product_i8; /* of what is in int8 */
    double attention;  /* of attention */
    double bytes;      /* that everything else reads and writes, and weights of short products */
    double disk;       /* bytes read */
};

/* Seconds of one run of that part of a segment. */
struct plan_cost {
    double compute, read, scratch; /* of each alone */
    double scratch_bytes;          /* read and written */
    double seconds;                /* of a run after others, when what stays is in memory */
    double first;                  /* of the first, which reads what stays as well */
};
struct plan_cost plan_cost(const struct plan *plan, const struct program *program, int segment,
                           struct segment_part part, const struct plan_rates *rates);

#endif
