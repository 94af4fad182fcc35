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

static int by_offset(const void *a, const void *b) {
    const struct block *const *x = a, *const *y = b;
    if ((*x)->offset != (*y)->offset) return (*x)->offset < (*y)->offset ? -1 : 1;
    return 0;
}

static bool alive_together(const struct block *a, const struct block *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* The lowest offset where `b` fits between `placed` (sorted by offset). */
static size_t lowest_gap(const struct block *b, const struct block *const *placed, int count,
                         size_t align) {
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        if (!alive_together(b, placed[i])) continue;
        if (placed[i]->offset >= at && placed[i]->offset - at >= b->size) return at;
        size_t end = chk_align(placed[i]->offset + placed[i]->size, align);
        if (end > at) at = end;
    }
    return at;
}

kadr_status place_blocks(struct mem *m, struct block *blocks, int count, size_t align,
                         size_t *total, kadr_error *err) {
    *total = 0;
    size_t n = (size_t)(count ? count : 1);
    struct order *order = mem_array(m, n, sizeof *order);
    const struct block **placed = mem_array(m, n, sizeof *placed);
    if (!order || !placed) {
        mem_free(order);
        mem_free(placed);
        return err_nomem(err, "plan", n * sizeof *order);
    }
    for (int i = 0; i < count; i++) order[i] = (struct order){&blocks[i], i};
    qsort(order, (size_t)count, sizeof *order, larger_first);
    int done = 0;
    for (int i = 0; i < count; i++) {
        struct block *b = &blocks[order[i].index];
        b->offset = 0;
        if (b->size == 0) continue;
        b->offset = lowest_gap(b, placed, done, align);
        if (b->offset + b->size > *total) *total = b->offset + b->size;
        /* Keep `placed` sorted: insert from the end. */
        int j = done++;
        for (; j > 0 && by_offset(&(const struct block *){b}, &placed[j - 1]) < 0; j--)
            placed[j] = placed[j - 1];
        placed[j] = b;
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
