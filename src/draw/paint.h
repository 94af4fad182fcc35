/* paint.h: one picture, from tokens to pixels, through a program that was planned before. */
#ifndef KADR_DRAW_PAINT_H
#define KADR_DRAW_PAINT_H

#include "draw/context.h"
#include "draw/progress.h"
#include "draw/stages.h"
#include "draw/text.h"
#include "image/image.h"

/* One picture of a request. */
struct paint {
    kadr_context *ctx;
    const struct draw_model *model;
    const struct stages *stages;
    struct run *run;
    const kadr_request *rq; /* resolved */
    const struct text_request *text;
    const struct image *init, *mask; /* NULL: none */
    uint64_t seed;
    size_t index; /* of the request's count */
    struct progress *progress;
};

/* What comes out. */
struct painted {
    float *latents; /* [channels, h, w], before the VAE */
    uint8_t *rgb;   /* [height, width, 3] */
    double seconds_encode, seconds_denoise, seconds_decode;
    int steps;
};

kadr_status paint(const struct paint *p, struct painted *out, kadr_error *err);
void painted_free(struct painted *out); /* idempotent */

/* Bytes that painting takes beside the arena. */
size_t paint_bytes(const struct draw_model *model, const kadr_request *rq,
                   const struct text_request *text);

/* KADR_EUSAGE when the request names an unknown sampler or schedule: says which there are. */
kadr_status paint_check_sampler(const kadr_request *rq, kadr_error *err);

#endif
