/* gallery.c: pictures and documents, and what is told about jobs. See store.h. */
#include "store/inside.h"

#include "base/buf.h"
#include "base/file.h"
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define PICTURE_COLUMNS                                                                            \
    "SELECT id, job, number, width, height, seed, prompt, settings, parameters, created "          \
    "FROM pictures "
#define JOB_COLUMNS                                                                                \
    "SELECT id, state, attempt, count, request, error, created, finished, board, about, "          \
    "CASE state WHEN 'queued' THEN (SELECT MAX(r.reason) FROM refusals r WHERE r.job = jobs.id) "  \
    "END FROM jobs "

/* ---- Rows as JSON ---------------------------------------------------------------------------- */
/* What was put in as JSON comes out as such. */
static json_t *json_of(const char *text) {
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    return json ? json : json_null();
}

static json_t *picture_json(const struct db_row *r) {
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o, s:s, s:I}", "id", db_int(r, 0),
                     "job", db_int(r, 1), "number", db_int(r, 2), "width", db_int(r, 3), "height",
                     db_int(r, 4), "seed", db_int(r, 5), "prompt", db_text(r, 6), "settings",
                     json_of(db_text(r, 7)), "parameters", db_text(r, 8), "created", db_int(r, 9));
}

static json_t *job_json(const struct db_row *r) {
    json_t *job = json_pack("{s:I, s:s, s:I, s:I, s:o, s:I}", "id", db_int(r, 0), "state",
                            db_text(r, 1), "attempt", db_int(r, 2), "count", db_int(r, 3),
                            "request", json_of(db_text(r, 4)), "created", db_int(r, 6));
    bool bad = !job;
    if (!bad && !db_is_null(r, 5))
        bad = json_object_set_new(job, "error", json_string(db_text(r, 5)));
    if (!bad && !db_is_null(r, 7))
        bad = json_object_set_new(job, "finished", json_integer(db_int(r, 7)));
    if (!bad && db_int(r, 8))
        bad = json_object_set_new(job, "board", json_integer(db_int(r, 8))) ||
              json_object_set_new(job, "about", json_of(db_text(r, 9)));
    if (!bad && !db_is_null(r, 10))
        bad = json_object_set_new(job, "waits", json_string(db_text(r, 10)));
    if (!bad) return job;
    json_decref(job);
    return NULL;
}

static json_t *worker_json(const struct db_row *r) {
    return json_pack("{s:s, s:f, s:o}", "name", db_text(r, 0), "seconds",
                     (double)db_int(r, 1) / 1000, "about", json_of(db_text(r, 2)));
}

static kadr_status rows_to(json_t *array, struct db_row *row,
                           json_t *(*make)(const struct db_row *), kadr_error *err) {
    kadr_status st = array ? KADR_OK : err_nomem(err, "a list", 0);
    while (!st) {
        st = db_next(row, err);
        if (st || !row->there) break;
        if (json_array_append_new(array, make(row))) st = err_nomem(err, "a list", 0);
    }
    return st;
}

static kadr_status add_pictures(struct store *s, json_t *job, kadr_error *err) {
    struct db_row row;
    json_t *list = json_array();
    kadr_status st = db_start(&s->db, &row, PICTURE_COLUMNS "WHERE job = $1 ORDER BY number", err,
                              "i", (int64_t)json_integer_value(json_object_get(job, "id")));
    if (!st) st = rows_to(list, &row, picture_json, err);
    db_end(&row);
    if (json_object_set_new(job, "pictures", list) && !st) st = err_nomem(err, "a job", 0);
    return st;
}

/* One list from one statement; on failure *out is NULL. */
static kadr_status finish_list(struct store *s, kadr_status st, json_t *list, json_t **out,
                               kadr_error *err) {
    st = store_end(s, st, err);
    if (st) json_decref(list);
    *out = st ? NULL : list;
    return st;
}

kadr_status store_job(struct store *s, int64_t id, json_t **out, kadr_error *err) {
    struct db_row row;
    json_t *job = NULL;
    *out = NULL;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_start(&s->db, &row, JOB_COLUMNS "WHERE id = $1", err, "i", id);
    if (!st) st = db_next(&row, err);
    bool there = !st && row.there;
    if (there && !(job = job_json(&row))) st = err_nomem(err, "a job", 0);
    db_end(&row);
    if (!st && there) st = add_pictures(s, job, err);
    return finish_list(s, st, job, out, err);
}

