/* inside.h: what the files of this room share; seen by no other room. */
#ifndef KADR_STORE_INSIDE_H
#define KADR_STORE_INSIDE_H

#include "base/arena.h"
#include "base/buf.h"
#include "store/db.h"
#include "store/hear.h"
#include "store/store.h"
#include <pthread.h>

#define FILES_FETCHED 1024

struct store {
    struct mem *mem;
    struct arena arena; /* what lives as long as the store */
    const char *where;  /* the database */
    const char *folder; /* the files: the store's own, the shared one, or a cache of this process */
    struct db db;
    pthread_mutex_t mutex;        /* held from store_begin to store_end */
    int lock;                     /* -1: not taken */
    bool shared;                  /* PostgreSQL: others draw from it too */
    bool carries;                 /* files travel through the database, `folder` is a cache */
    char *fetched[FILES_FETCHED]; /* what was put into the cache, to be deleted in turn */
    size_t fetches;
    struct hear hear; /* used by one thread */
    bool hears;
    double hear_after;
};

/* A transaction, alone. store_end commits when `status` is KADR_OK. */
kadr_status store_begin(struct store *s, kadr_error *err);
kadr_status store_end(struct store *s, kadr_status status, kadr_error *err);

kadr_status store_lost(const struct store_claim *claim, kadr_error *err);

/* ---- queue.c, inside a transaction ----------------------------------------------------------- */
/* Takes the lock of the job and makes sure that the claim is held; KADR_EINTERRUPTED: not. */
kadr_status queue_hold(struct store *s, const struct store_claim *claim, kadr_error *err);
/* How many pictures of the part are drawn. */
kadr_status queue_drawn(struct store *s, const struct store_claim *claim, int64_t *count,
                        kadr_error *err);
/* The part is drawn; with its last part the job is done. */
kadr_status queue_end_part(struct store *s, const struct store_claim *claim, kadr_error *err);

/* ---- files.c --------------------------------------------------------------------------------- */
/* Makes the folder's insides, sweeps what nobody knows. */
kadr_status files_open(struct store *s, const struct store_place *place, kadr_error *err);
void files_close(struct store *s);
char *files_path(struct store *s, const char *name); /* of "pictures/..."; mem_free */
/* Inside a transaction; what travels through the database is sent, fetched and forgotten. A file
 * that is nowhere is no error: its path is given. */
kadr_status files_send(struct store *s, const char *name, kadr_error *err);
kadr_status files_fetch(struct store *s, const char *name, char **path, kadr_error *err);
kadr_status files_forget(struct store *s, const char *name, kadr_error *err);

#endif
