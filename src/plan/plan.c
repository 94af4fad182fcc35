/* plan.c: works out lifetimes over the whole program and has them placed.
 *
 * Invariants: a weight lives through all ticks of its segment (it serves every repeat), or of the
 * program when weights are kept; a temp from
 * the operation that writes it to the last that reads it; a buffer through all segments from the
 * first to the last that use it; workspace during its operation; staging during the loading tick.
 */
#include "plan/plan.h"
#include "plan/place.h"

#include <string.h>

struct layout {
    struct block *blocks;
    int count;
};

/* First tick of each segment; the one after the last ends the program. */
static void count_ticks(const struct program *p, int *first) {
    int tick = 0;
    for (int i = 0; i < p->segment_count; i++) {
        first[i] = tick;
        tick += p->segments[i].graph->op_count + 2;
    }
    first[p->segment_count] = tick;
}

static int put(struct layout *l, size_t size, int first, int last) {
    l->blocks[l->count] = (struct block){.size = size, .first = first, .last = last};
    return l->count++;
}

static void put_segment(struct layout *l, const struct program *p, int s, const int *first) {
    const struct segment *seg = &p->segments[s];
    const struct graph *g = seg->graph;
    int load = first[s], end = first[s + 1] - 1;
    int base = l->count;
    for (int i = 0; i < g->tensor_count; i++) {
        bool temp = g->tensors[i].role == TENSOR_TEMP;
        put(l, temp ? tensor_bytes(&g->tensors[i]) : 0, end, load);
    }
    for (int i = 0; i < g->op_count; i++) {
        const struct op *op = &g->ops[i];
        int now = load + 1 + i;
        const tensor_id used[OP_INPUTS + 3] = {
            op->in[0], op->in[1], op->in[2], op->in[3],        op->in[4],
            op->in[5], op->in[6], op->out,   op->epi.residual, op->epi.sample_add};
        for (int j = 0; j < OP_INPUTS + 3; j++) {
            if (used[j] == NO_TENSOR) continue;
            struct block *b = &l->blocks[base + used[j]];
            if (now < b->first) b->first = now;
            if (now > b->last) b->last = now;
        }
    }
    int from = p->keep_weights ? 0 : load, to = p->keep_weights ? first[p->segment_count] : end;
    for (int i = 0; i < g->weight_count; i++) put(l, seg->needs.weight_bytes[i], from, to);
    for (int i = 0; i < g->op_count; i++)
        put(l, seg->needs.workspace[i], load + 1 + i, load + 1 + i);
    put(l, seg->needs.staging, load, load);
}

/* The offsets of a segment's blocks, in the order of put_segment. */
static kadr_status take_segment(struct segment_plan *out, struct arena *arena,
                                const struct segment *seg, const struct block *b, size_t align,
                                kadr_error *err) {
    const struct graph *g = seg->graph;
    const struct block *temps = b;
    size_t n = (size_t)(g->tensor_count + g->weight_count + g->op_count) + 3;
    size_t *offsets = arena_array(arena, n, sizeof *offsets);
    if (!offsets) return err_nomem(err, "plan", n * sizeof *offsets);
    out->tensor = offsets;
    out->weight = out->tensor + g->tensor_count;
    out->workspace = out->weight + g->weight_count;
    for (int i = 0; i < g->tensor_count; i++) out->tensor[i] = (b++)->offset;
    for (int i = 0; i < g->weight_count; i++) {
        out->weight_bytes += b->size;
        out->weight[i] = (b++)->offset;
    }
    for (int i = 0; i < g->op_count; i++) {
        if (b->size > out->workspace_bytes) out->workspace_bytes = b->size;
        out->workspace[i] = (b++)->offset;
    }
    out->staging = b->offset;
    out->temp_bytes = place_bound(temps, g->tensor_count, align);
    return KADR_OK;
}

kadr_status plan_make(struct plan *plan, struct mem *m, const struct program *p, size_t align,
                      kadr_error *err) {
    memset(plan, 0, sizeof *plan);
    arena_init(&plan->arena, m);
    size_t count = (size_t)p->buffer_count;
    for (int i = 0; i < p->segment_count; i++) {
        const struct graph *g = p->segments[i].graph;
        count += (size_t)(g->tensor_count + g->weight_count + g->op_count) + 1;
    }
    int first[PROGRAM_SEGMENTS + 1];
    count_ticks(p, first);
    struct layout l = {.blocks = mem_array(m, count + 1, sizeof *l.blocks)};
    plan->buffer = arena_array(&plan->arena, (size_t)p->buffer_count + 1, sizeof *plan->buffer);
    kadr_status st = KADR_OK;
    if (!l.blocks || !plan->buffer) {
        st = err_nomem(err, "plan", count * sizeof *l.blocks);
        goto fail;
    }
    for (int i = 0; i < p->buffer_count; i++) {
        const struct program_buffer *b = &p->buffers[i];
        plan->buffer_bytes += b->bytes;
        put(&l, b->bytes, first[b->first], first[b->last + 1] - 1);
    }
    for (int i = 0; i < p->segment_count; i++) put_segment(&l, p, i, first);
    st = place_blocks(m, l.blocks, l.count, align, &plan->bytes, err);
    if (st) goto fail;
    plan->bound = place_bound(l.blocks, l.count, align);
    const struct block *b = l.blocks;
    for (int i = 0; i < p->buffer_count; i++) plan->buffer[i] = (b++)->offset;
    for (int i = 0; i < p->segment_count && !st; i++) {
        const struct graph *g = p->segments[i].graph;
        st = take_segment(&plan->segments[i], &plan->arena, &p->segments[i], b, align, err);
        b += g->tensor_count + g->weight_count + g->op_count + 1;
    }
    if (st) goto fail;
    mem_free(l.blocks);
    return KADR_OK;
fail:
    mem_free(l.blocks);
    plan_free(plan);
    return st;
}

void plan_free(struct plan *plan) {
    arena_free(&plan->arena);
    plan->bytes = 0;
}
