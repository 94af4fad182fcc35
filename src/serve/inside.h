/* inside.h: what the files of this room share; seen by no other room. */
#ifndef KADR_SERVE_INSIDE_H
#define KADR_SERVE_INSIDE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "image/image.h"
#include "request/request.h"
#include "request/settings.h"
#include "serve/admit.h"
#include "serve/serve.h"
#include <microhttpd.h>
#include <pthread.h>
#include <sys/socket.h>

#define SERVE_HEADER_MOST ((size_t)32 << 10) /* memory of a connection */
#define SERVE_BODY_SMALL ((size_t)1 << 20)   /* most of a body without pictures */
#define SERVE_UNPACK ((size_t)15500000)      /* bytes that a picture may take when it is unpacked */
#define SERVE_BLOCK 8192                     /* of an answer that is a stream */
#define SERVE_QUEUE_MOST 1000                /* jobs that wait, */
#define SERVE_CLIENT_QUEUE 500               /* of them one client's */
#define SERVE_CLIENTS 512                    /* that are remembered */

/* What each phase of a connection may take. */
#define SECONDS_HEADERS 15
#define SECONDS_BODY 60
#define SECONDS_ANSWER 120
#define SECONDS_FOREVER 1e18

/* What the server may take of the process's memory, beside drawing: see serve_limits. */
struct serve_limits {
    size_t memory;   /* its ledger: bodies, pictures at work, answers */
    size_t body;     /* most of a request's body */
    uint64_t pixels; /* most of a picture that is sent */
    int connections;
    size_t all; /* bytes of all that, which every plan counts */
};
/* For a process that may take `memory` bytes (0: unknown). */
struct serve_limits serve_limits_of(uint64_t memory);

/* ---- events.c: what happens, told to all who listen ------------------------------------------ */
#define EVENTS_KEPT 256
struct events {
    struct mem *mem;
    char *text[EVENTS_KEPT]; /* event n is at n % EVENTS_KEPT */
    uint64_t first, next;    /* numbers of what is kept: first..next-1 */
    struct call *waiting;    /* suspended calls; each is resumed at the next event */
};

/* ---- wait.c: calls that wait for a job, and what emerges meanwhile -----------------------------
 */
/* Previews of a job at `parts` equally distant steps of each picture, until they are taken. */
struct watch {
    struct watch *next;
    int64_t job; /* 0: not watching */
    int parts;
    int64_t picture; /* that previews are kept of, and how many were */
    int kept;
    struct partial *first, **last;
};
struct partial {
    struct partial *next;
    int index;
    struct image im;
};

/* What the thread that draws is at: claims that are drawn in one go. */
#define SHARES_MOST 16
struct share {
    struct store_claim claim; /* without texts; job 0: none */
    int64_t pictures;         /* of the whole job */
    bool over;                /* drawn, cancelled, or somebody else's */
    int64_t picture;          /* of the job, at work; -1: it waits for its turn */
    int64_t look;             /* which of the previews shows it; -1: none */
};
struct now {
    struct share share[SHARES_MOST];
    size_t count;
    int64_t skip; /* the job whose picture at work is to be left out; 0: none */
    bool news;    /* that other processes were not told */
    bool doubt;   /* whether claims are held: somebody did something to a job */
    char stage[16];
    int step, steps;
    double seconds_left;
    uint8_t *preview; /* of each picture at work, one after the other */
    int preview_width, preview_height;
};
/* Mutex held. */
bool now_draws(const struct now *n);
/* The share of a job that is at work, or else one that waits for its turn; NULL: none. */
const struct share *now_share(const struct now *n, int64_t job);
void now_drop(struct serve *s, int64_t job); /* its pictures are not wanted any more */
void now_skip(struct serve *s, int64_t job); /* the one at work is not; the next is */
/* What emerges of a share, to be freed by image_free; false: nothing yet, or no memory. */
bool now_look(struct serve *s, const struct share *one, struct image *im);
/* Without it: renews all claims, drops those that are not held. */
void now_keep(struct serve *s);

/* ---- clients.c: how much one client may ask for ------------------------------------------------
 */
struct address {
    uint8_t byte[8]; /* IPv4, or the half of IPv6 that names a network */
};
struct client {
    struct address address;
    double tokens, seen; /* requests that may come at once; when it asked last, 0: never */
};
struct address client_address(const struct sockaddr *from);
bool client_may_ask(struct serve *s, struct address a);

