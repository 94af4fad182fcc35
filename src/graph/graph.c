/* graph.c: builds op lists. Shapes are worked out here, once; building is sticky: after the first
 * error every call returns NO_TENSOR and changes nothing.
 *
 * Invariants: an operation reads only tensors with smaller ids; every temp is written by exactly
 * one operation, the one that made it.
 */
#include "graph/graph.h"
#include "base/chk.h"

#include <string.h>

void graph_init(struct graph *g, struct mem *m, const char *name, enum dtype dtype) {
    memset(g, 0, sizeof *g);
    arena_init(&g->arena, m);
    g->name = name;
    g->dtype = g->products = dtype;
}

void graph_free(struct graph *g) {
    arena_free(&g->arena);
    g->tensors = NULL;
    g->weights = NULL;
    g->ops = NULL;
    g->tensor_count = g->weight_count = g->op_count = 0;
    g->tensor_room = g->weight_room = g->op_room = 0;
}

bool graph_failed(const struct graph *g) {
    return g->error.status != KADR_OK;
}

kadr_status graph_status(const struct graph *g, kadr_error *err) {
    if (!graph_failed(g)) return KADR_OK;
    if (err) *err = g->error;
    return g->error.status;
}

/* Grows one of the three arrays by doubling inside the arena (the old copy stays until the end:
 * a graph has a few thousand entries). */
static bool make_room(struct graph *g, void **array, int count, int *room, size_t size) {
    if (count < *room) return true;
    int more = *room ? *room * 2 : 64;
    void *p = arena_array(&g->arena, (size_t)more, size);
    if (!p) {
        err_nomem(&g->error, "graph", (size_t)more * size);
        return false;
    }
    if (count) memcpy(p, *array, (size_t)count * size);
    *array = p;
    *room = more;
    return true;
}

static tensor_id bad(struct graph *g, const char *label, const char *what) {
    if (!graph_failed(g)) err_set(&g->error, KADR_EMODEL, "%s: %s: %s", g->name, label, what);
    return NO_TENSOR;
}

static tensor_id add_tensor(struct graph *g, const char *name, enum tensor_role role,
                            enum dtype dtype, int rank, const int64_t *dim) {
    void *array = g->tensors;
    if (graph_failed(g) ||
        !make_room(g, &array, g->tensor_count, &g->tensor_room, sizeof *g->tensors))
        return NO_TENSOR;
    g->tensors = array;
    size_t elements, bytes;
    if (!chk_product(dim, rank, &elements) || !chk_mul(elements, dtype_size(dtype), &bytes) ||
        elements == 0)
        return bad(g, name, "a tensor with no elements or too many");
    struct tensor *t = &g->tensors[g->tensor_count];
    *t = (struct tensor){.name = name, .dtype = dtype, .role = role, .rank = rank};
    memcpy(t->dim, dim, (size_t)rank * sizeof *dim);
    return g->tensor_count++;
}

/* The same weight named twice (tied weights) is one weight. */
static weight_id add_weight(struct graph *g, const char *label, const char *suffix,
                            struct weight proto) {
    void *array = g->weights;
    if (graph_failed(g) ||
        !make_room(g, &array, g->weight_count, &g->weight_room, sizeof *g->weights))
        return NO_WEIGHT;
    g->weights = array;
    proto.name = arena_printf(&g->arena, "%s%s", label, suffix);
    if (!proto.name) {
        err_nomem(&g->error, "graph", strlen(label));
        return NO_WEIGHT;
    }
    g->weights[g->weight_count] = proto;
    return g->weight_count++;
}

static weight_id add_vector(struct graph *g, const char *label, const char *suffix, int64_t n) {
    return add_weight(
        g, label, suffix,
        (struct weight){.use = WEIGHT_VECTOR, .dtype = DTYPE_F32, .rank = 1, .dim = {n}});
}

