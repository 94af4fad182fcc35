/* net.h: HTTP as hubs speak it, several calls at once in one thread.
 *
 * - HTTPS only; http:// is for a hub on this machine, and only such a hub may lead there.
 * - The token goes to the hub's own origin and nowhere else, whatever a redirect says.
 * - What is broken off, times out, or is answered 408, 416, 429 or 5xx is asked for again, from
 *   where it ended, up to five times without a byte of progress; Retry-After is heeded.
 *
 *     struct net_call call = {.url = url, .body = take, .user = to, .what = "the list of files"};
 *     net_start(net, &call);
 *     while (net_next(net, 0.2) != &call) ...
 *     if (call.status) ... call.error
 */
#ifndef KADR_HUB_NET_H
#define KADR_HUB_NET_H

#include "base/arena.h"
#include "base/err.h"

struct net;

struct net_config {
    const char *endpoint; /* "https://huggingface.co", without a slash at the end */
    const char *token;    /* NULL: none */
    int stall;            /* seconds without a byte after which a call counts as broken */
};

#define NET_TAG 256 /* an ETag as it was sent */
struct net_answer {
    long code;
    char etag[NET_TAG];        /* of the last response */
    char linked_etag[NET_TAG]; /* X-Linked-Etag, of the first that had one */
    char commit[64];           /* X-Repo-Commit, likewise */
    char error[64];            /* X-Error-Code */
    bool has_size;
    uint64_t size; /* X-Linked-Size, or the Content-Length of what is not moved */
    bool moved;    /* another host has the content */
};

struct net_call {
    const char *url;
    const char *what; /* in messages */
    bool head;        /* no body; does not leave the hub's origin */
    bool has_size;    /* the body, from its first byte on, is known to have so many: */
    uint64_t size;
    uint64_t from;   /* where the body goes on; moves while it is received */
    const char *tag; /* ETag of what was received before; NULL: unknown */
    /* The body begins at byte `at`: 0 or `from`. False ends the call, with call->error. */
    bool (*begin)(struct net_call *call, uint64_t at);
    bool (*body)(struct net_call *call, const void *bytes, size_t size);
    void *user;
    /* When it has come to its end: */
    kadr_status status;
    kadr_error error;
    struct net_answer answer;
    struct net_wire *wire; /* net's own */
};

kadr_status net_open(struct net **out, struct mem *m, const struct net_config *config,
                     kadr_error *err);
void net_close(struct net *net); /* `net` may be NULL; ends all calls */

/* At most NET_CALLS at once. */
#define NET_CALLS 8
kadr_status net_start(struct net *net, struct net_call *call, kadr_error *err);
/* A call that has come to its end; NULL: none within that time. */
struct net_call *net_next(struct net *net, double seconds);

/* `text` as part of a path: what is not a letter, a digit or one of -_.~ as %XX; '/' stays when
 * `slashes`. NULL when memory is refused. */
char *net_escape(struct arena *a, const char *text, bool slashes);

#endif