struct connection {
    struct connection *next, *before;
    MHD_socket fd;
    struct address address;
    double since, deadline; /* when its request began, or could have; when it is closed */
    bool asked;             /* its request is whole: it is not to be closed to make room */
};

/* ---- models.c: downloads, the newest last; kept while the program runs ----------------------- */
#define PULLS_MOST 32
#define PULL_NAME 200
struct pull_task {
    int64_t id;
    char name[PULL_NAME], revision[PULL_NAME], stage[16];
    char error[sizeof((kadr_error *)0)->message];
    int state;
    bool cancelled;
    uint64_t bytes, bytes_done;
    double rate, seconds_left;
};
struct pulls {
    struct pull_task task[PULLS_MOST];
    int count;
    int64_t last;
    pthread_t thread;
    bool runs, joinable;
};

/* ---- desk.c: where what takes a while is done --------------------------------------------------
 */
enum { DESK_SHORT, DESK_LONG, DESKS };
#define DESK_THREADS 2 /* of the one for long work */
struct desk {
    struct serve *serve;
    struct call *first, **last;
    pthread_cond_t wanted;
    pthread_t thread[DESK_THREADS];
    int threads;
    bool open, closing;
};
bool desks_open(struct serve *s);
void desks_close(struct serve *s); /* idempotent; what waits there is done */
/* Has c->step run there, which never waits by call_wait; false: it closes, which is answered. */
bool desk_put(struct call *c);

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
    struct watch *watches;
    bool stopping;
    uint64_t answered;
    kadr_context *ctx;
    char worker[80];
    double busy; /* when there was something to draw last; of the thread that draws */
    pthread_t drawer, reaper, linker;
    bool draws, reaps, links;
    struct desk desk[DESKS];
    struct pulls pulls;
    const json_t *api; /* the description: what bodies are checked by */
    json_t *doctor;    /* what models_doctor told, once it did */
    struct admit_rules rules;
    struct serve_limits limits;
    pthread_mutex_t list_mutex; /* guards what follows */
    struct connection *connections;
    int connected, streams;
    size_t body_bytes; /* of large bodies that are held */
    struct client clients[SERVE_CLIENTS];
};

/* ---- One request and its answer -------------------------------------------------------------- */
struct call {
    struct serve *serve;
    struct MHD_Connection *http;
    struct connection *connection;
    const char *method, *path;
    const struct route *route;
    int64_t number; /* the parts of the path that a route leaves open */
    char name[ROUTE_NAME];
    struct buf body;              /* of the request */
    size_t body_booked;           /* of it, in serve.body_bytes */
    const char *origin;           /* of another page that may read the answer, or NULL */
    bool begun;                   /* its body has been read */
    void (*step)(struct call *c); /* what is done next, */
    bool desk;                    /* and whether at the desk */
    bool streams;                 /* counted in serve.streams */
    bool suspended;               /* it waits, in `waiting` */
    int64_t job;                  /* that it waits for */
    void (*done)(struct call *c, const json_t *job); /* see call_job */
    void *own;                                       /* the route's memory, freed with the call, */
    void (*free_own)(void *own);                     /* after this, unless it is NULL */
    struct watch watch;
    uint64_t seen; /* the next event it is to be told */
    size_t offset; /* within that event, or `reply` */
    bool waits;
    struct call *next_waiting;
    /* The answer: */
    unsigned code;
    const char *type; /* NULL: JSON */
    struct buf reply;
    int file;       /* to be sent instead of `reply`; -1: none */
    char *saved_as; /* Content-Disposition; NULL: it is shown */
    ssize_t (*stream)(void *call, uint64_t pos, char *to, size_t room); /* or what this gives */
};

typedef void route_fn(struct call *c);
/* BODY_LARGE: JSON with pictures in it. */
enum route_body { BODY_NONE, BODY_JSON, BODY_LARGE, BODY_PICTURE, BODY_FORM };
enum route_how {
    ROUTE_OPEN = 1, /* needs no token */
    ROUTE_SLOW = 2  /* is answered at the desk for long work */
};
struct route {
    const char *method, *path; /* in the path "*" is a whole number, "~" a name */
    enum route_body body;
    unsigned how;
    route_fn *fn;
    /* For the description (openapi.c): one line; parameters of the query, apart by blanks; schema
     * of a JSON body; schema or content type of the answer, and its status when it is not 200. */
    const char *about, *query, *takes, *gives;
    unsigned code;
};
/* The index-th route; NULL after the last. */
const struct route *route_at(size_t index);
/* NULL: none; *other is set when there is one of another method. `in` gets what the path leaves
 * open. */
