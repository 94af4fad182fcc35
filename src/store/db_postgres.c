/* db_postgres.c: PostgreSQL through libpq; see db.h. Parameters and results are binary. All tables
 * are in a schema of their own, "kadr".
 *
 * A URL may hold a password: no message of ours shows it, nor one of libpq about a URL that it
 * cannot read, for that repeats it. */
#include "store/db.h"

#include "store/hear.h"
#include "store/pq.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OID_INT8 20
#define OID_TEXT 25
#define OID_BYTEA 17

/* ---- Connections ----------------------------------------------------------------------------- */
/* Of libpq's messages the first line. */
static kadr_status say(const char *name, const char *message, kadr_error *err) {
    int n = (int)strcspn(message, "\n");
    return err_set(err, KADR_EIO, "%s: %.*s", name, n, n ? message : "the connection is lost");
}

static const char *part_of(const PQconninfoOption *o, const char *keyword) {
    for (; o->keyword; o++)
        if (!strcmp(o->keyword, keyword)) return o->val;
    return NULL;
}

/* "postgresql://host:port/database". What is special in a password
 * and not written as %XX would make its end a host or a database. */
static kadr_status name_of(const struct pq *pq, const char *url, char *name, size_t room,
                           kadr_error *err) {
    char *why = NULL;
    const char *authority = strstr(url, "//") + 2;
    const char *at = strchr(authority, '@');
    bool quoted = !at || (!strchr(at + 1, '@') && at < authority + strcspn(authority, "/?"));
    PQconninfoOption *o = quoted ? pq->PQconninfoParse(url, &why) : NULL;
    if (why) pq->PQfreemem(why);
    if (!o)
        return err_set(err, KADR_EUSAGE,
                       "store: expected postgresql://[USER[:PASSWORD]@][HOST][:PORT][/DATABASE]"
                       "[?NAME=VALUE...], with what is special written as %%XX (@ is %%40)");
    const char *host = part_of(o, "host"), *port = part_of(o, "port");
    const char *database = part_of(o, "dbname");
    snprintf(name, room, "postgresql://%s%s%s/%s", host ? host : "", port ? ":" : "",
             port ? port : "", database ? database : "");
    pq->PQconninfoFree(o);
    return KADR_OK;
}

static void be_silent(void *user, const char *message) {
    (void)user, (void)message;
}

static kadr_status setup(const struct pq *pq, PGconn *c, const char *name, const char *sql,
                         kadr_error *err) {
    PGresult *r = pq->PQexec(c, sql);
    ExecStatusType got = pq->PQresultStatus(r);
    pq->PQclear(r);
    return got == PGRES_COMMAND_OK ? KADR_OK : say(name, pq->PQerrorMessage(c), err);
}

/* A connection that notices within seconds when the other side is gone, and that does not hold
 * others up when this process is stopped in the middle of a transaction. */
static kadr_status dial(const struct pq *pq, const char *url, const char *name, PGconn **out,
                        kadr_error *err) {
    /* What the URL says wins. */
    static const char *const keys[] = {"connect_timeout",
                                       "application_name",
                                       "keepalives_idle",
                                       "keepalives_interval",
                                       "keepalives_count",
                                       "tcp_user_timeout",
                                       "dbname",
                                       "client_encoding",
                                       NULL};
    const char *const values[] = {"5", "kadr", "10", "5", "3", "15000", url, "UTF8", NULL};
    PGconn *c = pq->PQconnectdbParams(keys, values, 1);
    kadr_status st = KADR_OK;
    if (!c) return err_nomem(err, "a connection", 0);
    if (pq->PQstatus(c) != CONNECTION_OK) st = say(name, pq->PQerrorMessage(c), err);
    if (!st) pq->PQsetNoticeProcessor(c, be_silent, NULL);
    if (!st)
        st = setup(pq, c, name,
                   "SET search_path TO kadr; SET lock_timeout = '10s';"
                   "SET idle_in_transaction_session_timeout = '20s'; SET synchronous_commit = on",
                   err);
    if (st) pq->PQfinish(c);
    else *out = c;
    return st;
}

static const struct pq *pq_of(const struct db *db) {
    const struct pq *pq;
    (void)db;
    pq_load(&pq, NULL); /* was loaded when the connection was made */
    return pq;
}

static kadr_status connect_to(struct db *db, kadr_error *err) {
    const struct pq *pq;
    PGconn *c = NULL;
    kadr_status st = pq_load(&pq, err);
    if (!st) st = name_of(pq, db->path, db->name, sizeof db->name, err);
    if (!st) st = dial(pq, db->path, db->name, &c, err);
    db->handle = c;
    return st;
}

static void close_it(struct db *db) {
    pq_of(db)->PQfinish(db->handle);
}

static bool broken(const struct db *db) {
    return pq_of(db)->PQstatus(db->handle) != CONNECTION_OK;
}

/* ---- Statements ------------------------------------------------------------------------------ */
static kadr_status failed(struct db *db, kadr_error *err) {
    return say(db->name, pq_of(db)->PQerrorMessage(db->handle), err);
}

static kadr_status script_of(struct db *db, const char *sql, kadr_error *err) {
    const struct pq *pq = pq_of(db);
    PGresult *r = pq->PQexec(db->handle, sql);
    ExecStatusType got = pq->PQresultStatus(r);
    pq->PQclear(r);
    bool fine = got == PGRES_COMMAND_OK || got == PGRES_TUPLES_OK || got == PGRES_EMPTY_QUERY;
    return fine ? KADR_OK : failed(db, err);
}

