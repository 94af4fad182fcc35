/* casting.h: which casts play in a picture, and how: each entry of the option `cast` is
 *
 *     NAME[:SCALE][@REGION] [steps=FROM-TO] [blocks=style|layout|subject|JSON]
 *
 * NAME is NAME.cast in the folder of casts, or a path that ends so. REGION is left, right, center,
 * top, bottom, X0,Y0,X1,Y1 in shares of the picture, or a picture that is white where the character
 * may be. FROM and TO are shares of the steps. JSON is diffusers' scale dictionary (unet_scale).
 */
#ifndef KADR_DRAW_CASTING_H
#define KADR_DRAW_CASTING_H

#include "draw/cast.h"
#include "draw/context.h"
#include "draw/stages.h"

struct casting {
    const struct cast *cast;
    double scale;
    double from, to; /* shares of the steps */
    json_t *blocks;  /* strengths by block, or a number */
    bool masked;
    double box[4];     /* x0, y0, x1, y1; when there is no mask */
    struct image mask; /* empty: the box */
};

struct castings {
    struct casting list[UNET_CASTS];
    int count;
};

/* Casts that are open, shared by all pictures of a drawing. */
struct cast_shelf {
    struct mem *mem;
    struct shelved *first;
};
void cast_shelf_close(struct cast_shelf *shelf); /* idempotent */

/* What the request says; nothing when identity-lock is off. On failure too, to be closed. */
kadr_status castings_open(struct castings *c, struct cast_shelf *shelf, const kadr_request *rq,
                          const struct draw_model *model, kadr_error *err);
void castings_close(struct castings *c); /* idempotent */

/* Which casts they are, for a hash: those of files that change are others. */
void castings_describe(const struct castings *c, struct buf *out);

/* Bytes that they take beside the arena. */
size_t castings_bytes(const struct castings *c, const kadr_request *rq);

/* Fills in their part of the shape. */
void castings_shape(const struct castings *c, struct stages_shape *shape);

/* Where a sample (a branch of a picture) lies in the UNet's buffers. */
struct sample_place {
    struct run *run;
    int lane, row;
    bool negative; /* the unconditional branch */
};

/* Keys, values and masks of one sample, before its first step. */
kadr_status castings_put(const struct castings *c, struct mem *m, const struct draw_model *model,
                         const struct stages_shape *shape, struct sample_place at, kadr_error *err);
/* Strengths of one sample at `share` of the steps. */
void castings_weigh(const struct castings *c, const struct draw_model *model,
                    struct sample_place at, double share);

#endif
