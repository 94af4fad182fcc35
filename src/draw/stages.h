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
    enum dtype dtype; /* of the networks' products: f32, bf16, or int8 where the UNet gains by it */
    int64_t width, height;       /* of the picture */
    int branches;                /* 2 with guidance: unconditional, conditional; else 1 */
    int pictures;                /* that are drawn together, each weight fetched once for all */
    bool serial;                 /* branches take turns too, instead of being one batch */
    int steps;                   /* about how often the UNet runs */
    double guide_from, guide_to; /* the share of the steps that has both branches */
    int cache;                   /* the UNet's cut runs every so many evaluations; 0: always */
    int64_t chunks;              /* prompt chunks of the longer branch */
    int64_t text_samples; /* chunks that the encoders see: both branches', unless one is zeros */
    int64_t extra_rows;   /* vectors of textual inversion */
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

/* Of values between operations, and of products that are not in int8. */
static inline enum dtype stages_values(const struct stages_shape *s) {
    return s->dtype == DTYPE_I8 ? DTYPE_BF16 : s->dtype;
}

/* What an evaluation of the UNet computes. */
struct turn {
    bool guided; /* both branches; else the conditional one alone */
    bool reuse;  /* without the UNet's cut */
};
/* Evaluation number `evaluation`, in step `step` of `steps`: as diffusers' guiders count with
 * `start` and `stop`. The cut runs also when guidance begins: nothing is kept of the other branch.
 */
struct turn stages_turn(const struct stages_shape *s, int step, int steps, int evaluation);
struct segment_part stages_part(const struct stages_shape *s, struct turn turn);
/* Whether there are turns with one branch: then branches are lanes of their own. */
bool stages_alternate(const struct stages_shape *s);

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
    double load;   /* waiting for weights that stay in memory, and are read in a first run */
    double encode; /* texts and conditioning of a group of pictures */
    double init;   /* of a start picture */
    double step;   /* one evaluation of the UNet for a group, in the mean of all */
    double decode; /* of one picture */
    double step_compute, step_read; /* of it, each alone */
    /* Computing alone, as predicted before what drawings taught; of denoise, an evaluation. */
    double encode_compute, denoise_compute, decode_compute;
    bool kept; /* what stays is read once for all pictures */
};
void stages_predict(const struct stages *s, const struct machine_speed *speed, double disk,
                    struct stages_time *out);
/* Of so many pictures. */
double stages_seconds(const struct stages_time *t, const struct stages_shape *shape,
                      size_t pictures);

#endif
