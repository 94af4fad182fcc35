/* rows.c: the operations that only move or touch each element once. */
#include "backend/cpu/bits.h"
#include "backend/cpu/cpu.h"

#include <math.h>
#include <string.h>

#define PIECE 4096 /* elements of a task */

/* ADD and ACT: converted to f32 in a thread's scratch, finished from there. */
size_t cpu_rows_workspace(const struct cpu_op *o) {
    return PIECE * sizeof(float) * (size_t)o->cpu->threads;
}

static void elements_task(void *user, size_t task, int thread) {
    const struct cpu_op *o = user;
    const struct tensor *x = op_in(o, 0), *b = op_in(o, 1), *out = op_out(o);
    size_t first = task * PIECE, count = tensor_elements(out) - first;
    if (count > PIECE) count = PIECE;
    float *values = (float *)(void *)o->workspace + (size_t)thread * PIECE;
    const char *from = op_data(o, o->op->in[0]);
    o->cpu->kernels.convert(values, DTYPE_F32, from + first * dtype_size(x->dtype), x->dtype,
                            count);
    struct finish f = {.rows = 1, .cols = (int64_t)count, .acc = values, .scale = 1};
    f.act = o->op->kind == OP_ACT ? o->op->epi.act : ACT_NONE;
    f.out = (char *)op_data(o, o->op->out) + first * dtype_size(out->dtype);
    f.out_type = out->dtype;
    if (b) {
        f.residual = (const char *)op_data(o, o->op->in[1]) + first * dtype_size(b->dtype);
        f.residual_type = b->dtype;
    }
    o->cpu->kernels.finish(&f);
}

static void run_elements(const struct cpu_op *o, pool_fn *fn) {
    struct cpu_op own = *o;
    pool_run(o->cpu->pool, (tensor_elements(op_out(o)) + PIECE - 1) / PIECE, fn, &own);
}

void cpu_add_run(const struct cpu_op *o) {
    run_elements(o, elements_task);
}

void cpu_act_run(const struct cpu_op *o) {
    run_elements(o, elements_task);
}

void cpu_embed_run(const struct cpu_op *o) {
    const struct tensor *ids = op_in(o, 0), *extra = op_in(o, 1), *out = op_out(o);
    const struct weight *w = &o->g->weights[o->op->w];
    const char *positions = o->op->b == NO_WEIGHT ? NULL : op_weight(o, o->op->b);
    enum dtype position_type = positions ? o->g->weights[o->op->b].dtype : DTYPE_F32;
    const int32_t *id = op_data(o, o->op->in[0]);
    const float *extra_rows = op_data(o, o->op->in[1]);
    size_t width = (size_t)tensor_width(out), size = dtype_size(w->dtype);
    int64_t extras = extra ? tensor_rows(extra) : 0;
    for (int64_t i = 0; i < (int64_t)tensor_elements(ids); i++) {
        /* Ids come from a tokenizer that was checked against the table; be sure all the same. */
        int64_t at = max_i64(0, min_i64(id[i], w->dim[0] + extras - 1)), t = i % ids->dim[1];
        const void *row = (const char *)op_weight(o, o->op->w) + (size_t)i * width * size;
        enum dtype type = w->dtype;
        if (at >= w->dim[0]) {
            row = extra_rows + (size_t)(at - w->dim[0]) * width;
            type = DTYPE_F32;
        }
        const char *position =
            positions ? positions + (size_t)t * width * dtype_size(position_type) : NULL;
        char *to = (char *)op_data(o, o->op->out) + (size_t)i * width * dtype_size(out->dtype);
        for (size_t j = 0; j < width; j += PANEL) {
            size_t n = width - j < PANEL ? width - j : PANEL;
            float values[PANEL];
            o->cpu->kernels.convert(values, DTYPE_F32, (const char *)row + j * dtype_size(type),
                                    type, n);
            o->cpu->kernels.finish(&(struct finish){
                .rows = 1,
                .cols = (int64_t)n,
                .acc = values,
                .residual = position ? position + j * dtype_size(position_type) : NULL,
                .residual_type = position_type,
                .out = to + j * dtype_size(out->dtype),
                .out_type = out->dtype,
                .scale = 1});
        }
    }
}