kadr_status store_jobs(struct store *s, int64_t most, json_t **out, kadr_error *err) {
    struct db_row row;
    json_t *list = json_array();
    kadr_status st = store_begin(s, err);
    *out = NULL;
    if (st) return json_decref(list), st;
    st = db_start(&s->db, &row,
                  JOB_COLUMNS "ORDER BY CASE state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 "
                              "ELSE 2 END, CASE state WHEN 'queued' THEN place ELSE -id END "
                              "LIMIT $1",
                  err, "i", most);
    if (!st) st = rows_to(list, &row, job_json, err);
    db_end(&row);
    for (size_t i = 0; !st && i < json_array_size(list); i++)
        st = add_pictures(s, json_array_get(list, i), err);
    return finish_list(s, st, list, out, err);
}

kadr_status store_workers(struct store *s, json_t **out, kadr_error *err) {
    struct db_row row;
    json_t *list = json_array();
    kadr_status st = store_begin(s, err);
    *out = NULL;
    if (st) return json_decref(list), st;
    st = db_start(&s->db, &row,
                  "SELECT name, kadr_now() - seen, about FROM workers "
                  "WHERE seen > kadr_now() - 60000 ORDER BY name",
                  err, "");
    if (!st) st = rows_to(list, &row, worker_json, err);
    db_end(&row);
    return finish_list(s, st, list, out, err);
}

static json_t *board_job_json(const struct db_row *r) {
    json_t *job =
        json_pack("{s:I, s:s, s:o, s:s*}", "job", db_int(r, 0), "state", db_text(r, 1), "about",
                  json_of(db_text(r, 2)), "error", db_is_null(r, 3) ? NULL : db_text(r, 3));
    if (!job || db_is_null(r, 4)) return job;
    json_t *picture = json_pack("{s:I, s:I, s:I, s:I}", "picture", db_int(r, 4), "seed",
                                db_int(r, 5), "width", db_int(r, 6), "height", db_int(r, 7));
    bool bad = !picture || json_object_update(job, picture);
    json_decref(picture);
    if (!bad) return job;
    json_decref(job);
    return NULL;
}

kadr_status store_board_jobs(struct store *s, int64_t board, json_t **out, kadr_error *err) {
    struct db_row row;
    json_t *list = json_array();
    kadr_status st = store_begin(s, err);
    *out = NULL;
    if (st) return json_decref(list), st;
    st = db_start(&s->db, &row,
                  "SELECT j.id, j.state, j.about, j.error, p.id, p.seed, p.width, p.height "
                  "FROM jobs j LEFT JOIN pictures p ON p.job = j.id WHERE j.board = $1 "
                  "ORDER BY j.id, p.number",
                  err, "i", board);
    if (!st) st = rows_to(list, &row, board_job_json, err);
    db_end(&row);
    return finish_list(s, st, list, out, err);
}

