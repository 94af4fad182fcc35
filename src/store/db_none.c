/* db_none.c: in the place of db_postgres.c where kadr was built without libpq's headers. */
#include "store/db.h"
#include "store/hear.h"

static kadr_status connect_to(struct db *db, kadr_error *err) {
    (void)db;
    return err_set(err, KADR_EUSAGE,
                   "store: this kadr was built without PostgreSQL (libpq-dev, brew libpq)");
}

const struct db_kind db_postgres = {.connect = connect_to};

kadr_status hear_open(struct hear *h, const char *url, kadr_error *err) {
    struct db none;
    *h = (struct hear){.url = url};
    return connect_to(&none, err);
}

void hear_close(struct hear *h) {
    (void)h;
}

const char *hear_next(struct hear *h, int ms, bool *lost) {
    (void)h, (void)ms;
    *lost = true;
    return NULL;
}
