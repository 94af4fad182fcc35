/* plan.c: chooses the way that each segment goes and how many weights stay; draft.c lays out each
 * choice.
 */
#include "base/chk.h"
#include "plan/draft.h"

#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)
/* Tries to find how many weights may stay: by the bound, and then with everything placed. */
#define SHARES 10
#define SHARES_PLACED 4
#define HOLDS 5 /* tries to find what need not be spilled */
/* A ring is at most this share of the budget, unless it is small: more slots read no fewer bytes,
 * weights that stay do. */
#define RING_SHARE 16
#define RING_LEAST (6 * MIB)
/* From the roomiest to the narrowest. */
static const struct way ways[] = {
    {.ring = 128 * MIB},
    {.ring = 48 * MIB},
    {.ring = 16 * MIB},
    {.ring = 6 * MIB},
    {.ring = 6 * MIB, .carry = true},
    {.ring = 48 * MIB, .carry = true, .spill = 32 * MIB, .windows = 48 * MIB},
    {.ring = 16 * MIB, .carry = true, .spill = 16 * MIB, .windows = 24 * MIB},
    {.ring = 6 * MIB, .carry = true, .spill = 6 * MIB, .windows = 10 * MIB},
    {.ring = 4 * MIB, .carry = true, .spill = MIB, .windows = 4 * MIB},
};
#define WAYS ((int)(sizeof ways / sizeof *ways))

/* ---- What need not lie in the scratch file after all */

/* A tensor that is spilled because it is large, in a way that was chosen for the tightest moment of
 * its segment. */
struct spilled {
    tensor_id tensor;
    int life; /* ticks of its longest lane */
};

static int shorter_first(const void *a, const void *b) {
    const struct spilled *x = a, *y = b;
    return x->life != y->life ? x->life - y->life : x->tensor - y->tensor;
}

/* Takes `b` into the bytes that live at each tick, if there are never more than `limit`. */
static bool hold(size_t *alive, const struct block *b, size_t limit) {
    const size_t size = chk_align(b->size, PLAN_ALIGN);
    for (int t = b->first; t <= b->last; t++)
        if (alive[t] + size > limit) return false;
    for (int t = b->first; t <= b->last; t++) alive[t] += size;
    return true;
}

static void let_go(size_t *alive, const struct block *b) {
    for (int t = b->first; t <= b->last; t++) alive[t] -= chk_align(b->size, PLAN_ALIGN);
}

/* Holds what of a segment there is room for: what lives shortly first, as much of it goes through
 * the same room. */
static void hold_some(const struct draft *d, int segment, struct spilled *list, size_t *alive,
                      size_t limit, bool *held) {
    const struct segment *s = &d->program->segments[segment];
    const struct graph *g = s->graph;
    const struct block *b = d->layout.spilled + d->temps[segment];
    int count = 0;
    for (tensor_id t = 0; t < g->tensor_count; t++) {
        held[t] = false;
        if (s->buffer[t] >= 0 || !b[t].size || b[t].first > b[t].last) continue;
        list[count] = (struct spilled){t, 0};
        for (int lane = 0; lane < s->lanes; lane++) {
            const struct block *own = &b[lane * g->tensor_count + t];
            if (own->last - own->first > list[count].life)
                list[count].life = own->last - own->first;
        }
        count++;
    }
    qsort(list, (size_t)count, sizeof *list, shorter_first);
    for (int i = 0; i < count; i++) {
        int lane = 0;
        while (lane < s->lanes && hold(alive, &b[lane * g->tensor_count + list[i].tensor], limit))
            lane++;
        held[list[i].tensor] = lane == s->lanes;
        if (lane == s->lanes) continue;
        while (lane-- > 0) let_go(alive, &b[lane * g->tensor_count + list[i].tensor]);
    }
}

