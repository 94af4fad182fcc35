/* store.h: what has to survive the end of the program: the queue of jobs, the pictures they made,
 * and documents (boards, casts) as JSON. A store of one machine is a folder:
 *
 *     kadr.db        SQLite, WAL, synchronous FULL
 *     pictures/      JOB-NUMBER-ATTEMPT.png, written .part, fsync, rename, fsync of the folder,
 *                    and only then told to the database
 *     latents/       JOB-NUMBER-ATTEMPT.safetensors of drafts, written before their pictures
 *     states/        JOB.checkpoint of a picture that is being drawn
 *     uploads/       pictures that jobs begin from
 *     casts/         NAME.cast, told of by a document of kind "cast"
 *     exports/       what is being made to be downloaded
 *     lock           held by the one process that may use the folder
 *
 * One of many machines is a PostgreSQL database, from which any number of processes draw. Files
 * then lie in a folder that all of them share, or travel through the database; each process has
 * a folder of its own for those it needs at the moment.
 *
 * Of a job one part is claimed at a time, under an attempt number that grows by one with each claim
 * of the job. Whoever reports about it says under which attempt: a report of an earlier one is
 * refused, so that a worker that was thought dead can do no harm. A store of one machine makes one
 * part of a job, one of many up to 8.
 *
 * Functions may be called from several threads. KADR_EIO from a shared store may mean that the
 * database cannot be reached at the moment: asking again later does no harm, whatever became of the
 * first time.
 */
#ifndef KADR_STORE_STORE_H
#define KADR_STORE_STORE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

struct store;

struct store_place {
    const char *where;    /* a folder, or postgresql://... */
    const char *pictures; /* of a database: the folder that all share; NULL: they are in it */
    const char *cache;    /* of a database without one: in which folder to keep what is needed */
};
/* Opens or makes the store and brings its schema to this version. In a folder, puts jobs that were
 * being drawn when the last process ended back into the queue, in their old place, and deletes
 * picture files that no row knows. KADR_EIO: cannot be used; KADR_EUSAGE: another process has it,
 * it is no URL, its pictures are elsewhere, or a newer kadr wrote it. */
kadr_status store_open(struct store **out, struct mem *m, const struct store_place *place,
                       kadr_error *err);
void store_close(struct store *s);             /* `s` may be NULL */
bool store_is_shared(const struct store *s);   /* others may draw from it */
const char *store_name(const struct store *s); /* where it is, without password */

/* ---- Jobs ------------------------------------------------------------------------------------ */
#define STORE_STATES(X) X(queued) X(running) X(done) X(failed) X(cancelled)

struct store_order {
    const char *request; /* a JSON text that the store does not read */
    int64_t pictures;    /* how many it is to make */
    int64_t board;       /* whose panel it draws; 0: none */
    const char *about;   /* JSON text with what the board must know of it; NULL: none */
    const char *client;  /* who asked for it, remembered until it is over; NULL: nobody */
};
/* Puts jobs at the end of the queue, all or none, one behind the other. */
kadr_status store_add_jobs(struct store *s, const struct store_order *orders, size_t count,
                           int64_t *ids, kadr_error *err);

struct store_claim {
    int64_t job, attempt, part;
    int64_t first, count;  /* pictures of the job that are this part */
    int64_t done;          /* of them earlier attempts made so many: they are not drawn again */
    int64_t board;         /* of the job; 0: none */
    int64_t beside;        /* free parts that could be drawn together with it: those of the same job
                              and of its board's, up to where in the queue something else stands; of
                              them this worker's share */
    char *request, *about; /* mem_free; about may be NULL */
};
/* The first free part of the first job that has one and that this worker did not refuse, leased for
 * `lease` seconds; claim->job is 0 when there is none. A part whose lease ran out is free.
 *
 * Its worker has died then, for all that is known. A part with which workers died STORE_DEATHS
 * times, more than 10 seconds between each and no picture, has failed with its job: it may be what
 * they die of. One with which one died has nothing beside it. */
#define STORE_DEATHS 5
kadr_status store_claim(struct store *s, const char *worker, int64_t lease,
                        struct store_claim *claim, kadr_error *err);
