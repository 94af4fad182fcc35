/* run.h: carries out a planned program on a backend. It owns the one arena of the run;
 * readers fetch weights ahead of the operations that need them: those that stay once, the others
 * each time, into slots of a ring.
 *
 *     run_prepare(backend, state, source, &program, err);          // fill in the needs, check
 *                                                                  // every weight
 *     plan_make(&plan, mem, &program, &options, err);
 *     run_open(&run, mem, &(struct run_config){...}, err);
 *     memcpy(run_buffer(run, "unet.latents", lane), ...);
 *     run_segment(run, denoise, 0, more, err);                     // once for each step
 */
#ifndef KADR_RUN_RUN_H
#define KADR_RUN_RUN_H

#include "backend/backend.h"
#include "plan/plan.h"

/* Bytes [at, at + size) of a packed weight; `to` has room up to a multiple of PLAN_ALIGN. */
struct run_piece {
    const struct weight *weight;
    size_t at, size;
    void *to;
};
#define RUN_PIECES 32

/* Where weights come from. Functions are called from the readers' threads, but for read_packed from
 * one at a time. */
struct run_source {
    void *user;
    /* KADR_EMODEL with file, name and what was expected unless there is a tensor of that name and
     * shape (trailing ones do not count). *dtype: in which read gives it. */
    kadr_status (*find)(void *user, const struct weight *w, enum dtype *dtype, kadr_error *err);
    /* Rows [row, row + rows) of the first dimension as stored. */
    kadr_status (*read)(void *user, const struct weight *w, int64_t row, int64_t rows, void *to,
                        kadr_error *err);
    /* Whether the weight lies there in the packed form, `bytes` in all; or, when it is of f32, with
     * its elements in f16 (*stored), half as many. NULL: none does. */
    bool (*packed)(void *user, const struct weight *w, size_t bytes, enum dtype *stored);
    /* What lies there, in pieces; `count` is at most RUN_PIECES. From several threads. */
    kadr_status (*read_packed)(void *user, const struct run_piece *pieces, int count,
                               kadr_error *err);
    /* Checks what was read, in the order in which it is used. From one thread at a time. */
    kadr_status (*check_packed)(void *user, const struct run_piece *pieces, int count,
                                kadr_error *err);
    /* Whether something is to be added to the packed weight (a LoRA), and that to rows as stored,
     * given as f32. NULL: never. */
    bool (*added)(void *user, const struct weight *w);
    kadr_status (*add)(void *user, const struct weight *w, int64_t row, int64_t rows, float *to,
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
    /* Asked between operations and pieces of weights, from all threads; true ends the run with
     * KADR_EINTERRUPTED. */
    bool (*cancelled)(void *user);
    void *user;
};

struct run;
kadr_status run_open(struct run **out, struct mem *m, const struct run_config *config,
                     kadr_error *err);
void run_close(struct run *r); /* `r` may be NULL; gives the arena back */

/* A copy of a buffer of the program; NULL when there is none of that name, or when it is one that
 * is only carried between segments and lies in the scratch file. Contents before the
 * first segment that uses it and after the last are undefined. */
void *run_buffer(struct run *r, const char *name, int lane);

/* Runs a segment once: all its lanes; one that has a single lane with the buffers' copies of number
 * `lane` (those that have as many). `again`: it will be run again next, so that its first weights
 * may be fetched. */
kadr_status run_segment(struct run *r, int segment, int lane, bool again, kadr_error *err);

/* From now on `used` of `all` lanes are run in every segment that has several: fewer pictures than
 * were planned for. */
void run_use_lanes(struct run *r, int used, int all);

/* From now on only that part is run: its lanes of segments with several, its operations of those
 * with a cut. */
void run_use_part(struct run *r, struct segment_part part);

/* Operations of one kind that were computed, whole or in parts. */
struct run_kind {
    double seconds, flops;
    uint64_t count;
};

/* What a run did so far. */
struct run_stats {
    uint64_t bytes_read;    /* of weights */
    double seconds_reading; /* that reading and unpacking them took */
    double seconds_waited;  /* that operations waited for weights or the scratch file */
    uint64_t scratch_bytes; /* of the scratch file, read and written */
    struct run_kind kinds[OP_KINDS];
};
void run_get_stats(struct run *r, struct run_stats *stats);

/* For tests and debugging: called after each operation (of each lane, of each part) with its
 * output, which is valid during the call; not for those that run in bands. */
typedef void run_watch(void *user, const struct graph *g, const struct op *op, const void *out);
void run_set_watch(struct run *r, run_watch *watch, void *user);

#endif
