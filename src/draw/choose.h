/* choose.h: which of the plans that fit is taken for a job, and what would fit where none does. */
#ifndef KADR_DRAW_CHOOSE_H
#define KADR_DRAW_CHOOSE_H

#include "draw/jobs.h"

/* Plans job number `i`: of the ways that fit, the one that is predicted to be the quickest; the
 * smallest when none fits. Jobs before it are planned. */
kadr_status choose_plan(struct jobs *j, size_t i, kadr_error *err);
/* Gives its plan up, unless an earlier job owns it. */
void choose_drop(struct jobs *j, size_t i);

/* Whether the plan of a job is inside the budget. */
bool choose_fits(const struct jobs *j, const struct job *job);

/* A setting near to the one asked for that would fit. */
struct alternative {
    char options[64]; /* ready to be pasted */
    int64_t width, height;
    enum dtype dtype;
    size_t planned;
    uint64_t memory; /* that is allowed then */
};
#define ALTERNATIVES 5
/* For a job that does not fit; returns how many there are. */
size_t choose_alternatives(const struct jobs *j, const struct job *job,
                           struct alternative list[ALTERNATIVES]);

/* KADR_EMEMORY, with the alternatives. */
kadr_status choose_refuse(const struct jobs *j, const struct job *job, kadr_error *err);

#endif