/* In one transaction those that are beside claims[0], behind claims[*count - 1], until there are
 * `most` of all. */
kadr_status store_claim_beside(struct store *s, const char *worker, int64_t lease,
                               struct store_claim *claims, size_t most, size_t *count,
                               kadr_error *err);
void store_claim_free(struct store_claim *claim); /* idempotent; what it points to, not the claim */
/* False (and KADR_OK) in held[i] when part i was given to somebody else or cancelled meanwhile. */
kadr_status store_renew(struct store *s, const struct store_claim *claims, size_t count,
                        int64_t lease, bool *held, kadr_error *err);
/* What emerges, for those who look from other processes: a PNG, until the part is over. */
kadr_status store_show(struct store *s, const struct store_claim *claim, const void *png,
                       size_t size, kadr_error *err);
/* The last that was shown of a job, appended to `png`; nothing where there is none. */
kadr_status store_shown(struct store *s, int64_t job, struct buf *png, kadr_error *err);
/* `error` NULL: the part is done, whatever was drawn of it; else the whole job has failed. A part
 * whose pictures are all told is done already. KADR_EINTERRUPTED when the claim is not held any
 * more. */
kadr_status store_finish(struct store *s, const struct store_claim *claim, const char *error,
                         kadr_error *err);
/* Back into the queue, as if it had not been claimed; the attempt number stays used. */
kadr_status store_release(struct store *s, const struct store_claim *claim, kadr_error *err);
/* The same without the first of its pictures that is not drawn, which is never drawn. */
kadr_status store_skip(struct store *s, const struct store_claim *claim, kadr_error *err);
/* The same, and this worker is not given the job again: it does not fit it. A job that fits none of
 * the workers that are there, a minute long, has failed. */
kadr_status store_refuse(struct store *s, const struct store_claim *claim, const char *worker,
                         const char *reason, kadr_error *err);
/* A worker is there, and tells `about` (JSON) of itself; it is to say so every lease. NULL: it
 * goes. */
kadr_status store_seen(struct store *s, const char *worker, const char *about, kadr_error *err);
/* [{"name","seconds","about"}]: who was seen within the last minute, and how long ago. */
kadr_status store_workers(struct store *s, json_t **out, kadr_error *err);
/* How many jobs that wait or run the client asked for; and up to `most` of them at which somebody
 * draws. */
kadr_status store_client_jobs(struct store *s, const char *client, int64_t *count, kadr_error *err);
kadr_status store_client_drawn(struct store *s, const char *client, int64_t *jobs, size_t most,
                               size_t *count, kadr_error *err);
/* A job that waits or runs becomes cancelled; *was tells whether one did. */
kadr_status store_cancel(struct store *s, int64_t job, bool *was, kadr_error *err);
/* Puts a waiting job before another one, or with `before` 0 at the end. */
kadr_status store_move(struct store *s, int64_t job, int64_t before, bool *was, kadr_error *err);

/* {"id","state","pictures":[{...}],"count","request",...}, with "waits" (why no worker has taken
 * it) where that is so; NULL in *out when there is
 * no such job. */
kadr_status store_job(struct store *s, int64_t id, json_t **out, kadr_error *err);
/* Up to `most` jobs, those that wait in their order first, then the newest. */
kadr_status store_jobs(struct store *s, int64_t most, json_t **out, kadr_error *err);
/* What was ever ordered for a board, the oldest first: {"job","state","about",...}, and of those
 * that are drawn "picture" (its id), "seed","width","height". */
kadr_status store_board_jobs(struct store *s, int64_t board, json_t **out, kadr_error *err);
/* {"queued":n,"running":n,...,"pictures":n} */
kadr_status store_counts(struct store *s, json_t **out, kadr_error *err);

