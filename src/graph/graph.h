/* graph.h: a network as data. Model code *describes* a network as a flat list of operations on
 * tensors with known shapes; the planner, the backends, the reports and the tests read the list.
 *
 *     struct graph g;
 *     graph_init(&g, mem, "unet", DTYPE_BF16);
 *     tensor_id x = graph_input(&g, "latents", DTYPE_F32, 4, (int64_t[]){2, 96, 96, 4});
 *     x = graph_conv(&g, x, NO_TENSOR, "unet.conv_in", (struct conv_shape){.out = 320, .kernel = 3,
 * .stride = 1, .pad = 1}, (struct epilogue){0});
 *     ...
 *     if (graph_failed(&g)) ...            // building is sticky: ask once at the end
 *
 * Layouts. Activations are row-major with channels last: pictures [n, h, w, c], token rows
 * [n, t, c]. An operation on "rows" takes every leading dimension as rows and the last as the row's
 * length, so a picture is also h*w tokens and needs no reshape.
 * Arithmetic. Every sum is accumulated in f32 in ascending order of k, whatever the dtype of the
 * operands; an epilogue is computed in f32 before the one rounding to the output's dtype.
 * A linear layer whose weight is int8 quantises its input while it runs, symmetrically to
 * [-127, 127], with a scale for each row; sums are exact integers, brought back to f32 before the
 * epilogue.
 */
#ifndef KADR_GRAPH_GRAPH_H
#define KADR_GRAPH_GRAPH_H

#include "base/arena.h"
#include "base/err.h"

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_I32,
    DTYPE_I8,
    DTYPE_U8,
    DTYPE_I64,
    DTYPE_COUNT
};
size_t dtype_size(enum dtype t);                     /* bytes of an element */
const char *dtype_name(enum dtype t);                /* "f32", "bf16", "int8", ... */
bool dtype_named(const char *name, enum dtype *out); /* false: none is called that */

typedef int32_t tensor_id; /* index into graph.tensors */
typedef int32_t weight_id; /* index into graph.weights */
#define NO_TENSOR ((tensor_id)-1)
#define NO_WEIGHT ((weight_id)-1)

enum tensor_role {
    TENSOR_TEMP,   /* lives from the operation that writes it to the last that reads it */
    TENSOR_INPUT,  /* bound by name to a buffer of the program, written before the graph runs */
    TENSOR_OUTPUT, /* bound by name to a buffer of the program, read after the graph ran */
};

#define GRAPH_RANK 4
struct tensor {
    const char *name; /* unique for inputs and outputs; else what it is, for reports */
    enum dtype dtype;
    enum tensor_role role;
    int rank;
    int64_t dim[GRAPH_RANK];
};

/* How an operation uses a weight decides how a backend packs it. */
enum weight_use {
    WEIGHT_MATRIX, /* [n, k]: a linear layer or a 1x1 convolution */
    WEIGHT_CONV,   /* [n, k, kh, kw] as stored by PyTorch */
    WEIGHT_VECTOR, /* [n]: bias, scale; always f32 in memory */
    WEIGHT_TABLE,  /* [rows, c]: embeddings, read by row */
};
struct weight {
    const char *name; /* canonical: component and diffusers' key, "unet.conv_in.weight" */
    enum weight_use use;
    enum dtype dtype; /* in which it is computed with: f32, bf16 or int8; VECTOR always f32 */
    bool geglu;       /* MATRIX whose upper and lower halves are value and gate */
    int64_t picked;   /* TABLE: rows that are needed, one for each id, in the ids' order; 0: all */
    int rank;
    int64_t dim[GRAPH_RANK]; /* as stored in the model */
};

enum act {
    ACT_NONE,
    ACT_SILU,
    ACT_GELU,
    ACT_QUICK_GELU,
    ACT_GEGLU /* value * gelu(gate); halves the row */
};

/* After the product: y = (act(acc + bias + add[sample]) + residual) * scale. */
struct epilogue {
    enum act act;
    tensor_id sample_add; /* f32 [n, channels], one row a sample (time embedding), or NO_TENSOR */
    tensor_id residual;   /* of the output's shape, or NO_TENSOR */
    float scale;          /* 0 means 1 */
    bool f32_out;         /* the output is f32 whatever the graph's dtype */
};
#define EPI_NONE ((struct epilogue){ACT_NONE, NO_TENSOR, NO_TENSOR, 0, false})

