/* run.h: carries out a planned program on a backend. It owns the one arena of the run; weights are
 * read and packed into their slots when their segment begins and are gone when it has ended.
 *
 *     run_prepare(backend, state, source, &program, err);          // fill in the needs, check
 * every weight plan_make(&plan, mem, &program, BACKEND_ALIGN, err); run_open(&run, mem, &(struct
 * run_config){...}, err); memcpy(run_buffer(run, "unet.latents"), ...); run_segment(run, denoise,
 * err);                              // once for each repeat
 */
#ifndef KADR_RUN_RUN_H
#define KADR_RUN_RUN_H

#include "backend/backend.h"
#include "plan/plan.h"

/* Where weights come from. */
struct run_source {
    void *user;
    /* KADR_EMODEL with file, name and what was expected unless there is a tensor of that name and
     * shape (trailing ones do not count). *dtype: in which read gives it. */
    kadr_status (*find)(void *user, const struct weight *w, enum dtype *dtype, kadr_error *err);
    /* Rows [row, row + rows) of the first dimension as stored. */
    kadr_status (*read)(void *user, const struct weight *w, int64_t row, int64_t rows, void *to,
                        kadr_error *err);
};

/* Asks the backend for the needs of every segment and the source for every weight: after this
 * nothing can be missing. */
kadr_status run_prepare(const struct backend *backend, void *state, const struct run_source *source,
                        struct program *program, kadr_error *err);

struct run_config {
    const struct backend *backend; /* everything here is borrowed */
    void *state;
    const struct run_source *source;
    const struct program *program;
    const struct plan *plan;
    /* Asked between operations and pieces of weights; true ends the run with KADR_EINTERRUPTED. */
    bool (*cancelled)(void *user);
    void *user;
};

struct run;
kadr_status run_open(struct run **out, struct mem *m, const struct run_config *config,
                     kadr_error *err);
void run_close(struct run *r); /* `r` may be NULL; gives the arena back */

/* A buffer of the program; NULL when it has none of that name. Contents before the first segment
 * that uses it and after the last are undefined. */
void *run_buffer(struct run *r, const char *name);

/* Runs a segment once, after loading its weights when they are not there. */
kadr_status run_segment(struct run *r, int segment, kadr_error *err);

/* Bytes of weights read so far. */
uint64_t run_bytes_read(const struct run *r);

/* For tests and debugging: called after each operation with its output, which is valid during the
 * call. */
typedef void run_watch(void *user, const struct graph *g, const struct op *op, const void *out);
void run_set_watch(struct run *r, run_watch *watch, void *user);

#endif