/* Fills in choice->held, whose arrays are the task's. */
static kadr_status hold_what_fits(struct task *task, struct choice *choice, size_t limit,
                                  kadr_error *err) {
    const struct program *p = task->program;
    struct plan plan;
    struct draft d;
    for (int i = 0; i < p->segment_count; i++) choice->held[i] = NULL;
    kadr_status st = draft_open(&d, &plan, task, choice, err);
    const size_t ticks = (size_t)d.layout.first[PROGRAM_SEGMENTS] + 2;
    size_t *alive = st ? NULL : mem_array(task->mem, ticks, sizeof *alive), tensors = 1;
    for (int i = 0; i < p->segment_count; i++)
        if ((size_t)p->segments[i].graph->tensor_count > tensors)
            tensors = (size_t)p->segments[i].graph->tensor_count;
    struct spilled *list = st ? NULL : mem_array(task->mem, tensors, sizeof *list);
    if (!st && (!alive || !list)) st = err_nomem(err, "plan", ticks * sizeof *alive);
    for (int i = 0; i < d.layout.count && !st; i++)
        if (d.layout.blocks[i].size) hold(alive, &d.layout.blocks[i], SIZE_MAX);
    for (int i = 0; i < p->segment_count && !st; i++) {
        if (!choice->way[i]->spill) continue;
        choice->held[i] = task->held[i];
        hold_some(&d, i, list, alive, limit, choice->held[i]);
    }
    mem_free(alive);
    mem_free(list);
    draft_close(&d);
    plan_free(&plan);
    return st;
}

/* ---- The choice */

static bool fits(const struct plan *plan) {
    return !plan->options.budget || plan->bytes <= plan->options.budget;
}

/* Bytes of weights of the largest segment that repeats. */
static size_t repeated_weights(const struct program *p) {
    size_t bytes = 0;
    for (int i = 0; i < p->segment_count; i++) {
        size_t own = 0;
        for (weight_id w = 0; w < p->segments[i].graph->weight_count; w++)
            own += chk_align(p->segments[i].needs.weight_bytes[w], PLAN_ALIGN);
        if (p->segments[i].repeats > 1 && own > bytes) bytes = own;
    }
    return bytes;
}

/* The segments that take more than the budget go a narrower way, or the one that takes most, where
 * only the placement does not fit; false when there is none narrower. */
static bool narrow(const struct plan *plan, const struct program *p, struct choice *choice) {
    size_t budget = plan->options.budget, most = 0;
    int largest = -1;
    bool some = false;
    for (int i = 0; i < p->segment_count; i++) {
        if (choice->way[i] == &ways[WAYS - 1]) continue;
        if (plan->segments[i].bound > budget) {
            choice->way[i]++;
            some = true;
        } else if (plan->segments[i].bound > most) {
            most = plan->segments[i].bound;
            largest = i;
        }
    }
    /* A buffer lies where it lies because of another segment's way. */
    if (!some && plan->bytes > budget && largest >= 0) {
        choice->way[largest]++;
        some = true;
    }
    return some;
}

/* Plans that stream everything, each narrower than the one before, until one fits: *best is that
 * one, or the smallest. */
static kadr_status find_ways(struct plan *plan, struct task *task, struct choice *best,
                             kadr_error *err) {
    const struct program *p = task->program;
    struct choice choice = {.keep = false};
    int first = 0;
    while (ways[first].ring > RING_LEAST && ways[first].ring > task->options->budget / RING_SHARE)
        first++;
    for (int i = 0; i < p->segment_count; i++) choice.way[i] = &ways[first];
    for (bool more = true; more && !fits(plan);) {
        struct plan other;
        kadr_status st = draft_plan(&other, task, &choice, PLACE_WHAT_MAY_FIT, err);
        if (st) return st;
        if (fits(&other) || other.bytes < plan->bytes) {
            plan_free(plan);
            *plan = other;
            *best = choice;
            more = narrow(plan, p, &choice);
        } else {
            more = narrow(&other, p, &choice);
            plan_free(&other);
        }
    }
    return KADR_OK;
}

/* Sets choice->resident to the most that the bound lets stay: everything, or what halving the range
 * finds. */