static struct op *add_op(struct graph *g, enum op_kind kind, const char *label) {
    void *array = g->ops;
    if (graph_failed(g) || !make_room(g, &array, g->op_count, &g->op_room, sizeof *g->ops))
        return NULL;
    g->ops = array;
    struct op *op = &g->ops[g->op_count++];
    *op = (struct op){.kind = kind, .w = NO_WEIGHT, .b = NO_WEIGHT, .epi = EPI_NONE, .stride = 1};
    op->out = NO_TENSOR;
    op->label = arena_strdup(&g->arena, label);
    if (!op->label) {
        err_nomem(&g->error, "graph", strlen(label));
        return NULL;
    }
    for (int i = 0; i < OP_INPUTS; i++) op->in[i] = NO_TENSOR;
    return op;
}

static bool valid(const struct graph *g, tensor_id t) {
    return !graph_failed(g) && t >= 0 && t < g->tensor_count;
}

static bool same_shape(const struct graph *g, tensor_id a, tensor_id b) {
    const struct tensor *x = &g->tensors[a], *y = &g->tensors[b];
    return tensor_elements(x) == tensor_elements(y) && tensor_width(x) == tensor_width(y);
}

enum dtype graph_products(struct graph *g, enum dtype dtype) {
    enum dtype before = g->products;
    g->products = dtype;
    return before;
}

tensor_id graph_input(struct graph *g, const char *name, enum dtype dtype, int rank,
                      const int64_t *dim) {
    char *own = arena_strdup(&g->arena, name);
    if (!own) {
        if (!graph_failed(g)) err_nomem(&g->error, "graph", strlen(name));
        return NO_TENSOR;
    }
    return add_tensor(g, own, TENSOR_INPUT, dtype, rank, dim);
}

void graph_output(struct graph *g, tensor_id t, const char *name) {
    if (!valid(g, t)) return;
    char *own = arena_strdup(&g->arena, name);
    if (!own) {
        err_nomem(&g->error, "graph", strlen(name));
        return;
    }
    g->tensors[t].name = own;
    g->tensors[t].role = TENSOR_OUTPUT;
}

void graph_cut_begin(struct graph *g) {
    g->cut_first = g->op_count;
}

void graph_cut_end(struct graph *g, tensor_id kept, const char *name) {
    g->cut_end = g->op_count;
    graph_output(g, kept, name);
}

kadr_status graph_cut_check(const struct graph *g, kadr_error *err) {
    for (int made = g->cut_first; made < g->cut_end; made++) {
        tensor_id t = g->ops[made].out;
        for (int i = g->cut_end; i < g->op_count && g->tensors[t].role == TENSOR_TEMP; i++) {
            tensor_id used[OP_TENSORS];
            op_tensors(&g->ops[i], used);
            for (int j = 0; j < OP_TENSORS; j++)
                if (used[j] == t)
                    return err_set(err, KADR_EOTHER, "%s: %s reads what may be left out, %s",
                                   g->name, g->ops[i].label, g->ops[made].label);
        }
    }
    return KADR_OK;
}

/* Checks an epilogue's tensors against the output. */
static bool epilogue_fits(struct graph *g, const char *label, tensor_id out,
                          const struct epilogue *epi) {
    const struct tensor *o = &g->tensors[out];
    if (epi->sample_add != NO_TENSOR) {
        if (!valid(g, epi->sample_add)) return false;
        const struct tensor *a = &g->tensors[epi->sample_add];
        if (a->dtype != DTYPE_F32 || a->dim[0] != o->dim[0] ||
            (int64_t)tensor_elements(a) != o->dim[0] * tensor_width(o)) {
            bad(g, label, "sample_add is not f32 [n, channels]");
            return false;
        }
    }
    if (epi->residual != NO_TENSOR) {
        if (!valid(g, epi->residual)) return false;
        if (!same_shape(g, epi->residual, out)) {
            bad(g, label, "the residual has another shape than the output");
            return false;
        }
    }
    return true;
}

