/* queue.c: jobs, claimed part by part. See store.h.
 *
 * Whoever changes a job or its parts holds the lock of the job's row, and of that one job only, or
 * of those that nobody else holds. Only a move waits for many; moves wait for one another before.
 * Whoever has no job's lock changes one part. So nobody waits in a ring. A part's attempt is the
 * fence: it grows with every claim of the job, and reports under an older one find no part. */
#include "store/inside.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define PARTS_MOST 8     /* of a job, where several draw */
#define TRIES 10         /* a second apart, of what must not be done twice */
#define CLAIM_TRIES 5    /* of others having been faster */
#define SEEN_MS 60000    /* a worker that was seen since is there */
#define GONE_MS 86400000 /* one that was not seen since is forgotten */
#define NOBODY_MS 60000  /* a job that fits nobody waits so long for a larger worker */
#define DEATH_MS                                                                                   \
    10000 /* deaths that are nearer to each other count once: a machine that is                    \
             restarted again and again, not a part that is fatal */

#define FREE "(p.lease IS NULL OR p.lease < kadr_now())"
/* Jobs that the worker $1 may be given, if they have a free part. */
#define OPEN(job)                                                                                  \
    job ".state IN ('queued', 'running') AND NOT EXISTS(SELECT 1 FROM refusals r "                 \
        "WHERE r.job = " job ".id AND r.worker = $1)"

/* ---- New jobs -------------------------------------------------------------------------------- */
static kadr_status insert_parts(struct store *s, int64_t job, const struct store_order *order,
                                kadr_error *err) {
    kadr_status st = KADR_OK;
    int64_t pictures = order->pictures, most = s->shared ? PARTS_MOST : 1;
    int64_t each = (pictures + most - 1) / most;
    for (int64_t first = 0; !st && first < pictures; first += each)
        st = db_run(&s->db, NULL,
                    "INSERT INTO parts(job, first, count, client) VALUES($1, $2, $3, $4)", err,
                    "iiis", job, first, first + each < pictures ? each : pictures - first,
                    order->client);
    return st;
}

static kadr_status insert_job(struct store *s, const struct store_order *order, const char *ticket,
                              int64_t *id, kadr_error *err) {
    kadr_status st =
        db_number(&s->db, 0, id, "SELECT id FROM jobs WHERE ticket = $1", err, "s", ticket);
    if (st || *id) return st;
    st = db_number(
        &s->db, 0, id,
        "INSERT INTO jobs(place, state, request, count, board, about, ticket, created) VALUES("
        "(SELECT COALESCE(MAX(place), 0) + 1 FROM jobs), 'queued', $1, $2, $3, $4, $5, "
        "kadr_now()) RETURNING id",
        err, "siiss", order->request, order->pictures, order->board, order->about, ticket);
    return st ? st : insert_parts(s, *id, order, err);
}

static kadr_status insert_jobs(struct store *s, const struct store_order *orders, size_t count,
                               const uint8_t random[16], int64_t *ids, kadr_error *err) {
    char ticket[64];
    kadr_status st = store_begin(s, err);
    if (st) return st;
    for (size_t i = 0; i < 16; i++) snprintf(ticket + 2 * i, 3, "%02x", random[i]);
    for (size_t i = 0; !st && i < count; i++) {
        snprintf(ticket + 32, sizeof ticket - 32, "-%zu", i);
        st = insert_job(s, &orders[i], ticket, &ids[i], err);
    }
    return store_end(s, st, err);
}

/* A connection that breaks at the commit leaves open whether there are jobs: their tickets tell. */
kadr_status store_add_jobs(struct store *s, const struct store_order *orders, size_t count,
                           int64_t *ids, kadr_error *err) {
    uint8_t random[16];
    for (size_t i = 0; i < count; i++)
        if (orders[i].pictures < 1) return err_set(err, KADR_EUSAGE, "a job of no pictures");
    if (getentropy(random, sizeof random)) return err_errno(err, "a name", "getentropy");
    kadr_status st = insert_jobs(s, orders, count, random, ids, err);
    for (int i = 0; st == KADR_EIO && s->shared && i < TRIES; i++) {
        sleep(1);
        st = insert_jobs(s, orders, count, random, ids, err);
    }
    return st;
}

