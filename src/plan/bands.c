/* bands.c: see bands.h. */
#include "plan/bands.h"
#include "base/chk.h"
#include "plan/walk.h"

#define STATS_PIECE 64 /* pixels: parts of statistics are whole pieces, */
#define CONV_PIECE 2   /* rows: and those of convolutions */

/* Whether an operation can use `t` band by band. */
static bool can_band(const struct graph *g, const struct op *op, tensor_id t) {
    const struct tensor *x = &g->tensors[op->in[0]];
    if (x->rank != 4 || x->dim[0] != 1) return false;
    bool input = t == op->in[0] || t == op->in[1];
    if (op->kind == OP_GROUP_STATS) return input;
    return op->kind == OP_CONV && (input || t == op->epi.residual || t == op->out);
}

void bands_choose(const struct graph *g, const tensor_id *place, size_t least, bool *spilled) {
    for (tensor_id t = 0; t < g->tensor_count; t++) {
        const struct tensor *x = &g->tensors[t];
        spilled[t] = x->role == TENSOR_TEMP && x->rank == 4 && tensor_bytes(x) >= least;
    }
    for (int i = 0; i < g->op_count; i++) {
        tensor_id used[OP_TENSORS];
        op_tensors(&g->ops[i], used);
        for (int j = 0; j < OP_TENSORS; j++)
            if (used[j] != NO_TENSOR && !can_band(g, &g->ops[i], used[j])) spilled[used[j]] = false;
    }
    /* All that lie in one place go the same way. */
    for (tensor_id t = 0; t < g->tensor_count; t++)
        if (!spilled[t]) spilled[place[t]] = false;
    for (tensor_id t = 0; t < g->tensor_count; t++) spilled[t] = spilled[place[t]];
}

int64_t bands_rows(const struct graph *g, const struct op *op) {
    if (!bands_can(op)) return 1;
    return g->tensors[op->kind == OP_CONV ? op->out : op->in[0]].dim[1];
}

/* Rows of the input under rows [row, row + rows) of the output. */
static void rows_under(const struct graph *g, const struct op *op, int64_t row, int64_t rows,
                       int64_t *first, int64_t *count) {
    *first = row;
    *count = rows;
    if (op->kind != OP_CONV) return;
    int64_t h = g->tensors[op->in[0]].dim[1], up = op->upsample, seen = h * up - op->drop_h;
    int64_t from = row * op->stride - op->pad_before;
    int64_t last = from + (rows - 1) * op->stride + op->kernel - 1;
    if (from < 0) from = 0;
    if (last > seen - 1) last = seen - 1;
    *first = from / up;
    *count = last / up - *first + 1;
}

bool bands_sees_whole(const struct op *op, tensor_id t) {
    tensor_id used[OP_TENSORS];
    int uses = 0, seen = (op->in[0] == t) + (op->in[1] == t) + (op->in[2] == t) + (op->out == t);
    op_tensors(op, used);
    for (int i = 0; i < OP_TENSORS; i++) uses += used[i] == t;
    return uses == 0 || (!bands_can(op) && uses == 1 && seen == 1);
}

/* Room for so many bytes, at an address that leaves the same rest as the place in the file. */
static size_t room_for(size_t rows, size_t row) {
    return chk_align(rows * row, PLAN_ALIGN) + (row % PLAN_ALIGN ? PLAN_ALIGN : 0);
}

/* Everything that is spilled, whole. */
static int whole_windows(const struct graph *g, const struct op *op, const bool *spilled,
                         struct window *windows) {
    const tensor_id of[WINDOWS] = {op->in[0], op->in[1], op->in[2], op->out};
    size_t at = 0;
    int n = 0;
    for (int i = 0; i < WINDOWS; i++) {
        if (of[i] == NO_TENSOR || !spilled[of[i]]) continue;
        size_t bytes = tensor_bytes(&g->tensors[of[i]]);
        windows[n++] = (struct window){.tensor = of[i], .rows = 1, .at = at, .row = bytes};
        at += room_for(1, bytes);
    }
    return n;
}

int bands_windows(const struct graph *g, const struct op *op, const bool *spilled, int64_t height,
                  int64_t row, int64_t rows, struct window *windows) {
    if (!bands_can(op)) return whole_windows(g, op, spilled, windows);
    const tensor_id of[WINDOWS] = {op->in[0], op->in[1], op->epi.residual, op->out};
    int64_t first, count, most = height;
    rows_under(g, op, row, rows, &first, &count);
    /* Room for the rows under any band of that height. */
    if (op->kind == OP_CONV) most = ((height - 1) * op->stride + op->kernel) / op->upsample + 2;
    size_t at = 0;
    int n = 0;
    for (int i = 0; i < WINDOWS; i++) {
        tensor_id t = of[i];
        if (t == NO_TENSOR || !spilled[t] || (i == 1 && t == of[0])) continue;
        const struct tensor *x = &g->tensors[t];
        bool under = i < 2;
        struct window w = {.tensor = t,
                           .first = under ? first : row,
                           .rows = under ? count : rows,
                           .at = at,
                           .row = (size_t)(x->dim[2] * x->dim[3]) * dtype_size(x->dtype)};
        int64_t room = under && most < x->dim[1] ? most : under ? x->dim[1] : height;
        at += room_for((size_t)room, w.row);
        windows[n++] = w;
    }
    return n;
}

size_t bands_window_bytes(const struct graph *g, const struct op *op, const bool *spilled,
                          int64_t height) {
    struct window w[WINDOWS];
    int n = bands_windows(g, op, spilled, height, 0, height, w);
    if (!n) return 0;
    /* The end of the last window: as if one more followed. */
    const struct window *last = &w[n - 1];
    int64_t room = height;
    if (last->tensor != op->out && last->tensor != op->epi.residual && op->kind == OP_CONV)
        room = ((height - 1) * op->stride + op->kernel) / op->upsample + 2;
    return last->at + room_for((size_t)room, last->row);
}

int64_t bands_height(const struct graph *g, const struct op *op, const bool *spilled, size_t most) {
    struct window w[WINDOWS];
    if (!bands_windows(g, op, spilled, 1, 0, 1, w)) return 0;
    int64_t all = bands_rows(g, op), step = op->kind == OP_CONV ? CONV_PIECE : 1;
    if (op->kind == OP_GROUP_STATS)
        while (step * g->tensors[op->in[0]].dim[2] % STATS_PIECE) step++;
    int64_t height = step;
    while (height + step <= all && bands_window_bytes(g, op, spilled, height + step) <= most)
        height += step;
    return height < all ? height : all;
}