kadr_status store_counts(struct store *s, json_t **out, kadr_error *err) {
    json_t *all = json_object();
    kadr_status st = store_begin(s, err);
    *out = NULL;
    if (st) return json_decref(all), st;
    int64_t n = 0;
#define X(name)                                                                                    \
    if (!st)                                                                                       \
        st = db_number(&s->db, 0, &n, "SELECT COUNT(*) FROM jobs WHERE state = $1", err, "s",      \
                       #name);                                                                     \
    if (!st && json_object_set_new(all, #name, json_integer(n))) st = err_nomem(err, "counts", 0);
    STORE_STATES(X)
#undef X
    if (!st) st = db_number(&s->db, 0, &n, "SELECT COUNT(*) FROM pictures", err, "");
    if (!st && json_object_set_new(all, "pictures", json_integer(n)))
        st = err_nomem(err, "counts", 0);
    return finish_list(s, st, all, out, err);
}

/* ---- Pictures -------------------------------------------------------------------------------- */
#define PICTURE "pictures/", ".png"
#define LATENTS "latents/", ".safetensors"

static void name_of(struct buf *b, const struct store_claim *claim, int64_t number,
                    const char *folder, const char *end) {
    buf_printf(b, "%s%" PRId64 "-%" PRId64 "-%" PRId64 "%s", folder, claim->job, number,
               claim->attempt, end);
}

static char *path_of(struct store *s, const struct store_claim *claim, int64_t number,
                     const char *folder, const char *end) {
    struct buf b;
    buf_init(&b, s->mem);
    name_of(&b, claim, number, folder, end);
    char *path = buf_ok(&b) ? files_path(s, b.data) : NULL;
    buf_free(&b);
    return path;
}

char *store_picture_path(struct store *s, const struct store_claim *claim, int64_t number) {
    return path_of(s, claim, number, PICTURE);
}

char *store_latents_path(struct store *s, const struct store_claim *claim, int64_t number) {
    return path_of(s, claim, number, LATENTS);
}

static kadr_status send_latents(struct store *s, const struct store_claim *claim, int64_t number,
                                kadr_error *err) {
    struct buf name;
    buf_init(&name, s->mem);
    name_of(&name, claim, number, LATENTS);
    kadr_status st = buf_ok(&name) ? files_send(s, name.data, err) : err_nomem(err, "latents", 0);
    buf_free(&name);
    return st;
}

static kadr_status insert_row(struct store *s, const struct store_claim *claim,
                              const struct store_picture *p, const char *file, int64_t *id,
                              kadr_error *err) {
    int64_t drawn = 0;
    kadr_status st =
        db_number(&s->db, 0, id,
                  "INSERT INTO pictures(job, number, file, width, height, seed, prompt, "
                  "settings, parameters, created) "
                  "VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9, kadr_now()) RETURNING id",
                  err, "iisiiisss", claim->job, p->number, file_name(file), (int64_t)p->width,
                  (int64_t)p->height, p->seed, p->prompt, p->settings, p->parameters);
    if (!st) st = files_send(s, file, err);
    if (!st && p->latents) st = send_latents(s, claim, p->number, err);
    if (!st) st = queue_drawn(s, claim, &drawn, err);
    if (!st)
        st = db_run(&s->db, NULL, "UPDATE parts SET deaths = 0 WHERE id = $1 AND deaths > 0", err,
                    "i", claim->part);
    return !st && drawn == claim->count ? queue_end_part(s, claim, err) : st;
}

/* Told twice, because nobody knew what became of the first time, it is there once. */
static kadr_status insert_picture(struct store *s, const struct store_claim *claim,
                                  const struct store_picture *p, const char *file, int64_t *id,
                                  kadr_error *err) {
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_number(&s->db, 0, id, "SELECT id FROM pictures WHERE file = $1", err, "s",
                   file_name(file));
    if (!st && !*id) st = queue_hold(s, claim, err);
    if (!st && !*id) st = insert_row(s, claim, p, file, id, err);
    return store_end(s, st, err);
}

kadr_status store_add_picture(struct store *s, const struct store_claim *claim,
                              const struct store_picture *p, int64_t *id, kadr_error *err) {
    struct buf name;
    buf_init(&name, s->mem);
    name_of(&name, claim, p->number, PICTURE);
    kadr_status st = buf_ok(&name) ? insert_picture(s, claim, p, name.data, id, err)
                                   : err_nomem(err, "a name", 0);
    if (st == KADR_EINTERRUPTED || (!st && s->carries)) {
        char *path = store_picture_path(s, claim, p->number);
        char *latents = p->latents ? store_latents_path(s, claim, p->number) : NULL;
        if (path) unlink(path);
        if (latents) unlink(latents);
        mem_free(latents);
        mem_free(path);
    }
    buf_free(&name);
    return st;
}

/* The name of a picture's file or that of its latents, or NULL. Inside a transaction. */
static kadr_status file_of(struct store *s, int64_t id, const char *folder, const char *end,
                           char **name, kadr_error *err) {
    struct db_row row;
    struct buf b;
    *name = NULL;
    buf_init(&b, s->mem);
    kadr_status st =
        db_start(&s->db, &row, "SELECT file FROM pictures WHERE id = $1", err, "i", id);
    if (!st) st = db_next(&row, err);
    if (!st && row.there) {
        const char *file = db_text(&row, 0);
        buf_printf(&b, "%s%.*s%s", folder, (int)strcspn(file, "."), file, end);
        *name = buf_take(&b);
        if (!*name) st = err_nomem(err, "a path", 0);
    }
    db_end(&row);
    buf_free(&b);
    return st;
}

static kadr_status fetch_of(struct store *s, int64_t id, const char *folder, const char *end,
                            char **path, kadr_error *err) {
    char *name = NULL;
    *path = NULL;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = file_of(s, id, folder, end, &name, err);
    if (!st && name) st = files_fetch(s, name, path, err);
    mem_free(name);
    return store_end(s, st, err);
}

kadr_status store_picture_file(struct store *s, int64_t id, char **path, kadr_error *err) {
    return fetch_of(s, id, PICTURE, path, err);
}

kadr_status store_latents_file(struct store *s, int64_t id, char **path, kadr_error *err) {
    kadr_status st = fetch_of(s, id, LATENTS, path, err);
    if (*path && !file_exists(*path)) {
        mem_free(*path);
        *path = NULL;
    }
    return st;
}

kadr_status store_pictures(struct store *s, const char *search, int64_t before, int64_t most,
                           json_t **out, kadr_error *err) {
    struct db_row row;
    json_t *list = json_array();
    kadr_status st = store_begin(s, err);
    *out = NULL;
    if (st) return json_decref(list), st;
    st = db_start(&s->db, &row,
                  PICTURE_COLUMNS "WHERE instr(lower(prompt), lower($1)) > 0 AND id < $2 "
                                  "ORDER BY id DESC LIMIT $3",
                  err, "sii", search && *search ? search : "", before ? before : INT64_MAX, most);
    if (!st) st = rows_to(list, &row, picture_json, err);
    db_end(&row);
    return finish_list(s, st, list, out, err);
}

static void remove_file(struct store *s, const char *name) {
    char *path = name ? files_path(s, name) : NULL;
    if (path) unlink(path);
    mem_free(path);
}

/* The row goes first: a file without a row is swept away, a row without a file would be a lie. */
kadr_status store_delete_picture(struct store *s, int64_t id, bool *was, kadr_error *err) {
    char *name = NULL, *latents = NULL;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = file_of(s, id, PICTURE, &name, err);
    if (!st) st = file_of(s, id, LATENTS, &latents, err);
    if (!st) st = db_run(&s->db, NULL, "DELETE FROM pictures WHERE id = $1", err, "i", id);
    if (!st && name) st = files_forget(s, name, err);
    if (!st && latents) st = files_forget(s, latents, err);
    st = store_end(s, st, err);
    *was = !st && name;
    if (*was) {
        remove_file(s, name);
        remove_file(s, latents);
    }
    mem_free(latents);
    mem_free(name);
    return st;
}

/* ---- Documents ------------------------------------------------------------------------------- */
static json_t *document_json(const struct db_row *r) {
    return json_pack("{s:s, s:I, s:I, s:o}", "name", db_text(r, 0), "version", db_int(r, 1),
                     "changed", db_int(r, 2), "body", json_of(db_text(r, 3)));
}

kadr_status store_put(struct store *s, const char *kind, const char *name, const char *body,
                      int64_t based_on, int64_t *version, kadr_error *err) {
    int64_t now = 0;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_number(&s->db, 0, &now, "SELECT version FROM documents WHERE kind = $1 AND name = $2",
                   err, "ss", kind, name);
    if (!st && now != based_on)
        st = err_set(err, KADR_EUSAGE, "%s %s: version %lld is there, the change is for %lld", kind,
                     name, (long long)now, (long long)based_on);
    if (!st)
        st = db_run(&s->db, NULL,
                    "INSERT INTO documents(kind, name, version, body, changed) "
                    "VALUES($1, $2, $3, $4, kadr_now()) ON CONFLICT(kind, name) DO UPDATE SET "
                    "version = excluded.version, body = excluded.body, changed = excluded.changed",
                    err, "ssis", kind, name, based_on + 1, body);
    if (!st) *version = based_on + 1;
    return store_end(s, st, err);
}

kadr_status store_next_number(struct store *s, const char *kind, int64_t *number, kadr_error *err) {
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_number(&s->db, 1, number,
                   "SELECT MAX(CAST(name AS BIGINT)) + 1 FROM documents WHERE kind = $1", err, "s",
                   kind);
    return store_end(s, st, err);
}

kadr_status store_get(struct store *s, const char *kind, const char *name, json_t **out,
                      kadr_error *err) {
    struct db_row row;
    json_t *found = NULL;
    kadr_status st = store_begin(s, err);
    *out = NULL;
    if (st) return st;
    st = db_start(&s->db, &row,
                  "SELECT name, version, changed, body FROM documents "
                  "WHERE kind = $1 AND name = $2",
                  err, "ss", kind, name);
    if (!st) st = db_next(&row, err);
    if (!st && row.there && !(found = document_json(&row))) st = err_nomem(err, "a document", 0);
    db_end(&row);
    return finish_list(s, st, found, out, err);
}

kadr_status store_list(struct store *s, const char *kind, json_t **out, kadr_error *err) {
    struct db_row row;
    json_t *list = json_array();
    kadr_status st = store_begin(s, err);
    *out = NULL;
    if (st) return json_decref(list), st;
    st = db_start(&s->db, &row,
                  "SELECT name, version, changed, body FROM documents WHERE kind = $1 "
                  "ORDER BY changed DESC",
                  err, "s", kind);
    if (!st) st = rows_to(list, &row, document_json, err);
    db_end(&row);
    return finish_list(s, st, list, out, err);
}

kadr_status store_delete(struct store *s, const char *kind, const char *name, bool *was,
                         kadr_error *err) {
    int64_t changed = 0;
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_run(&s->db, &changed, "DELETE FROM documents WHERE kind = $1 AND name = $2", err, "ss",
                kind, name);
    *was = changed == 1;
    return store_end(s, st, err);
}