/* ---- Claims ---------------------------------------------------------------------------------- */
kadr_status queue_drawn(struct store *s, const struct store_claim *claim, int64_t *count,
                        kadr_error *err) {
    return db_number(&s->db, 0, count,
                     "SELECT COUNT(*) FROM pictures WHERE job = $1 AND number >= $2 "
                     "AND number < $3",
                     err, "iii", claim->job, claim->first, claim->first + claim->count);
}

void store_claim_free(struct store_claim *claim) {
    mem_free(claim->request);
    mem_free(claim->about);
    claim->request = claim->about = NULL;
}

/* Jobs to take parts of, into claims[*count..most-1], from a statement that gives id, attempt,
 * request, about, board. */
static kadr_status read_jobs(struct store *s, struct db_row *row, struct store_claim *claims,
                             size_t most, size_t *count, kadr_error *err) {
    kadr_status st = KADR_OK;
    while (!st && *count < most) {
        st = db_next(row, err);
        if (st || !row->there) break;
        struct store_claim *c = &claims[(*count)++];
        *c = (struct store_claim){.job = db_int(row, 0),
                                  .attempt = db_int(row, 1) + 1,
                                  .board = db_int(row, 4),
                                  .request = mem_strdup(s->mem, db_text(row, 2))};
        if (!db_is_null(row, 3)) c->about = mem_strdup(s->mem, db_text(row, 3));
        if (!c->request || (!c->about && !db_is_null(row, 3))) st = err_nomem(err, "a job", 0);
    }
    return st;
}

static kadr_status find_job(struct store *s, const char *worker, struct store_claim *claim,
                            kadr_error *err) {
    struct db_row row;
    size_t count = 0;
    kadr_status st =
        db_start(&s->db, &row,
                 "SELECT j.id, j.attempt, j.request, j.about, j.board FROM jobs j WHERE " OPEN(
                     "j") " AND EXISTS(SELECT 1 FROM parts p WHERE p.job = j.id AND " FREE ") "
                          "ORDER BY j.place, j.id LIMIT 1 /*FOR UPDATE OF j SKIP LOCKED*/",
                 err, "s", worker);
    if (!st) st = read_jobs(s, &row, claim, 1, &count, err);
    db_end(&row);
    return st;
}

static kadr_status fail_job(struct store *s, int64_t job, const char *error, kadr_error *err) {
    kadr_status st = db_run(&s->db, NULL, "DELETE FROM parts WHERE job = $1", err, "i", job);
    if (!st)
        st = db_run(&s->db, NULL,
                    "UPDATE jobs SET state = 'failed', error = $1, finished = kadr_now() "
                    "WHERE id = $2",
                    err, "si", error, job);
    return st;
}

/* Counts the workers that died with parts of the job. With too many it has failed. */
static kadr_status count_deaths(struct store *s, int64_t job, kadr_error *err) {
    int64_t changed = 0, deaths = 0;
    char text[160];
    kadr_status st =
        db_run(&s->db, &changed,
               "UPDATE parts SET worker = NULL, lease = NULL, "
               "deaths = CASE WHEN died > kadr_now() - $1 THEN deaths ELSE deaths + 1 END, "
               "died = CASE WHEN died > kadr_now() - $1 THEN died ELSE kadr_now() END "
               "WHERE job = $2 AND worker IS NOT NULL AND lease < kadr_now()",
               err, "ii", (int64_t)DEATH_MS, job);
    if (!st && changed)
        st = db_number(&s->db, 0, &deaths, "SELECT MAX(deaths) FROM parts WHERE job = $1", err, "i",
                       job);
    if (st || deaths < STORE_DEATHS) return st;
    snprintf(text, sizeof text,
             "given up: %d times whoever drew it ended without a word (it crashed, was out of "
             "memory, or was switched off)",
             STORE_DEATHS);
    return fail_job(s, job, text, err);
}

