/* place.c: greedy by size: the largest block first, each at the lowest gap that fits it among the
 * blocks placed before that live at the same time. Ties go by the earlier start and then by index,
 * so the result depends on nothing else. (Pisarchyk & Lee, "Efficient Memory Management for Deep
 * Neural Net Inference", 2020, found this order within a few percent of the bound.)
 */
#include "plan/place.h"
#include "base/chk.h"

#include <stdlib.h>

struct order {
    const struct block *block;
    int index;
};

static int larger_first(const void *a, const void *b) {
    const struct order *x = a, *y = b;
    if (x->block->size != y->block->size) return x->block->size < y->block->size ? 1 : -1;
    if (x->block->first != y->block->first) return x->block->first < y->block->first ? -1 : 1;
    return x->index - y->index;
}

/* What is placed, sorted by offset. */
struct placed {
    int first, last;
    size_t offset, end;
};

/* The lowest offset where `b` fits between those that live at the same time. */
static size_t lowest_gap(const struct block *b, const struct placed *placed, int count,
                         size_t align) {
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        const struct placed *p = &placed[i];
        if (p->first > b->last || b->first > p->last || p->end <= at) continue;
        if (p->offset >= at && p->offset - at >= b->size) return at;
        at = chk_align(p->end, align);
    }
    return at;
}

kadr_status place_blocks(struct mem *m, struct block *blocks, int count, size_t align,
                         size_t *total, kadr_error *err) {
    *total = 0;
    size_t n = (size_t)(count ? count : 1);
    struct order *order = mem_array(m, n, sizeof *order);
    struct placed *placed = mem_array(m, n, sizeof *placed);
    if (!order || !placed) {
        mem_free(order);
        mem_free(placed);
        return err_nomem(err, "plan", n * sizeof *order);
    }
    int some = 0, done = 0;
    for (int i = 0; i < count; i++) {
        blocks[i].offset = 0;
        if (blocks[i].size) order[some++] = (struct order){&blocks[i], i};
    }
    qsort(order, (size_t)some, sizeof *order, larger_first);
    for (int i = 0; i < some; i++) {
        struct block *b = &blocks[order[i].index];
        b->offset = lowest_gap(b, placed, done, align);
        size_t end = b->offset + b->size;
        if (end > *total) *total = end;
        int j = done++;
        for (; j > 0 && placed[j - 1].offset > b->offset; j--) placed[j] = placed[j - 1];
        placed[j] = (struct placed){b->first, b->last, b->offset, end};
    }
    mem_free(order);
    mem_free(placed);
    return KADR_OK;
}

size_t place_bound(const struct block *blocks, int count, size_t align) {
    size_t most = 0;
    for (int i = 0; i < count; i++) {
        size_t now = 0;
        for (int j = 0; j < count; j++)
            if (blocks[j].first <= blocks[i].first && blocks[i].first <= blocks[j].last)
                now += chk_align(blocks[j].size, align);
        if (now > most) most = now;
    }
    return most;
}