tensor_id graph_linear(struct graph *g, tensor_id x, const char *label, int64_t out, bool bias,
                       struct epilogue epi) {
    if (!valid(g, x)) return NO_TENSOR;
    struct tensor shape = g->tensors[x];
    int64_t k = tensor_width(&shape);
    bool geglu = epi.act == ACT_GEGLU;
    struct op *op = add_op(g, OP_LINEAR, label);
    if (!op) return NO_TENSOR;
    op->in[0] = x;
    op->epi = epi;
    op->w = add_weight(g, label, ".weight",
                       (struct weight){.use = WEIGHT_MATRIX,
                                       .dtype = g->products,
                                       .geglu = geglu,
                                       .rank = 2,
                                       .dim = {out, k}});
    if (bias) op->b = add_vector(g, label, ".bias", out);
    shape.dim[shape.rank - 1] = geglu ? out / 2 : out;
    if (geglu && out % 2) return bad(g, label, "GEGLU of an odd width");
    enum dtype to = epi.f32_out ? DTYPE_F32 : g->dtype;
    tensor_id y = add_tensor(g, op->label, TENSOR_TEMP, to, shape.rank, shape.dim);
    if (y == NO_TENSOR || !epilogue_fits(g, label, y, &epi)) return NO_TENSOR;
    return op->out = y;
}

struct conv_input {
    tensor_id x, x2, stats; /* the last two may be NO_TENSOR */
    enum act act;           /* with stats */
};

/* Channels of x and x2 together; 0: they do not fit each other. */
static int64_t conv_channels(struct graph *g, const struct conv_input *in, const char *label) {
    const struct tensor *x = &g->tensors[in->x];
    int64_t k = x->dim[3];
    if (x->rank != 4) {
        bad(g, label, "a convolution of something that is no picture");
        return 0;
    }
    if (in->x2 != NO_TENSOR) {
        const struct tensor *x2 = &g->tensors[in->x2];
        if (x2->rank != 4 || x2->dim[0] != x->dim[0] || x2->dim[1] != x->dim[1] ||
            x2->dim[2] != x->dim[2] || x2->dtype != x->dtype) {
            bad(g, label, "the second input has another size or dtype");
            return 0;
        }
        k += x2->dim[3];
    }
    if (in->stats == NO_TENSOR) return k;
    const struct tensor *s = &g->tensors[in->stats];
    bool fits = s->dtype == DTYPE_F32 && s->rank == 3 && s->dim[0] == x->dim[0] && s->dim[1] == 2 &&
                s->dim[2] == k;
    if (!fits) bad(g, label, "the statistics do not fit what is convolved");
    return fits ? k : 0;
}

static tensor_id add_conv(struct graph *g, const struct conv_input *input, const char *label,
                          struct conv_shape s, bool bias, struct epilogue epi) {
    const tensor_id x = input->x, x2 = input->x2;
    if (!valid(g, x) || (x2 != NO_TENSOR && !valid(g, x2))) return NO_TENSOR;
    int64_t k = conv_channels(g, input, label);
    if (!k) return NO_TENSOR;
    const struct tensor in = g->tensors[x];
    int up = s.upsample ? s.upsample : 1;
    int64_t h = in.dim[1] * up - s.drop_h + s.pad_before + s.pad_after - s.kernel;
    int64_t w = in.dim[2] * up - s.drop_w + s.pad_before + s.pad_after - s.kernel;
    if (h < 0 || w < 0) return bad(g, label, "the picture is smaller than the kernel");
    struct op *op = add_op(g, OP_CONV, label);
    if (!op) return NO_TENSOR;
    op->in[0] = x;
    op->in[1] = x2;
    op->in[2] = input->stats;
    op->in_act = input->act;
    op->epi = epi;
    op->kernel = s.kernel;
    op->stride = s.stride;
    op->pad_before = s.pad_before;
    op->pad_after = s.pad_after;
    op->upsample = up;
    op->drop_h = s.drop_h;
    op->drop_w = s.drop_w;
    op->w = add_weight(g, label, ".weight",
                       (struct weight){.use = WEIGHT_CONV,
                                       .dtype = g->dtype,
                                       .rank = 4,
                                       .dim = {s.out, k, s.kernel, s.kernel}});
    if (bias) op->b = add_vector(g, label, ".bias", s.out);
    int64_t dim[4] = {in.dim[0], h / s.stride + 1, w / s.stride + 1, s.out};
    enum dtype to = epi.f32_out ? DTYPE_F32 : g->dtype;
    tensor_id y = add_tensor(g, op->label, TENSOR_TEMP, to, 4, dim);
    if (y == NO_TENSOR || !epilogue_fits(g, label, y, &epi)) return NO_TENSOR;
    return op->out = y;
}

