/* serve.h: kadr as a service: a page, kadr's own API and those that other clients speak, on
 * libmicrohttpd, with one thread that draws what the store's queue holds. Where many machines draw
 * from one store, each of them is such a service, most of them without page and APIs.
 *
 *     status = serve_open(&s, &config, err);
 *     ... wait for a signal ...
 *     serve_close(s);
 */
#ifndef KADR_SERVE_SERVE_H
#define KADR_SERVE_SERVE_H

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/store.h"

struct serve;

struct serve_config {
    struct mem *mem;
    struct store *store;
    bool listens;             /* has the page and the APIs; what follows is for them */
    uint16_t port;            /* 0: any that is free */
    const char *bind;         /* numeric address, NULL: 127.0.0.1 and ::1 */
    const char *token;        /* asked for in every request; NULL: none, loopback only */
    const char *const *hosts; /* names of this machine beside its addresses */
    size_t host_count;
    const char *const *origins; /* pages elsewhere that may use the API: "https://a.example" */
    size_t origin_count;
    const char *loras; /* folder of those that clients may ask for; NULL: none */
    double rate;       /* requests a second of one client; 0: any */
    bool draws;        /* what the queue holds */
    int64_t lease;     /* seconds that a part of a job is ours without our saying so again */
    int64_t idle;      /* seconds without anything to draw, after which it sends itself SIGTERM;
                          0: never */
    kadr_config draw;  /* of the context that draws; serve_open sets its reserve */
    void *user;        /* of the functions below, which are called from several threads */
    /* Models that can be named, the default first: an array of {"name", "bytes", "unfinished",
     * ...}, `measured` with what each needs (docs/models.md). The caller owns it. */
    kadr_status (*models)(void *user, bool measured, json_t **list, kadr_error *err);
    /* Has kadr-pages make the file `to` of the board `board` (src/pages/main.c). */
    kadr_status (*pages)(void *user, const char *kind, const char *board, const char *to,
                         const char *first, const char *second, kadr_error *err);
    /* Configuration (a board's, or that of single pictures) and the model's place, for a request
     * that names its model by a name. */
    kadr_status (*prepare)(void *user, bool board, kadr_request *rq, kadr_error *err);
};

/* Listens and draws until serve_close. What `config` points to is borrowed. */
kadr_status serve_open(struct serve **out, const struct serve_config *config, kadr_error *err);
uint16_t serve_port(const struct serve *s);
const char *serve_worker(const struct serve *s); /* as which it is known to others */
void serve_close(struct serve *s); /* ends what is being drawn, which goes back into the queue */

#endif
