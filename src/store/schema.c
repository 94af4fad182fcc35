/* schema.c: the tables, as steps from one version to the next. A step is never changed once it was
 * released; both databases have the same tables.
 *
 *     jobs        what was asked for; its row is the lock of all that belongs to the job
 *     parts       what of a job is to be drawn by one worker: pictures first..first+count-1;
 *                 gone when they are drawn, or the job is over. `worker` has it; `deaths` is how
 *                 many workers died with it since its last picture, `died` when the last one did
 *     pictures    what was drawn
 *     files       bytes of pictures, where these travel through the database
 *     documents   boards and whatever else is JSON
 *     workers     who draws, and when it was seen last
 *     refusals    who cannot draw a job, and why
 */
#include "store/db.h"

#include <string.h>

#define DOCUMENTS                                                                                  \
    "CREATE TABLE documents(kind TEXT NOT NULL, name TEXT NOT NULL, version BIGINT NOT NULL,"      \
    " body TEXT NOT NULL, changed BIGINT NOT NULL, PRIMARY KEY(kind, name));"
#define WORKERS                                                                                    \
    "CREATE TABLE workers(name TEXT PRIMARY KEY, about TEXT NOT NULL, seen BIGINT NOT NULL);"      \
    "CREATE TABLE refusals(job BIGINT NOT NULL, worker TEXT NOT NULL, reason TEXT NOT NULL,"       \
    " PRIMARY KEY(job, worker));"                                                                  \
    "CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL);"
#define PARTS_KNOW_MORE                                                                            \
    "ALTER TABLE parts ADD COLUMN deaths BIGINT NOT NULL DEFAULT 0;"                               \
    "ALTER TABLE parts ADD COLUMN died BIGINT;"                                                    \
    "ALTER TABLE parts ADD COLUMN client TEXT;"

static const struct step {
    const char *sqlite, *postgres;
} steps[] = {
    {"CREATE TABLE jobs(id INTEGER PRIMARY KEY AUTOINCREMENT, place BIGINT NOT NULL,"
     " state TEXT NOT NULL, request TEXT NOT NULL, count BIGINT NOT NULL,"
     " attempt BIGINT NOT NULL DEFAULT 0, worker TEXT, lease BIGINT, error TEXT,"
     " created BIGINT NOT NULL, finished BIGINT);"
     "CREATE INDEX jobs_queue ON jobs(state, place);"
     "CREATE TABLE pictures(id INTEGER PRIMARY KEY AUTOINCREMENT, job BIGINT NOT NULL,"
     " number BIGINT NOT NULL, file TEXT NOT NULL UNIQUE, width BIGINT NOT NULL,"
     " height BIGINT NOT NULL, seed BIGINT NOT NULL, prompt TEXT NOT NULL,"
     " settings TEXT NOT NULL, parameters TEXT NOT NULL, created BIGINT NOT NULL,"
     " UNIQUE(job, number));",
     NULL},
    {DOCUMENTS, NULL},
    {"ALTER TABLE jobs ADD COLUMN board BIGINT;"
     "ALTER TABLE jobs ADD COLUMN about TEXT;"
     "CREATE INDEX jobs_board ON jobs(board, id);",
     NULL},
    /* Parts, which several workers draw at once; and PostgreSQL, which begins here. */
    {"ALTER TABLE jobs DROP COLUMN worker;"
     "ALTER TABLE jobs DROP COLUMN lease;"
     "ALTER TABLE jobs ADD COLUMN ticket TEXT;"
     "CREATE UNIQUE INDEX jobs_ticket ON jobs(ticket);"
     "CREATE TABLE parts(id INTEGER PRIMARY KEY AUTOINCREMENT, job BIGINT NOT NULL,"
     " first BIGINT NOT NULL, count BIGINT NOT NULL, attempt BIGINT NOT NULL DEFAULT 0,"
     " worker TEXT, lease BIGINT, preview BLOB);"
     "CREATE INDEX parts_job ON parts(job);"
     "INSERT INTO parts(job, first, count) SELECT id, 0, count FROM jobs"
     " WHERE state IN ('queued', 'running');"
     "CREATE TABLE files(name TEXT PRIMARY KEY, data BLOB NOT NULL, created BIGINT NOT "
     "NULL);" WORKERS,
     "CREATE TABLE jobs(id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, place BIGINT NOT NULL,"
     " state TEXT NOT NULL, request TEXT NOT NULL, count BIGINT NOT NULL,"
     " attempt BIGINT NOT NULL DEFAULT 0, error TEXT, created BIGINT NOT NULL, finished BIGINT,"
     " board BIGINT, about TEXT, ticket TEXT);"
     "CREATE INDEX jobs_queue ON jobs(state, place);"
     "CREATE INDEX jobs_board ON jobs(board, id);"
     "CREATE UNIQUE INDEX jobs_ticket ON jobs(ticket);"
     "CREATE TABLE parts(id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job BIGINT NOT NULL,"
     " first BIGINT NOT NULL, count BIGINT NOT NULL, attempt BIGINT NOT NULL DEFAULT 0,"
     " worker TEXT, lease BIGINT, preview BYTEA);"
     "CREATE INDEX parts_job ON parts(job);"
     "CREATE TABLE pictures(id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
     " job BIGINT NOT NULL, number BIGINT NOT NULL, file TEXT NOT NULL UNIQUE,"
     " width BIGINT NOT NULL, height BIGINT NOT NULL, seed BIGINT NOT NULL, prompt TEXT NOT NULL,"
     " settings TEXT NOT NULL, parameters TEXT NOT NULL, created BIGINT NOT NULL,"
     " UNIQUE(job, number));"
     "CREATE TABLE files(name TEXT PRIMARY KEY, data BYTEA NOT NULL, created BIGINT NOT NULL);"
     /* Pictures are compressed already. */
     "ALTER TABLE files ALTER COLUMN data SET STORAGE EXTERNAL;"
     "CREATE FUNCTION kadr_now() RETURNS BIGINT LANGUAGE SQL STABLE AS"
     " 'SELECT (extract(epoch FROM now()) * 1000)::BIGINT';"
     "CREATE FUNCTION instr(whole TEXT, part TEXT) RETURNS INTEGER LANGUAGE SQL IMMUTABLE AS"
     " 'SELECT strpos(whole, part)';" DOCUMENTS WORKERS},
    {PARTS_KNOW_MORE, PARTS_KNOW_MORE},
};
#define STEPS ((int64_t)(sizeof steps / sizeof *steps))

int64_t db_version(void) {
    return STEPS;
}

const char *db_step(const struct db_kind *kind, int64_t version) {
    return kind == &db_sqlite ? steps[version].sqlite : steps[version].postgres;
}
