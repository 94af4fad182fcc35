/* inside.h: what the files of this room share; seen by no other room. */
#ifndef KADR_STORE_INSIDE_H
#define KADR_STORE_INSIDE_H

#include "base/arena.h"
#include "store/db.h"
#include "store/store.h"
#include <pthread.h>

struct store {
    struct mem *mem;
    struct arena arena; /* what lives as long as the store */
    const char *folder;
    struct db db;
    pthread_mutex_t mutex; /* held from store_begin to store_end */
    int lock;              /* -1: not taken */
};

int64_t store_now(void); /* milliseconds since 1970 */

/* A transaction, alone. store_end commits when `status` is KADR_OK. */
kadr_status store_begin(struct store *s, kadr_error *err);
kadr_status store_end(struct store *s, kadr_status status, kadr_error *err);

kadr_status store_lost(const struct store_claim *claim, kadr_error *err);

#endif
