/* plan.c: chooses which weights stay, works out lifetimes over the whole program and has everything
 * placed.
 *
 * Lifetimes: a temp lives in its lane from the operation that writes it to the last that reads it;
 * an operation's output takes the place of the residual that it is added to, when that ends there.
 * A buffer lives through all segments from the first to the last that use it; weights that stay,
 * the ring, staging and workspace through their segment (weights that are kept: always).
 */
#include "plan/plan.h"
#include "base/chk.h"
#include "plan/place.h"

#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)
#define SHARES 7 /* tries to find how many weights may stay */
/* A ring is at most this share of the budget, unless it is small: more slots read no fewer bytes,
 * weights that stay do. */
#define RING_SHARE 16
#define RING_LEAST (6 * MIB)
#define SLOTS_OF_RING 4 /* a slot is at most this share of the ring: one computes, others fill */

/* One way to plan: how much is streamed, and through what. */
struct way {
    size_t ring;
    size_t spill, windows; /* temps of so many bytes lie in the scratch file (0: none); bytes of the
                              windows onto them */
    bool keep;
    size_t resident; /* bytes of weights that may stay in segments that repeat */
};

/* From the roomiest to the narrowest. */
static const struct way ways[] = {
    {.ring = 128 * MIB},
    {.ring = 48 * MIB},
    {.ring = 16 * MIB},
    {.ring = 6 * MIB},
    {.ring = 48 * MIB, .spill = 32 * MIB, .windows = 48 * MIB},
    {.ring = 16 * MIB, .spill = 16 * MIB, .windows = 24 * MIB},
    {.ring = 6 * MIB, .spill = 6 * MIB, .windows = 10 * MIB},
    {.ring = 4 * MIB, .spill = MIB, .windows = 4 * MIB},
};
#define WAYS (sizeof ways / sizeof *ways)

struct layout {
    struct block *blocks;
    struct block *spilled; /* of the same index: what lies in the scratch file instead */
    int count;
    int first[PROGRAM_SEGMENTS + 1]; /* tick of each segment; the last entry ends the program */
};

static int put(struct layout *l, size_t size, int first, int last) {
    l->blocks[l->count] = (struct block){.size = size, .first = first, .last = last};
    l->spilled[l->count] = (struct block){.first = first, .last = last};
    return l->count++;
}

/* ---- Which weights stay */

struct worth {
    double intensity; /* operations a byte: those with few wait for the disk */
    weight_id w;
};

static int by_worth(const void *a, const void *b) {
    const struct worth *x = a, *y = b;
    if (x->intensity != y->intensity) return x->intensity < y->intensity ? -1 : 1;
    return x->w - y->w;
}

/* Marks weights of a repeated segment until `most` bytes are spent. */
static kadr_status choose_some(const struct segment *s, size_t most, struct arena *a, bool *stays,
                               kadr_error *err) {
    const struct graph *g = s->graph;
    struct worth *list = arena_array(a, (size_t)g->weight_count + 1, sizeof *list);
    if (!list) return err_nomem(err, "plan", (size_t)g->weight_count * sizeof *list);
    for (weight_id i = 0; i < g->weight_count; i++) list[i] = (struct worth){0, i};
    for (int i = 0; i < g->op_count; i++) {
        const struct op *op = &g->ops[i];
        if (op->w != NO_WEIGHT)
            list[op->w].intensity = op_flops(g, op) / (double)(s->needs.weight_bytes[op->w] + 1);
    }
    qsort(list, (size_t)g->weight_count, sizeof *list, by_worth);
    size_t used = 0;
    for (int i = 0; i < g->weight_count; i++) {
        size_t bytes = chk_align(s->needs.weight_bytes[list[i].w], PLAN_ALIGN);
        if (g->weights[list[i].w].picked || bytes > most - used) continue;
        stays[list[i].w] = true;
        used += bytes;
    }
    return KADR_OK;
}

