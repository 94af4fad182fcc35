/* place.c: greedy by size: the largest block first, each at the lowest gap that fits it among the
 * blocks placed before that live at the same time. (Pisarchyk & Lee, "Efficient Memory Management
 * for Deep Neural Net Inference", 2020, found this order within a few percent of the bound.) Where
 * that is not good enough, those that live longest are placed first. Ties go by the earlier start
 * and then by index, so the result depends on nothing else.
 */
#include "plan/place.h"
#include "base/chk.h"

#include <stdlib.h>

/* Spans of time by which placed blocks are found, see below: so many blocks each, but no more spans
 * than this. */
#define SPAN_BLOCKS 192
#define SPANS_MOST 256

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

static int longest_first(const void *a, const void *b) {
    const struct block *x = ((const struct order *)a)->block, *y = ((const struct order *)b)->block;
    int own = x->last - x->first, other = y->last - y->first;
    return own != other ? (own < other ? 1 : -1) : larger_first(a, b);
}

struct placed {
    int first, last;
    size_t offset, end;
};

/* What is placed, to be found by time: the ticks are cut into spans of equal length, and each span
 * has a list, sorted by offset, of what lives in it. Most blocks live in one span alone. */
struct spans {
    int first, length, count; /* tick of the first span; ticks of a span; spans */
    int *begin;               /* of each list in `list`; one more ends the last */
    int *used;                /* of each list */
    struct placed *list;
};

static int span_of(const struct spans *s, int tick) {
    return (tick - s->first) / s->length;
}

/* Lists with room for all these blocks. */
static bool open_spans(struct spans *s, struct mem *m, const struct order *order, int count) {
    int last = 0;
    for (int i = 0; i < count; i++) {
        const struct block *b = order[i].block;
        if (i == 0 || b->first < s->first) s->first = b->first;
        if (b->last > last) last = b->last;
    }
    int most = count / SPAN_BLOCKS < SPANS_MOST ? count / SPAN_BLOCKS + 1 : SPANS_MOST;
    s->length = (last - s->first) / most + 1;
    s->count = span_of(s, last) + 1;
    s->begin = mem_array(m, (size_t)s->count + 1, sizeof *s->begin);
    s->used = mem_array(m, (size_t)s->count, sizeof *s->used);
    if (!s->begin || !s->used) return false;
    for (int i = 0; i < count; i++)
        for (int k = span_of(s, order[i].block->first); k <= span_of(s, order[i].block->last); k++)
            s->begin[k + 1]++;
    for (int k = 0; k < s->count; k++) s->begin[k + 1] += s->begin[k];
    s->list = mem_array(m, (size_t)s->begin[s->count] + 1, sizeof *s->list);
    return s->list != NULL;
}

static void close_spans(struct spans *s) {
    mem_free(s->begin);
    mem_free(s->used);
    mem_free(s->list);
}

static void add(struct spans *s, const struct block *b) {
    const struct placed new = {b->first, b->last, b->offset, b->offset + b->size};
    for (int k = span_of(s, b->first); k <= span_of(s, b->last); k++) {
        struct placed *list = s->list + s->begin[k];
        int j = s->used[k]++;
        for (; j > 0 && list[j - 1].offset > new.offset; j--) list[j] = list[j - 1];
        list[j] = new;
    }
}

/* The lowest offset from `at` on where `b` fits between those of one list that live at the same
 * time. */
static size_t gap_in(const struct block *b, const struct placed *list, int count, size_t align,
                     size_t at) {
    for (int i = 0; i < count; i++) {
        const struct placed *p = &list[i];
        if (p->first > b->last || b->first > p->last || p->end <= at) continue;
        if (p->offset >= at && p->offset - at >= b->size) return at;
        at = chk_align(p->end, align);
    }
    return at;
}

/* The lowest one that all lists of its spans agree on. */
static size_t lowest_gap(const struct spans *s, const struct block *b, size_t align) {
    int from = span_of(s, b->first), spans = span_of(s, b->last) - from + 1;
    size_t at = 0;
    for (int k = 0, agree = 0; agree < spans; k = (k + 1) % spans) {
        size_t low = gap_in(b, s->list + s->begin[from + k], s->used[from + k], align, at);
        agree = low == at ? agree + 1 : 1;
        at = low;
    }
    return at;
}

/* One after the other; returns what they need together. */
static size_t place_in_order(struct spans *s, struct order *order, int count,
                             int (*by)(const void *, const void *), size_t align,
                             struct block *blocks) {
    size_t total = 0;
    qsort(order, (size_t)count, sizeof *order, by);
    for (int k = 0; k < s->count; k++) s->used[k] = 0;
    for (int i = 0; i < count; i++) {
        struct block *b = &blocks[order[i].index];
        b->offset = lowest_gap(s, b, align);
        if (b->offset + b->size > total) total = b->offset + b->size;
        add(s, b);
    }
    return total;
}

kadr_status place_blocks(struct mem *m, struct block *blocks, int count, size_t align,
                         size_t enough, size_t *total, kadr_error *err) {
    struct spans spans = {0};
    *total = 0;
    size_t n = (size_t)(count ? count : 1);
    struct order *order = mem_array(m, n, sizeof *order);
    int some = 0;
    for (int i = 0; order && i < count; i++) {
        blocks[i].offset = 0;
        if (blocks[i].size && blocks[i].first <= blocks[i].last)
            order[some++] = (struct order){&blocks[i], i};
    }
    bool ok = order && open_spans(&spans, m, order, some);
    if (ok) *total = place_in_order(&spans, order, some, larger_first, align, blocks);
    if (ok && *total > enough) {
        size_t other = place_in_order(&spans, order, some, longest_first, align, blocks);
        if (other > *total) place_in_order(&spans, order, some, larger_first, align, blocks);
        else *total = other;
    }
    mem_free(order);
    close_spans(&spans);
    return ok ? KADR_OK : err_nomem(err, "plan", n * sizeof *order);
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
