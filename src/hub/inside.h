/* inside.h: what the parts of pull share: the hub's side (remote.c), which files are wanted
 * (choose.c), their contents (fetch.c), the whole (pull.c). */
#ifndef KADR_HUB_INSIDE_H
#define KADR_HUB_INSIDE_H

#include "base/json.h"
#include "hub/hash.h"
#include "hub/net.h"
#include "hub/pull.h"

/* ---- remote.c: the environment, and what the hub says */
struct remote {
    struct arena *arena;
    struct net *net;
    const struct pull_request *rq;
    const char *revision; /* never NULL */
    const char *endpoint, *token, *token_from;
    const char *cache, *repository; /* folders */
    int stall;
    struct pull_progress seen; /* what progress is told next */
    bool interrupted;
};

/* Checks the request and reads the environment; opens no connection. */
kadr_status remote_prepare(struct remote *r, struct arena *a, const struct pull_request *rq,
                           kadr_error *err);
kadr_status remote_open(struct remote *r, kadr_error *err);
void remote_close(struct remote *r); /* idempotent */

/* The commit of the revision and its files' names, none of which leads out of a folder. */
struct listing {
    const char *commit;
    const char **name;
    size_t count;
};
kadr_status remote_list(struct remote *r, struct listing *l, kadr_error *err);
/* Where a file's content is asked for. NULL when memory is refused. */
const char *remote_url(struct remote *r, const char *commit, const char *file);
/* Whether the sum and size in an answer are such; takes the ETag out of its quotes, into `a`. */
kadr_status remote_read_answer(struct remote *r, const struct net_call *call, const char *commit,
                               const char **sum, kadr_error *err);
/* Tells progress; true when that wants an end. */
bool remote_tell(struct remote *r);
kadr_status remote_interrupted(kadr_error *err);

/* ---- choose.c: pure */
struct chosen {
    const char **name; /* borrowed from the listing */
    size_t count;
};
/* The files that are asked for by name, each of which must be there and no pickle. */
kadr_status choose_named(struct arena *a, const struct listing *l, const struct pull_request *rq,
                         struct chosen *c, kadr_error *err);
/* What of a diffusers folder kadr needs; `index`: its model_index.json. */
kadr_status choose_folder(struct arena *a, const struct listing *l, const char *model,
                          const json_t *index, struct chosen *c, kadr_error *err);
/* The one checkpoint of a model that is no folder. */
kadr_status choose_single(struct arena *a, const struct listing *l, const char *model,
                          struct chosen *c, kadr_error *err);
bool listing_has(const struct listing *l, const char *name);

/* ---- fetch.c: the contents of files, in blobs/ when it returns KADR_OK. Fills sum, size and
 * fetched of each. */
kadr_status fetch(struct remote *r, const char *commit, struct pull_file *file, size_t count,
                  kadr_error *err);

#endif