/* What stands in comments is for us. False: too long. */
static bool uncomment(const char *sql, char *to, size_t room) {
    size_t n = strlen(sql);
    if (n >= room) return false;
    for (size_t i = 0; i <= n; i++) {
        bool mark = (sql[i] == '/' && sql[i + 1] == '*') || (sql[i] == '*' && sql[i + 1] == '/');
        to[i] = mark ? ' ' : sql[i];
        if (mark) to[++i] = ' ';
    }
    return true;
}

static kadr_status start(struct db_row *row, const char *sql, const struct db_value *value,
                         int count, kadr_error *err) {
    const struct pq *pq = pq_of(row->db);
    char text[2048];
    Oid type[DB_VALUES];
    const char *data[DB_VALUES];
    uint8_t number[DB_VALUES][8];
    int size[DB_VALUES], binary[DB_VALUES];
    if (!uncomment(sql, text, sizeof text))
        return err_set(err, KADR_EOTHER, "a statement that is too long");
    for (int i = 0; i < count; i++) {
        const struct db_value *v = &value[i];
        binary[i] = 1;
        type[i] = v->type == 'i' ? OID_INT8 : v->type == 's' ? OID_TEXT : OID_BYTEA;
        for (int k = 0; k < 8; k++) number[i][k] = (uint8_t)((uint64_t)v->number >> (56 - 8 * k));
        data[i] = v->type == 'i' ? (const char *)number[i] : v->bytes.data;
        if (v->bytes.size > INT32_MAX) return err_set(err, KADR_EIO, "larger than 2 GiB");
        size[i] = v->type == 'i' ? 8 : (int)v->bytes.size;
    }
    PGresult *r = pq->PQexecParams(row->db->handle, text, count, type, data, size, binary, 1);
    ExecStatusType got = pq->PQresultStatus(r);
    row->result = r;
    row->at = -1;
    return got == PGRES_COMMAND_OK || got == PGRES_TUPLES_OK ? KADR_OK : failed(row->db, err);
}

static kadr_status next(struct db_row *row, kadr_error *err) {
    (void)err;
    row->there = ++row->at < pq_of(row->db)->PQntuples(row->result);
    return KADR_OK;
}

static void end(struct db_row *row) {
    pq_of(row->db)->PQclear(row->result);
}

static int64_t changed(const struct db_row *row) {
    return strtoll(pq_of(row->db)->PQcmdTuples(row->result), NULL, 10);
}

static int64_t number(const struct db_row *row, int column) {
    const struct pq *pq = pq_of(row->db);
    const uint8_t *p = (const uint8_t *)pq->PQgetvalue(row->result, row->at, column);
    int n = pq->PQgetlength(row->result, row->at, column);
    uint64_t v = n && p[0] & 0x80 ? ~(uint64_t)0 : 0; /* smaller integers have a sign as well */
    for (int i = 0; i < n && i < 8; i++) v = v << 8 | p[i];
    return (int64_t)v;
}

static struct db_bytes bytes(const struct db_row *row, int column) {
    const struct pq *pq = pq_of(row->db);
    if (pq->PQgetisnull(row->result, row->at, column)) return (struct db_bytes){0};
    return (struct db_bytes){pq->PQgetvalue(row->result, row->at, column),
                             (size_t)pq->PQgetlength(row->result, row->at, column)};
}

static bool is_null(const struct db_row *row, int column) {
    return pq_of(row->db)->PQgetisnull(row->result, row->at, column);
}

/* The lock is of whoever else starts at the same time; who may only use the schema need not be
 * allowed to make one. */
static const char prepare[] =
    "SELECT pg_advisory_xact_lock(1801544818);"
    "DO $$ BEGIN IF to_regnamespace('kadr') IS NULL THEN CREATE SCHEMA kadr; END IF;"
    " IF to_regclass('kadr.version') IS NULL THEN"
    " CREATE TABLE kadr.version(number BIGINT NOT NULL); INSERT INTO kadr.version VALUES(0);"
    " END IF; END $$";

const struct db_kind db_postgres = {.begin = "BEGIN ISOLATION LEVEL READ COMMITTED",
                                    .prepare = prepare,
                                    .get_version = "SELECT number FROM version",
                                    .set_version = "UPDATE version SET number = %lld",
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

/* ---- What others tell ------------------------------------------------------------------------ */
kadr_status hear_open(struct hear *h, const char *url, kadr_error *err) {
    *h = (struct hear){.url = url};
    const struct pq *pq;
    PGconn *c = NULL;
    kadr_status st = pq_load(&pq, err);
    if (!st) st = name_of(pq, url, h->name, sizeof h->name, err);
    if (!st) st = dial(pq, url, h->name, &c, err);
    if (!st) st = setup(pq, c, h->name, "LISTEN kadr", err);
    if (st && c) pq->PQfinish(c);
    else h->handle = c;
    return st;
}

void hear_close(struct hear *h) {
    const struct pq *pq = pq_of(NULL);
    if (h->told) pq->PQfreemem(h->told);
    if (h->handle) pq->PQfinish(h->handle);
    h->handle = h->told = NULL;
}

const char *hear_next(struct hear *h, int ms, bool *lost) {
    const struct pq *pq = pq_of(NULL);
    *lost = false;
    if (h->told) pq->PQfreemem(h->told);
    h->told = pq->PQnotifies(h->handle);
    if (!h->told) {
        struct pollfd p = {pq->PQsocket(h->handle), POLLIN, 0};
        if (poll(&p, 1, ms) > 0) *lost = !pq->PQconsumeInput(h->handle);
        h->told = pq->PQnotifies(h->handle);
    }
    return h->told ? ((const PGnotify *)h->told)->extra : NULL;
}
