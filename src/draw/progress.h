/* progress.h: tells the observer how far a drawing is, and the time that is left. */
#ifndef KADR_DRAW_PROGRESS_H
#define KADR_DRAW_PROGRESS_H

#include "draw/context.h"
#include "run/run.h"

struct preview {
    const uint8_t *rgb;
    int width, height;
};

struct progress {
    kadr_context *ctx;
    const kadr_observer *observer; /* may be NULL */
    struct run *run;               /* whose reading is told; may be NULL */
    size_t picture, pictures;
    size_t group;          /* pictures that are drawn together */
    int evaluations;       /* that one group takes */
    double per_evaluation; /* seconds: predicted, then measured and smoothed; 0: unknown */
    double outside; /* seconds a picture beside its evaluations: predicted, then of the last one */
    bool measured;
};

/* KADR_EINTERRUPTED when the observer or kadr_interrupt asks to end. `e`: evaluation just done of
 * p->evaluations; step and steps are what is shown. `preview` may be NULL. */
kadr_status progress_tell(struct progress *p, const char *stage, int evaluation, int step,
                          int steps, const struct preview *preview, kadr_error *err);

/* One evaluation took so long. */
void progress_measure(struct progress *p, double seconds);

#endif
