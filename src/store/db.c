/* db.c: see db.h. */
#include "store/db.h"

#include <stdarg.h>
#include <stdio.h>

#define BUSY_MS 10000 /* how long somebody else's lock is waited for */

/* Schema step n brings version n to n + 1. Steps are never changed once they were released. */
static const char *const migration[] = {
    "CREATE TABLE jobs(id INTEGER PRIMARY KEY AUTOINCREMENT, place BIGINT NOT NULL,"
    " state TEXT NOT NULL, request TEXT NOT NULL, count BIGINT NOT NULL,"
    " attempt BIGINT NOT NULL DEFAULT 0, worker TEXT, lease BIGINT, error TEXT,"
    " created BIGINT NOT NULL, finished BIGINT);"
    "CREATE INDEX jobs_queue ON jobs(state, place);"
    "CREATE TABLE pictures(id INTEGER PRIMARY KEY AUTOINCREMENT, job BIGINT NOT NULL,"
    " number BIGINT NOT NULL, file TEXT NOT NULL UNIQUE, width BIGINT NOT NULL,"
    " height BIGINT NOT NULL, seed BIGINT NOT NULL, prompt TEXT NOT NULL,"
    " settings TEXT NOT NULL, parameters TEXT NOT NULL, created BIGINT NOT NULL,"
    " UNIQUE(job, number));",
    "CREATE TABLE documents(kind TEXT NOT NULL, name TEXT NOT NULL, version BIGINT NOT NULL,"
    " body TEXT NOT NULL, changed BIGINT NOT NULL, PRIMARY KEY(kind, name));",
};
#define DB_VERSION ((int64_t)(sizeof migration / sizeof *migration))

static kadr_status failed(struct db *db, kadr_error *err) {
    return err_set(err, KADR_EIO, "%s: %s", db->path, sqlite3_errmsg(db->sqlite));
}

static kadr_status script(struct db *db, const char *sql, kadr_error *err) {
    return sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL) ? failed(db, err) : KADR_OK;
}

/* All steps in one transaction: a program that is killed leaves the old version. */
static kadr_status migrate(struct db *db, kadr_error *err) {
    int64_t version = 0;
    char set[64];
    kadr_status st = db_begin(db, err);
    if (st) return st;
    st = db_number(db, 0, &version, "PRAGMA user_version", err, "");
    if (!st && version > DB_VERSION)
        st = err_set(err, KADR_EUSAGE, "%s: written by a newer kadr (schema %lld, expected %lld)",
                     db->path, (long long)version, (long long)DB_VERSION);
    while (!st && version < DB_VERSION) st = script(db, migration[version++], err);
    snprintf(set, sizeof set, "PRAGMA user_version = %lld", (long long)version);
    if (!st) st = script(db, set, err);
    return db_commit(db, st, err);
}

kadr_status db_open(struct db *db, const char *path, kadr_error *err) {
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
    *db = (struct db){.path = path};
    kadr_status st = KADR_OK;
    if (sqlite3_open_v2(path, &db->sqlite, flags, NULL)) st = failed(db, err);
    if (!st) sqlite3_busy_timeout(db->sqlite, BUSY_MS);
    if (!st)
        st = script(db,
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                    "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
                    err);
    if (!st) st = migrate(db, err);
    if (st) db_close(db);
    return st;
}

void db_close(struct db *db) {
    sqlite3_close_v2(db->sqlite);
    db->sqlite = NULL;
}

/* ---- Statements ------------------------------------------------------------------------------ */
static kadr_status start(struct db *db, struct db_row *row, const char *sql, kadr_error *err,
                         const char *types, va_list ap) {
    *row = (struct db_row){.db = db};
    if (sqlite3_prepare_v2(db->sqlite, sql, -1, &row->statement, NULL)) return failed(db, err);
    for (int i = 0; types[i]; i++) {
        int wrong;
        if (types[i] == 'i') wrong = sqlite3_bind_int64(row->statement, i + 1, va_arg(ap, int64_t));
        else
            wrong = sqlite3_bind_text(row->statement, i + 1, va_arg(ap, const char *), -1,
                                      SQLITE_TRANSIENT);
        if (wrong) return failed(db, err);
    }
    return KADR_OK;
}

kadr_status db_start(struct db *db, struct db_row *row, const char *sql, kadr_error *err,
                     const char *types, ...) {
    va_list ap;
    va_start(ap, types);
    kadr_status st = start(db, row, sql, err, types, ap);
    va_end(ap);
    return st;
}

kadr_status db_next(struct db_row *row, kadr_error *err) {
    int got = sqlite3_step(row->statement);
    row->there = got == SQLITE_ROW;
    return row->there || got == SQLITE_DONE ? KADR_OK : failed(row->db, err);
}

void db_end(struct db_row *row) {
    sqlite3_finalize(row->statement);
    row->statement = NULL;
    row->there = false;
}

int64_t db_int(const struct db_row *row, int column) {
    return sqlite3_column_int64(row->statement, column);
}

const char *db_text(const struct db_row *row, int column) {
    const char *text = (const char *)sqlite3_column_text(row->statement, column);
    return text ? text : "";
}

bool db_is_null(const struct db_row *row, int column) {
    return sqlite3_column_type(row->statement, column) == SQLITE_NULL;
}

kadr_status db_run(struct db *db, int64_t *changed, const char *sql, kadr_error *err,
                   const char *types, ...) {
    struct db_row row;
    va_list ap;
    va_start(ap, types);
    kadr_status st = start(db, &row, sql, err, types, ap);
    va_end(ap);
    do {
        if (!st) st = db_next(&row, err);
    } while (!st && row.there);
    if (!st && changed) *changed = sqlite3_changes(db->sqlite);
    db_end(&row);
    return st;
}

kadr_status db_number(struct db *db, int64_t otherwise, int64_t *out, const char *sql,
                      kadr_error *err, const char *types, ...) {
    struct db_row row;
    va_list ap;
    va_start(ap, types);
    kadr_status st = start(db, &row, sql, err, types, ap);
    va_end(ap);
    if (!st) st = db_next(&row, err);
    if (!st) *out = row.there && !db_is_null(&row, 0) ? db_int(&row, 0) : otherwise;
    db_end(&row);
    return st;
}

kadr_status db_begin(struct db *db, kadr_error *err) {
    return script(db, "BEGIN IMMEDIATE", err);
}

kadr_status db_commit(struct db *db, kadr_status status, kadr_error *err) {
    if (!status) status = script(db, "COMMIT", err);
    if (status) sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
    return status;
}
