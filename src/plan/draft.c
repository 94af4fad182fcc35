/* draft.c: see draft.h. */
#include "plan/draft.h"
#include "base/chk.h"

#include <stdlib.h>
#include <string.h>

#define CARRY_LEAST ((size_t)16384) /* of a buffer that is worth a place in the scratch file */
#define WORKSPACE_SHARED ((size_t)512 << 10) /* what wants more has a place of its own */
#define SLOTS_OF_RING 4 /* a slot is at most this share of the ring: one computes, others fill */

static int put(struct layout *l, size_t size, int first, int last) {
    l->blocks[l->count] = (struct block){.size = size, .first = first, .last = last};
    l->spilled[l->count] = (struct block){.first = first, .last = last};
    return l->count++;
}

/* From here on the block of that index lies in the scratch file. */
static void move_to_scratch(struct layout *l, int i) {
    l->spilled[i] = l->blocks[i];
    l->blocks[i].size = 0;
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
                                  const struct choice *choice, struct arena *a, kadr_error *err) {
    size_t n = (size_t)s->graph->weight_count + 1;
    sp->stays = arena_array(a, n, sizeof *sp->stays);
    sp->weight = arena_array(a, n, sizeof *sp->weight);
    if (!sp->stays || !sp->weight) return err_nomem(err, "plan", n * sizeof *sp->weight);
    if (choice->keep)
        for (weight_id i = 0; i < s->graph->weight_count; i++)
            sp->stays[i] = !s->graph->weights[i].picked;
    else if (s->repeats > 1 && choice->resident)
        return choose_some(s, choice->resident, a, sp->stays, err);
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

static void live_at(struct block *b, int tick) {
    if (tick < b->first) b->first = tick;
    if (tick > b->last) b->last = tick;
}

/* Scratch bytes of an operation, or of the bands in which it runs. */
static size_t workspace_of(const struct segment *s, const struct segment_plan *sp, int i) {
    const struct op_part band = {.rows = sp->band[i]};
    const struct op *op = &s->graph->ops[i];
    bool banded = sp->band[i] && bands_can(op);
    return s->needs.workspace(s->needs.backend, s->graph, op, banded ? &band : NULL);
}

/* Blocks of the temps, lane by lane, then of the operations' workspace, with the ticks at which
 * their segment's walk uses them. Returns the bytes of the workspace that operations share. */
static size_t put_temps(struct layout *l, const struct segment *s, struct segment_plan *sp,
                        const tensor_id *place, int load, int end) {
    const struct graph *g = s->graph;
    const struct walk *w = &sp->walk;
    int base = l->count, tick = load + 1, work = base + s->lanes * g->tensor_count;
    size_t shared = 0;
    for (int lane = 0; lane < s->lanes; lane++)
        for (tensor_id t = 0; t < g->tensor_count; t++) {
            bool own = g->tensors[t].role == TENSOR_TEMP && place[t] == t;
            put(l, own ? tensor_bytes(&g->tensors[t]) : 0, end, load);
        }
    for (int i = 0; i < g->op_count; i++) {
        size_t bytes = workspace_of(s, sp, i);
        if (bytes > sp->workspace_bytes) sp->workspace_bytes = bytes;
        if (bytes <= WORKSPACE_SHARED && bytes > shared) shared = bytes;
        put(l, bytes > WORKSPACE_SHARED ? bytes : 0, end, load);
    }
    for (int u = 0; u < w->count; u++)
        for (int lane = 0; lane < s->lanes; lane++)
            for (int i = w->units[u].first; i <= w->units[u].last; i++, tick++) {
                tensor_id used[OP_TENSORS];
                op_tensors(&g->ops[i], used);
                for (int j = 0; j < OP_TENSORS; j++)
                    if (used[j] != NO_TENSOR)
                        live_at(&l->blocks[base + lane * g->tensor_count + place[used[j]]], tick);
                live_at(&l->blocks[work + i], tick);
            }
    for (int i = 0; i < s->lanes * g->tensor_count; i++)
        if (sp->spilled[i % g->tensor_count]) move_to_scratch(l, base + i);
    return shared;
}

/* The most bytes that blocks [from, to) hold at one tick: of all, or of each segment's. */
static kadr_status most_alive(const struct layout *l, struct mem *m, int from, int to, size_t *most,
                              size_t *by_segment, kadr_error *err) {
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
    for (int t = 0, s = 0; t < (int)ticks; t++) {
        now += change[t];
        while (s < PROGRAM_SEGMENTS - 1 && t >= l->first[s + 1]) s++;
        if (now > *most) *most = now;
        if (by_segment && now > by_segment[s]) by_segment[s] = now;
    }
    mem_free(change);
    return KADR_OK;
}

/* ---- One choice, laid out */

/* Beside temps and operations: resident weights, shared workspace, staging, ring, windows. */
#define SEGMENT_BLOCKS 5

bool draft_can_spill(const struct program *p, int buffer) {
    const struct program_buffer *b = &p->buffers[buffer];
    if (!b->carried || b->bytes < CARRY_LEAST) return false;
    for (int i = b->first; i <= b->last; i++) {
        const struct graph *g = p->segments[i].graph;
        tensor_id t = 0;
        while (t < g->tensor_count && p->segments[i].buffer[t] != buffer) t++;
        for (int o = 0; t < g->tensor_count && o < g->op_count; o++)
            if (!bands_sees_whole(&g->ops[o], t)) return false;
    }
    return true;
}

/* A buffer goes the way of the last segment that reads it. */
static void choose_buffers(struct draft *d, const struct choice *choice) {
    const struct program *p = d->program;
    for (int i = 0; i < p->buffer_count; i++)
        d->plan->buffer_spilled[i] =
            choice->way[p->buffers[i].last]->carry && d->task->can_spill[i];
}

static void choose_bands(struct segment_plan *sp, const struct draft *d, int segment,
                         const struct choice *choice) {
    const struct way *way = choice->way[segment];
    const bool *held = choice->held[segment];
    const struct segment *s = &d->program->segments[segment];
    const struct graph *g = s->graph;
    size_t whole = 0;
    if (way->spill) bands_choose(g, d->place[segment], way->spill, sp->spilled);
    for (tensor_id t = 0; held && t < g->tensor_count; t++)
        if (held[d->place[segment][t]]) sp->spilled[t] = false;
    for (tensor_id t = 0; t < g->tensor_count; t++)
        if (s->buffer[t] >= 0) sp->spilled[t] = d->plan->buffer_spilled[s->buffer[t]];
    for (int i = 0; i < g->op_count; i++) {
        const struct op *op = &g->ops[i];
        sp->band[i] = bands_height(g, op, sp->spilled, way->windows / 2);
        if (!sp->band[i]) continue;
        size_t bytes = bands_window_bytes(g, op, sp->spilled, sp->band[i]);
        size_t *most = sp->band[i] < bands_rows(g, op) ? &sp->window_set : &whole;
        if (bytes > *most) *most = bytes;
    }
    sp->window_bytes = 2 * sp->window_set > whole ? 2 * sp->window_set : whole;
}

static kadr_status walk_segment(struct draft *d, int i, const struct choice *choice,
                                kadr_error *err) {
    struct arena *a = &d->plan->arena;
    const struct segment *s = &d->program->segments[i];
    const struct way *way = choice->way[i];
    struct segment_plan *sp = &d->plan->segments[i];
    size_t tensors = (size_t)s->graph->tensor_count + 1;
    kadr_status st = choose_weights(sp, s, choice, a, err);
    if (st) return st;
    d->place[i] = arena_array(a, tensors, sizeof(tensor_id));
    int *last = arena_array(a, tensors, sizeof *last);
    sp->tensor = arena_array(a, tensors * (size_t)s->lanes, sizeof *sp->tensor);
    sp->spilled = arena_array(a, tensors, sizeof *sp->spilled);
    sp->band = arena_array(a, (size_t)s->graph->op_count + 1, sizeof *sp->band);
    sp->workspace = arena_array(a, (size_t)s->graph->op_count + 1, sizeof *sp->workspace);
    if (!d->place[i] || !last || !sp->tensor || !sp->spilled || !sp->band || !sp->workspace)
        return err_nomem(err, "plan", tensors);
    share_places(s->graph, last, d->place[i]);
    choose_bands(sp, d, i, choice);
    const struct walk_limits limits = {sp->stays, sp->band, way->ring / SLOTS_OF_RING, way->ring};
    st = walk_make(&sp->walk, a, s, &limits, err);
    if (st) return st;
    size_t ring = way->ring < sp->walk.streamed ? way->ring : sp->walk.streamed;
    sp->ring_bytes = ring > sp->walk.largest ? ring : sp->walk.largest;
    for (weight_id w = 0; w < s->graph->weight_count; w++)
        if (!walk_streams(s, sp->stays, w)) {
            sp->weight[w] = sp->resident_bytes;
            sp->resident_bytes += chk_align(s->needs.weight_bytes[w], PLAN_ALIGN);
        }
    return KADR_OK;
}

static kadr_status walk_segments(struct draft *d, const struct choice *choice, int *blocks,
                                 kadr_error *err) {
    const struct program *p = d->program;
    *blocks = p->buffer_count;
    int tick = 0;
    for (int i = 0; i < p->segment_count; i++) {
        kadr_status st = walk_segment(d, i, choice, err);
        if (st) return st;
        d->layout.first[i] = tick;
        tick += d->plan->segments[i].walk.ticks;
        const struct graph *g = p->segments[i].graph;
        *blocks += g->tensor_count * p->segments[i].lanes + g->op_count + SEGMENT_BLOCKS;
    }
    for (int i = p->segment_count; i <= PROGRAM_SEGMENTS; i++) d->layout.first[i] = tick;
    return KADR_OK;
}

/* The first tick of a buffer. One that its only segment makes, in a run that is not repeated, is
 * born with the operation that writes it; in others the host, or the run before, may have put
 * something there. */
static int birth(const struct draft *d, int buffer) {
    const struct program_buffer *b = &d->program->buffers[buffer];
    const struct segment *s = &d->program->segments[b->first];
    const struct walk *w = &d->plan->segments[b->first].walk;
    int tick = d->layout.first[b->first];
    if (!b->made || b->first != b->last || s->repeats > 1 || s->lanes > 1 || b->lanes > 1)
        return tick;
    tick++; /* see walk.h */
    for (int u = 0; u < w->count; u++)
        for (int i = w->units[u].first; i <= w->units[u].last; i++, tick++)
            if (s->buffer[s->graph->ops[i].out] == buffer) return tick;
    return d->layout.first[b->first];
}

static void put_all(struct draft *d, bool keep) {
    const struct program *p = d->program;
    struct layout *l = &d->layout;
    for (int i = 0; i < p->buffer_count; i++) {
        const struct program_buffer *b = &p->buffers[i];
        d->plan->buffer_step[i] = chk_align(b->bytes, PLAN_ALIGN);
        size_t bytes = d->plan->buffer_step[i] * (size_t)b->lanes;
        int at = put(l, bytes, birth(d, i), l->first[b->last + 1] - 1);
        if (d->plan->buffer_spilled[i]) move_to_scratch(l, at);
        else d->plan->buffer_bytes += bytes;
    }
    for (int i = 0; i < p->segment_count; i++) {
        const struct segment *s = &p->segments[i];
        struct segment_plan *sp = &d->plan->segments[i];
        int load = l->first[i], end = l->first[i + 1] - 1;
        d->temps[i] = l->count;
        size_t shared = put_temps(l, s, sp, d->place[i], load, end);
        put(l, sp->resident_bytes, keep ? 0 : load, keep ? l->first[p->segment_count] - 1 : end);
        put(l, shared, load, end);
        put(l, s->needs.staging, load, end);
        put(l, sp->ring_bytes, load, end);
        put(l, sp->window_bytes, load, end);
    }
}

/* The offsets, from the blocks in the order of put_all. */
static void take_all(struct draft *d) {
    const struct program *p = d->program;
    const struct block *b = d->layout.blocks, *spilled = d->layout.spilled;
    struct plan *plan = d->plan;
    for (int i = 0; i < p->buffer_count; i++, b++, spilled++)
        plan->buffer[i] = (plan->buffer_spilled[i] ? spilled : b)->offset;
    for (int i = 0; i < p->segment_count; i++) {
        const struct segment *s = &p->segments[i];
        struct segment_plan *sp = &plan->segments[i];
        int tensors = s->graph->tensor_count;
        for (int lane = 0; lane < s->lanes; lane++, b += tensors, spilled += tensors)
            for (tensor_id t = 0; t < tensors; t++) {
                int bound = sp->spilled[t] ? s->buffer[t] : -1;
                size_t step = bound < 0 ? 0 : (size_t)lane * plan->buffer_step[bound];
                sp->tensor[lane * tensors + t] =
                    bound >= 0 ? plan->buffer[bound] + step
                               : (sp->spilled[t] ? spilled : b)[d->place[i][t]].offset;
            }
        const struct block *work = b;
        b += s->graph->op_count;
        spilled += s->graph->op_count;
        for (int o = 0; o < s->graph->op_count; o++)
            sp->workspace[o] = work[o].size ? work[o].offset : b[1].offset;
        for (weight_id w = 0; w < s->graph->weight_count; w++)
            if (!walk_streams(s, sp->stays, w)) sp->weight[w] += b->offset;
        sp->staging = b[2].offset;
        sp->ring = b[3].offset;
        sp->windows = b[4].offset;
        b += SEGMENT_BLOCKS;
        spilled += SEGMENT_BLOCKS;
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
        for (int o = 0; o < g->op_count; o++) record_block(plan, BLOCK_WORKSPACE, g->name, b++);
        for (int k = 0; k < SEGMENT_BLOCKS; k++)
            record_block(plan, (enum plan_block_kind)(BLOCK_WEIGHTS + k), g->name, b++);
    }
    return KADR_OK;
}

static kadr_status place_all(struct draft *d, kadr_error *err) {
    struct plan *plan = d->plan;
    struct layout *l = &d->layout;
    const size_t budget = plan->options.budget ? plan->options.budget : SIZE_MAX;
    struct mem *m = d->task->mem;
    kadr_status st = place_blocks(m, l->blocks, l->count, PLAN_ALIGN, budget, &plan->bytes, err);
    plan->bytes = chk_align(plan->bytes, PLAN_ALIGN);
    if (!st) st = place_blocks(m, l->spilled, l->count, PLAN_ALIGN, SIZE_MAX, &plan->scratch, err);
    for (int i = 0; i < d->program->segment_count && !st; i++) {
        const struct segment *s = &d->program->segments[i];
        int temps = s->graph->tensor_count * s->lanes;
        st = most_alive(l, d->task->mem, d->temps[i], d->temps[i] + temps,
                        &plan->segments[i].temp_bytes, NULL, err);
    }
    if (!st) take_all(d);
    return st;
}

void draft_close(struct draft *d) {
    mem_free(d->layout.blocks);
    mem_free(d->layout.spilled);
}

kadr_status draft_open(struct draft *d, struct plan *plan, struct task *task,
                       const struct choice *choice, kadr_error *err) {
    const struct program *p = task->program;
    memset(plan, 0, sizeof *plan);
    arena_init(&plan->arena, task->mem);
    plan->options = *task->options;
    plan->keep = choice->keep;
    *d = (struct draft){.task = task, .program = p, .plan = plan};
    struct layout *l = &d->layout;
    size_t n = (size_t)p->buffer_count + 1, by_segment[PROGRAM_SEGMENTS] = {0};
    int blocks = 0;
    task->tried++;
    plan->buffer = arena_array(&plan->arena, n, sizeof *plan->buffer);
    plan->buffer_spilled = arena_array(&plan->arena, n, sizeof *plan->buffer_spilled);
    plan->buffer_step = arena_array(&plan->arena, n, sizeof *plan->buffer_step);
    bool ok = plan->buffer && plan->buffer_spilled && plan->buffer_step;
    kadr_status st = ok ? KADR_OK : err_nomem(err, "plan", n * sizeof *plan->buffer);
    if (!st) choose_buffers(d, choice);
    if (!st) st = walk_segments(d, choice, &blocks, err);
    if (st) return st;
    l->blocks = mem_array(task->mem, (size_t)blocks + 1, sizeof *l->blocks);
    l->spilled = mem_array(task->mem, (size_t)blocks + 1, sizeof *l->spilled);
    if (!l->blocks || !l->spilled)
        return err_nomem(err, "plan", (size_t)blocks * sizeof *l->blocks);
    put_all(d, choice->keep);
    st = most_alive(l, task->mem, 0, l->count, &plan->bound, by_segment, err);
    plan->bytes = plan->bound;
    for (int i = 0; i < PROGRAM_SEGMENTS; i++) plan->segments[i].bound = by_segment[i];
    memcpy(plan->first, l->first, sizeof plan->first);
    return st;
}

kadr_status draft_plan(struct plan *plan, struct task *task, const struct choice *choice,
                       enum placing placing, kadr_error *err) {
    struct draft d;
    kadr_status st = draft_open(&d, plan, task, choice, err);
    bool hopeless = task->options->budget && plan->bound > task->options->budget;
    bool place = placing == PLACE_ALWAYS || (placing == PLACE_WHAT_MAY_FIT && !hopeless);
    task->placed += place;
    if (!st && place) st = place_all(&d, err);
    if (!st && place && task->options->record) st = record(&d, err);
    draft_close(&d);
    if (st) plan_free(plan);
    return st;
}