/* One free part of the claim's job, whose lock is held; claim->part is 0 when there is none. */
static kadr_status take_part(struct store *s, const char *worker, int64_t lease,
                             struct store_claim *claim, kadr_error *err) {
    struct db_row row;
    kadr_status st =
        db_start(&s->db, &row,
                 "UPDATE parts SET attempt = $1, worker = $2, lease = kadr_now() + $3, "
                 "preview = NULL WHERE id = "
                 "(SELECT p.id FROM parts p WHERE p.job = $4 AND " FREE
                 " ORDER BY p.first LIMIT 1) RETURNING id, first, count",
                 err, "isii", claim->attempt, worker, lease * 1000, claim->job);
    if (!st) st = db_next(&row, err);
    if (!st && row.there) {
        claim->part = db_int(&row, 0);
        claim->first = db_int(&row, 1);
        claim->count = db_int(&row, 2);
    }
    db_end(&row);
    if (!st && claim->part)
        st = db_run(&s->db, NULL, "UPDATE jobs SET state = 'running', attempt = $1 WHERE id = $2",
                    err, "ii", claim->attempt, claim->job);
    return !st && claim->part ? queue_drawn(s, claim, &claim->done, err) : st;
}

/* ---- Parts that are drawn together ----------------------------------------------------------- */
/* Free parts of the job $2 or the board $3 (0: of none), with which nobody died, up to the first
 * job behind place $4 that is another's. */
#define BESIDE                                                                                     \
    OPEN("j")                                                                                      \
    " AND (j.id = $2 OR (j.board = $3 AND $3 > 0)) AND NOT EXISTS(SELECT 1 FROM jobs o "           \
    "WHERE " OPEN("o") " AND o.id <> $2 AND ($3 = 0 OR COALESCE(o.board, 0) <> $3) "               \
                       "AND o.place > $4 AND o.place < j.place "                                   \
                       "AND EXISTS(SELECT 1 FROM parts p WHERE p.job = o.id AND " FREE "))"
#define BESIDE_PART "p.job = j.id AND p.deaths = 0 AND " FREE

static kadr_status place_of(struct store *s, int64_t job, int64_t *place, kadr_error *err) {
    return db_number(&s->db, 0, place, "SELECT place FROM jobs WHERE id = $1", err, "i", job);
}

/* Of what is beside the claim, what this worker would have if all who are there took as much. */
static kadr_status count_beside(struct store *s, const char *worker, struct store_claim *c,
                                kadr_error *err) {
    int64_t place = 0, parts = 0, workers = 1, deaths = 0;
    kadr_status st =
        db_number(&s->db, 0, &deaths, "SELECT deaths FROM parts WHERE id = $1", err, "i", c->part);
    if (st || deaths) return st;
    st = place_of(s, c->job, &place, err);
    if (!st)
        st = db_number(&s->db, 0, &parts,
                       "SELECT COUNT(*) FROM jobs j JOIN parts p ON " BESIDE_PART " WHERE " BESIDE,
                       err, "siii", worker, c->job, c->board, place);
    if (!st && parts)
        st = db_number(&s->db, 0, &workers,
                       "SELECT COUNT(*) FROM workers WHERE seen > kadr_now() - $1", err, "i",
                       (int64_t)SEEN_MS);
    if (workers < 1) workers = 1; /* a store of one machine counts none */
    c->beside = (1 + parts + workers - 1) / workers - 1;
    return st;
}

/* Parts of the job found[0], as many as there is room for; each is a claim of its own. */
static kadr_status take_parts(struct store *s, const char *worker, int64_t lease,
                              const struct store_claim *found, struct store_claim *claims,
                              size_t most, size_t *count, kadr_error *err) {
    kadr_status st = KADR_OK;
    for (int64_t n = 0; !st && *count < most; n++) {
        struct store_claim c = *found;
        c.attempt += n;
        c.request = mem_strdup(s->mem, found->request);
        c.about = found->about ? mem_strdup(s->mem, found->about) : NULL;
        st = c.request && (c.about || !found->about) ? take_part(s, worker, lease, &c, err)
                                                     : err_nomem(err, "a job", 0);
        if (!st && c.part) claims[(*count)++] = c;
        else store_claim_free(&c);
        if (!c.part) break;
    }
    return st;
}