static kadr_status choose_weights(struct segment_plan *sp, const struct segment *s,
                                  const struct way *way, struct arena *a, kadr_error *err) {
    size_t n = (size_t)s->graph->weight_count + 1;
    sp->stays = arena_array(a, n, sizeof *sp->stays);
    sp->weight = arena_array(a, n, sizeof *sp->weight);
    if (!sp->stays || !sp->weight) return err_nomem(err, "plan", n * sizeof *sp->weight);
    if (way->keep)
        for (weight_id i = 0; i < s->graph->weight_count; i++)
            sp->stays[i] = !s->graph->weights[i].picked;
    else if (s->repeats > 1 && way->resident)
        return choose_some(s, way->resident, a, sp->stays, err);
    return KADR_OK;
}

/* ---- Lifetimes */

/* The tensor in whose place each lies: an output that a residual is added to lies in the
 * residual's, when nothing reads that afterwards and the operation reads it nowhere else. */
static void share_places(const struct graph *g, int *last, tensor_id *place) {
    tensor_id used[OP_TENSORS];
    for (tensor_id t = 0; t < g->tensor_count; t++) {
        place[t] = t;
        last[t] = -1;
    }
    for (int i = 0; i < g->op_count; i++) {
        op_tensors(&g->ops[i], used);
        for (int j = 0; j < OP_TENSORS; j++)
            if (used[j] != NO_TENSOR) last[used[j]] = i;
    }
    for (int i = 0; i < g->op_count; i++) {
        const struct op *op = &g->ops[i];
        tensor_id out = op->out, r = op->epi.residual;
        int added = op->kind == OP_ADD ? 0 : op->kind == OP_ATTENTION ? 4 : -1;
        if (added >= 0) r = op->in[added];
        if (r == NO_TENSOR || g->tensors[r].role != TENSOR_TEMP ||
            g->tensors[out].role != TENSOR_TEMP || last[r] != i ||
            tensor_bytes(&g->tensors[r]) != tensor_bytes(&g->tensors[out]) ||
            g->tensors[r].dtype != g->tensors[out].dtype)
            continue;
        bool alone = true; /* no other input, and nothing later, lies there too */
        for (int j = 0; j < OP_INPUTS; j++)
            alone = alone && (j == added || op->in[j] == NO_TENSOR || place[op->in[j]] != place[r]);
        for (tensor_id t = 0; alone && t < g->tensor_count; t++)
            alone = place[t] != place[r] || last[t] <= i;
        if (alone) place[out] = place[r];
    }
}

/* Blocks of the temps, lane by lane, with the ticks at which their segment's walk uses them. */
static void put_temps(struct layout *l, const struct segment *s, const struct segment_plan *sp,
                      const tensor_id *place, int load, int end) {
    const struct graph *g = s->graph;
    const struct walk *w = &sp->walk;
    int base = l->count, tick = load + 1;
    for (int lane = 0; lane < s->lanes; lane++)
        for (tensor_id t = 0; t < g->tensor_count; t++) {
            bool own = g->tensors[t].role == TENSOR_TEMP && place[t] == t;
            put(l, own ? tensor_bytes(&g->tensors[t]) : 0, end, load);
        }
    for (int u = 0; u < w->count; u++)
        for (int lane = 0; lane < s->lanes; lane++)
            for (int i = w->units[u].first; i <= w->units[u].last; i++, tick++) {
                tensor_id used[OP_TENSORS];
                op_tensors(&g->ops[i], used);
                for (int j = 0; j < OP_TENSORS; j++) {
                    if (used[j] == NO_TENSOR) continue;
                    struct block *b = &l->blocks[base + lane * g->tensor_count + place[used[j]]];
                    if (tick < b->first) b->first = tick;
                    if (tick > b->last) b->last = tick;
                }
            }
    for (int i = 0; i < s->lanes * g->tensor_count; i++) {
        struct block *b = &l->blocks[base + i];
        if (!sp->spilled[i % g->tensor_count]) continue;
        l->spilled[base + i] = *b;
        b->size = 0;
    }
}

