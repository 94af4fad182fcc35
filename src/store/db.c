/* db.c: see db.h. What is the same for both databases. */
#include "store/db.h"

#include "base/sys.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SECONDS_BETWEEN 1.0 /* attempts to reach a server */

bool db_is_url(const char *path) {
    return !strncmp(path, "postgresql://", 13) || !strncmp(path, "postgres://", 11);
}

/* All steps in one transaction: a program that is killed leaves the old version. */
static kadr_status migrate(struct db *db, kadr_error *err) {
    int64_t version = 0, newest = db_version();
    char set[80];
    kadr_status st = db_begin(db, err);
    if (st) return st;
    st = db->kind->script(db, db->kind->prepare, err);
    if (!st) st = db_number(db, 0, &version, db->kind->get_version, err, "");
    if (!st && version > newest)
        st = err_set(err, KADR_EUSAGE, "%s: written by a newer kadr (schema %lld, expected %lld)",
                     db->name, (long long)version, (long long)newest);
    bool old = !st && version < newest;
    for (; !st && version < newest; version++) {
        const char *step = db_step(db->kind, version);
        if (step) st = db->kind->script(db, step, err);
    }
    snprintf(set, sizeof set, db->kind->set_version, (long long)version);
    if (old && !st) st = db->kind->script(db, set, err);
    return db_commit(db, st, err);
}

kadr_status db_open(struct db *db, const char *path, kadr_error *err) {
    *db = (struct db){.path = path, .kind = db_is_url(path) ? &db_postgres : &db_sqlite};
    kadr_status st = db->kind->connect(db, err);
    if (!st) st = migrate(db, err);
    if (st) db_close(db);
    db->ready = !st;
    return st;
}

void db_close(struct db *db) {
    if (db->handle) db->kind->close(db);
    db->handle = NULL;
}

/* ---- Statements ------------------------------------------------------------------------------ */
static kadr_status start(struct db *db, struct db_row *row, const char *sql, kadr_error *err,
                         const char *types, va_list ap) {
    struct db_value value[DB_VALUES];
    int count = 0;
    *row = (struct db_row){.db = db};
    for (; types[count]; count++) {
        struct db_value *v = &value[count];
        *v = (struct db_value){.type = types[count]};
        if (v->type == 'i') v->number = va_arg(ap, int64_t);
        else if (v->type == 's') {
            const char *text = va_arg(ap, const char *);
            v->bytes = (struct db_bytes){text, text ? strlen(text) : 0};
        } else v->bytes = *va_arg(ap, const struct db_bytes *);
    }
    return db->kind->start(row, sql, value, count, err);
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
    return row->db->kind->next(row, err);
}

void db_end(struct db_row *row) {
    if (row->result) row->db->kind->end(row);
    row->result = NULL;
    row->there = false;
}

int64_t db_int(const struct db_row *row, int column) {
    return row->db->kind->number(row, column);
}

struct db_bytes db_bytes(const struct db_row *row, int column) {
    return row->db->kind->bytes(row, column);
}

const char *db_text(const struct db_row *row, int column) {
    const char *text = db_bytes(row, column).data;
    return text ? text : "";
}

bool db_is_null(const struct db_row *row, int column) {
    return row->db->kind->is_null(row, column);
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
    if (!st && changed) *changed = db->kind->changed(&row);
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

/* ---- Transactions ---------------------------------------------------------------------------- */
static kadr_status reach(struct db *db, kadr_error *err) {
    if (sys_seconds() < db->not_before)
        return err_set(err, KADR_EIO, "%s: cannot be reached at the moment", db->name);
    db_close(db);
    kadr_status st = db->kind->connect(db, err);
    if (st) db->not_before = sys_seconds() + SECONDS_BETWEEN;
    return st;
}

kadr_status db_begin(struct db *db, kadr_error *err) {
    kadr_status st = KADR_OK;
    if (!db->handle || db->kind->broken(db)) st = reach(db, err);
    if (!st) st = db->kind->script(db, db->kind->begin, err);
    if (st && db->ready && db->handle && db->kind->broken(db)) { /* while nobody looked */
        st = reach(db, err);
        if (!st) st = db->kind->script(db, db->kind->begin, err);
    }
    return st;
}

kadr_status db_commit(struct db *db, kadr_status status, kadr_error *err) {
    if (!status) status = db->kind->script(db, "COMMIT", err);
    if (status && db->handle) db->kind->script(db, "ROLLBACK", NULL);
    return status;
}
