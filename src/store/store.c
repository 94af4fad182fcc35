/* store.c: opening the folder, and the queue. See store.h. */
#include "store/inside.h"

#include "base/file.h"
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

int64_t store_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- Opening --------------------------------------------------------------------------------- */
static kadr_status take_lock(struct store *s, const char *path, kadr_error *err) {
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->lock < 0) return err_errno(err, "opening", path);
    if (flock(s->lock, LOCK_EX | LOCK_NB))
        return err_set(err, KADR_EUSAGE, "%s: another kadr serves from this folder", s->folder);
    return KADR_OK;
}

/* Files of drawings that were killed between the file and its row. */
static kadr_status sweep(struct store *s, kadr_error *err) {
    char **names;
    size_t count;
    const char *pictures = file_join(&s->arena, s->folder, "pictures");
    if (!pictures) return err_nomem(err, "a path", 0);
    kadr_status st = file_list(&s->arena, pictures, &names, &count, err);
    for (size_t i = 0; !st && i < count; i++) {
        int64_t known = 0;
        st = db_number(&s->db, 0, &known, "SELECT 1 FROM pictures WHERE file = $1", err, "s",
                       names[i]);
        const char *path = file_join(&s->arena, pictures, names[i]);
        if (!st && !known && path) unlink(path);
    }
    return st;
}

static kadr_status prepare(struct store *s, kadr_error *err) {
    static const char *const below[] = {"pictures", "uploads"};
    kadr_status st = KADR_OK;
    for (size_t i = 0; !st && i < 2; i++) {
        const char *path = file_join(&s->arena, s->folder, below[i]);
        st = path ? file_make_folders(path, err) : err_nomem(err, "a path", 0);
    }
    const char *lock = file_join(&s->arena, s->folder, "lock");
    const char *path = file_join(&s->arena, s->folder, "kadr.db");
    if (!st && (!lock || !path)) st = err_nomem(err, "a path", 0);
    if (!st) st = take_lock(s, lock, err);
    if (!st) st = db_open(&s->db, path, err);
    if (!st)
        st = db_run(&s->db, NULL, "UPDATE jobs SET state = 'queued' WHERE state = 'running'", err,
                    "");
    return st ? st : sweep(s, err);
}

kadr_status store_open(struct store **out, struct mem *m, const char *folder, kadr_error *err) {
    struct store *s = mem_alloc(m, sizeof *s);
    if (!s) return err_nomem(err, "the store", sizeof *s);
    s->mem = m;
    s->lock = -1;
    arena_init(&s->arena, m);
    pthread_mutex_init(&s->mutex, NULL);
    s->folder = arena_strdup(&s->arena, folder);
    kadr_status st = s->folder ? prepare(s, err) : err_nomem(err, "a path", strlen(folder));
    if (st) store_close(s);
    else *out = s;
    return st;
}

void store_close(struct store *s) {
    if (!s) return;
    db_close(&s->db);
    if (s->lock >= 0) close(s->lock);
    pthread_mutex_destroy(&s->mutex);
    arena_free(&s->arena);
    mem_free(s);
}

kadr_status store_begin(struct store *s, kadr_error *err) {
    pthread_mutex_lock(&s->mutex);
    kadr_status st = db_begin(&s->db, err);
    if (st) pthread_mutex_unlock(&s->mutex);
    return st;
}

kadr_status store_end(struct store *s, kadr_status status, kadr_error *err) {
    status = db_commit(&s->db, status, err);
    pthread_mutex_unlock(&s->mutex);
    return status;
}

/* ---- The queue ------------------------------------------------------------------------------- */
kadr_status store_add_job(struct store *s, const char *request, int64_t pictures, int64_t *id,
                          kadr_error *err) {
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_number(&s->db, 0, id,
                   "INSERT INTO jobs(place, state, request, count, created) VALUES("
                   "(SELECT COALESCE(MAX(place), 0) + 1 FROM jobs), 'queued', $1, $2, $3) "
                   "RETURNING id",
                   err, "sii", request, pictures, store_now());
    return store_end(s, st, err);
}