void cpu_gather_run(const struct cpu_op *o) {
    const struct tensor *x = op_in(o, 0);
    const int32_t *index = op_data(o, o->op->in[1]);
    size_t bytes = (size_t)tensor_width(x) * dtype_size(x->dtype);
    for (int64_t n = 0; n < x->dim[0]; n++) {
        int64_t t = max_i64(0, min_i64(index[n], x->dim[1] - 1));
        memcpy((char *)op_data(o, o->op->out) + (size_t)n * bytes,
               (const char *)op_data(o, o->op->in[0]) + (size_t)(n * x->dim[1] + t) * bytes, bytes);
    }
}

/* get_timestep_embedding of diffusers, rounded where it rounds. */
void cpu_timestep_run(const struct cpu_op *o) {
    const struct tensor *t = op_in(o, 0), *out = op_out(o);
    const float *values = op_data(o, o->op->in[0]);
    int64_t count = (int64_t)tensor_elements(t), width = (int64_t)tensor_elements(out) / count;
    int64_t half = width / 2;
    double top = -log((double)o->op->scale);
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < half; j++) {
            float exponent = (float)top * (float)j / ((float)half - o->op->shift);
            float angle = values[i] * (float)exp((double)exponent);
            float wave[2] = {(float)sin((double)angle), (float)cos((double)angle)};
            for (int64_t part = 0; part < 2; part++) {
                float v = wave[o->op->flip ? 1 - part : part];
                size_t at = (size_t)(i * width + part * half + j);
                char *to = (char *)op_data(o, o->op->out) + at * dtype_size(out->dtype);
                o->cpu->kernels.convert(to, out->dtype, &v, DTYPE_F32, 1);
            }
        }
}

/* Copies blocks of a and b in turn. */
void cpu_concat_run(const struct cpu_op *o) {
    const struct tensor *a = op_in(o, 0), *b = op_in(o, 1);
    int axis = o->op->axis_last ? a->rank - 1 : a->rank - 2;
    size_t blocks = 1, size = dtype_size(a->dtype);
    for (int i = 0; i < axis; i++) blocks *= (size_t)a->dim[i];
    size_t a_bytes = tensor_elements(a) / blocks * size,
           b_bytes = tensor_elements(b) / blocks * size;
    char *to = op_data(o, o->op->out);
    for (size_t i = 0; i < blocks; i++, to += a_bytes + b_bytes) {
        memcpy(to, (const char *)op_data(o, o->op->in[0]) + i * a_bytes, a_bytes);
        memcpy(to + a_bytes, (const char *)op_data(o, o->op->in[1]) + i * b_bytes, b_bytes);
    }
}

static void same_order_task(void *user, size_t task, int thread) {
    (void)thread;
    const struct cpu_op *o = user;
    const struct tensor *x = op_in(o, 0), *out = op_out(o);
    size_t first = task * PIECE, count = tensor_elements(out) - first;
    if (count > PIECE) count = PIECE;
    o->cpu->kernels.convert(
        (char *)op_data(o, o->op->out) + first * dtype_size(out->dtype), out->dtype,
        (const char *)op_data(o, o->op->in[0]) + first * dtype_size(x->dtype), x->dtype, count);
}

/* Transposes [rows][cols] to [cols][rows], sample by sample; pictures of few channels only. */
static void transpose(const struct cpu_op *o, int64_t samples, int64_t rows, int64_t cols) {
    enum dtype from_type = op_in(o, 0)->dtype, to_type = op_out(o)->dtype;
    size_t from_size = dtype_size(from_type), to_size = dtype_size(to_type);
    const char *from = op_data(o, o->op->in[0]);
    char *to = op_data(o, o->op->out);
    for (int64_t n = 0; n < samples; n++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++)
                o->cpu->kernels.convert(to + (size_t)((n * cols + c) * rows + r) * to_size, to_type,
                                        from + (size_t)((n * rows + r) * cols + c) * from_size,
                                        from_type, 1);
}

void cpu_convert_run(const struct cpu_op *o) {
    const struct tensor *x = op_in(o, 0);
    switch (o->op->order) {
    case ORDER_SAME: run_elements(o, same_order_task); break;
    case ORDER_NCHW_TO_NHWC: transpose(o, x->dim[0], x->dim[1], x->dim[2] * x->dim[3]); break;
    case ORDER_NHWC_TO_NCHW: transpose(o, x->dim[0], x->dim[1] * x->dim[2], x->dim[3]); break;
    }
}
