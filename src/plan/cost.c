/* cost.c: see cost.h. */
#include "plan/cost.h"

static double op_bytes(const struct graph *g, const struct op *op) {
    tensor_id used[OP_TENSORS];
    double bytes = 0;
    op_tensors(op, used);
    for (int i = 0; i < OP_TENSORS; i++)
        if (used[i] != NO_TENSOR) bytes += (double)tensor_bytes(&g->tensors[used[i]]);
    return bytes;
}

/* Products are bound by arithmetic where they have many rows, by reading their weights where they
 * have few: the sum of both is near either. */
static double op_seconds(const struct segment *s, const struct op *op,
                         const struct plan_rates *rates) {
    double flops = op_flops(s->graph, op);
    switch (op->kind) {
    case OP_LINEAR:
    case OP_CONV: {
        bool bytes = s->graph->weights[op->w].dtype == DTYPE_I8;
        double rate = op->kind == OP_CONV ? rates->conv : rates->product;
        return flops / (bytes ? rates->product_i8 : rate) +
               (double)s->needs.weight_bytes[op->w] / rates->bytes;
    }
    case OP_ATTENTION: return flops / rates->attention;
    default: return op_bytes(s->graph, op) / rates->bytes;
    }
}

/* Bytes that an operation's bands move between the scratch file and the windows; a part of its
 * columns reads the rows that it writes as well. */
static double band_bytes(const struct segment *s, const struct segment_plan *sp,
                         const struct unit *u, int i) {
    const struct graph *g = s->graph;
    double bytes = 0;
    int64_t height = sp->band[i], all = bands_rows(g, &g->ops[i]);
    for (int64_t row = 0; height && row < all; row += height) {
        struct window w[WINDOWS];
        int n = bands_windows(g, &g->ops[i], sp->spilled, height, row,
                              all - row < height ? all - row : height, w);
        for (int j = 0; j < n; j++) {
            bool twice = w[j].tensor == g->ops[i].out && u->part.count;
            bytes += (double)w[j].rows * (double)w[j].row * (twice ? 2 : 1);
        }
    }
    return bytes;
}

/* ---- Reader and executor */

#define SLOTS 512 /* that are in use together; where there are more, the reader waits too long */

struct slot {
    size_t at, end;
    double done; /* when the unit is, and its place is free */
};

/* Both clocks, in seconds from the beginning of the first run. */
struct race {
    double reader, executor;
    size_t ring;
    struct slot slots[SLOTS]; /* in use, a queue */
    int oldest, count;
};

/* See stream.c: slots follow each other in the ring. */
static bool has_place(const struct race *r, size_t bytes, size_t *at) {
    *at = 0;
    if (!r->count) return true;
    if (r->count == SLOTS) return false;
    const struct slot *first = &r->slots[r->oldest],
                      *last = &r->slots[(r->oldest + r->count - 1) % SLOTS];
    *at = last->end;
    if (last->at < first->at) return last->end + bytes <= first->at;
    if (last->end + bytes <= r->ring) return true;
    *at = 0;
    return bytes <= first->at;
}

/* One more unit: so many bytes in its slot, so many seconds of each. */
static void race_unit(struct race *r, size_t bytes, double read, double compute, double scratch) {
    size_t at = 0;
    while (bytes && r->count &&
           (r->slots[r->oldest].done <= r->reader || !has_place(r, bytes, &at))) {
        const double done = r->slots[r->oldest].done;
        if (done > r->reader) r->reader = done;
        r->oldest = (r->oldest + 1) % SLOTS;
        r->count--;
    }
    if (bytes) has_place(r, bytes, &at);
    r->reader += read;
    if (read > 0 && r->reader > r->executor) r->executor = r->reader;
    r->executor += compute > scratch ? compute : scratch;
    r->reader += scratch; /* one disk does both */
    if (bytes)
        r->slots[(r->oldest + r->count++) % SLOTS] = (struct slot){at, at + bytes, r->executor};
}

/* ---- A segment */

/* Bytes of the unit's weights that stay. */
static double resident_bytes(const struct segment *s, const struct segment_plan *sp,
                             const struct unit *u) {
    double bytes = 0;
    for (int i = u->first; i <= u->last; i++) {
        const weight_id of[2] = {s->graph->ops[i].w, s->graph->ops[i].b};
        for (int j = 0; j < 2; j++)
            if (of[j] != NO_WEIGHT && !walk_streams(s, sp->stays, of[j]))
                bytes += (double)s->needs.weight_bytes[of[j]];
    }
    return bytes;
}

/* The unit's share of its operations, of all lanes that run. */
static double unit_seconds(const struct segment *s, const struct unit *u, int lanes,
                           const struct plan_rates *rates) {
    double seconds = 0;
    for (int i = u->first; i <= u->last; i++)
        seconds += op_seconds(s, &s->graph->ops[i], rates) * lanes;
    if (u->part.count)
        seconds *= (double)u->part.count /
                   (double)walk_columns(&s->graph->weights[s->graph->ops[u->first].w]);
    return seconds;
}

struct plan_cost plan_cost(const struct plan *plan, const struct program *program, int segment,
                           struct segment_part part, const struct plan_rates *rates) {
    const struct segment *s = &program->segments[segment];
    const struct segment_plan *sp = &plan->segments[segment];
    const int lanes = part_lanes(&part, s->lanes);
    struct race race = {.ring = sp->ring_bytes};
    struct plan_cost c = {0};
    for (int run = 0; run < 2; run++) {
        c.compute = c.read = c.scratch_bytes = 0;
        for (int k = 0; k < sp->walk.count; k++) {
            const struct unit *u = &sp->walk.units[k];
            if (walk_leaves_out(s->graph, u, part.reuse)) continue;
            double compute = unit_seconds(s, u, lanes, rates), scratch = 0;
            double read = (double)u->bytes / rates->disk;
            for (int i = u->first; i <= u->last; i++) scratch += band_bytes(s, sp, u, i) * lanes;
            c.compute += compute;
            c.read += read;
            c.scratch_bytes += scratch;
            if (!run) read += resident_bytes(s, sp, u) / rates->disk;
            race_unit(&race, u->bytes, read, compute, scratch / rates->disk);
        }
        if (run) continue;
        c.first = race.executor;
        /* Between runs that do not follow each other nothing is read ahead. */
        if (s->repeats == 1) race = (struct race){.ring = sp->ring_bytes};
    }
    c.seconds = race.executor - (s->repeats > 1 ? c.first : 0);
    c.scratch = c.scratch_bytes / rates->disk;
    return c;
}
