/* attention.c: attention without a matrix of all scores (FlashAttention). Heads are taken in
 * groups: first the keys and values of a group are packed into panels, then each task takes some
 * queries of one head and walks over the keys block by block with an online softmax. A head whose
 * keys and values are too many to be packed at once is a group of its own: spans of its keys are
 * packed in turn, and what its queries have so far is kept between the spans.
 *
 * Invariant: blocks of keys have a size that their number decides and follow in order, so bits
 * depend on shapes alone.
 */
#include "backend/cpu/bits.h"
#include "backend/cpu/cpu.h"

#include <math.h>
#include <string.h>

#define QUERIES 56                    /* of a task, about: whole tiles */
#define KEYS_MOST 640                 /* of a block: all blocks but the last are of one size */
#define GROUP_BYTES ((size_t)4 << 20) /* about as much for packed heads at a time */
#define STATE_BYTES ((size_t)4 << 20) /* about as much for queries between spans of keys */

struct attention {
    const struct cpu_op *o;
    const struct kernels *kernels;
    const struct gemm_kernel *kernel;
    enum dtype type;                /* of q, k, v */
    enum dtype as;                  /* of panels and what multiplies them */
    int64_t n, heads, width, depth; /* depth: of a head */
    int64_t queries, keys;          /* of a sample */
    int64_t each;                   /* queries of a task */
    int64_t key_panels, depth_panels;
    int64_t group, first;  /* heads [first, first + group) at a time, */
    int64_t span, from;    /* of them keys [from, from + span), a multiple of `step` unless all, */
    int64_t step;          /* keys of a block, and of a packing task; a multiple of PANEL */
    int64_t block, blocks; /* and blocks [block, block + blocks) of queries */
    size_t key_panel, value_panel, key_bytes, head_bytes;
    /* Of a thread's workspace: */
    size_t q_stride, p_stride, s_stride, out_stride;
    size_t q_at, s_at, p_at, state_at, thread_bytes, threads_at;
    size_t sums_at, state_bytes, states_at; /* of a block of queries; the thread's unless spanned */
    bool spanned;
    float scale;
};

static void init(struct attention *a, const struct cpu_op *o) {
    const struct tensor *q = op_in(o, 0), *k = op_in(o, 1);
    *a = (struct attention){.o = o, .kernels = &o->cpu->kernels, .type = q->dtype};
    a->kernel = gemm_for(a->kernels, a->type, &a->as);
    a->n = q->dim[0];
    a->heads = o->op->heads;
    a->width = tensor_width(q);
    a->depth = a->width / a->heads;
    a->queries = tensor_rows(q) / a->n;
    a->keys = tensor_rows(k) / a->n;
    a->each = ceil_div(QUERIES, a->kernel->rows) * a->kernel->rows;
    a->scale = o->op->scale;
    a->depth_panels = ceil_div(a->depth, PANEL);
    a->key_panel = panel_bytes(a->as, a->depth);
    size_t of_key = 2 * panel_bytes(a->as, a->depth_panels * PANEL) / PANEL;
    a->step = ceil_div(ceil_div(a->keys, ceil_div(a->keys, KEYS_MOST)), PANEL) * PANEL;
    int64_t most = (int64_t)(GROUP_BYTES / of_key) / a->step * a->step;
    a->span = min_i64(a->keys, max_i64(a->step, most));
    a->spanned = a->span < a->keys;
    a->key_panels = ceil_div(a->span, PANEL);
    a->value_panel = panel_bytes(a->as, a->key_panels * PANEL);
    a->key_bytes = (size_t)a->key_panels * a->key_panel;
    a->head_bytes = a->key_bytes + (size_t)a->depth_panels * a->value_panel;
    a->group = min_i64(a->n * a->heads, max_i64(1, (int64_t)(GROUP_BYTES / a->head_bytes)));
    if (a->spanned) a->group = 1;

    size_t a_size = dtype_size(a->as), block = (size_t)min_i64(a->step, a->key_panels * PANEL);
    a->q_stride = chk_align((size_t)(a->depth + a->depth % 2) * a_size, 64) + 64;
    a->s_stride = block + PANEL; /* floats */
    a->p_stride = a->as == DTYPE_F32 ? a->s_stride * sizeof(float) : block * a_size + 64;
    a->out_stride = (size_t)a->depth_panels * PANEL;
    scratch(&a->state_bytes, a->each * a->out_stride * sizeof(float));
    a->sums_at = scratch(&a->state_bytes, 2 * a->each * sizeof(float));
    a->q_at = scratch(&a->thread_bytes, a->each * a->q_stride);
    a->s_at = scratch(&a->thread_bytes, a->each * a->s_stride * sizeof(float));
    a->p_at = a->s_at; /* in place, unless the product wants another type */
    if (a->as != DTYPE_F32) a->p_at = scratch(&a->thread_bytes, a->each * a->p_stride);
    if (!a->spanned) a->state_at = scratch(&a->thread_bytes, a->state_bytes);
    a->blocks = ceil_div(a->queries, a->each);
    if (a->spanned) /* a few blocks for each thread at least */
        a->blocks = min_i64(a->blocks, max_i64(16, (int64_t)(STATE_BYTES / a->state_bytes)));
    a->states_at = chk_align((size_t)a->group * a->head_bytes, BACKEND_ALIGN);
    a->threads_at = a->states_at;
    if (a->spanned) a->threads_at += chk_align((size_t)a->blocks * a->state_bytes, BACKEND_ALIGN);
}

