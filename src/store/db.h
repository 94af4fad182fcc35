/* db.h: SQLite as the rest of the store sees it: statements with typed parameters and rows.
 * Statements number their parameters $1, $2, ... in the order in which they first appear, which
 * SQLite and PostgreSQL both understand.
 *
 *     struct db_row row;
 *     status = db_start(db, &row, "SELECT body FROM documents WHERE kind = $1", "s", err, kind);
 *     while (!status && (status = db_next(&row, err)) == KADR_OK && row.there) ...
 *     db_end(&row);
 */
#ifndef KADR_STORE_DB_H
#define KADR_STORE_DB_H

#include "base/err.h"
#include "base/mem.h"
#include <sqlite3.h>

struct db {
    sqlite3 *sqlite;
    const char *path;
};

/* Opens the file and brings it from whatever earlier version to DB_VERSION. */
kadr_status db_open(struct db *db, const char *path, kadr_error *err);
void db_close(struct db *db); /* idempotent */

struct db_row {
    struct db *db;
    sqlite3_stmt *statement;
    bool there;
};

/* `types`: a letter for each parameter, i int64_t, s const char * (may be NULL). */
kadr_status db_start(struct db *db, struct db_row *row, const char *sql, kadr_error *err,
                     const char *types, ...);
kadr_status db_next(struct db_row *row, kadr_error *err);
void db_end(struct db_row *row); /* idempotent */
int64_t db_int(const struct db_row *row, int column);
const char *db_text(const struct db_row *row, int column); /* "" for NULL; until the next row */
bool db_is_null(const struct db_row *row, int column);

/* A statement that gives no row, or whose rows do not matter. *changed (may be NULL): how many rows
 * it changed. */
kadr_status db_run(struct db *db, int64_t *changed, const char *sql, kadr_error *err,
                   const char *types, ...);
/* The first column of the first row; `otherwise` when there is none. */
kadr_status db_number(struct db *db, int64_t otherwise, int64_t *out, const char *sql,
                      kadr_error *err, const char *types, ...);

kadr_status db_begin(struct db *db, kadr_error *err);
/* Commits when `status` is KADR_OK, else rolls back; returns what came of both. */
kadr_status db_commit(struct db *db, kadr_status status, kadr_error *err);

#endif
