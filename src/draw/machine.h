/* machine.h: how fast this machine is: measured shortly, corrected by every drawing, remembered in
 * a file. Only predictions and the choice between plans go by it, never what a picture shows.
 *
 *     const struct machine_speed *s = machine_speed(&m, &tools, dtype, scale, true);
 *     struct plan_rates rates = machine_rates(s, MACHINE_DENOISE, disk);
 *     struct plan_cost c = plan_cost(&plan, &program, segment, part, &rates);
 */
#ifndef KADR_DRAW_MACHINE_H
#define KADR_DRAW_MACHINE_H

#include "backend/backend.h"
#include "plan/cost.h"

/* Kinds of work whose predictions are corrected apart. */
enum machine_work { MACHINE_ENCODE, MACHINE_DENOISE, MACHINE_DECODE, MACHINE_WORKS };

struct machine_speed {
    struct plan_rates rates;      /* as measured; disk is not among them: see machine.read */
    double slower[MACHINE_WORKS]; /* measured over predicted, of the drawings so far; 1 at first */
    bool measured;
};

/* Networks of SDXL's width, and those of a small model, whose operations are over before all
 * threads are busy. */
enum machine_scale { MACHINE_LARGE, MACHINE_SMALL, MACHINE_SCALES };
enum { MACHINE_F32, MACHINE_BF16, MACHINE_I8, MACHINE_DTYPES };

struct machine {
    char processor[96], multiplier[64]; /* backend.h */
    int threads;
    double read[2]; /* bytes of weights a second from packed files, and from others (converted) */
    struct machine_speed speed[MACHINE_DTYPES][MACHINE_SCALES];
    double error; /* of predictions of late: |predicted / taken - 1|, the newest count most */
    int judged;   /* how many drawings that is; 0: none yet */
    bool known;   /* the file was looked for */
    bool changed; /* since it was read */
};

struct machine_tools {
    struct mem *mem;
    const struct backend *backend;
    void *state;
    int threads;
    const char *path; /* NULL: nothing is remembered, nothing measured unless asked */
};

/* The speed in that dtype; `measure`: measured now (0.2 s, 3 MiB) when the file does not tell.
 * Never fails: without memory, or with a broken file, guesses remain. */
const struct machine_speed *machine_speed(struct machine *m, const struct machine_tools *tools,
                                          enum dtype dtype, enum machine_scale scale, bool measure);

/* What predictions of such work go by: the rates, corrected by the drawings so far. */
struct plan_rates machine_rates(const struct machine_speed *s, enum machine_work work, double disk);

/* Operations a second of products, measured now. Predictions go by all that was measured, unless
 * drawings have corrected what was known before. */
double machine_measure(struct machine *m, const struct machine_tools *tools, enum dtype dtype,
                       enum machine_scale scale);
/* Bytes a second that the disk beside the file gives; 0: it could not be measured. */
double machine_measure_disk(struct machine *m, const struct machine_tools *tools);

/* Work took `seconds`, of which it waited `waited` for weights; `predicted` is the compute of its
 * plan_cost by the rates as measured. */
void machine_learn(struct machine *m, enum dtype dtype, enum machine_scale scale,
                   enum machine_work work, double predicted, double seconds, double waited);
/* A drawing was predicted to take so long, and took so long. */
void machine_judge(struct machine *m, double predicted, double seconds);
/* So many bytes of weights were read in so many seconds of reading. */
void machine_learn_reading(struct machine *m, bool packed, double bytes, double seconds);

/* Remembers what was learnt; what cannot be written is forgotten. */
void machine_save(struct machine *m, const struct machine_tools *tools);

#endif