kadr_status store_claim_beside(struct store *s, const char *worker, int64_t lease,
                               struct store_claim *claims, size_t most, size_t *count,
                               kadr_error *err) {
    struct db_row row = {0};
    int64_t place = 0, job = claims->job, board = claims->board;
    size_t found_count = 0, before = *count, room = most > before ? most - before : 0;
    struct store_claim *found = mem_array(s->mem, room ? room : 1, sizeof *found);
    kadr_status st = found ? store_begin(s, err) : err_nomem(err, "jobs", most);
    if (st) return mem_free(found), st;
    st = place_of(s, job, &place, err);
    if (!st)
        st =
            db_start(&s->db, &row,
                     "SELECT j.id, j.attempt, j.request, j.about, j.board FROM jobs j WHERE " BESIDE
                     " AND EXISTS(SELECT 1 FROM parts p WHERE " BESIDE_PART ") "
                     "ORDER BY j.place, j.id LIMIT $5 /*FOR UPDATE OF j SKIP LOCKED*/",
                     err, "siiii", worker, job, board, place, (int64_t)room);
    if (!st) st = read_jobs(s, &row, found, room, &found_count, err);
    db_end(&row);
    for (size_t i = 0; i < found_count && !st; i++)
        st = take_parts(s, worker, lease, &found[i], claims, most, count, err);
    for (size_t i = 0; i < found_count; i++) store_claim_free(&found[i]);
    mem_free(found);
    st = store_end(s, st, err);
    while (st && *count > before) store_claim_free(&claims[--*count]);
    return st;
}

/* ---- Claiming -------------------------------------------------------------------------------- */
/* Jobs that all who are there refused. */
static kadr_status fail_what_fits_nobody(struct store *s, kadr_error *err) {
    int64_t failed = 0;
    kadr_status st = db_run(
        &s->db, &failed,
        "UPDATE jobs SET state = 'failed', finished = kadr_now(), error = "
        "(SELECT 'no worker can draw it: ' || MAX(r.reason) FROM refusals r WHERE r.job = jobs.id) "
        "WHERE id IN (SELECT j.id FROM jobs j "
        "WHERE j.state = 'queued' AND j.created < kadr_now() - $1 "
        "AND EXISTS(SELECT 1 FROM refusals r WHERE r.job = j.id) "
        "AND NOT EXISTS(SELECT 1 FROM workers w WHERE w.seen > kadr_now() - $2 AND NOT EXISTS("
        "SELECT 1 FROM refusals r WHERE r.job = j.id AND r.worker = w.name)) "
        "/*FOR UPDATE OF j SKIP LOCKED*/)",
        err, "ii", (int64_t)NOBODY_MS, (int64_t)SEEN_MS);
    if (!st && failed)
        st = db_run(&s->db, NULL,
                    "DELETE FROM parts WHERE job IN (SELECT id FROM jobs WHERE state = 'failed')",
                    err, "");
    return st;
}

static kadr_status claim_once(struct store *s, const char *worker, int64_t lease,
                              struct store_claim *claim, kadr_error *err) {
    *claim = (struct store_claim){0};
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = find_job(s, worker, claim, err);
    if (!st && claim->job) {
        st = count_deaths(s, claim->job, err);
        if (!st) st = take_part(s, worker, lease, claim, err);
        if (!st && claim->part) st = count_beside(s, worker, claim, err);
    } else if (!st && s->shared) st = fail_what_fits_nobody(s, err);
    return store_end(s, st, err);
}

kadr_status store_claim(struct store *s, const char *worker, int64_t lease,
                        struct store_claim *claim, kadr_error *err) {
    for (int i = 0;; i++) {
        kadr_status st = claim_once(s, worker, lease, claim, err);
        bool faster = !st && claim->job && !claim->part; /* others were */
        if (!st && !faster) return KADR_OK;
        store_claim_free(claim);
        *claim = (struct store_claim){0};
        if (st || i == CLAIM_TRIES) return st;
    }
}

kadr_status store_renew(struct store *s, const struct store_claim *claims, size_t count,
                        int64_t lease, bool *held, kadr_error *err) {
    kadr_status st = KADR_OK;
    for (size_t i = 0; !st && i < count; i++) {
        int64_t changed = 0;
        st = store_begin(s, err);
        if (st) return st;
        st = db_run(&s->db, &changed,
                    "UPDATE parts SET lease = kadr_now() + $1 WHERE id = $2 AND attempt = $3", err,
                    "iii", lease * 1000, claims[i].part, claims[i].attempt);
        held[i] = changed == 1;
        st = store_end(s, st, err);
    }
    return st;
}