/* ---- Pictures -------------------------------------------------------------------------------- */
struct store_picture {
    int64_t number; /* within its job, from 0 */
    int64_t seed;
    int width, height;
    const char *prompt, *settings, *parameters;
    bool latents; /* they are there, at store_latents_path */
};
/* Where picture `number` of this attempt is to be written, and its latents. mem_free. */
char *store_picture_path(struct store *s, const struct store_claim *claim, int64_t number);
char *store_latents_path(struct store *s, const struct store_claim *claim, int64_t number);
/* Where the state of a part's only picture may be kept between steps, for the next who claims it.
 * NULL in a shared store: processors differ in the last bits, and a picture is of one of them.
 * mem_free. Deleted when the store is opened, unless the job waits. */
char *store_state_path(struct store *s, const struct store_claim *claim);
/* Tells of the file at that path, which is complete and on the disk; with the last one of its part
 * that is done, with the last one of its job the job. KADR_EINTERRUPTED when the claim is not held
 * any more: the file is deleted then. */
kadr_status store_add_picture(struct store *s, const struct store_claim *claim,
                              const struct store_picture *p, int64_t *id, kadr_error *err);
/* The file of a picture; NULL in *path when there is no such. mem_free. */
kadr_status store_picture_file(struct store *s, int64_t id, char **path, kadr_error *err);
/* The same of its latents; NULL where none were kept. */
kadr_status store_latents_file(struct store *s, int64_t id, char **path, kadr_error *err);
/* Newest first, those with `search` in their prompt (NULL: all), ids below `before` (0: all). */
kadr_status store_pictures(struct store *s, const char *search, int64_t before, int64_t most,
                           json_t **out, kadr_error *err);
kadr_status store_delete_picture(struct store *s, int64_t id, bool *was, kadr_error *err);

/* Where a picture that was sent is to be written: uploads/NAME.png. NULL when `name` is not 1 to 64
 * letters a-f and digits, or memory is refused. mem_free. */
char *store_upload_path(struct store *s, const char *name);
/* Tells of the file at that path. */
kadr_status store_add_upload(struct store *s, const char *name, kadr_error *err);
/* Where it can be read, if it is there; NULL in *path when that is no name. mem_free. */
kadr_status store_upload_file(struct store *s, const char *name, char **path, kadr_error *err);

/* Files of other kinds, by names below the folder as "casts/anna.cast", which the caller has made
 * sure are such: told of when they are written at their path, found where they can be read if they
 * are there, deleted. *path: mem_free. */
char *store_file_path(struct store *s, const char *name);
kadr_status store_add_file(struct store *s, const char *name, kadr_error *err);
kadr_status store_file(struct store *s, const char *name, char **path, kadr_error *err);
kadr_status store_delete_file(struct store *s, const char *name, kadr_error *err);
/* The files below that folder ("casts"), whoever put them there, as file_list gives them; none
 * where files travel through the database. */
kadr_status store_list_files(struct store *s, struct arena *a, const char *folder, char ***names,
                             size_t *count, kadr_error *err);

/* ---- Documents -------------------------------------------------------------------------------
 * JSON texts by kind and name. A change says on which version it was based: 0 for a new one. */
kadr_status store_put(struct store *s, const char *kind, const char *name, const char *body,
                      int64_t based_on, int64_t *version, kadr_error *err);
/* A number that is greater than the name of any of that kind, as a name for a new one. */
kadr_status store_next_number(struct store *s, const char *kind, int64_t *number, kadr_error *err);
/* {"name","version","changed","body"}; NULL when there is none. */
kadr_status store_get(struct store *s, const char *kind, const char *name, json_t **out,
                      kadr_error *err);
kadr_status store_list(struct store *s, const char *kind, json_t **out, kadr_error *err);
kadr_status store_delete(struct store *s, const char *kind, const char *name, bool *was,
                         kadr_error *err);

/* ---- What processes tell each other ----------------------------------------------------------
 * Texts of up to STORE_TOLD_MOST bytes go to all processes of a shared store, the sender as well;
 * nobody keeps them. A store of one machine tells nobody. */
#define STORE_TOLD_MOST 7900
kadr_status store_tell(struct store *s, const char *text, kadr_error *err);
/* The next text, until the next call; NULL when none came within `ms`. *missed: the connection is
 * new, and others may have been lost. For one thread. */
const char *store_hear(struct store *s, int ms, bool *missed);

#endif
