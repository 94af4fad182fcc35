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
    case OP_CONV:
        return flops / rates->product + (double)s->needs.weight_bytes[op->w] / rates->bytes;
    case OP_ATTENTION: return flops / rates->attention;
    default: return op_bytes(s->graph, op) / rates->bytes;
    }
}

/* Bytes that an operation's bands move between the scratch file and the windows. */
static double band_bytes(const struct segment *s, const struct segment_plan *sp, int i) {
    const struct graph *g = s->graph;
    double bytes = 0;
    int64_t height = sp->band[i], all = bands_rows(g, &g->ops[i]);
    for (int64_t row = 0; height && row < all; row += height) {
        struct window w[WINDOWS];
        int n = bands_windows(g, &g->ops[i], sp->spilled, height, row,
                              all - row < height ? all - row : height, w);
        for (int j = 0; j < n; j++) bytes += (double)w[j].rows * (double)w[j].row;
    }
    return bytes;
}

struct plan_cost plan_cost(const struct plan *plan, const struct program *program, int segment,
                           const struct plan_rates *rates) {
    const struct segment *s = &program->segments[segment];
    const struct segment_plan *sp = &plan->segments[segment];
    struct plan_cost c = {0};
    for (int i = 0; i < s->graph->op_count; i++) {
        c.compute += op_seconds(s, &s->graph->ops[i], rates) * s->lanes;
        c.scratch_bytes += band_bytes(s, sp, i) * s->lanes;
    }
    c.read = (double)plan_bytes_read(plan, segment) / rates->disk;
    c.scratch = c.scratch_bytes / rates->disk;
    return c;
}