kadr_status store_lost(const struct store_claim *claim, kadr_error *err) {
    return err_set(err, KADR_EINTERRUPTED, "job %lld: cancelled, or taken over by another worker",
                   (long long)claim->job);
}

static kadr_status lock_job(struct store *s, int64_t job, kadr_error *err) {
    int64_t one;
    return db_number(&s->db, 0, &one, "SELECT 1 FROM jobs WHERE id = $1 /*FOR UPDATE*/", err, "i",
                     job);
}

kadr_status queue_hold(struct store *s, const struct store_claim *claim, kadr_error *err) {
    int64_t held = 0;
    kadr_status st = lock_job(s, claim->job, err);
    if (!st)
        st = db_number(&s->db, 0, &held, "SELECT 1 FROM parts WHERE id = $1 AND attempt = $2", err,
                       "ii", claim->part, claim->attempt);
    return st || held ? st : store_lost(claim, err);
}

kadr_status store_show(struct store *s, const struct store_claim *claim, const void *png,
                       size_t size, kadr_error *err) {
    const struct db_bytes bytes = {png, size};
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_run(&s->db, NULL, "UPDATE parts SET preview = $1 WHERE id = $2 AND attempt = $3", err,
                "bii", &bytes, claim->part, claim->attempt);
    return store_end(s, st, err);
}

kadr_status store_shown(struct store *s, int64_t job, struct buf *png, kadr_error *err) {
    struct db_row row;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_start(&s->db, &row,
                  "SELECT preview FROM parts WHERE job = $1 AND preview IS NOT NULL "
                  "ORDER BY lease DESC LIMIT 1",
                  err, "i", job);
    if (!st) st = db_next(&row, err);
    if (!st && row.there) buf_add(png, db_bytes(&row, 0).data, db_bytes(&row, 0).size);
    db_end(&row);
    return store_end(s, st, err);
}

/* ---- Ends ------------------------------------------------------------------------------------ */
kadr_status queue_end_part(struct store *s, const struct store_claim *claim, kadr_error *err) {
    kadr_status st = db_run(&s->db, NULL, "DELETE FROM parts WHERE id = $1", err, "i", claim->part);
    if (!st)
        st = db_run(&s->db, NULL,
                    "UPDATE jobs SET state = 'done', finished = kadr_now() WHERE id = $1 AND "
                    "NOT EXISTS(SELECT 1 FROM parts WHERE job = $1)",
                    err, "i", claim->job);
    return st;
}

kadr_status store_finish(struct store *s, const struct store_claim *claim, const char *error,
                         kadr_error *err) {
    kadr_status st = store_begin(s, err);
    if (st) return st;
    int64_t drawn = 0;
    st = queue_drawn(s, claim, &drawn, err);
    if (!st && (error || drawn < claim->count)) {
        st = queue_hold(s, claim, err);
        if (!st) st = error ? fail_job(s, claim->job, error, err) : queue_end_part(s, claim, err);
    }
    return store_end(s, st, err);
}

/* The part is free again, and the job waits unless others draw at it. */
static kadr_status free_part(struct store *s, const struct store_claim *claim, kadr_error *err) {
    kadr_status st = db_run(
        &s->db, NULL, "UPDATE parts SET lease = NULL, worker = NULL, attempt = 0 WHERE id = $1",
        err, "i", claim->part);
    if (!st)
        st = db_run(&s->db, NULL,
                    "UPDATE jobs SET state = 'queued' WHERE id = $1 AND NOT EXISTS("
                    "SELECT 1 FROM parts WHERE job = $1 AND lease >= kadr_now())",
                    err, "i", claim->job);
    return st;
}

kadr_status store_release(struct store *s, const struct store_claim *claim, kadr_error *err) {
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = queue_hold(s, claim, err);
    if (!st) st = free_part(s, claim, err);
    return store_end(s, st, err);
}

kadr_status store_refuse(struct store *s, const struct store_claim *claim, const char *worker,
                         const char *reason, kadr_error *err) {
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = queue_hold(s, claim, err);
    if (!st) st = free_part(s, claim, err);
    if (!st)
        st = db_run(&s->db, NULL,
                    "INSERT INTO refusals(job, worker, reason) VALUES($1, $2, $3) "
                    "ON CONFLICT(job, worker) DO UPDATE SET reason = excluded.reason",
                    err, "iss", claim->job, worker, reason);
    return store_end(s, st, err);
}