tensor_id graph_conv(struct graph *g, tensor_id x, tensor_id x2, const char *label,
                     struct conv_shape shape, bool bias, struct epilogue epi) {
    const struct conv_input in = {x, x2, NO_TENSOR, ACT_NONE};
    return add_conv(g, &in, label, shape, bias, epi);
}

tensor_id graph_normed_conv(struct graph *g, tensor_id x, tensor_id x2, tensor_id stats,
                            enum act act, const char *label, struct conv_shape shape, bool bias,
                            struct epilogue epi) {
    if (!valid(g, stats)) return NO_TENSOR;
    if (shape.upsample > 1) return bad(g, label, "doubling what is normalised");
    const struct conv_input in = {x, x2, stats, act};
    return add_conv(g, &in, label, shape, bias, epi);
}

/* What GROUP_NORM and GROUP_STATS share; *shape: of the joined input. */
static struct op *add_group_op(struct graph *g, enum op_kind kind, tensor_id x, tensor_id x2,
                               const char *label, int groups, float eps, struct tensor *shape) {
    if (!valid(g, x) || (x2 != NO_TENSOR && !valid(g, x2))) return NULL;
    *shape = g->tensors[x];
    if (x2 != NO_TENSOR) {
        const struct tensor *in2 = &g->tensors[x2];
        if (tensor_rows(in2) != tensor_rows(shape) || in2->dtype != shape->dtype) {
            bad(g, label, "the second input has another size or dtype");
            return NULL;
        }
        shape->dim[shape->rank - 1] += tensor_width(in2);
    }
    int64_t c = tensor_width(shape);
    if (groups < 1 || c % groups) {
        bad(g, label, "channels are no multiple of the groups");
        return NULL;
    }
    struct op *op = add_op(g, kind, label);
    if (!op) return NULL;
    op->in[0] = x;
    op->in[1] = x2;
    op->groups = groups;
    op->eps = eps;
    op->w = add_vector(g, label, ".weight", c);
    op->b = add_vector(g, label, ".bias", c);
    return op;
}

tensor_id graph_group_stats(struct graph *g, tensor_id x, tensor_id x2, const char *label,
                            int groups, float eps) {
    struct tensor shape;
    struct op *op = add_group_op(g, OP_GROUP_STATS, x, x2, label, groups, eps, &shape);
    if (!op) return NO_TENSOR;
    return op->out = add_tensor(g, op->label, TENSOR_TEMP, DTYPE_F32, 3,
                                (int64_t[]){shape.dim[0], 2, tensor_width(&shape)});
}

tensor_id graph_group_norm(struct graph *g, tensor_id x, tensor_id x2, const char *label,
                           int groups, float eps, enum act act) {
    struct tensor shape;
    struct op *op = add_group_op(g, OP_GROUP_NORM, x, x2, label, groups, eps, &shape);
    if (!op) return NO_TENSOR;
    op->epi.act = act;
    return op->out = add_tensor(g, op->label, TENSOR_TEMP, g->dtype, shape.rank, shape.dim);
}

