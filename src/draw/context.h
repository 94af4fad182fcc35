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
    volatile sig_atomic_t interrupted;
};

/* kadr_open and kadr_close over a ledger of the caller's. */
kadr_status context_open(struct mem *m, const kadr_config *config, kadr_context **out,
                         kadr_error *err);
void context_close(kadr_context *ctx);

/* Most bytes that this process may take, and why ("--memory", "70 % of what is free"). 0: unknown.
 */
uint64_t context_budget(const kadr_context *ctx, const char **why);

/* What the machine does in a second with a model in that dtype (measured now, if need be and there
 * is room), and bytes of the model's weights that it reads in one. */
const struct machine_speed *context_speed(kadr_context *ctx, const struct draw_model *model,
                                          enum dtype dtype);
double context_read_rate(kadr_context *ctx, const struct draw_model *model);
/* About how long the stages take here. */
void context_predict(kadr_context *ctx, const struct draw_model *model, const struct stages *s,
                     struct stages_time *out);
/* What the machine is measured with. */
struct machine_tools context_machine_tools(const kadr_context *ctx);
/* Writes what was learnt about the machine to its file. */
void context_remember(kadr_context *ctx);

#endif