const struct route *route_find(const char *method, const char *path, struct route_place *in,
                               bool *other);
void route_methods(const char *path, char *to, size_t size); /* "GET, POST" */
size_t route_body_most(const struct route *r, size_t most);  /* bytes of a body */

/* ---- gate.c: libmicrohttpd's handlers */
enum MHD_Result gate_request(void *user, struct MHD_Connection *http, const char *path,
                             const char *method, const char *version, const char *data,
                             size_t *size, void **state);
void gate_completed(void *user, struct MHD_Connection *http, void **state,
                    enum MHD_RequestTerminationCode why);
void call_free_body(struct call *c);

/* ---- schema.c */
/* Whether a body is as the schema of that name in the description has it; KADR_EUSAGE says where it
 * is not. What has no schema is not looked at. */
kadr_status schema_check(const json_t *api, const char *name, const json_t *value, kadr_error *err);

/* ---- answer.c */
enum MHD_Result call_answer(struct call *c);
void call_json(struct call *c, unsigned code, json_t *json); /* takes `json` */
void call_fail(struct call *c, unsigned code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void call_error(struct call *c, kadr_status status, const kadr_error *err);
/* Takes out of the message where this server keeps its files, which is nobody's business:
 * "casts/anna.cast: ...". */
void error_hide(struct serve *s, kadr_error *err);
/* The body as a JSON object of its route's schema; answers and gives NULL when it is none. */
json_t *call_body(struct call *c);
/* The same where nothing in it matters; false: it is none, which has been answered. */
bool call_nothing(struct call *c);
const char *call_query(struct call *c, const char *name);

/* With the server's mutex held: c->step is gone, or c->stream read, after the next event. */
void call_wait(struct call *c);
/* Puts a job into the queue; false: it could not be, which has been answered. At the desk. */
bool call_submit(struct call *c, json_t *json, int64_t *job);
/* The same for what jobs_request has looked through, all or none; their clients become the call's.
 */
struct job_order;
bool call_add(struct call *c, struct job_order *orders, size_t count, int64_t *jobs);
/* The jobs of the call's client at which somebody draws. At the desk. */
#define CLIENT_DRAWN 16
size_t client_drawn(struct call *c, int64_t jobs[CLIENT_DRAWN]);
/* The last of a step: `done` answers, at the desk, when the job is at its end. */
void call_job(struct call *c, int64_t job, void (*done)(struct call *c, const json_t *job));
bool job_ended(const json_t *job);
/* Begins to keep previews of c->job. */
void watch_begin(struct call *c, int parts);
void watch_end(struct call *c); /* idempotent */
/* The first preview that is kept, or NULL; the caller frees it with partial_free. */
struct partial *watch_take(struct call *c); /* mutex held */
void partial_free(struct partial *p);
/* Mutex held; what emerges of that picture of the job. */
void watches_keep(struct serve *s, int64_t job, int64_t picture, const kadr_progress *p);

/* Under its own lock: type and JSON object (taken) to all who listen. */
void serve_publish(struct serve *s, const char *type, json_t *data);
void events_publish(struct serve *s, const char *type, const json_t *data); /* mutex held */
void events_wake(struct serve *s);                                          /* mutex held */
void events_free(struct events *e);
ssize_t events_read(void *call, uint64_t pos, char *to, size_t room);

/* ---- form.c: bodies of the kind multipart/form-data -------------------------------------------
 */
#define FORM_PARTS 32
struct form {
    struct mem *mem;
    json_t *fields; /* the texts, by name */
    struct form_part {
        char name[40];
        bool file;
        struct buf data;
    } part[FORM_PARTS];
    int count;
    bool broken;
};
/* False: the answer is made, and there is nothing to free. */
bool form_read(struct form *form, struct call *c);
void form_free(struct form *form);
const struct buf *form_file(struct form *form, const char *name); /* NULL: none */

/* ---- upload.c: pictures that clients send -----------------------------------------------------
 */
#define UPLOAD_NAME 33
kadr_status upload_decode(struct serve *s, const void *data, size_t size, const char *what,
                          struct image *out, kadr_error *err);
/* What was decoded, written anew into the store; jobs name it. */
kadr_status upload_keep(struct serve *s, const struct image *im, char name[UPLOAD_NAME],
                        kadr_error *err);
/* The same, and its name becomes the field of a request. */
kadr_status upload_name(struct serve *s, const struct image *im, json_t *ours, const char *field,
                        kadr_error *err);
/* The file that a job's "init" or "mask" means: an upload's name or a picture's number. */
kadr_status upload_path(struct serve *s, const json_t *value, const char *what, char **path,
                        kadr_error *err);

/* The latents of the draft whose number `name` is. */
#define UPLOAD_LATENTS "latents:" /* before it, in "init" */
kadr_status upload_latents(struct serve *s, const char *name, char **path, kadr_error *err);

/* ---- casts.c: characters ---------------------------------------------------------------------
 */
/* An array of --cast entries that name casts of the store, and no file. Those that are there can be
 * drawn with, from the folder of the request's "cast-folder". */
kadr_status casts_take(struct serve *s, kadr_request *rq, const json_t *entries, kadr_error *err);
/* Whether a job's request is the making of a cast; and its making, by the thread that draws. */
bool casts_is_job(const char *request);
kadr_status casts_make(struct serve *s, const char *request, const kadr_observer *observer,
                       kadr_error *err);

/* ---- models.c: what can be drawn with --------------------------------------------------------
 */
/* Puts the model that was chosen for this server into a request that names none. */
kadr_status models_choose(struct serve *s, json_t *request, kadr_error *err);
/* Chooses that model from now on (NULL: none), when there is such a one; and which it is. */
kadr_status models_keep(struct serve *s, json_t *name, kadr_error *err);
json_t *models_default(struct serve *s);
void models_close(struct serve *s); /* the server is stopping; idempotent */
/* ---- loras.c: LoRAs by name -------------------------------------------------------------------
 */
/* The names in the folder of LoRAs, an array; none where there is no folder. */
kadr_status loras_list(struct serve *s, json_t **out, kadr_error *err);
/* Puts the files of "lora", an array of "NAME:WEIGHT", into a request. */
kadr_status loras_set(struct serve *s, kadr_request *rq, const json_t *entries,
                      const struct request_origin *origin, kadr_error *err);

/* ---- link.c: what processes tell each other that share a store -------------------------------
 */
/* Type and JSON object (taken) to all who listen, at this process and others. */
void link_tell(struct serve *s, const char *type, json_t *data);
void link_tell_job(struct serve *s, int64_t id); /* something became of it */
void *link_run(void *serve);                     /* the thread that keeps the claim and hears */
void link_name(struct serve *s);                 /* gives it its name */

/* ---- jobs.c: requests in and out of JSON ------------------------------------------------------
 */
#define JOBS_COUNT_MOST 64 /* pictures of a job */
/* Whether clients may say the option `id`; -1 is none. */
bool jobs_allowed(int id);
/* Checks every field against the list of options; `json` gets seed and count when it
 * has none, and the server's model. `board`: what is not said is as usual for a board. */
kadr_status jobs_request(struct serve *s, json_t *json, bool board, kadr_request **out,
                         kadr_error *err);
/* Whether each field of `json` (NULL: none) may stand in a request, and has a value that may. */
kadr_status jobs_check(struct serve *s, const json_t *json, kadr_error *err);
/* What jobs_request has looked through, into the queue; the rest as in store_order. */
struct job_order {
    const json_t *request;
    int64_t board;
    const json_t *about; /* NULL: none */
    const char *client;
};
/* All or none. */
kadr_status jobs_add(struct serve *s, const struct job_order *orders, size_t count, int64_t *ids,
                     kadr_error *err);
kadr_status jobs_cancel(struct serve *s, int64_t id, bool *was, kadr_error *err);
/* The picture of the job that is at work, wherever that is, is left out. */
void jobs_skip(struct serve *s, int64_t id);
/* A job's request as it is drawn: with files instead of what clients said. */
kadr_status jobs_resolve(struct serve *s, const char *request, bool board, kadr_request **out,
                         kadr_error *err);

/* ---- draw.c: the thread that draws ----------------------------------------------------------- */
void *draw_run(void *serve);
json_t *draw_progress(const struct now *n, const struct share *one); /* mutex held */
void serve_complain(struct serve *s, kadr_status status, const kadr_error *err);

#endif
