/* finisher.c: see finisher.h. */
#include "backend/cpu/finisher.h"

void finisher_init(struct finisher *f, const struct cpu_op *o) {
    const struct epilogue *epi = &o->op->epi;
    const struct tensor *out = op_out(o);
    *f = (struct finisher){.kernels = &o->cpu->kernels,
                           .sample_add = op_data(o, epi->sample_add),
                           .rows_per_sample = tensor_rows(out) / out->dim[0],
                           .cols = tensor_width(out)};
    f->whole = (struct finish){.bias = op_weight(o, o->op->b),
                               .residual = op_data(o, epi->residual),
                               .residual_stride = (size_t)f->cols,
                               .out = op_data(o, o->op->out),
                               .out_stride = (size_t)f->cols,
                               .out_type = out->dtype,
                               .act = epi->act == ACT_GEGLU ? ACT_GELU : epi->act,
                               .scale = epi->scale == 0 ? 1 : epi->scale};
    if (epi->residual != NO_TENSOR) f->whole.residual_type = o->g->tensors[epi->residual].dtype;
}

void finisher_part(const struct finisher *f, int64_t row, int64_t rows, int64_t col, int64_t cols,
                   const float *acc, const float *gate) {
    struct finish part = f->whole;
    part.rows = rows;
    part.cols = cols;
    part.acc = acc;
    part.gate = gate;
    if (part.bias && gate) part.gate_bias = part.bias + f->cols + col;
    if (part.bias) part.bias += col;
    if (f->sample_add) part.add = f->sample_add + row / f->rows_per_sample * f->cols + col;
    size_t at = (size_t)(row * f->cols + col);
    if (part.residual)
        part.residual = (const char *)part.residual + at * dtype_size(part.residual_type);
    part.out = (char *)part.out + at * dtype_size(part.out_type);
    f->kernels->finish(&part);
}