/* Keys [key, key + count) of one head into value panels: [depth panel][key][PANEL], or in pairs. */
static void pack_values(const struct attention *a, const char *v, int64_t key, int64_t count,
                        char *to) {
    for (int64_t p = 0; p < a->depth_panels; p++, to += a->value_panel) {
        size_t cols = (size_t)min_i64(PANEL, a->depth - p * PANEL);
        char *line = to + panel_bytes(a->as, key);
        if (a->as == DTYPE_F32) {
            size_t size = dtype_size(a->type);
            const char *from = v + (size_t)(p * PANEL) * size;
            for (int64_t i = 0; i < count; i++, line += PANEL * sizeof(float)) {
                a->kernels->convert(line, DTYPE_F32, from + (size_t)(i * a->width) * size, a->type,
                                    cols);
                memset(line + cols * sizeof(float), 0, (PANEL - cols) * sizeof(float));
            }
            continue;
        }
        const uint16_t *from = (const uint16_t *)v + p * PANEL;
        uint16_t *pair = (uint16_t *)(void *)line;
        for (int64_t i = 0; i < count; i += 2, from += 2 * a->width, pair += 2 * PANEL) {
            bool both = i + 1 < count;
            if (both && cols == PANEL) {
                for (size_t j = 0; j < PANEL; j++) {
                    pair[2 * j] = from[j];
                    pair[2 * j + 1] = from[(size_t)a->width + j];
                }
                continue;
            }
            memset(pair, 0, 2 * PANEL * sizeof *pair);
            for (size_t j = 0; j < cols; j++) {
                pair[2 * j] = from[j];
                if (both) pair[2 * j + 1] = from[(size_t)a->width + j];
            }
        }
    }
}

/* The panels' end behind the last key: zeros, so that what is multiplied by a weight of 0 is 0. */
static void clear_values(const struct attention *a, int64_t keys, char *to) {
    size_t used = panel_bytes(a->as, keys);
    for (int64_t p = 0; p < a->depth_panels; p++, to += a->value_panel)
        memset(to + used, 0, a->value_panel - used);
}

static void pack_task(void *user, size_t task, int thread) {
    (void)thread;
    const struct attention *a = user;
    int64_t all = min_i64(a->span, a->keys - a->from), pieces = ceil_div(all, a->step);
    int64_t slot = (int64_t)task / pieces, head = a->first + slot;
    int64_t key = (int64_t)task % pieces * a->step, count = min_i64(a->step, all - key);
    size_t size = dtype_size(a->type);
    size_t at = (size_t)((head / a->heads * a->keys + a->from + key) * a->width +
                         head % a->heads * a->depth) *
                size;
    const char *k = (const char *)op_data(a->o, a->o->op->in[1]) + at;
    const char *v = (const char *)op_data(a->o, a->o->op->in[2]) + at;
    char *keys = a->o->workspace + (size_t)slot * a->head_bytes, *values = keys + a->key_bytes;
    keys += (size_t)(key / PANEL) * a->key_panel;
    for (int64_t i = 0; i < count; i += PANEL, keys += a->key_panel)
        cpu_pack_panel(a->kernels, keys, a->as, k + (size_t)(i * a->width) * size, a->type,
                       (size_t)a->width, (int)min_i64(PANEL, count - i), (size_t)a->depth);
    pack_values(a, v, key, count, values);
    if (key + count == all) clear_values(a, all, values);
}