kadr_status store_skip(struct store *s, const struct store_claim *claim, kadr_error *err) {
    int64_t drawn = 0;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = queue_hold(s, claim, err);
    if (!st) st = queue_drawn(s, claim, &drawn, err);
    if (!st && drawn + 1 >= claim->count) st = queue_end_part(s, claim, err);
    else if (!st) {
        st = db_run(&s->db, NULL, "UPDATE parts SET first = $1, count = $2 WHERE id = $3", err,
                    "iii", claim->first + drawn + 1, claim->count - drawn - 1, claim->part);
        if (!st) st = free_part(s, claim, err);
    }
    return store_end(s, st, err);
}

/* ---- Clients --------------------------------------------------------------------------------- */
kadr_status store_client_jobs(struct store *s, const char *client, int64_t *count,
                              kadr_error *err) {
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_number(&s->db, 0, count, "SELECT COUNT(DISTINCT job) FROM parts WHERE client = $1", err,
                   "s", client);
    return store_end(s, st, err);
}

kadr_status store_client_drawn(struct store *s, const char *client, int64_t *jobs, size_t most,
                               size_t *count, kadr_error *err) {
    struct db_row row;
    *count = 0;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_start(&s->db, &row,
                  "SELECT DISTINCT job FROM parts WHERE client = $1 AND worker IS NOT NULL "
                  "ORDER BY job LIMIT $2",
                  err, "si", client, (int64_t)most);
    while (!st && !(st = db_next(&row, err)) && row.there) jobs[(*count)++] = db_int(&row, 0);
    db_end(&row);
    return store_end(s, st, err);
}

/* ---- Taken away and moved -------------------------------------------------------------------- */
kadr_status store_cancel(struct store *s, int64_t job, bool *was, kadr_error *err) {
    int64_t changed = 0;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = lock_job(s, job, err);
    if (!st)
        st = db_run(&s->db, &changed,
                    "UPDATE jobs SET state = 'cancelled', finished = kadr_now() "
                    "WHERE id = $1 AND state IN ('queued', 'running')",
                    err, "i", job);
    if (!st && changed)
        st = db_run(&s->db, NULL, "DELETE FROM parts WHERE job = $1", err, "i", job);
    *was = changed == 1;
    return store_end(s, st, err);
}

/* All that stand from `before` on move by one, so that places stay whole numbers. */
kadr_status store_move(struct store *s, int64_t job, int64_t before, bool *was, kadr_error *err) {
    int64_t place = 0, changed = 0, one;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_number(&s->db, 0, &one, "SELECT 1 /*FROM version FOR UPDATE*/", err, "");
    if (st) place = 0;
    else if (before)
        st = db_number(&s->db, 0, &place,
                       "SELECT place FROM jobs WHERE id = $1 AND state = 'queued'", err, "i",
                       before);
    else st = db_number(&s->db, 1, &place, "SELECT MAX(place) + 1 FROM jobs", err, "");
    if (!st && place) {
        st = db_run(&s->db, NULL, "UPDATE jobs SET place = place + 1 WHERE place >= $1", err, "i",
                    place);
        if (!st)
            st = db_run(&s->db, &changed,
                        "UPDATE jobs SET place = $1 WHERE id = $2 AND state = 'queued'", err, "ii",
                        place, job);
    }
    *was = changed == 1;
    return store_end(s, st, err);
}

/* ---- Workers --------------------------------------------------------------------------------- */
kadr_status store_seen(struct store *s, const char *worker, const char *about, kadr_error *err) {
    kadr_status st = store_begin(s, err);
    if (st) return st;
    if (about)
        st = db_run(&s->db, NULL,
                    "INSERT INTO workers(name, about, seen) VALUES($1, $2, kadr_now()) "
                    "ON CONFLICT(name) DO UPDATE SET about = excluded.about, seen = excluded.seen",
                    err, "ss", worker, about);
    else
        st = db_run(&s->db, NULL, "DELETE FROM workers WHERE name = $1 OR seen < kadr_now() - $2",
                    err, "si", worker, (int64_t)GONE_MS);
    return store_end(s, st, err);
}