enum op_kind {
    OP_EMBED,  /* in: ids i32 [n,t], extra f32 [m,c] or none; w: table (picked: one row an id),
                  b: positions [T,c] or none -> f32 [n,t,c]. ids >= rows of the table name rows of
                  extra */
    OP_LINEAR, /* in: x [.., k]; w: [m, k]; b -> [.., m] */
    OP_CONV,   /* in: x [n,h,w,k], x2 [n,h,w,k2] or none (read as their concatenation), stats of
                  GROUP_STATS or none: then in_act(x * factor + summand), rounded to the graph's
                  dtype, is convolved; w; b -> [n,h',w',m] */
    OP_GROUP_STATS, /* in: x [n,h,w,c], x2 or none; w, b -> f32 [n,2,c+c2]: the factor and the
                       summand of each channel that GROUP_NORM would apply */
    OP_GROUP_NORM, /* in: x [n,h,w,c], x2 or none (as above); w, b -> [n,h,w,c+c2]; act none or silu
                    */
    OP_LAYER_NORM, /* in: x [.., c]; w, b (either may be absent) -> same */
    OP_ATTENTION, /* in: q [n,..,c], k [n,s,c], v [n,s,c], lengths i32 [n] or none, add (shape of q)
                     or none, gain f32 [n] or none, mask f32 [n, tokens of q] or none -> shape of q:
                     add + gain[n] * mask[n,token] * softmax(scale q k^T) v, head by head */
    OP_GATHER,    /* in: x [n,t,c], index i32 [n] -> [n,c] */
    OP_TIMESTEP,  /* in: t f32 [n,m] -> [n, m*width]: sinusoids, cosines first when flip (diffusers
                     get_timestep_embedding) */
    OP_ADD,       /* in: a, b -> a + b */
    OP_CONCAT,    /* in: a, b -> along the last dimension (axis_last) or the tokens */
    OP_ACT,       /* in: x -> act(x) */
    OP_CONVERT,   /* in: x -> same values, other dtype and/or order (see order) */
    OP_KINDS
};
const char *op_name(enum op_kind k);

enum order { ORDER_SAME, ORDER_NCHW_TO_NHWC, ORDER_NHWC_TO_NCHW };

#define OP_INPUTS 7
struct op {
    enum op_kind kind;
    const char *label; /* where in the network: "unet.down_blocks.1.attentions.0...attn1.to_q" */
    tensor_id in[OP_INPUTS]; /* NO_TENSOR where absent */
    tensor_id out;
    weight_id w, b;      /* NO_WEIGHT where absent */
    struct epilogue epi; /* LINEAR, CONV; GROUP_NORM and ACT read only act */
    /* Attributes by kind. */
    int kernel, stride; /* CONV */
    int pad_before,
        pad_after; /* CONV, both directions: zeros before the first and after the last row/column */
    int upsample;  /* CONV: 1, or 2: the input is first doubled (nearest) */
    int drop_h,
        drop_w;       /* CONV after doubling: 1 when the last doubled row or column is left out
                         (odd sizes: the picture is then 2h-1 high, and padded with zeros from there) */
    enum act in_act;  /* CONV with stats: none or silu */
    int groups;       /* GROUP_NORM, GROUP_STATS */
    float eps;        /* GROUP_NORM, GROUP_STATS, LAYER_NORM */
    int heads;        /* ATTENTION */
    float scale;      /* ATTENTION: on q k^T; TIMESTEP: max period (10000) */
    bool causal;      /* ATTENTION */
    bool flip;        /* TIMESTEP */
    float shift;      /* TIMESTEP: downscale_freq_shift */
    bool axis_last;   /* CONCAT */
    enum order order; /* CONVERT */
};

/* A part of an operation's output. Columns [first, first + count) of a LINEAR or CONV need only
 * that part of its weight; both are multiples of PART_COLUMNS, but that the last part takes what is
 * left; count 0: all. Rows [row, row + rows) of the picture of a CONV with one sample, in pairs but
 * that the last part takes what is left, need only the rows of x under them; of GROUP_STATS
 * they are rows of x, parts come in order, and the last makes the output; rows 0: all. */
#define PART_COLUMNS 64
struct op_part {
    int64_t first, count;
    int64_t row, rows;
};

struct graph {
    struct arena arena; /* owns everything below */
    const char *name;
    enum dtype dtype;    /* of activations and matrix weights, unless said otherwise */
    enum dtype products; /* of weights of linear layers and the like: see graph_products */
    struct tensor *tensors;
    struct weight *weights;
    struct op *ops;
    int tensor_count, weight_count, op_count;
    int cut_first, cut_end; /* operations [cut_first, cut_end): see graph_cut_begin */
    int tensor_room, weight_room, op_room;
    kadr_error error; /* the first thing that went wrong while building */
};