/* Queries of a task while it walks over the keys. */
struct walk {
    const struct attention *a;
    const char *keys, *values; /* panels of the head's span */
    char *q, *p;
    float *s, *out, *top, *sum;
    int64_t query, rows; /* first query, how many */
    int64_t valid;       /* keys of this sample that count */
};

/* One query's scores against keys [key, key + count) become weights; what was summed up before is
 * brought to the new maximum. */
static void weigh_row(const struct walk *w, int64_t row, int64_t key, int64_t count) {
    const struct attention *a = w->a;
    const float *s = w->s + (size_t)row * a->s_stride;
    char *p = w->p + (size_t)row * a->p_stride;
    int64_t valid = w->valid - key;
    if (a->o->op->causal) valid = min_i64(valid, w->query + row - key + 1);
    valid = max_i64(0, min_i64(valid, count));
    if (valid > 0) {
        float before = w->top[row];
        float sum = a->kernels->softmax(p, a->as, s, (size_t)valid, a->scale, &w->top[row]);
        if (w->top[row] != before && key > 0) {
            float by = expf(before - w->top[row]);
            w->sum[row] *= by;
            a->kernels->scale(w->out + (size_t)row * a->out_stride, a->out_stride, by);
        }
        w->sum[row] += sum;
    }
    memset(p + (size_t)valid * dtype_size(a->as), 0, (size_t)(count - valid) * dtype_size(a->as));
}

/* The keys of the span at hand. */
static void walk_keys(const struct walk *w) {
    const struct attention *a = w->a;
    int64_t end = min_i64(w->valid, a->from + a->span), panels_in_all = ceil_div(a->keys, PANEL);
    if (a->o->op->causal) end = min_i64(end, w->query + w->rows);
    size_t depth = (size_t)(a->as == DTYPE_BF16 ? a->depth + a->depth % 2 : a->depth);
    for (int64_t key = a->from; key < end; key += a->step) {
        int64_t panels = min_i64(a->step / PANEL, panels_in_all - key / PANEL), in = key - a->from;
        const struct gemm_tile scores = {.k = depth,
                                         .a = w->q,
                                         .a_stride = a->q_stride,
                                         .b = w->keys + (size_t)(in / PANEL) * a->key_panel,
                                         .b_stride = a->key_panel,
                                         .c = w->s,
                                         .c_stride = a->s_stride};
        const struct gemm_tile sums = {.k = (size_t)(panels * PANEL),
                                       .a = w->p,
                                       .a_stride = a->p_stride,
                                       .b = w->values + panel_bytes(a->as, in),
                                       .b_stride = a->value_panel,
                                       .c = w->out,
                                       .c_stride = a->out_stride,
                                       .accumulate = key > 0};
        gemm_tiles(a->kernel, &scores, w->rows, panels);
        for (int64_t r = 0; r < w->rows; r++) weigh_row(w, r, key, panels * PANEL);
        gemm_tiles(a->kernel, &sums, w->rows, a->depth_panels);
    }
}

/* add + gain * mask * out / sum, in the output's type. */
static void finish_rows(const struct walk *w, int64_t sample, int64_t column) {
    const struct attention *a = w->a;
    const struct cpu_op *o = a->o;
    const int32_t *in = o->op->in;
    const float *gain = op_data(o, in[5]), *mask = op_data(o, in[6]);
    int64_t token = sample * a->queries + w->query;
    for (int64_t r = 0; r < w->rows; r++) {
        float by = w->sum[r] > 0 ? 1.0f / w->sum[r] : 0.0f;
        if (gain) by *= gain[sample];
        if (mask) by *= mask[token + r];
        a->kernels->scale(w->out + (size_t)r * a->out_stride, a->out_stride, by);
    }
    struct finish f = {.rows = w->rows,
                       .cols = a->depth,
                       .acc = w->out,
                       .acc_stride = a->out_stride,
                       .residual_stride = (size_t)a->width,
                       .out_stride = (size_t)a->width,
                       .out_type = op_out(o)->dtype,
                       .act = ACT_NONE,
                       .scale = 1};
    size_t at = (size_t)(token * a->width + column);
    f.out = (char *)op_data(o, o->op->out) + at * dtype_size(f.out_type);
    if (in[4] != NO_TENSOR) {
        f.residual_type = op_in(o, 4)->dtype;
        f.residual = (const char *)op_data(o, in[4]) + at * dtype_size(f.residual_type);
    }
    a->kernels->finish(&f);
}

