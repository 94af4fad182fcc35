/* paint.h: pictures from tokens to pixels, through a program that was planned before. Pictures of
 * one group are denoised together, step by step, and decoded one after the other.
 *
 *     painting_open(&p, &config, pictures, count, err);
 *     painting_denoise(p, err);
 *     for each i: painting_decode(p, i, &out, err); ...; painted_free(&out);
 *     painting_close(p);
 */
#ifndef KADR_DRAW_PAINT_H
#define KADR_DRAW_PAINT_H

#include "draw/casting.h"
#include "draw/context.h"
#include "draw/progress.h"
#include "draw/stages.h"
#include "draw/text.h"
#include "image/image.h"

/* One picture of a request. Borrowed while it is painted. */
struct paint {
    const kadr_request *rq; /* resolved */
    const struct text_request *text;
    const struct image *init, *mask; /* NULL: none */
    const char *start; /* file of latents to begin from in place of init; NULL: none */
    const struct castings *castings;
    uint64_t seed;
    size_t index; /* of the request's count */
};

/* What all pictures of a group share. */
struct paint_config {
    kadr_context *ctx;
    const struct draw_model *model;
    const struct stages *stages;
    struct run *run;
    struct progress *progress;
};

/* What comes out. */
struct painted {
    float *latents; /* [channels, h, w], before the VAE; the painting's */
    uint8_t *rgb;   /* [height, width, 3] */
    double seconds_encode, seconds_denoise, seconds_decode; /* the first two: a picture's share */
    int steps;
};

struct painting;
kadr_status painting_open(struct painting **out, const struct paint_config *config,
                          const struct paint *pictures, size_t count, kadr_error *err);
void painting_close(struct painting *p); /* `p` may be NULL */

/* Everything up to the latents of all pictures. */
kadr_status painting_denoise(struct painting *p, kadr_error *err);
kadr_status painting_decode(struct painting *p, size_t i, struct painted *out, kadr_error *err);
/* The picture is where it belongs: its checkpoint is not wanted any more. */
void painting_delivered(const struct painting *p, size_t i);
void painted_free(struct painted *out); /* idempotent */

/* Seconds that a group took so far, and those of them that it waited for weights. */
struct painting_time {
    double encode, encode_waited;
    double denoise, denoise_waited; /* all evaluations */
    double decode, decode_waited;   /* of the last picture */
    int evaluations;
};
void painting_get_time(const struct painting *p, struct painting_time *out);

/* Bytes that painting takes beside the arena: of each picture of a group, and once. */
size_t paint_bytes(const struct draw_model *model, const kadr_request *rq,
                   const struct text_request *text);
size_t paint_bytes_once(const kadr_request *rq);

/* KADR_EUSAGE when the request names an unknown sampler or schedule, which says which there are, or
 * when they and its steps do not go together. */
kadr_status paint_check_sampler(const struct draw_model *model, const kadr_request *rq,
                                kadr_error *err);

#endif