static kadr_status find_share(struct task *task, struct choice *choice, kadr_error *err) {
    size_t low = 0, high = repeated_weights(task->program);
    for (int i = 0; i < SHARES && high > low; i++) {
        struct plan bound;
        choice->resident = i ? low + (high - low) / 2 : high;
        kadr_status st = draft_plan(&bound, task, choice, PLACE_NEVER, err);
        if (st) return st;
        if (fits(&bound)) low = choice->resident;
        else high = choice->resident;
        plan_free(&bound);
    }
    choice->resident = low;
    return KADR_OK;
}

/* From a plan that streams everything to one that keeps as much as fits. */
static kadr_status add_residents(struct plan *plan, struct task *task, struct choice choice,
                                 kadr_error *err) {
    kadr_status st = find_share(task, &choice, err);
    for (int i = 0; i < SHARES_PLACED && choice.resident && !st; i++) {
        struct plan other;
        st = draft_plan(&other, task, &choice, PLACE_WHAT_MAY_FIT, err);
        if (st) break;
        if (fits(&other)) {
            plan_free(plan);
            *plan = other;
            break;
        }
        size_t less = (other.bytes - task->options->budget + MIB) << i;
        choice.resident = less < choice.resident ? choice.resident - less : 0;
        plan_free(&other);
    }
    return st;
}

/* From a plan that spills everything large to one that spills what it must. */
static kadr_status spill_less(struct plan *plan, struct task *task, struct choice *best,
                              kadr_error *err) {
    size_t limit = task->options->budget;
    for (int i = 0; i < HOLDS; i++) {
        struct choice choice = *best;
        struct plan other;
        kadr_status st = hold_what_fits(task, &choice, limit, err);
        if (!st) st = draft_plan(&other, task, &choice, PLACE_WHAT_MAY_FIT, err);
        if (st) return st;
        if (fits(&other)) {
            plan_free(plan);
            *plan = other;
            *best = choice;
            return KADR_OK;
        }
        size_t excess = (other.bytes - task->options->budget) << i;
        limit = excess < limit ? limit - excess : 0;
        plan_free(&other);
    }
    return KADR_OK;
}

static kadr_status choose(struct plan *plan, struct task *task, kadr_error *err) {
    struct choice best = {.keep = task->options->keep, .resident = SIZE_MAX};
    for (int i = 0; i < task->program->segment_count; i++) best.way[i] = &ways[0];
    kadr_status st = draft_plan(plan, task, &best, PLACE_WHAT_MAY_FIT, err);
    if (st || fits(plan)) return st;
    st = find_ways(plan, task, &best, err);
    if (!st && fits(plan) && plan->scratch) st = spill_less(plan, task, &best, err);
    if (!st && fits(plan)) st = add_residents(plan, task, best, err);
    else if (!st) {
        plan_free(plan);
        return draft_plan(plan, task, &best, PLACE_ALWAYS, err);
    }
    if (st) plan_free(plan);
    return st;
}

kadr_status plan_make(struct plan *plan, struct mem *m, const struct program *p,
                      const struct plan_options *options, kadr_error *err) {
    struct task task = {.mem = m, .program = p, .options = options};
    struct arena a;
    arena_init(&a, m);
    task.can_spill = arena_array(&a, (size_t)p->buffer_count + 1, sizeof(bool));
    bool ok = task.can_spill != NULL;
    for (int i = 0; i < p->segment_count; i++) {
        const size_t tensors = (size_t)p->segments[i].graph->tensor_count + 1;
        ok = ok && (task.held[i] = arena_array(&a, tensors, sizeof(bool)));
    }
    for (int i = 0; ok && i < p->buffer_count; i++) task.can_spill[i] = draft_can_spill(p, i);
    kadr_status st = ok ? choose(plan, &task, err) : err_nomem(err, "plan", sizeof task);
    plan->tried = task.tried;
    plan->placed = task.placed;
    arena_free(&a);
    return st;
}

void plan_free(struct plan *plan) {
    arena_free(&plan->arena);
    plan->bytes = 0;
}

size_t plan_bytes_read(const struct plan *plan, int segment, struct segment_part part) {
    const struct walk *w = &plan->segments[segment].walk;
    return w->streamed - (part.reuse ? w->spared : 0);
}
