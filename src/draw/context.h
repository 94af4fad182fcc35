/* context.h: what one kadr_context holds; private to this room. */
#ifndef KADR_DRAW_CONTEXT_H
#define KADR_DRAW_CONTEXT_H

#include "backend/backend.h"
#include "base/log.h"
#include "draw/machine.h"
#include "draw/model.h"
#include "draw/stages.h"

#include <signal.h>

struct kadr_context {
    struct mem *mem;
    struct pool *pool;
    const struct backend *backend;
    void *state; /* of the backend */
    struct log log;
    kadr_config config;
    struct machine machine;
    struct draw_model *model; /* used last, kept for the next request; NULL: none yet */
    size_t before;            /* bytes of the process before the first drawing; 0: none yet */
    size_t left;              /* bytes that drawings have left in the process */
    volatile sig_atomic_t interrupted;
};

/* kadr_open and kadr_close over a ledger of the caller's. */
kadr_status context_open(struct mem *m, const kadr_config *config, kadr_context **out,
                         kadr_error *err);
void context_close(kadr_context *ctx);

/* The kept model, if it is the one that `rq` names: now the caller's. NULL: it is not. */
struct draw_model *context_take_model(kadr_context *ctx, const kadr_request *rq);
void context_keep_model(kadr_context *ctx, struct draw_model *model); /* in place of the other */

/* Most bytes that this process may take, and why ("--memory", "70 % of what is free"). 0: unknown.
 */
uint64_t context_budget(const kadr_context *ctx, const char **why);

/* Bytes that the process, which takes `now` at present, may grow by while something is drawn,
 * beside what is planned: code and libraries' data touched for the first time, stacks of the
 * threads, what is written. */
size_t context_growth(const kadr_context *ctx, size_t now);
/* What was drawn is done; `before`: bytes of the process when it began. */
void context_grown(kadr_context *ctx, size_t before);

/* What the machine does in a second with a model in that dtype (measured now, if need be and there
 * is room), and bytes of the model's weights that it reads in one. */
const struct machine_speed *context_speed(kadr_context *ctx, const struct draw_model *model,
                                          enum dtype dtype);
/* Whether its weights are computed with as they are read. */
bool context_reads_packed(const struct draw_model *model);
double context_read_rate(kadr_context *ctx, const struct draw_model *model);
/* About how long the stages take here. */
void context_predict(kadr_context *ctx, const struct draw_model *model, const struct stages *s,
                     struct stages_time *out);
/* What the machine is measured with. */
struct machine_tools context_machine_tools(const kadr_context *ctx);
/* Writes what was learnt about the machine to its file. */
void context_remember(kadr_context *ctx);

#endif
