/* picture.h: a painted picture with its papers: settings for people, for kadr and a report. */
#ifndef KADR_DRAW_PICTURE_H
#define KADR_DRAW_PICTURE_H

#include "draw/paint.h"

struct picture_facts {
    kadr_context *ctx;
    const struct draw_model *model;
    double predicted;    /* seconds a picture */
    size_t planned;      /* bytes that the plan promised at most */
    uint64_t budget;     /* 0: unknown */
    uint64_t bytes_read; /* weights read for this picture */
    enum dtype dtype;    /* in which the networks were computed */
};

/* Hands the picture to the observer; writes the latents where the request says so. */
kadr_status picture_deliver(const struct paint *p, const struct painted *painted, size_t request,
                            const struct picture_facts *facts, const kadr_observer *observer,
                            kadr_error *err);

#endif