tensor_id graph_layer_norm(struct graph *g, tensor_id x, const char *label, float eps) {
    if (!valid(g, x)) return NO_TENSOR;
    struct tensor shape = g->tensors[x];
    struct op *op = add_op(g, OP_LAYER_NORM, label);
    if (!op) return NO_TENSOR;
    op->in[0] = x;
    op->eps = eps;
    op->w = add_vector(g, label, ".weight", tensor_width(&shape));
    op->b = add_vector(g, label, ".bias", tensor_width(&shape));
    return op->out = add_tensor(g, op->label, TENSOR_TEMP, g->dtype, shape.rank, shape.dim);
}

tensor_id graph_attention(struct graph *g, const char *label, struct attention_inputs in, int heads,
                          float scale, bool causal) {
    if (!valid(g, in.q) || !valid(g, in.k) || !valid(g, in.v)) return NO_TENSOR;
    struct tensor q = g->tensors[in.q];
    const struct tensor *k = &g->tensors[in.k], *v = &g->tensors[in.v];
    int64_t c = tensor_width(&q), tokens = tensor_rows(&q) / q.dim[0];
    if (heads < 1 || c % heads) return bad(g, label, "width is no multiple of the heads");
    if (tensor_width(k) != c || !same_shape(g, in.k, in.v) || k->dim[0] != q.dim[0] ||
        k->dtype != q.dtype || v->dtype != q.dtype)
        return bad(g, label, "keys or values do not fit the queries");
    if (in.add != NO_TENSOR && (!valid(g, in.add) || !same_shape(g, in.add, in.q)))
        return bad(g, label, "what is added to has another shape");
    if (in.mask != NO_TENSOR &&
        (!valid(g, in.mask) || (int64_t)tensor_elements(&g->tensors[in.mask]) != q.dim[0] * tokens))
        return bad(g, label, "the mask is not [n, tokens]");
    struct op *op = add_op(g, OP_ATTENTION, label);
    if (!op) return NO_TENSOR;
    const tensor_id inputs[OP_INPUTS] = {in.q, in.k, in.v, in.lengths, in.add, in.gain, in.mask};
    memcpy(op->in, inputs, sizeof inputs);
    op->heads = heads;
    op->scale = scale;
    op->causal = causal;
    return op->out = add_tensor(g, op->label, TENSOR_TEMP, g->dtype, q.rank, q.dim);
}

tensor_id graph_embed(struct graph *g, tensor_id ids, tensor_id extra, const char *table,
                      int64_t rows, const char *positions, int64_t position_rows, int64_t width) {
    if (!valid(g, ids)) return NO_TENSOR;
    const struct tensor i = g->tensors[ids];
    if (i.rank != 2 || i.dtype != DTYPE_I32 || (positions && i.dim[1] > position_rows))
        return bad(g, table, "ids are not i32 [n, t] with t inside the positions");
    struct op *op = add_op(g, OP_EMBED, table);
    if (!op) return NO_TENSOR;
    op->in[0] = ids;
    op->in[1] = extra;
    struct weight w = {.use = WEIGHT_TABLE, .dtype = g->dtype, .rank = 2, .dim = {rows, width}};
    w.picked = i.dim[0] * i.dim[1];
    op->w = add_weight(g, table, ".weight", w);
    w.picked = 0;
    w.dim[0] = position_rows;
    if (positions) op->b = add_weight(g, positions, ".weight", w);
    return op->out = add_tensor(g, op->label, TENSOR_TEMP, DTYPE_F32, 3,
                                (int64_t[]){i.dim[0], i.dim[1], width});
}

tensor_id graph_gather(struct graph *g, tensor_id x, tensor_id index) {
    if (!valid(g, x) || !valid(g, index)) return NO_TENSOR;
    const struct tensor s = g->tensors[x];
    struct op *op = add_op(g, OP_GATHER, "gather");
    if (!op) return NO_TENSOR;
    op->in[0] = x;
    op->in[1] = index;
    return op->out = add_tensor(g, op->label, TENSOR_TEMP, s.dtype, 2,
                                (int64_t[]){s.dim[0], tensor_width(&s)});
}