/* The queries in the product's type; before the first key nothing is summed up. */
static void take_queries(const struct walk *w, int64_t sample, int64_t column) {
    const struct attention *a = w->a;
    size_t size = dtype_size(a->type);
    const char *q = (const char *)op_data(a->o, a->o->op->in[0]) +
                    (size_t)((sample * a->queries + w->query) * a->width + column) * size;
    memset(w->q, 0, (size_t)w->rows * a->q_stride);
    for (int64_t r = 0; r < w->rows; r++)
        a->kernels->convert(w->q + (size_t)r * a->q_stride, a->as,
                            q + (size_t)(r * a->width) * size, a->type, (size_t)a->depth);
    if (a->from) return;
    memset(w->out, 0, (size_t)w->rows * a->out_stride * sizeof *w->out);
    for (int64_t r = 0; r < w->rows; r++) {
        w->top[r] = -INFINITY;
        w->sum[r] = 0;
    }
}

static void attend_task(void *user, size_t task, int thread) {
    const struct attention *a = user;
    const struct cpu_op *o = a->o;
    int64_t slot = (int64_t)task / a->blocks, block = (int64_t)task % a->blocks;
    int64_t head = a->first + slot;
    int64_t sample = head / a->heads, column = head % a->heads * a->depth;
    char *own = o->workspace + a->threads_at + (size_t)thread * a->thread_bytes;
    char *state = a->spanned ? o->workspace + a->states_at + (size_t)block * a->state_bytes
                             : own + a->state_at;
    struct walk w = {.a = a,
                     .keys = o->workspace + (size_t)slot * a->head_bytes,
                     .q = own + a->q_at,
                     .p = own + a->p_at,
                     .s = (float *)(void *)(own + a->s_at),
                     .out = (float *)(void *)state,
                     .top = (float *)(void *)(state + a->sums_at),
                     .query = (a->block + block) * a->each,
                     .valid = a->keys};
    w.values = w.keys + a->key_bytes;
    w.sum = w.top + a->each;
    w.rows = min_i64(a->each, a->queries - w.query);
    const int32_t *lengths = op_data(o, o->op->in[3]);
    if (lengths) w.valid = max_i64(0, min_i64(a->keys, lengths[sample]));
    take_queries(&w, sample, column);
    walk_keys(&w);
    gemm_leave(a->kernel);
    if (a->from + a->span >= a->keys) finish_rows(&w, sample, column);
}

size_t cpu_attention_workspace(const struct cpu_op *o) {
    struct attention a;
    init(&a, o);
    return a.threads_at + a.thread_bytes * (size_t)o->cpu->threads;
}

void cpu_attention_run(const struct cpu_op *o) {
    struct attention a;
    init(&a, o);
    int64_t all = a.n * a.heads, most = a.group, some = a.blocks;
    int64_t query_blocks = ceil_div(a.queries, a.each);
    for (; a.first < all; a.first += most) {
        a.group = min_i64(most, all - a.first);
        for (a.block = 0; a.block < query_blocks; a.block += some) {
            a.blocks = min_i64(some, query_blocks - a.block);
            for (a.from = 0; a.from < a.keys; a.from += a.span) {
                int64_t pieces = ceil_div(min_i64(a.span, a.keys - a.from), a.step);
                pool_run(o->cpu->pool, (size_t)(a.group * pieces), pack_task, &a);
                pool_run(o->cpu->pool, (size_t)(a.group * a.blocks), attend_task, &a);
            }
        }
    }
}