static kadr_status read_claim(struct store *s, struct db_row *row, struct store_claim *claim,
                              kadr_error *err) {
    kadr_status st = db_next(row, err);
    if (st || !row->there) return st;
    claim->job = db_int(row, 0);
    claim->attempt = db_int(row, 1);
    claim->request = mem_strdup(s->mem, db_text(row, 2));
    return claim->request ? KADR_OK : err_nomem(err, "a job", 0);
}

kadr_status store_claim(struct store *s, const char *worker, int64_t lease,
                        struct store_claim *claim, kadr_error *err) {
    struct db_row row = {0};
    int64_t now = store_now();
    *claim = (struct store_claim){0};
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_start(&s->db, &row,
                  "UPDATE jobs SET state = 'running', attempt = attempt + 1, worker = $1, "
                  "lease = $2 WHERE id = (SELECT id FROM jobs WHERE state = 'queued' OR "
                  "(state = 'running' AND lease < $3) ORDER BY place LIMIT 1) "
                  "RETURNING id, attempt, request",
                  err, "sii", worker, now + lease * 1000, now);
    if (!st) st = read_claim(s, &row, claim, err);
    db_end(&row);
    if (!st && claim->job)
        st = db_number(&s->db, 0, &claim->done, "SELECT COUNT(*) FROM pictures WHERE job = $1", err,
                       "i", claim->job);
    st = store_end(s, st, err);
    if (st) {
        mem_free(claim->request);
        *claim = (struct store_claim){0};
    }
    return st;
}

kadr_status store_renew(struct store *s, const struct store_claim *claim, int64_t lease, bool *held,
                        kadr_error *err) {
    int64_t changed = 0;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_run(&s->db, &changed,
                "UPDATE jobs SET lease = $1 WHERE id = $2 AND attempt = $3 AND state = 'running'",
                err, "iii", store_now() + lease * 1000, claim->job, claim->attempt);
    *held = changed == 1;
    return store_end(s, st, err);
}

kadr_status store_lost(const struct store_claim *claim, kadr_error *err) {
    return err_set(err, KADR_EINTERRUPTED, "job %lld: cancelled, or taken over by another worker",
                   (long long)claim->job);
}

static kadr_status leave(struct store *s, const struct store_claim *claim, const char *state,
                         const char *error, kadr_error *err) {
    int64_t changed = 0;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_run(&s->db, &changed,
                "UPDATE jobs SET state = $1, error = $2, lease = NULL, "
                "finished = CASE $1 WHEN 'queued' THEN NULL ELSE $3 END "
                "WHERE id = $4 AND attempt = $5 AND state = 'running'",
                err, "ssiii", state, error, store_now(), claim->job, claim->attempt);
    if (!st && changed != 1) st = store_lost(claim, err);
    return store_end(s, st, err);
}

kadr_status store_finish(struct store *s, const struct store_claim *claim, const char *error,
                         kadr_error *err) {
    return leave(s, claim, error ? "failed" : "done", error, err);
}

kadr_status store_release(struct store *s, const struct store_claim *claim, kadr_error *err) {
    return leave(s, claim, "queued", NULL, err);
}

kadr_status store_cancel(struct store *s, int64_t job, bool *was, kadr_error *err) {
    int64_t changed = 0;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_run(&s->db, &changed,
                "UPDATE jobs SET state = 'cancelled', finished = $1 "
                "WHERE id = $2 AND state IN ('queued', 'running')",
                err, "ii", store_now(), job);
    *was = changed == 1;
    return store_end(s, st, err);
}

/* All that stand from `before` on move by one, so that places stay whole numbers. */
kadr_status store_move(struct store *s, int64_t job, int64_t before, bool *was, kadr_error *err) {
    int64_t place = 0, changed = 0;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    if (before)
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