/* The most bytes that blocks [from, to) hold at one tick. */
static kadr_status most_alive(const struct layout *l, struct mem *m, int from, int to, size_t *most,
                              kadr_error *err) {
    size_t ticks = (size_t)l->first[PROGRAM_SEGMENTS] + 2;
    size_t *change = mem_array(m, ticks, sizeof *change), now = 0;
    if (!change) return err_nomem(err, "plan", ticks * sizeof *change);
    for (int i = from; i < to; i++) {
        const struct block *b = &l->blocks[i];
        if (!b->size || b->first > b->last) continue; /* nothing uses it */
        change[b->first] += chk_align(b->size, PLAN_ALIGN);
        change[b->last + 1] -= chk_align(b->size, PLAN_ALIGN); /* unsigned: wraps back in the sum */
    }
    *most = 0;
    for (size_t t = 0; t < ticks; t++) {
        now += change[t];
        if (now > *most) *most = now;
    }
    mem_free(change);
    return KADR_OK;
}

/* ---- One way, laid out */

struct draft {
    struct plan *plan;
    struct mem *mem;
    const struct program *program;
    struct layout layout;
    int temps[PROGRAM_SEGMENTS]; /* index of each segment's first block */
    tensor_id *place[PROGRAM_SEGMENTS];
};

#define SEGMENT_BLOCKS 5 /* beside temps: resident weights, workspace, staging, ring, windows */

static void choose_bands(struct segment_plan *sp, const struct graph *g, const tensor_id *place,
                         const struct way *way) {
    bands_choose(g, place, way->spill, sp->spilled);
    for (int i = 0; i < g->op_count; i++) {
        sp->band[i] = bands_height(g, &g->ops[i], sp->spilled, way->windows);
        if (!sp->band[i]) continue;
        size_t bytes = bands_window_bytes(g, &g->ops[i], sp->spilled, sp->band[i]);
        if (bytes > sp->window_bytes) sp->window_bytes = bytes;
    }
}

static kadr_status walk_segments(struct draft *d, const struct way *way, int *blocks,
                                 kadr_error *err) {
    const struct program *p = d->program;
    struct arena *a = &d->plan->arena;
    *blocks = p->buffer_count;
    int tick = 0;
    for (int i = 0; i < p->segment_count; i++) {
        const struct segment *s = &p->segments[i];
        struct segment_plan *sp = &d->plan->segments[i];
        size_t tensors = (size_t)s->graph->tensor_count + 1;
        kadr_status st = choose_weights(sp, s, way, a, err);
        if (!st) st = walk_make(&sp->walk, a, s, sp->stays, way->ring / SLOTS_OF_RING, err);
        if (st) return st;
        d->place[i] = arena_array(a, tensors, sizeof(tensor_id));
        int *last = arena_array(a, tensors, sizeof *last);
        sp->tensor = arena_array(a, tensors * (size_t)s->lanes, sizeof *sp->tensor);
        sp->spilled = arena_array(a, tensors, sizeof *sp->spilled);
        sp->band = arena_array(a, (size_t)s->graph->op_count + 1, sizeof *sp->band);
        if (!d->place[i] || !last || !sp->tensor || !sp->spilled || !sp->band)
            return err_nomem(err, "plan", tensors);
        share_places(s->graph, last, d->place[i]);
        if (way->spill) choose_bands(sp, s->graph, d->place[i], way);
        size_t ring = way->ring < sp->walk.streamed ? way->ring : sp->walk.streamed;
        sp->ring_bytes = ring > sp->walk.largest ? ring : sp->walk.largest;
        for (weight_id w = 0; w < s->graph->weight_count; w++)
            if (!walk_streams(s, sp->stays, w)) {
                sp->weight[w] = sp->resident_bytes;
                sp->resident_bytes += chk_align(s->needs.weight_bytes[w], PLAN_ALIGN);
            }
        for (int o = 0; o < s->graph->op_count; o++)
            if (s->needs.workspace[o] > sp->workspace_bytes)
                sp->workspace_bytes = s->needs.workspace[o];
        d->layout.first[i] = tick;
        tick += sp->walk.ticks;
        *blocks += s->graph->tensor_count * s->lanes + SEGMENT_BLOCKS;
    }
    for (int i = p->segment_count; i <= PROGRAM_SEGMENTS; i++) d->layout.first[i] = tick;
    return KADR_OK;
}

