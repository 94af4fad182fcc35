/* place.h: puts blocks with lifetimes at offsets so that no two that live at once overlap.
 * A pure, deterministic function. */
#ifndef KADR_PLAN_PLACE_H
#define KADR_PLAN_PLACE_H

#include "base/err.h"
#include "base/mem.h"

struct block {
    size_t size;     /* bytes; 0 is placed at 0 */
    int first, last; /* ticks, inclusive */
    size_t offset;   /* out: a multiple of `align` */
};

/* Fills the offsets and *total, the bytes that all need together. `align` is a power of two;
 * `enough`: a total that need not be undercut. */
kadr_status place_blocks(struct mem *m, struct block *blocks, int count, size_t align,
                         size_t enough, size_t *total, kadr_error *err);

/* The most bytes that live at one tick: no placement can need less. */
size_t place_bound(const struct block *blocks, int count, size_t align);

#endif
