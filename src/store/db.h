/* db.h: a database as the rest of the store sees it: statements with typed parameters, and rows.
 * SQLite and PostgreSQL stand behind it (db_sqlite.c, db_postgres.c) and are given the same
 * statements. These number their parameters $1, $2, ... in the order in which they first appear,
 * and have two functions that both databases are given: kadr_now(), the database's clock in
 * milliseconds since 1970, and instr(text, part). What a statement has in comments is read by
 * PostgreSQL alone: SQLite is all ours in a transaction and has nothing to lock.
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

struct db {
    const struct db_kind *kind;
    void *handle;      /* the library's connection; NULL: none */
    const char *path;  /* the file, or the URL with all it says */
    char name[200];    /* for messages: without user and password */
    bool ready;        /* its schema is this version's: connections are made anew when they break */
    double not_before; /* when a server that did not answer is asked again */
};

/* Opens the file or the server at "postgresql://..." and brings its schema from whatever earlier
 * version to this one. `path` is borrowed. */
kadr_status db_open(struct db *db, const char *path, kadr_error *err);
void db_close(struct db *db); /* idempotent */
bool db_is_url(const char *path);

struct db_row {
    struct db *db;
    void *result;
    int at; /* PostgreSQL: the row within the result */
    bool there;
};
struct db_bytes {
    const void *data;
    size_t size;
};

/* `types`: a letter for each parameter, i int64_t, s const char * (may be NULL),
 * b const struct db_bytes *. */
kadr_status db_start(struct db *db, struct db_row *row, const char *sql, kadr_error *err,
                     const char *types, ...);
kadr_status db_next(struct db_row *row, kadr_error *err);
void db_end(struct db_row *row); /* idempotent */
int64_t db_int(const struct db_row *row, int column);
const char *db_text(const struct db_row *row, int column); /* "" for NULL; until the next row */
struct db_bytes db_bytes(const struct db_row *row, int column); /* until the next row */
bool db_is_null(const struct db_row *row, int column);

/* A statement that gives no row, or whose rows do not matter. *changed (may be NULL): how many rows
 * it changed. */
kadr_status db_run(struct db *db, int64_t *changed, const char *sql, kadr_error *err,
                   const char *types, ...);
/* The first column of the first row; `otherwise` when there is none. */
kadr_status db_number(struct db *db, int64_t otherwise, int64_t *out, const char *sql,
                      kadr_error *err, const char *types, ...);

/* A connection that broke while nothing was asked of it is made anew here. A server that does not
 * answer is an error at once, and is asked again no sooner than a second later. */
kadr_status db_begin(struct db *db, kadr_error *err);
/* Commits when `status` is KADR_OK, else rolls back; returns what came of both. When the connection
 * breaks, what the transaction did may be there or not: whoever asks again must not mind. */
kadr_status db_commit(struct db *db, kadr_status status, kadr_error *err);

/* ---- What stands behind it ------------------------------------------------------------------- */
#define DB_VALUES 12
struct db_value {
    char type;
    int64_t number;
    struct db_bytes bytes; /* of text and bytes; data NULL: NULL */
};
struct db_kind {
    const char *begin;
    const char *prepare;     /* the first thing in the transaction that brings the schema up */
    const char *get_version; /* gives one number */
    const char *set_version; /* printf's form for one long long */
    kadr_status (*connect)(struct db *db, kadr_error *err);
    void (*close)(struct db *db);
    /* Several statements without parameters or rows. */
    kadr_status (*script)(struct db *db, const char *sql, kadr_error *err);
    kadr_status (*start)(struct db_row *row, const char *sql, const struct db_value *value,
                         int count, kadr_error *err);
    kadr_status (*next)(struct db_row *row, kadr_error *err);
    void (*end)(struct db_row *row);
    int64_t (*changed)(const struct db_row *row); /* after its last row */
    int64_t (*number)(const struct db_row *row, int column);
    struct db_bytes (*bytes)(const struct db_row *row, int column);
    bool (*is_null)(const struct db_row *row, int column);
    bool (*broken)(const struct db *db); /* its connection; for good */
};
extern const struct db_kind db_sqlite, db_postgres;

/* schema.c: step n brings version n to n + 1; the text is the kind's. NULL: nothing to do. */
int64_t db_version(void);
const char *db_step(const struct db_kind *kind, int64_t version);

#endif