static void put_all(struct draft *d, const struct way *way) {
    const struct program *p = d->program;
    struct layout *l = &d->layout;
    for (int i = 0; i < p->buffer_count; i++) {
        const struct program_buffer *b = &p->buffers[i];
        d->plan->buffer_step[i] = chk_align(b->bytes, PLAN_ALIGN);
        size_t bytes = d->plan->buffer_step[i] * (size_t)b->lanes;
        d->plan->buffer_bytes += bytes;
        put(l, bytes, l->first[b->first], l->first[b->last + 1] - 1);
    }
    for (int i = 0; i < p->segment_count; i++) {
        const struct segment *s = &p->segments[i];
        const struct segment_plan *sp = &d->plan->segments[i];
        int load = l->first[i], end = l->first[i + 1] - 1;
        d->temps[i] = l->count;
        put_temps(l, s, sp, d->place[i], load, end);
        put(l, sp->resident_bytes, way->keep ? 0 : load,
            way->keep ? l->first[p->segment_count] - 1 : end);
        put(l, sp->workspace_bytes, load, end);
        put(l, s->needs.staging, load, end);
        put(l, sp->ring_bytes, load, end);
        put(l, sp->window_bytes, load, end);
    }
}

/* The offsets, from the blocks in the order of put_all. */
static void take_all(struct draft *d) {
    const struct program *p = d->program;
    const struct block *b = d->layout.blocks;
    for (int i = 0; i < p->buffer_count; i++) d->plan->buffer[i] = (b++)->offset;
    for (int i = 0; i < p->segment_count; i++) {
        const struct segment *s = &p->segments[i];
        struct segment_plan *sp = &d->plan->segments[i];
        int tensors = s->graph->tensor_count;
        for (int lane = 0; lane < s->lanes; lane++, b += tensors)
            for (tensor_id t = 0; t < tensors; t++)
                sp->tensor[lane * tensors + t] =
                    (sp->spilled[t] ? b - d->layout.blocks + d->layout.spilled : b)[d->place[i][t]]
                        .offset;
        for (weight_id w = 0; w < s->graph->weight_count; w++)
            if (!walk_streams(s, sp->stays, w)) sp->weight[w] += b->offset;
        sp->workspace = b[1].offset;
        sp->staging = b[2].offset;
        sp->ring = b[3].offset;
        sp->windows = b[4].offset;
        b += SEGMENT_BLOCKS;
    }
}

static void record_block(struct plan *plan, enum plan_block_kind kind, const char *name,
                         const struct block *place) {
    if (place->size && place->first <= place->last)
        plan->blocks[plan->block_count++] = (struct plan_block){kind, name, *place};
}

/* What lies where and when, in the order of put_all. */
static kadr_status record(struct draft *d, kadr_error *err) {
    const struct program *p = d->program;
    const struct block *b = d->layout.blocks;
    struct plan *plan = d->plan;
    plan->blocks = arena_array(&plan->arena, (size_t)d->layout.count + 1, sizeof *plan->blocks);
    if (!plan->blocks) return err_nomem(err, "plan", (size_t)d->layout.count);
    for (int i = 0; i < p->buffer_count; i++)
        record_block(plan, BLOCK_BUFFER, p->buffers[i].name, b++);
    for (int i = 0; i < p->segment_count; i++) {
        const struct graph *g = p->segments[i].graph;
        for (int t = 0; t < g->tensor_count * p->segments[i].lanes; t++)
            record_block(plan, BLOCK_TENSOR, g->tensors[t % g->tensor_count].name, b++);
        for (int k = 0; k < SEGMENT_BLOCKS; k++)
            record_block(plan, (enum plan_block_kind)(BLOCK_WEIGHTS + k), g->name, b++);
    }
    return KADR_OK;
}

