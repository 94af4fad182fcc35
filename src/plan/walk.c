/* walk.c: see walk.h. */
#include "plan/walk.h"
#include "base/chk.h"

#include <string.h>

int64_t walk_columns(const struct weight *w) {
    return w->geglu ? w->dim[0] / 2 : w->dim[0];
}

size_t walk_part_bytes(const struct segment *s, weight_id w, const struct op_part *part) {
    size_t whole = s->needs.weight_bytes[w], per = s->needs.part_bytes[w];
    if (!part || !part->count || !per) return whole;
    size_t before = per * (size_t)(part->first / PART_COLUMNS);
    if (part->first + part->count >= walk_columns(&s->graph->weights[w])) return whole - before;
    return per * (size_t)(part->count / PART_COLUMNS);
}

static size_t slot_bytes(const struct segment *s, const bool *stays, weight_id w,
                         const struct op_part *part) {
    if (w == NO_WEIGHT || !walk_streams(s, stays, w)) return 0;
    return chk_align(walk_part_bytes(s, w, part), PLAN_ALIGN);
}

static size_t op_bytes(const struct segment *s, const bool *stays, const struct op *op,
                       const struct op_part *part) {
    return slot_bytes(s, stays, op->w, part) + slot_bytes(s, stays, op->b, part);
}

/* Columns of one part of an operation that is too large for a slot; 0: it is not, or it cannot be
 * cut. */
static int64_t part_columns(const struct segment *s, const struct walk_limits *limits, int i) {
    const struct op *op = &s->graph->ops[i];
    if (op->w == NO_WEIGHT || !walk_streams(s, limits->stays, op->w)) return 0;
    size_t per = s->needs.part_bytes[op->w];
    size_t most = limits->band[i] ? limits->banded_slot : limits->slot;
    if (!per || op_bytes(s, limits->stays, op, NULL) <= most) return 0;
    int64_t columns = walk_columns(&s->graph->weights[op->w]);
    int64_t count = most > per ? (int64_t)(most / per) : 1;
    /* Parts of about equal size. */
    int64_t all = (columns + PART_COLUMNS - 1) / PART_COLUMNS, parts = (all + count - 1) / count;
    return parts > 1 ? (all + parts - 1) / parts * PART_COLUMNS : 0;
}

/* Bytes of temps that one lane holds after each operation. */
static void live_after(const struct graph *g, int *last, size_t *live) {
    for (int i = 0; i < g->tensor_count; i++) last[i] = -1;
    for (int i = g->op_count - 1; i >= 0; i--) {
        tensor_id used[OP_TENSORS];
        op_tensors(&g->ops[i], used);
        for (int j = 0; j < OP_TENSORS; j++)
            if (used[j] != NO_TENSOR && last[used[j]] < i) last[used[j]] = i;
    }
    /* live[i + 1] gains what begins and loses what ends at i. */
    memset(live, 0, ((size_t)g->op_count + 1) * sizeof *live);
    size_t now = 0;
    for (int i = 0; i < g->op_count; i++) {
        tensor_id out = g->ops[i].out;
        if (g->tensors[out].role == TENSOR_TEMP && last[out] > i)
            now += tensor_bytes(&g->tensors[out]);
        tensor_id used[OP_TENSORS];
        op_tensors(&g->ops[i], used);
        for (int j = 0; j < OP_TENSORS; j++) {
            tensor_id t = used[j];
            if (t == NO_TENSOR || t == out || last[t] != i) continue;
            if (g->tensors[t].role == TENSOR_TEMP) now -= tensor_bytes(&g->tensors[t]);
            last[t] = -1; /* an operation may use a tensor twice */
        }
        live[i] = now;
    }
}

/* The last operation of the unit that begins at `first`: as far as the slot reaches, and there
 * where little is held. */
static int group_end(const struct segment *s, const struct walk_limits *limits, int first,
                     const size_t *live) {
    const struct graph *g = s->graph;
    size_t bytes = 0;
    int end = first, best = first;
    for (int i = first; i < g->op_count; i++) {
        bytes += op_bytes(s, limits->stays, &g->ops[i], NULL);
        bool border = i == g->cut_first || i == g->cut_end;
        if (i > first && (border || bytes > limits->slot || part_columns(s, limits, i))) break;
        end = i;
    }
    size_t least = live[first];
    for (int i = first; i <= end; i++)
        if (live[i] < least) least = live[i];
    for (int i = first; i <= end; i++)
        if (live[i] <= least + least / 8) best = i;
    return best;
}

static void add_unit(struct walk *w, const struct segment *s, const bool *stays, struct unit u) {
    const struct op_part *part = u.part.count ? &u.part : NULL;
    for (int i = u.first; i <= u.last; i++) {
        const struct op *op = &s->graph->ops[i];
        /* What is never cut first: then a weight has the same place in every part's slot. */
        const weight_id of[2] = {op->b, op->w};
        for (int j = 0; j < 2; j++) {
            if (of[j] == NO_WEIGHT || !walk_streams(s, stays, of[j])) continue;
            w->at[of[j]] = u.bytes;
            u.bytes += slot_bytes(s, stays, of[j], part);
        }
    }
    if (u.bytes > w->largest) w->largest = u.bytes;
    w->streamed += u.bytes;
    if (graph_in_cut(s->graph, u.first)) w->spared += u.bytes;
    w->ticks += (u.last - u.first + 1) * s->lanes;
    w->units[w->count++] = u;
}

static void add_parts(struct walk *w, const struct segment *s, const bool *stays, int i,
                      int64_t step) {
    int64_t columns = walk_columns(&s->graph->weights[s->graph->ops[i].w]);
    for (int64_t c = 0; c < columns; c += step) {
        int64_t count = columns - c < step ? columns - c : step;
        add_unit(w, s, stays,
                 (struct unit){.first = i, .last = i, .part = {.first = c, .count = count}});
    }
}

kadr_status walk_make(struct walk *w, struct arena *a, const struct segment *s,
                      const struct walk_limits *limits, kadr_error *err) {
    const struct graph *g = s->graph;
    const bool *stays = limits->stays;
    size_t units = 0;
    for (int i = 0; i < g->op_count; i++) {
        int64_t step = part_columns(s, limits, i);
        units += step ? (size_t)((walk_columns(&g->weights[g->ops[i].w]) + step - 1) / step) : 1;
    }
    memset(w, 0, sizeof *w);
    w->ticks = 2;
    w->units = arena_array(a, units + 1, sizeof *w->units);
    w->at = arena_array(a, (size_t)g->weight_count + 1, sizeof *w->at);
    size_t *live = arena_array(a, (size_t)g->op_count + 1, sizeof *live);
    int *last = arena_array(a, (size_t)g->tensor_count + 1, sizeof *last);
    if (!w->units || !w->at || !live || !last)
        return err_nomem(err, "plan", units * sizeof *w->units);
    live_after(g, last, live);
    for (int i = 0; i < g->op_count;) {
        int64_t step = part_columns(s, limits, i);
        int end = step || s->lanes == 1 ? i : group_end(s, limits, i, live);
        if (step) add_parts(w, s, stays, i, step);
        else add_unit(w, s, stays, (struct unit){.first = i, .last = end});
        i = end + 1;
    }
    return KADR_OK;
}
