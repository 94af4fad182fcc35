/* schedule.h: where a sampler stands at each step: noise levels and times. Seen by the samplers
 * only. */
#ifndef KADR_SAMPLE_SCHEDULE_H
#define KADR_SAMPLE_SCHEDULE_H

#include "sample/sample.h"

#define TRAIN_STEPS_MOST 4096

/* How a family of diffusers' schedulers counts its steps. */
enum timing {
    TIMING_EULER,     /* Euler, Heun: times n of n; Karras between the first and last noise level */
    TIMING_HEUN,      /* Heun, Euler ancestral: the same, but the end is always without noise */
    TIMING_DPM,       /* times n of n + 1, whole numbers; Karras over the whole range */
    TIMING_UNIPC,     /* the same, but for the end of Karras and its like */
    TIMING_DDIM,      /* times n of n, whole numbers, levels of the training table */
    TIMING_DISTILLED, /* LCM, TCD: n of the 50 steps of their training */
};

struct schedule {
    int steps;
    double *sigma; /* [steps + 1]: noise over signal at each step and at the end */
    double *time;  /* [steps] */
    double *table; /* [train_steps]: sigma by training step */
    int train_steps;
    bool ends_clean; /* the product of alphas after the last step is 1, not the first of training */
    double initial;  /* what unit noise is multiplied with for samplers in sigma space */
};

/* Whether such a one can be made; KADR_EUSAGE, KADR_EMODEL say why not. */
kadr_status schedule_check(const struct sampler_config *config, enum timing timing,
                           kadr_error *err);
kadr_status schedule_make(struct schedule *out, struct mem *m, const struct sampler_config *config,
                          enum timing timing, kadr_error *err);
void schedule_free(struct schedule *s); /* idempotent */

/* Product of alphas at a training step; a negative one is the end. */
double schedule_alpha(const struct schedule *s, int time);

#endif