/* `exact` false: where no placement could fit, none is made, and the plan's bytes are the bound. */
static kadr_status plan_way(struct plan *plan, struct mem *m, const struct program *p,
                            const struct plan_options *options, const struct way *way, bool exact,
                            kadr_error *err) {
    memset(plan, 0, sizeof *plan);
    arena_init(&plan->arena, m);
    plan->options = *options;
    plan->keep = way->keep;
    struct draft d = {.plan = plan, .mem = m, .program = p};
    int blocks = 0;
    kadr_status st = walk_segments(&d, way, &blocks, err);
    size_t n = (size_t)p->buffer_count + 1;
    plan->buffer = arena_array(&plan->arena, n, sizeof *plan->buffer);
    plan->buffer_step = arena_array(&plan->arena, n, sizeof *plan->buffer_step);
    d.layout.blocks = st ? NULL : mem_array(m, (size_t)blocks + 1, sizeof *d.layout.blocks);
    d.layout.spilled = st ? NULL : mem_array(m, (size_t)blocks + 1, sizeof *d.layout.spilled);
    if (!st && (!plan->buffer || !plan->buffer_step || !d.layout.blocks || !d.layout.spilled))
        st = err_nomem(err, "plan", (size_t)blocks * sizeof *d.layout.blocks);
    if (!st) {
        put_all(&d, way);
        st = most_alive(&d.layout, m, 0, d.layout.count, &plan->bound, err);
        plan->bytes = plan->bound;
    }
    if (!st && !exact && options->budget && plan->bound > options->budget) goto done;
    if (!st) st = place_blocks(m, d.layout.blocks, d.layout.count, PLAN_ALIGN, &plan->bytes, err);
    if (!st) plan->bytes = chk_align(plan->bytes, PLAN_ALIGN);
    if (!st && way->spill)
        st = place_blocks(m, d.layout.spilled, d.layout.count, PLAN_ALIGN, &plan->scratch, err);
    for (int i = 0; i < p->segment_count && !st; i++)
        st = most_alive(&d.layout, m, d.temps[i],
                        d.temps[i] + p->segments[i].graph->tensor_count * p->segments[i].lanes,
                        &plan->segments[i].temp_bytes, err);
    if (!st) take_all(&d);
    memcpy(plan->first, d.layout.first, sizeof plan->first);
    if (!st && options->record) st = record(&d, err);
done:
    mem_free(d.layout.blocks);
    mem_free(d.layout.spilled);
    if (st) plan_free(plan);
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

/* Tries `way` in place of `plan`, which was made by *best; keeps the better: one that fits, else
 * the smaller. */
static kadr_status try_way(struct plan *plan, struct mem *m, const struct program *p,
                           const struct plan_options *options, const struct way *way,
                           struct way *best, kadr_error *err) {
    struct plan other;
    kadr_status st = plan_way(&other, m, p, options, way, false, err);
    if (st) return st;
    if (fits(&other) || other.bytes < plan->bytes) {
        plan_free(plan);
        *plan = other;
        *best = *way;
    } else plan_free(&other);
    return KADR_OK;
}

/* From a plan that streams everything to one that keeps as much as fits: everything, or the share
 * that halving the range finds. */
static kadr_status add_residents(struct plan *plan, struct mem *m, const struct program *p,
                                 const struct plan_options *options, struct way way,
                                 kadr_error *err) {
    size_t low = 0, high = repeated_weights(p);
    for (int i = 0; i < SHARES && high > low; i++) {
        struct plan other;
        way.resident = i ? low + (high - low) / 2 : high;
        kadr_status st = plan_way(&other, m, p, options, &way, false, err);
        if (st) return st;
        if (fits(&other)) {
            low = way.resident;
            plan_free(plan);
            *plan = other;
        } else {
            high = way.resident;
            plan_free(&other);
        }
    }
    return KADR_OK;
}

kadr_status plan_make(struct plan *plan, struct mem *m, const struct program *p,
                      const struct plan_options *options, kadr_error *err) {
    struct way best = ways[0];
    best.keep = options->keep;
    best.resident = SIZE_MAX;
    kadr_status st = plan_way(plan, m, p, options, &best, false, err);
    if (st || fits(plan)) return st;
    for (size_t i = 0; i < WAYS && !fits(plan) && !st; i++)
        if (ways[i].ring <= RING_LEAST || ways[i].ring <= options->budget / RING_SHARE)
            st = try_way(plan, m, p, options, &ways[i], &best, err);
    if (!st && fits(plan)) st = add_residents(plan, m, p, options, best, err);
    else if (!st) {
        plan_free(plan);
        return plan_way(plan, m, p, options, &best, true, err);
    }
    if (st) plan_free(plan);
    return st;
}

void plan_free(struct plan *plan) {
    arena_free(&plan->arena);
    plan->bytes = 0;
}

size_t plan_bytes_read(const struct plan *plan, int segment) {
    return plan->segments[segment].walk.streamed;
}
