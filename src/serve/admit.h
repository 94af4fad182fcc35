/* admit.h: who may come in: a pure function of a request's head, asked before anything of its body
 * is read.
 *
 *     const struct admission a = admit(&rules, &head);
 *     if (a.code) refuse with a.code and a.why; else a.route answers
 */
#ifndef KADR_SERVE_ADMIT_H
#define KADR_SERVE_ADMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct route;

/* What a route's path leaves open. */
#define ROUTE_NAME 64 /* of a cast or panel in a path, with its end */
struct route_place {
    int64_t number;
    char name[ROUTE_NAME];
};

/* What the server was told when it was started. */
struct admit_rules {
    const char *token; /* NULL: none is asked for */
    bool beyond; /* it listens beyond this machine: any numeric address is a name of its own */
    const char *const *hosts; /* its other names, `host_count` */
    size_t host_count;
    const char *const *origins; /* pages of other origins that may use it: "https://a.example" */
    size_t origin_count;
    size_t body_most; /* bytes, of pictures and what holds some */
};

/* What a request says of itself: NULL for headers that are not there. */
struct admit_head {
    const char *method, *path; /* the path without its query, decoded */
    const char *host, *origin, *site /* Sec-Fetch-Site */, *type /* Content-Type */;
    const char *length /* Content-Length */, *coding /* Transfer-Encoding */;
    const char *authorization, *cookie /* kadr_token */;
    int lengths, codings, hosts, origins, types; /* how often those headers come */
};

struct admission {
    unsigned code;   /* 0: let in; 204: the answer to a preflight; else refused */
    const char *why; /* for people */
    const struct route *route;
    struct route_place place;
    const char *origin; /* of another page that may read the answer, or NULL */
};

struct admission admit(const struct admit_rules *rules, const struct admit_head *head);

#endif
