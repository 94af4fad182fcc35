/* gate.c: the way of a request: its head is looked at (admit.c), its body is read, and then steps
 * are gone until there is an answer: on the thread that listens, at the desk (desk.c), or after an
 * event that the call waits for. */
#include "serve/inside.h"

#include "base/sys.h"
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char *header(struct call *c, const char *name) {
    return MHD_lookup_connection_value(c->http, MHD_HEADER_KIND, name);
}

static enum MHD_Result count_header(void *user, enum MHD_ValueKind kind, const char *key,
                                    const char *value) {
    struct admit_head *h = user;
    (void)kind, (void)value;
    h->lengths += !strcasecmp(key, "Content-Length");
    h->codings += !strcasecmp(key, "Transfer-Encoding");
    h->hosts += !strcasecmp(key, "Host");
    h->origins += !strcasecmp(key, "Origin");
    h->types += !strcasecmp(key, "Content-Type");
    return MHD_YES;
}

/* 0, or the answer has been made. */
static unsigned refuse(struct call *c) {
    struct admit_head h = {.method = c->method,
                           .path = c->path,
                           .host = header(c, "Host"),
                           .origin = header(c, "Origin"),
                           .site = header(c, "Sec-Fetch-Site"),
                           .type = header(c, "Content-Type"),
                           .length = header(c, "Content-Length"),
                           .coding = header(c, "Transfer-Encoding"),
                           .authorization = header(c, "Authorization")};
    h.cookie = MHD_lookup_connection_value(c->http, MHD_COOKIE_KIND, "kadr_token");
    MHD_get_connection_values(c->http, MHD_HEADER_KIND, count_header, &h);
    const struct admission a = admit(&c->serve->rules, &h);
    c->route = a.route;
    c->number = a.place.number;
    memcpy(c->name, a.place.name, sizeof c->name);
    c->origin = a.origin;
    if (a.code == 204) c->code = 204;
    else if (a.code) call_fail(c, a.code, "%s", a.why);
    else if (!client_may_ask(c->serve, c->connection->address))
        call_fail(c, 429, "more than %g requests a second", c->serve->config.rate);
    return c->code;
}

static struct call *call_new(struct serve *s, struct MHD_Connection *http, const char *path,
                             const char *method) {
    struct call *c = mem_alloc(s->config.mem, sizeof *c);
    if (!c) return NULL;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(http, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    *c = (struct call){.serve = s, .http = http, .path = path, .method = method, .file = -1};
    c->connection = info->socket_context;
    buf_init(&c->body, s->mem);
    buf_init(&c->reply, s->mem);
    return c;
}

/* What the phase that begins may take in all. */
static void set_deadline(struct call *c, double seconds, bool asked) {
    pthread_mutex_lock(&c->serve->list_mutex);
    c->connection->deadline = sys_seconds() + seconds;
    c->connection->asked = asked;
    pthread_mutex_unlock(&c->serve->list_mutex);
}

/* Streams take their places for long: not all of them. */
static bool may_stream(struct call *c) {
    struct serve *s = c->serve;
    pthread_mutex_lock(&s->list_mutex);
    c->streams = s->streams < s->limits.connections / 4 * 3;
    s->streams += c->streams;
    pthread_mutex_unlock(&s->list_mutex);
    return c->streams;
}

static enum MHD_Result answer(struct call *c) {
    if (c->stream && !may_stream(c)) {
        c->stream = NULL;
        call_fail(c, 503, "too many streams");
    }
    set_deadline(c, c->stream ? SECONDS_FOREVER : SECONDS_ANSWER, true);
    return call_answer(c);
}

/* Large bodies together take at most half of the server's memory: small ones always have room. */
static bool take_body(struct call *c, const char *data, size_t size) {
    struct serve *s = c->serve;
    if (c->body.size + size > route_body_most(c->route, s->rules.body_most)) return false;
    bool large = c->body.size + size > SERVE_BODY_SMALL;
    pthread_mutex_lock(&s->list_mutex);
    bool room = !large || s->body_bytes + size <= s->limits.memory / 2;
    if (large && room) s->body_bytes += size, c->body_booked += size;
    pthread_mutex_unlock(&s->list_mutex);
    if (room) buf_add(&c->body, data, size);
    return room && buf_ok(&c->body);
}

void call_free_body(struct call *c) {
    buf_free(&c->body);
    pthread_mutex_lock(&c->serve->list_mutex);
    c->serve->body_bytes -= c->body_booked;
    c->body_booked = 0;
    pthread_mutex_unlock(&c->serve->list_mutex);
}

/* Goes on until the call waits (for the desk, or an event) or has its answer. */
static enum MHD_Result go_on(struct call *c) {
    c->suspended = false;
    while (!c->code && !c->suspended) {
        route_fn *step = c->step;
        if (!step) call_fail(c, 500, "a request without an answer");
        else if (!c->desk) {
            c->step = NULL;
            step(c);
        } else if (desk_put(c)) return MHD_YES; /* it is another thread's until it is resumed */
    }
    return c->code ? answer(c) : MHD_YES;
}

enum MHD_Result gate_request(void *user, struct MHD_Connection *http, const char *path,
                             const char *method, const char *version, const char *data,
                             size_t *size, void **state) {
    struct serve *s = user;
    struct call *c = *state;
    (void)version;
    if (!c) {
        c = *state = call_new(s, http, path, method);
        if (!c || !c->connection) return MHD_NO;
        set_deadline(c, SECONDS_BODY, false);
        pthread_mutex_lock(&s->list_mutex);
        s->answered++;
        pthread_mutex_unlock(&s->list_mutex);
        return refuse(c) ? answer(c) : MHD_YES;
    }
    if (*size) {
        bool taken = take_body(c, data, *size);
        *size = 0;
        return taken ? MHD_YES : MHD_NO;
    }
    if (!c->begun) {
        set_deadline(c, SECONDS_FOREVER, true);
        c->begun = true;
        c->step = c->route->fn;
        c->desk = c->route->body != BODY_NONE || c->route->how & ROUTE_SLOW;
    }
    return go_on(c);
}

void gate_completed(void *user, struct MHD_Connection *http, void **state,
                    enum MHD_RequestTerminationCode why) {
    struct serve *s = user;
    struct call *c = *state;
    (void)http, (void)why;
    if (!c) return;
    pthread_mutex_lock(&s->mutex);
    for (struct call **at = &s->events.waiting; c->waits && *at; at = &(*at)->next_waiting)
        if (*at == c) {
            *at = c->next_waiting;
            break;
        }
    pthread_mutex_unlock(&s->mutex);
    if (c->connection) set_deadline(c, SECONDS_HEADERS, false);
    pthread_mutex_lock(&s->list_mutex);
    if (c->connection) c->connection->since = sys_seconds();
    s->streams -= c->streams;
    pthread_mutex_unlock(&s->list_mutex);
    watch_end(c);
    if (c->file >= 0) close(c->file);
    if (c->own && c->free_own) c->free_own(c->own);
    mem_free(c->own);
    mem_free(c->saved_as);
    call_free_body(c);
    buf_free(&c->reply);
    mem_free(c);
    *state = NULL;
}
