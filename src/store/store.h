/* store.h: what has to survive the end of the program: the queue of jobs, the pictures they made,
 * and documents (boards, casts) as JSON. One folder holds it:
 *
 *     kadr.db        SQLite, WAL, synchronous FULL
 *     pictures/      JOB-NUMBER-ATTEMPT.png, written .part, fsync, rename, fsync of the folder,
 *                    and only then told to the database
 *     uploads/       pictures that jobs begin from
 *     lock           held by the one process that may use the folder
 *
 * A job is claimed under an attempt number that grows by one each time. Whoever reports about a
 * job says under which attempt: a report of an earlier one is refused, so that a worker that was
 * thought dead can do no harm.
 *
 * Functions may be called from several threads.
 */
#ifndef KADR_STORE_STORE_H
#define KADR_STORE_STORE_H

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

struct store;

/* Opens or makes the folder, brings its schema to this version, puts jobs that were being drawn
 * when the last process ended back into the queue, in their old place, and deletes picture files
 * that no row knows. KADR_EIO: cannot be used; KADR_EUSAGE: another process has it, or a newer
 * kadr wrote it. */
kadr_status store_open(struct store **out, struct mem *m, const char *folder, kadr_error *err);
void store_close(struct store *s); /* `s` may be NULL */

/* ---- Jobs ------------------------------------------------------------------------------------ */
#define STORE_STATES(X) X(queued) X(running) X(done) X(failed) X(cancelled)

/* Puts a job at the end of the queue. `request` is a JSON text that the store does not read;
 * `pictures` says how many it is to make. */
kadr_status store_add_job(struct store *s, const char *request, int64_t pictures, int64_t *id,
                          kadr_error *err);

struct store_claim {
    int64_t job, attempt;
    int64_t done;  /* pictures that earlier attempts made: they are not drawn again */
    char *request; /* mem_free */
};
/* The first job of the queue, leased for `lease` seconds; claim->job is 0 when there is none. Jobs
 * whose lease ran out count as queued. */
kadr_status store_claim(struct store *s, const char *worker, int64_t lease,
                        struct store_claim *claim, kadr_error *err);
/* False (and KADR_OK) in *held when the job was given to somebody else or cancelled meanwhile. */
kadr_status store_renew(struct store *s, const struct store_claim *claim, int64_t lease, bool *held,
                        kadr_error *err);
/* `error` NULL: done. KADR_EINTERRUPTED when the claim is not held any more. */
kadr_status store_finish(struct store *s, const struct store_claim *claim, const char *error,
                         kadr_error *err);
/* Back into the queue, as if it had not been claimed; the attempt number stays used. */
kadr_status store_release(struct store *s, const struct store_claim *claim, kadr_error *err);
/* A job that waits or runs becomes cancelled; *was tells whether one did. */
kadr_status store_cancel(struct store *s, int64_t job, bool *was, kadr_error *err);
/* Puts a waiting job before another one, or with `before` 0 at the end. */
kadr_status store_move(struct store *s, int64_t job, int64_t before, bool *was, kadr_error *err);

/* {"id","state","position","pictures":[{...}],"count","request",...}; NULL in *out when there is
 * no such job. */
kadr_status store_job(struct store *s, int64_t id, json_t **out, kadr_error *err);
/* Up to `most` jobs, those that wait in their order first, then the newest. */
kadr_status store_jobs(struct store *s, int64_t most, json_t **out, kadr_error *err);
/* {"queued":n,"running":n,...,"pictures":n} */
kadr_status store_counts(struct store *s, json_t **out, kadr_error *err);

/* ---- Pictures -------------------------------------------------------------------------------- */
struct store_picture {
    int64_t number; /* within its job, from 0 */
    int64_t seed;
    int width, height;
    const char *prompt, *settings, *parameters;
};
/* Where picture `number` of this attempt is to be written. mem_free. */
char *store_picture_path(struct store *s, const struct store_claim *claim, int64_t number);
/* Tells of the file at that path, which is complete and on the disk. KADR_EINTERRUPTED when the
 * claim is not held any more: the file is deleted then. */
kadr_status store_add_picture(struct store *s, const struct store_claim *claim,
                              const struct store_picture *p, int64_t *id, kadr_error *err);
/* The file of a picture; NULL in *path when there is no such. mem_free. */
kadr_status store_picture_file(struct store *s, int64_t id, char **path, kadr_error *err);
/* Newest first, those with `search` in their prompt (NULL: all), ids below `before` (0: all). */
kadr_status store_pictures(struct store *s, const char *search, int64_t before, int64_t most,
                           json_t **out, kadr_error *err);
kadr_status store_delete_picture(struct store *s, int64_t id, bool *was, kadr_error *err);

/* uploads/NAME.png of this folder; NULL when `name` is not 1 to 64 letters a-f and digits, or
 * memory is refused. mem_free. */
char *store_upload_path(struct store *s, const char *name);

/* ---- Documents -------------------------------------------------------------------------------
 * JSON texts by kind and name. A change says on which version it was based: 0 for a new one. */
kadr_status store_put(struct store *s, const char *kind, const char *name, const char *body,
                      int64_t based_on, int64_t *version, kadr_error *err);
/* {"name","version","body"}; NULL when there is none. */
kadr_status store_get(struct store *s, const char *kind, const char *name, json_t **out,
                      kadr_error *err);
kadr_status store_list(struct store *s, const char *kind, json_t **out, kadr_error *err);
kadr_status store_delete(struct store *s, const char *kind, const char *name, bool *was,
                         kadr_error *err);

#endif
