/* store.c: opening, transactions, and what processes tell each other. See store.h. */
#include "store/inside.h"

#include "base/sys.h"
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Nobody draws yet: what an earlier process had and did not give back, it has lost. Where others
 * draw, leases tell. */
static kadr_status free_all(struct store *s, kadr_error *err) {
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_run(&s->db, NULL, "UPDATE parts SET lease = 0 WHERE lease IS NOT NULL", err, "");
    if (!st)
        st = db_run(&s->db, NULL, "UPDATE jobs SET state = 'queued' WHERE state = 'running'", err,
                    "");
    return store_end(s, st, err);
}

static kadr_status prepare(struct store *s, const struct store_place *place, kadr_error *err) {
    s->where = arena_strdup(&s->arena, place->where);
    if (!s->where) return err_nomem(err, "a path", strlen(place->where));
    s->shared = db_is_url(s->where);
    kadr_status st = files_open(s, place, err);
    if (!st && !s->shared) st = free_all(s, err);
    return st;
}

kadr_status store_open(struct store **out, struct mem *m, const struct store_place *place,
                       kadr_error *err) {
    struct store *s = mem_alloc(m, sizeof *s);
    if (!s) return err_nomem(err, "the store", sizeof *s);
    s->mem = m;
    s->lock = -1;
    arena_init(&s->arena, m);
    pthread_mutex_init(&s->mutex, NULL);
    kadr_status st = prepare(s, place, err);
    if (st) store_close(s);
    else *out = s;
    return st;
}

void store_close(struct store *s) {
    if (!s) return;
    if (s->hears) hear_close(&s->hear);
    db_close(&s->db);
    files_close(s);
    pthread_mutex_destroy(&s->mutex);
    arena_free(&s->arena);
    mem_free(s);
}

bool store_is_shared(const struct store *s) {
    return s->shared;
}

const char *store_name(const struct store *s) {
    return s->shared ? s->db.name : s->folder;
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

/* ---- What processes tell each other ---------------------------------------------------------- */
kadr_status store_tell(struct store *s, const char *text, kadr_error *err) {
    if (!s->shared) return KADR_OK;
    if (strlen(text) > STORE_TOLD_MOST) return err_set(err, KADR_EUSAGE, "too long to be told");
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_run(&s->db, NULL, "SELECT pg_notify('kadr', $1)", err, "s", text);
    return store_end(s, st, err);
}

static void sleep_ms(int ms) {
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

const char *store_hear(struct store *s, int ms, bool *missed) {
    *missed = false;
    if (!s->hears && sys_seconds() >= s->hear_after) {
        s->hears = !hear_open(&s->hear, s->where, NULL);
        s->hear_after = sys_seconds() + 1;
        *missed = s->hears;
    }
    if (!s->hears) return sleep_ms(ms), NULL;
    bool lost;
    const char *text = hear_next(&s->hear, ms, &lost);
    if (lost) {
        hear_close(&s->hear);
        s->hears = false;
    }
    return lost ? NULL : text;
}
