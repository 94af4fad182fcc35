/* serve.h: kadr as a service: a page, kadr's own API and those that other clients speak, on
 * libmicrohttpd, with one thread that draws what the store's queue holds.
 *
 *     status = serve_open(&s, &config, err);
 *     ... wait for a signal ...
 *     serve_close(s);
 */
#ifndef KADR_SERVE_SERVE_H
#define KADR_SERVE_SERVE_H

#include "base/err.h"
#include "base/mem.h"
#include "store/store.h"

struct serve;

struct serve_config {
    struct mem *mem;
    struct store *store;
    uint16_t port;     /* 0: any that is free */
    const char *bind;  /* numeric address, NULL: 127.0.0.1 and ::1 */
    const char *token; /* asked for in every request; NULL: none, loopback only */
    kadr_config draw;  /* of the context that draws */
    const char
        *models; /* names for clients to choose from, a line each; the first is the default */
    void *user;
    /* Configuration and the model's place, for a request that names its model by a name. Called
     * from several threads. */
    kadr_status (*prepare)(void *user, kadr_request *rq, kadr_error *err);
};

/* Listens and draws until serve_close. What `config` points to is borrowed. */
kadr_status serve_open(struct serve **out, const struct serve_config *config, kadr_error *err);
uint16_t serve_port(const struct serve *s);
void serve_close(struct serve *s); /* ends what is being drawn, which goes back into the queue */

#endif
