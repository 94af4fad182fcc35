/* describe.c: what a graph says about itself: sizes, work, lines of text. */
#include "graph/graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[DTYPE_COUNT] = {
    [DTYPE_F32] = {"f32", 4}, [DTYPE_F16] = {"f16", 2}, [DTYPE_BF16] = {"bf16", 2},
    [DTYPE_I32] = {"i32", 4}, [DTYPE_I8] = {"int8", 1}, [DTYPE_U8] = {"u8", 1},
    [DTYPE_I64] = {"i64", 8},
};

size_t dtype_size(enum dtype t) {
    return dtypes[t].size;
}

const char *dtype_name(enum dtype t) {
    return dtypes[t].name;
}

bool dtype_named(const char *name, enum dtype *out) {
    for (int i = 0; i < DTYPE_COUNT; i++)
        if (strcmp(name, dtypes[i].name) == 0) {
            *out = (enum dtype)i;
            return true;
        }
    return false;
}

static const char *const op_names[OP_KINDS] = {
    [OP_EMBED] = "embed",
    [OP_LINEAR] = "linear",
    [OP_CONV] = "conv",
    [OP_GROUP_STATS] = "group_stats",
    [OP_GROUP_NORM] = "group_norm",
    [OP_LAYER_NORM] = "layer_norm",
    [OP_ATTENTION] = "attention",
    [OP_GATHER] = "gather",
    [OP_TIMESTEP] = "timestep",
    [OP_ADD] = "add",
    [OP_CONCAT] = "concat",
    [OP_ACT] = "act",
    [OP_CONVERT] = "convert",
};

const char *op_name(enum op_kind k) {
    return op_names[k];
}

size_t tensor_elements(const struct tensor *t) {
    size_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= (size_t)t->dim[i];
    return n;
}

size_t tensor_bytes(const struct tensor *t) {
    return tensor_elements(t) * dtype_size(t->dtype);
}

int64_t tensor_width(const struct tensor *t) {
    return t->dim[t->rank - 1];
}

int64_t tensor_rows(const struct tensor *t) {
    return (int64_t)tensor_elements(t) / tensor_width(t);
}

void op_tensors(const struct op *op, tensor_id used[OP_TENSORS]) {
    memcpy(used, op->in, sizeof op->in);
    used[OP_INPUTS] = op->epi.residual;
    used[OP_INPUTS + 1] = op->epi.sample_add;
    used[OP_INPUTS + 2] = op->out;
}

double op_flops(const struct graph *g, const struct op *op) {
    const struct tensor *out = &g->tensors[op->out];
    switch (op->kind) {
    case OP_LINEAR:
    case OP_CONV: {
        const struct weight *w = &g->weights[op->w];
        double per_row = 2;
        for (int i = 0; i < w->rank; i++) per_row *= (double)w->dim[i];
        return per_row * (double)tensor_rows(out);
    }
    case OP_ATTENTION: {
        const struct tensor *k = &g->tensors[op->in[1]];
        double keys = (double)(tensor_rows(k) / k->dim[0]);
        return 4.0 * keys * (double)tensor_elements(out);
    }
    default: return 0;
    }
}

static size_t put_shape(char *line, size_t used, size_t size, const struct tensor *t) {
    if (used >= size) return used;
    int n = snprintf(line + used, size - used, " %s[", dtype_name(t->dtype));
    used += (size_t)n;
    for (int i = 0; i < t->rank && used < size; i++)
        used += (size_t)snprintf(line + used, size - used, "%s%" PRId64, i ? "," : "", t->dim[i]);
    if (used < size) used += (size_t)snprintf(line + used, size - used, "]");
    return used;
}

void op_describe(const struct graph *g, const struct op *op, char *line, size_t size) {
    size_t used = (size_t)snprintf(line, size, "%-10s %s", op_name(op->kind), op->label);
    for (int i = 0; i < OP_INPUTS && used < size; i++)
        if (op->in[i] != NO_TENSOR) used = put_shape(line, used, size, &g->tensors[op->in[i]]);
    if (used < size) used += (size_t)snprintf(line + used, size - used, " ->");
    if (op->out != NO_TENSOR) put_shape(line, used, size, &g->tensors[op->out]);
}
