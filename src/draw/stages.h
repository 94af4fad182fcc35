/* stages.h: the stages of one picture as one program: text encoders, VAE encode (with a start
 * picture), conditioning, denoising, decode. Built and planned before anything runs.
 */
#ifndef KADR_DRAW_STAGES_H
#define KADR_DRAW_STAGES_H

#include "draw/machine.h"
#include "draw/model.h"
#include "plan/plan.h"
#include "run/run.h"

enum stage {
    STAGE_TEXT,
    STAGE_TEXT_2,
    STAGE_ENCODE,
    STAGE_CONDITION,
    STAGE_DENOISE,
    STAGE_DECODE,
    STAGE_COUNT
};

/* Everything that decides the shape of the program: pictures of equal shape share a program and a
 * plan. */
struct stages_shape {
    enum dtype dtype;
    int64_t width, height; /* of the picture */
    int branches;          /* 2 with guidance: unconditional, conditional; else 1 */
    int pictures;          /* that are drawn together, each weight fetched once for all */
    bool serial;           /* branches take turns too, instead of being one batch */
    int steps;             /* about how often the UNet runs */
    int64_t chunks;        /* prompt chunks of the longer branch */
    int64_t text_samples;  /* chunks that the encoders see: both branches', unless one is zeros */
    int64_t extra_rows;    /* vectors of textual inversion */
    int clip_skip;
    bool init; /* a start picture is encoded */
    int casts; /* see struct unet_shape */
    int64_t cast_tokens[UNET_CASTS];
    bool cast_masked[UNET_CASTS];
};

/* Samples (branches of all pictures) of one lane of the UNet, and its lanes. Sample b of picture p
 * is row (p * branches + b) % rows of lane (p * branches + b) / rows. */
static inline int stages_rows(const struct stages_shape *s) {
    return s->serial ? 1 : s->branches;
}
static inline int stages_lanes(const struct stages_shape *s) {
    return s->branches * s->pictures / stages_rows(s);
}

struct stages {
    struct stages_shape shape;
    struct graph graphs[STAGE_COUNT];
    struct program program;
    int segment[STAGE_COUNT]; /* index in the program, or -1 */
    struct plan plan;
};

/* Describes, binds every weight (KADR_EMODEL when one is missing or of the wrong shape) and plans.
 */
kadr_status stages_open(struct stages *s, struct mem *m, const struct draw_model *model,
                        const struct stages_shape *shape, const struct plan_options *options,
                        const struct backend *backend, void *state, kadr_error *err);
void stages_close(struct stages *s); /* idempotent */

/* The kind of work of a segment of its program, by which predictions are corrected. */
enum machine_work stages_work(const struct stages *s, int segment);

/* Seconds that are predicted. */
struct stages_time {
    double load;   /* reading the weights that stay in memory */
    double encode; /* texts and conditioning of a group of pictures */
    double init;   /* of a start picture */
    double step;   /* one evaluation of the UNet for a group; the longer of the next two, and of
                      scratch */
    double step_compute, step_read;
    double decode;                         /* of one picture */
    double encode_compute, decode_compute; /* as predicted before what drawings taught */
    bool kept;                             /* what stays is read once for all pictures */
};
void stages_predict(const struct stages *s, const struct machine_speed *speed, double disk,
                    struct stages_time *out);
/* Of so many pictures. */
double stages_seconds(const struct stages_time *t, const struct stages_shape *shape,
                      size_t pictures);

#endif