void graph_init(struct graph *g, struct mem *m, const char *name, enum dtype dtype);
void graph_free(struct graph *g); /* idempotent */
bool graph_failed(const struct graph *g);
/* What went wrong first, as a status and message. */
kadr_status graph_status(const struct graph *g, kadr_error *err);

tensor_id graph_input(struct graph *g, const char *name, enum dtype dtype, int rank,
                      const int64_t *dim);
/* Declares that `t` (a temp) is an output of that name. */
void graph_output(struct graph *g, tensor_id t, const char *name);

/* Operations between the two may be left out of a run: what they gave the last time, `kept`, is an
 * output and still there. Nothing later may read another temp of theirs: graph_cut_check. */
void graph_cut_begin(struct graph *g);
void graph_cut_end(struct graph *g, tensor_id kept, const char *name);
kadr_status graph_cut_check(const struct graph *g, kadr_error *err);
static inline bool graph_in_cut(const struct graph *g, int op) {
    return op >= g->cut_first && op < g->cut_end;
}

/* Weights of the linear layers that follow are of that dtype: the graph's own, as at first, or
 * int8. Those of convolutions are of the graph's. Returns what they were until now. */
enum dtype graph_products(struct graph *g, enum dtype dtype);

/* Names of weights are LABEL.weight and LABEL.bias. */
tensor_id graph_linear(struct graph *g, tensor_id x, const char *label, int64_t out, bool bias,
                       struct epilogue epi);
struct conv_shape {
    int64_t out;
    int kernel, stride, pad_before, pad_after, upsample;
    int drop_h, drop_w; /* see struct op */
};
tensor_id graph_conv(struct graph *g, tensor_id x, tensor_id x2, const char *label,
                     struct conv_shape shape, bool bias, struct epilogue epi);
/* A convolution of what group normalisation and an activation make of x (and x2), without that ever
 * being a tensor: `stats` by graph_group_stats of the same inputs. */
tensor_id graph_normed_conv(struct graph *g, tensor_id x, tensor_id x2, tensor_id stats,
                            enum act act, const char *label, struct conv_shape shape, bool bias,
                            struct epilogue epi);
tensor_id graph_group_stats(struct graph *g, tensor_id x, tensor_id x2, const char *label,
                            int groups, float eps);
tensor_id graph_group_norm(struct graph *g, tensor_id x, tensor_id x2, const char *label,
                           int groups, float eps, enum act act);
tensor_id graph_layer_norm(struct graph *g, tensor_id x, const char *label, float eps);
struct attention_inputs {
    tensor_id q, k, v, lengths, add, gain, mask;
};
tensor_id graph_attention(struct graph *g, const char *label, struct attention_inputs in, int heads,
                          float scale, bool causal);
/* `positions` NULL: nothing is added. */
tensor_id graph_embed(struct graph *g, tensor_id ids, tensor_id extra, const char *table,
                      int64_t rows, const char *positions, int64_t position_rows, int64_t width);
tensor_id graph_gather(struct graph *g, tensor_id x, tensor_id index);
tensor_id graph_timestep(struct graph *g, tensor_id t, int64_t width, bool flip, float shift);
tensor_id graph_add(struct graph *g, tensor_id a, tensor_id b);
tensor_id graph_concat(struct graph *g, tensor_id a, tensor_id b, bool axis_last);
tensor_id graph_act(struct graph *g, tensor_id x, enum act act);
tensor_id graph_convert(struct graph *g, tensor_id x, enum dtype dtype, enum order order);

size_t tensor_elements(const struct tensor *t);
size_t tensor_bytes(const struct tensor *t);
int64_t tensor_rows(const struct tensor *t);  /* product of all but the last dimension */
int64_t tensor_width(const struct tensor *t); /* the last dimension */

/* Multiply-adds times two of one operation: what reports and benchmarks divide by. */
double op_flops(const struct graph *g, const struct op *op);

/* All tensors of an operation: inputs, those of its epilogue, output; NO_TENSOR where absent. */
#define OP_TENSORS (OP_INPUTS + 3)
void op_tensors(const struct op *op, tensor_id used[OP_TENSORS]);

/* One operation as a line of text into `line`; for reports and tests. */
void op_describe(const struct graph *g, const struct op *op, char *line, size_t size);

#endif
