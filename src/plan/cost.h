/* cost.h: about how long a planned program takes. A pure function of the plan and of what the
 * machine does in a second; reports print it, and the choice between plans goes by it.
 */
#ifndef KADR_PLAN_COST_H
#define KADR_PLAN_COST_H

#include "plan/plan.h"

/* What a machine does in a second, all threads together. */
struct plan_rates {
    double product;   /* floating-point operations of linear layers and convolutions */
    double attention; /* of attention */
    double bytes;     /* that everything else reads and writes, and weights of short products */
    double disk;      /* bytes read */
};

/* Seconds of one run of a segment. What stays is read once, before: see resident_bytes. */
struct plan_cost {
    double compute, read, scratch;
    double scratch_bytes; /* read and written */
};
struct plan_cost plan_cost(const struct plan *plan, const struct program *program, int segment,
                           const struct plan_rates *rates);

/* All together: weights are read while others are computed with, the scratch file's bands are not.
 */
static inline double plan_cost_seconds(const struct plan_cost *c) {
    return (c->compute > c->read ? c->compute : c->read) + c->scratch;
}

#endif
