/* inside.h: what the files of this room share; seen by no other room. */
#ifndef KADR_SERVE_INSIDE_H
#define KADR_SERVE_INSIDE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "request/request.h"
#include "request/settings.h"
#include "serve/serve.h"
#include <microhttpd.h>
#include <pthread.h>

#define SERVE_BODY_MOST ((size_t)32 << 20)   /* of a request */
#define SERVE_HEADER_MOST ((size_t)32 << 10) /* memory of a connection */
#define SERVE_CONNECTIONS 1100
#define SERVE_QUEUE_MOST 1000 /* jobs that wait */

/* ---- events.c: what happens, told to all who listen ------------------------------------------ */
#define EVENTS_KEPT 256
struct events {
    struct mem *mem;
    char *text[EVENTS_KEPT]; /* event n is at n % EVENTS_KEPT */
    uint64_t first, next;    /* numbers of what is kept: first..next-1 */
    struct call *waiting;    /* suspended calls; each is resumed at the next event */
};

/* What the thread that draws is at. */
struct now {
    int64_t job;
    bool cancelled;
    char stage[16];
    int64_t picture, pictures;
    int step, steps;
    double seconds_left;
    uint8_t *preview;
    int preview_width, preview_height;
};

struct connection {
    struct connection *next, *before;
    MHD_socket fd;
    double deadline;
};

struct serve {
    struct serve_config config;
    struct mem *mem;
    struct store *store;
    struct MHD_Daemon *daemon[2];
    uint16_t port;
    double started;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t work;   /* there is something in the queue, or an end */
    struct events events;
    struct now now;
    bool stopping;
    uint64_t answered;
    kadr_context *ctx;
    pthread_t drawer, reaper;
    bool draws, reaps;
    pthread_mutex_t list_mutex; /* guards the connections */
    struct connection *connections;
    int connected;
};

/* ---- One request and its answer -------------------------------------------------------------- */
struct call {
    struct serve *serve;
    struct MHD_Connection *http;
    struct connection *connection;
    const char *method, *path;
    const struct route *route;
    int64_t number;  /* the part of the path that a route leaves open */
    struct buf body; /* of the request */
    bool begun;      /* its body is being read, or it waits */
    int64_t job;     /* that it waits for */
    uint64_t seen;   /* the next event it is to be told */
    size_t offset;   /* within that event */
    bool waits;
    struct call *next_waiting;
    /* The answer: */
    unsigned code;
    const char *type; /* NULL: JSON */
    struct buf reply;
    int file; /* to be sent instead of `reply`; -1: none */
    bool stream;
};

typedef void route_fn(struct call *c);
enum route_body { BODY_NONE, BODY_JSON, BODY_PICTURE };
struct route {
    const char *method, *path; /* "*" in the path: a whole number */
    enum route_body body;
    bool open; /* needs no token */
    route_fn *fn;
};
const struct route *route_find(const char *method, const char *path, int64_t *number,
                               bool *other_method);

void call_json(struct call *c, unsigned code, json_t *json); /* takes `json` */
void call_fail(struct call *c, unsigned code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void call_error(struct call *c, kadr_status status, const kadr_error *err);
/* The body as a JSON object; answers and gives NULL when it is none. */
json_t *call_body(struct call *c);
const char *call_query(struct call *c, const char *name);
/* With the server's mutex held: the call is asked again after the next event. */
void call_wait(struct call *c);

/* Under its own lock: type and JSON object (taken) to all who listen. */
void serve_publish(struct serve *s, const char *type, json_t *data);
void events_publish(struct serve *s, const char *type, const json_t *data); /* mutex held */
void events_wake(struct serve *s);                                          /* mutex held */
void events_free(struct events *e);
ssize_t events_read(void *call, uint64_t pos, char *to, size_t room);

/* ---- jobs.c: requests in and out of JSON, and the thread that draws -------------------------- */
/* Checks every field against the list of options; `json` gets seed and count when it
 * has none. */
kadr_status jobs_request(struct serve *s, json_t *json, kadr_request **out, kadr_error *err);
kadr_status jobs_submit(struct serve *s, json_t *json, int64_t *id, kadr_error *err);
kadr_status jobs_cancel(struct serve *s, int64_t id, bool *was, kadr_error *err);
void *jobs_draw(void *serve);

#endif
