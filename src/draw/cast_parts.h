/* cast_parts.h: what making casts and comparing with them need: a model's layout, an IP-Adapter,
 * its image encoder, and a run of their graphs within the memory allowed. */
#ifndef KADR_DRAW_CAST_PARTS_H
#define KADR_DRAW_CAST_PARTS_H

#include "draw/context.h"
#include "model/ip_adapter.h"
#include "run/run.h"

struct cast_parts {
    kadr_context *ctx;
    const kadr_request *rq;   /* borrowed */
    struct draw_model *model; /* whose layout it is */
    struct weights *weights;  /* of encoder and adapter */
    char *adapter;            /* its file */
    struct clip_vision_config encoder;
    struct ip_adapter_config config;
    struct arena arena;
    size_t before; /* bytes of the process when they were opened */
};

/* What `rq` names, or what lies in the model's folder. On failure too, to be closed. */
kadr_status cast_parts_open(struct cast_parts *p, kadr_context *ctx, const kadr_request *rq,
                            kadr_error *err);
void cast_parts_close(struct cast_parts *p); /* idempotent on a zeroed one */

/* What the image encoder saw, as cast_cells rows [encoder.width] of length 1: means of its patches
 * in a grid of at most 8 x 8, of their states before the last layer, which is what a plus adapter
 * reads. They tell characters apart better than the encoder's embedding does, which is made to tell
 * what a picture is about. `hidden` is [1 + patches, width]. */
int64_t cast_cells(const struct cast_parts *p);
void cast_look(const struct cast_parts *p, const float *hidden, float *look);

/* Plans the program and opens its run; `held`: bytes that the caller will hold beside it. `c` lives
 * as long as the run, and its plan is to be freed after it. */
struct cast_run {
    struct plan plan;
    struct run_source source;
};
kadr_status cast_run_open(struct run **out, struct cast_run *c, const struct cast_parts *p,
                          struct program *program, size_t held, kadr_error *err);

#endif
