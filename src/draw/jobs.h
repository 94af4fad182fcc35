/* jobs.h: the requests of one drawing, looked through and planned; nothing has been computed yet.
 */
#ifndef KADR_DRAW_JOBS_H
#define KADR_DRAW_JOBS_H

#include "draw/casting.h"
#include "draw/context.h"
#include "draw/source.h"
#include "draw/stages.h"
#include "draw/text.h"
#include "image/image.h"

struct job {
    size_t request;           /* index among those given */
    kadr_request *rq;         /* a resolved copy */
    struct draw_model *model; /* shared between jobs that name the same */
    struct text_request text;
    struct image init, mask; /* empty: none */
    struct castings castings;
    struct stages *stages;   /* shared between jobs of the same model and shape */
    size_t host;             /* bytes that painting takes beside the arena */
    size_t planned;          /* peak of the whole process that the plan promises */
    struct stages_time time; /* that is predicted */
};

struct jobs {
    kadr_context *ctx;
    struct arena arena;
    struct cast_shelf shelf;
    struct job *job;
    size_t count;
    size_t pictures; /* of all jobs together */
    uint64_t budget; /* 0: unknown */
    const char *why; /* where the budget comes from */
    size_t before;   /* bytes of the process when this was described */
    size_t idle;     /* what it takes beside drawing */
    size_t growth;   /* what it may grow by beside what is planned */
};

/* On failure too, `j` is to be closed. What does not fit into the budget is KADR_EMEMORY. */
kadr_status jobs_prepare(struct jobs *j, kadr_context *ctx, kadr_request *const *requests,
                         size_t count, kadr_error *err);
/* The same without the verdict: for the report of what would be. */
kadr_status jobs_describe(struct jobs *j, kadr_context *ctx, kadr_request *const *requests,
                          size_t count, kadr_error *err);
void jobs_close(struct jobs *j); /* idempotent */

#endif