tensor_id graph_timestep(struct graph *g, tensor_id t, int64_t width, bool flip, float shift) {
    if (!valid(g, t)) return NO_TENSOR;
    const struct tensor s = g->tensors[t];
    if (s.rank != 2 || width < 2 || width % 2) return bad(g, "timestep", "not [n, m], even width");
    struct op *op = add_op(g, OP_TIMESTEP, "timestep");
    if (!op) return NO_TENSOR;
    op->in[0] = t;
    op->flip = flip;
    op->shift = shift;
    op->scale = 10000.0f;
    return op->out = add_tensor(g, op->label, TENSOR_TEMP, g->dtype, 2,
                                (int64_t[]){s.dim[0], s.dim[1] * width});
}

tensor_id graph_add(struct graph *g, tensor_id a, tensor_id b) {
    if (!valid(g, a) || !valid(g, b)) return NO_TENSOR;
    const struct tensor s = g->tensors[a];
    if (!same_shape(g, a, b)) return bad(g, "add", "different shapes");
    struct op *op = add_op(g, OP_ADD, "add");
    if (!op) return NO_TENSOR;
    op->in[0] = a;
    op->in[1] = b;
    return op->out = add_tensor(g, op->label, TENSOR_TEMP, g->dtype, s.rank, s.dim);
}

tensor_id graph_concat(struct graph *g, tensor_id a, tensor_id b, bool axis_last) {
    if (!valid(g, a) || !valid(g, b)) return NO_TENSOR;
    struct tensor s = g->tensors[a];
    const struct tensor *t = &g->tensors[b];
    int axis = axis_last ? s.rank - 1 : s.rank - 2;
    bool fits = t->rank == s.rank && t->dtype == s.dtype && axis >= 0;
    for (int i = 0; fits && i < s.rank; i++) fits = i == axis || s.dim[i] == t->dim[i];
    if (!fits) return bad(g, "concat", "shapes that do not join");
    s.dim[axis] += t->dim[axis];
    struct op *op = add_op(g, OP_CONCAT, "concat");
    if (!op) return NO_TENSOR;
    op->in[0] = a;
    op->in[1] = b;
    op->axis_last = axis_last;
    return op->out = add_tensor(g, op->label, TENSOR_TEMP, s.dtype, s.rank, s.dim);
}

tensor_id graph_act(struct graph *g, tensor_id x, enum act act) {
    if (!valid(g, x)) return NO_TENSOR;
    const struct tensor s = g->tensors[x];
    struct op *op = add_op(g, OP_ACT, "act");
    if (!op) return NO_TENSOR;
    op->in[0] = x;
    op->epi.act = act;
    return op->out = add_tensor(g, op->label, TENSOR_TEMP, g->dtype, s.rank, s.dim);
}

tensor_id graph_convert(struct graph *g, tensor_id x, enum dtype dtype, enum order order) {
    if (!valid(g, x)) return NO_TENSOR;
    struct tensor s = g->tensors[x];
    if (order == ORDER_SAME && dtype == s.dtype && s.role == TENSOR_TEMP) return x;
    if (order != ORDER_SAME && s.rank != 4) return bad(g, "convert", "reordering needs a picture");
    const int64_t d[4] = {s.dim[0], s.dim[1], s.dim[2], s.dim[3]};
    if (order == ORDER_NCHW_TO_NHWC) s.dim[1] = d[2], s.dim[2] = d[3], s.dim[3] = d[1];
    if (order == ORDER_NHWC_TO_NCHW) s.dim[1] = d[3], s.dim[2] = d[1], s.dim[3] = d[2];
    struct op *op = add_op(g, OP_CONVERT, "convert");
    if (!op) return NO_TENSOR;
    op->in[0] = x;
    op->order = order;
    return op->out = add_tensor(g, op->label, TENSOR_TEMP, dtype, s.rank, s.dim);
}
