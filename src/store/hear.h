/* hear.h: what other processes tell through the database (NOTIFY), on a connection of its own. Used
 * by one thread. */
#ifndef KADR_STORE_HEAR_H
#define KADR_STORE_HEAR_H

#include "base/err.h"

struct hear {
    const char *url;
    char name[200];
    void *handle, *told;
};

/* KADR_EIO: the server does not answer. `url` is borrowed. */
kadr_status hear_open(struct hear *h, const char *url, kadr_error *err);
void hear_close(struct hear *h); /* idempotent, after hear_open */
/* The next text, until the next call; waits for one up to `ms`. NULL: there is none, and with *lost
 * there will be no more. */
const char *hear_next(struct hear *h, int ms, bool *lost);

#endif
