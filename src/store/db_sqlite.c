/* db_sqlite.c: SQLite, WAL, synchronous FULL: what was committed survives a crash of the machine.
 * See db.h. */
#include "store/db.h"

#include <sqlite3.h>
#include <stdio.h>
#include <time.h>

#define BUSY_MS 10000 /* how long somebody else's lock is waited for */

static kadr_status failed(struct db *db, kadr_error *err) {
    const char *why = db->handle ? sqlite3_errmsg(db->handle) : "no memory";
    return err_set(err, KADR_EIO, "%s: %s", db->name, why);
}

static kadr_status script_of(struct db *db, const char *sql, kadr_error *err) {
    return sqlite3_exec(db->handle, sql, NULL, NULL, NULL) ? failed(db, err) : KADR_OK;
}

static void now_of(sqlite3_context *context, int count, sqlite3_value **value) {
    struct timespec t;
    (void)count, (void)value;
    clock_gettime(CLOCK_REALTIME, &t);
    sqlite3_result_int64(context, (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000);
}

static kadr_status connect_to(struct db *db, kadr_error *err) {
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
    sqlite3 *sqlite = NULL;
    snprintf(db->name, sizeof db->name, "%s", db->path);
    int wrong = sqlite3_open_v2(db->path, &sqlite, flags, NULL);
    db->handle = sqlite;
    if (wrong) return failed(db, err);
    sqlite3_busy_timeout(sqlite, BUSY_MS);
    if (sqlite3_create_function(sqlite, "kadr_now", 0, SQLITE_UTF8, NULL, now_of, NULL, NULL))
        return failed(db, err);
    return script_of(db,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                     "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
                     err);
}

static void close_it(struct db *db) {
    sqlite3_close_v2(db->handle);
}

static kadr_status start(struct db_row *row, const char *sql, const struct db_value *value,
                         int count, kadr_error *err) {
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(row->db->handle, sql, -1, &statement, NULL)) return failed(row->db, err);
    row->result = statement;
    for (int i = 0; i < count; i++) {
        const struct db_value *v = &value[i];
        int wrong;
        if (v->type == 'i') wrong = sqlite3_bind_int64(statement, i + 1, v->number);
        else if (v->type == 's')
            wrong = sqlite3_bind_text(statement, i + 1, v->bytes.data, (int)v->bytes.size,
                                      SQLITE_TRANSIENT);
        else
            wrong = sqlite3_bind_blob64(statement, i + 1, v->bytes.data, v->bytes.size,
                                        SQLITE_TRANSIENT);
        if (wrong) return failed(row->db, err);
    }
    return KADR_OK;
}

static kadr_status next(struct db_row *row, kadr_error *err) {
    int got = sqlite3_step(row->result);
    row->there = got == SQLITE_ROW;
    return row->there || got == SQLITE_DONE ? KADR_OK : failed(row->db, err);
}

static void end(struct db_row *row) {
    sqlite3_finalize(row->result);
}

static int64_t changed(const struct db_row *row) {
    return sqlite3_changes(row->db->handle);
}

static int64_t number(const struct db_row *row, int column) {
    return sqlite3_column_int64(row->result, column);
}

static struct db_bytes bytes(const struct db_row *row, int column) {
    const void *data = sqlite3_column_type(row->result, column) == SQLITE_BLOB
                           ? sqlite3_column_blob(row->result, column)
                           : sqlite3_column_text(row->result, column);
    return (struct db_bytes){data, (size_t)sqlite3_column_bytes(row->result, column)};
}

static bool is_null(const struct db_row *row, int column) {
    return sqlite3_column_type(row->result, column) == SQLITE_NULL;
}

static bool broken(const struct db *db) {
    (void)db;
    return false;
}

const struct db_kind db_sqlite = {.begin = "BEGIN IMMEDIATE",
                                  .prepare = "",
                                  .get_version = "PRAGMA user_version",
                                  .set_version = "PRAGMA user_version = %lld",
                                  .connect = connect_to,
                                  .close = close_it,
                                  .script = script_of,
                                  .start = start,
                                  .next = next,
                                  .end = end,
                                  .changed = changed,
                                  .number = number,
                                  .bytes = bytes,
                                  .is_null = is_null,
                                  .broken = broken};
