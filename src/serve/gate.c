/* gate.c: the one way in. Every request passes, in this order: form (one Content-Length, no
 * transfer coding beside it), Host (a page of another name that resolves to this machine is
 * refused), origin of what changes something, token, route, kind of body, size of body. Only then
 * does a route see it. Each phase of a connection has a total deadline, after which it is closed.
 */
#include "serve/inside.h"

#include "base/sys.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECONDS_HEADERS 15
#define SECONDS_BODY 60
#define SECONDS_ANSWER 120
#define SECONDS_HEARTBEAT 15
#define FOREVER 1e18

static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/* ---- Answers --------------------------------------------------------------------------------- */
void call_json(struct call *c, unsigned code, json_t *json) {
    buf_clear(&c->reply);
    c->code = json ? code : 500;
    c->type = NULL;
    json_put(&c->reply, json, REQUEST_JSON_FLAGS);
    json_decref(json);
}

void call_fail(struct call *c, unsigned code, const char *format, ...) {
    kadr_error err;
    va_list ap;
    char text[sizeof err.message];
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    err_set(&err, KADR_EUSAGE, "%s", text); /* makes it printable */
    call_json(c, code,
              json_pack("{s:{s:s, s:s, s:i}}", "error", "message", err.message, "type",
                        code < 500 ? "invalid_request_error" : "server_error", "code", (int)code));
}

void call_error(struct call *c, kadr_status status, const kadr_error *err) {
    unsigned code = 500;
    if (status == KADR_EUSAGE) code = 400;
    else if (status == KADR_EMODEL) code = 404;
    else if (status == KADR_EMEMORY) code = 422;
    call_fail(c, code, "%s", err->message);
}

json_t *call_body(struct call *c) {
    kadr_error err;
    json_t *json = NULL;
    kadr_status st = json_parse(c->body.data, c->body.size, "body", KADR_EUSAGE, &json, &err);
    if (!st && !json_is_object(json))
        st = err_set(&err, KADR_EUSAGE, "body: expected a JSON object");
    if (!st) return json;
    json_decref(json);
    call_error(c, st, &err);
    return NULL;
}

const char *call_query(struct call *c, const char *name) {
    return MHD_lookup_connection_value(c->http, MHD_GET_ARGUMENT_KIND, name);
}

static struct MHD_Response *response_of(struct call *c) {
    struct MHD_Response *r = NULL;
    if (c->stream) {
        r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, events_read, c, NULL);
    } else if (c->file >= 0) {
        off_t size = lseek(c->file, 0, SEEK_END);
        r = MHD_create_response_from_fd((uint64_t)size, c->file);
        if (r) c->file = -1; /* the response closes it */
    } else if (buf_ok(&c->reply)) {
        r = MHD_create_response_from_buffer(c->reply.size, c->reply.data, MHD_RESPMEM_MUST_COPY);
    }
    return r;
}

static enum MHD_Result answer(struct call *c) {
    struct MHD_Response *r = response_of(c);
    if (!r) return MHD_NO;
    pthread_mutex_lock(&c->serve->list_mutex);
    c->connection->deadline = c->stream ? FOREVER : sys_seconds() + SECONDS_ANSWER;
    pthread_mutex_unlock(&c->serve->list_mutex);
    MHD_add_response_header(r, "Content-Type", c->type ? c->type : "application/json");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(r, "Content-Security-Policy", policy);
    MHD_add_response_header(r, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(r, "Cross-Origin-Resource-Policy", "same-origin");
    MHD_add_response_header(r, "Cache-Control", "no-store");
    if (c->code == 401) MHD_add_response_header(r, "WWW-Authenticate", "Bearer");
    if (c->code == 405) MHD_add_response_header(r, "Allow", "GET, POST, PUT, DELETE");
    enum MHD_Result done = MHD_queue_response(c->http, c->code, r);
    MHD_destroy_response(r);
    return done;
}

/* ---- Who may come in ------------------------------------------------------------------------- */
struct headers {
    int lengths, codings, hosts, origins;
};

static enum MHD_Result count_header(void *user, enum MHD_ValueKind kind, const char *key,
                                    const char *value) {
    struct headers *h = user;
    (void)kind, (void)value;
    h->lengths += !strcasecmp(key, "Content-Length");
    h->codings += !strcasecmp(key, "Transfer-Encoding");
    h->hosts += !strcasecmp(key, "Host");
    h->origins += !strcasecmp(key, "Origin");
    return MHD_YES;
}

static const char *header(struct call *c, const char *name) {
    return MHD_lookup_connection_value(c->http, MHD_HEADER_KIND, name);
}

/* Name or address of "name:port", "[::1]:port". */
static size_t host_length(const char *host) {
    return *host == '[' ? strcspn(host, "]") + (strchr(host, ']') != NULL) : strcspn(host, ":");
}

static bool known_host(const struct serve *s, const char *host) {
    static const char *const own[] = {"localhost", "127.0.0.1", "[::1]"};
    size_t n = host_length(host);
    if (host[n] && (host[n] != ':' || strspn(host + n + 1, "0123456789") != strlen(host + n + 1)))
        return false;
    for (size_t i = 0; i < 3; i++)
        if (n == strlen(own[i]) && !strncasecmp(host, own[i], n)) return true;
    if (!s->config.bind) return false;
    /* Bound elsewhere a token is asked for; an address as such cannot be rebound. */
    char address[64];
    struct in6_addr parsed;
    bool six = *host == '[';
    if (n < 3 || n >= sizeof address) return false;
    snprintf(address, sizeof address, "%.*s", (int)(six ? n - 2 : n), host + six);
    return inet_pton(six ? AF_INET6 : AF_INET, address, &parsed) == 1;
}

/* What a browser sends for a page of this very server, or no browser at all. */
static bool own_origin(struct call *c) {
    const char *origin = header(c, "Origin"), *host = header(c, "Host");
    const char *site = header(c, "Sec-Fetch-Site");
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0) return false;
    if (!origin) return true;
    if (!strncmp(origin, "http://", 7)) origin += 7;
    else if (!strncmp(origin, "https://", 8)) origin += 8;
    else return false;
    return !strcasecmp(origin, host);
}

static bool same_secret(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    unsigned differ = n != m;
    for (size_t i = 0; i < n; i++) differ |= (unsigned)(a[i] ^ b[m ? i % m : 0]);
    return !differ;
}

static bool has_token(struct call *c) {
    const char *token = c->serve->config.token, *given = header(c, "Authorization");
    if (!token) return true;
    if (given && !strncasecmp(given, "Bearer ", 7)) return same_secret(given + 7, token);
    given = MHD_lookup_connection_value(c->http, MHD_COOKIE_KIND, "kadr_token");
    return given && same_secret(given, token);
}

static bool fitting_body(struct call *c) {
    const char *type = header(c, "Content-Type");
    bool changes = strcmp(c->method, "GET") && strcmp(c->method, "HEAD");
    if (c->route->body == BODY_JSON) return type && !strncasecmp(type, "application/json", 16);
    if (c->route->body == BODY_PICTURE) return type && !strncasecmp(type, "image/", 6);
    return !type || !changes || !strncasecmp(type, "application/json", 16);
}

/* 0, or the answer has been made. */
static unsigned refuse(struct call *c) {
    struct headers h = {0};
    bool other = false;
    bool reads = !strcmp(c->method, "GET") || !strcmp(c->method, "HEAD");
    const char *length = header(c, "Content-Length");
    MHD_get_connection_values(c->http, MHD_HEADER_KIND, count_header, &h);
    c->route = route_find(reads ? "GET" : c->method, c->path, &c->number, &other);
    if (h.lengths + h.codings > 1 || h.hosts > 1 || h.origins > 1)
        call_fail(c, 400, "ambiguous request");
    else if (!header(c, "Host") || !known_host(c->serve, header(c, "Host")))
        call_fail(c, 403, "this server is not known by that name");
    else if (!reads && !own_origin(c))
        call_fail(c, 403, "a page of another origin may not do this");
    else if (!(c->route && c->route->open) && !has_token(c))
        call_fail(c, 401, "a token is needed: Authorization: Bearer TOKEN");
    else if (!c->route && other) call_fail(c, 405, "%s is not for this", c->method);
    else if (!c->route) call_fail(c, 404, "there is nothing at this address");
    else if (!fitting_body(c)) call_fail(c, 415, "expected another Content-Type");
    else if (length && strtoull(length, NULL, 10) > SERVE_BODY_MOST)
        call_fail(c, 413, "larger than %zu bytes", SERVE_BODY_MOST);
    return c->code;
}

/* ---- A request, as libmicrohttpd brings it --------------------------------------------------- */
static struct call *call_new(struct serve *s, struct MHD_Connection *http, const char *path,
                             const char *method) {
    struct call *c = mem_alloc(s->mem, sizeof *c);
    if (!c) return NULL;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(http, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    *c = (struct call){.serve = s, .http = http, .path = path, .method = method, .file = -1};
    c->connection = info->socket_context;
    buf_init(&c->body, s->mem);
    buf_init(&c->reply, s->mem);
    return c;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *http, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state) {
    struct serve *s = user;
    struct call *c = *state;
    (void)version;
    if (!c) {
        c = *state = call_new(s, http, path, method);
        if (!c || !c->connection) return MHD_NO;
        pthread_mutex_lock(&s->list_mutex);
        c->connection->deadline = sys_seconds() + SECONDS_BODY;
        s->answered++;
        pthread_mutex_unlock(&s->list_mutex);
        return refuse(c) ? answer(c) : MHD_YES;
    }
    if (*size) {
        if (c->body.size + *size > SERVE_BODY_MOST) return MHD_NO;
        buf_add(&c->body, data, *size);
        *size = 0;
        return buf_ok(&c->body) ? MHD_YES : MHD_NO;
    }
    if (!c->begun) {
        pthread_mutex_lock(&s->list_mutex);
        c->connection->deadline = FOREVER;
        pthread_mutex_unlock(&s->list_mutex);
        c->begun = true;
    }
    c->route->fn(c);
    return c->code ? answer(c) : MHD_YES; /* without an answer it waits */
}

static void on_completed(void *user, struct MHD_Connection *http, void **state,
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
    pthread_mutex_lock(&s->list_mutex);
    if (c->connection) c->connection->deadline = sys_seconds() + SECONDS_HEADERS;
    pthread_mutex_unlock(&s->list_mutex);
    if (c->file >= 0) close(c->file);
    buf_free(&c->body);
    buf_free(&c->reply);
    mem_free(c);
    *state = NULL;
}

/* ---- Deadlines ------------------------------------------------------------------------------- */
static void on_connection(void *user, struct MHD_Connection *http, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    struct serve *s = user;
    struct connection *k = *context;
    pthread_mutex_lock(&s->list_mutex);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        k = mem_alloc(s->mem, sizeof *k);
        if (k) {
            k->fd = MHD_get_connection_info(http, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
            k->deadline = sys_seconds() + SECONDS_HEADERS;
            k->next = s->connections;
            if (k->next) k->next->before = k;
            s->connections = k;
            s->connected++;
        }
        *context = k;
    } else if (k) {
        if (k->next) k->next->before = k->before;
        if (k->before) k->before->next = k->next;
        else s->connections = k->next;
        s->connected--;
        mem_free(k);
        *context = NULL;
    }
    pthread_mutex_unlock(&s->list_mutex);
}

static void *reap(void *serve) {
    struct serve *s = serve;
    double beat = sys_seconds();
    for (bool stopping = false; !stopping;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        double now = sys_seconds();
        pthread_mutex_lock(&s->list_mutex);
        for (struct connection *k = s->connections; k; k = k->next)
            if (now > k->deadline) shutdown(k->fd, SHUT_RDWR);
        pthread_mutex_unlock(&s->list_mutex);
        if (now - beat > SECONDS_HEARTBEAT) {
            beat = now;
            serve_publish(s, "alive", json_object());
        }
        pthread_mutex_lock(&s->mutex);
        if (!s->stopping) pthread_cond_timedwait(&s->work, &s->mutex, &until);
        stopping = s->stopping;
        pthread_mutex_unlock(&s->mutex);
    }
    return NULL;
}

/* ---- Listening ------------------------------------------------------------------------------- */
static struct MHD_Daemon *listen_at(struct serve *s, const char *address) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(s->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(s->port)};
    bool six = strchr(address, ':') != NULL;
    if (inet_pton(six ? AF_INET6 : AF_INET, address,
                  six ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr) != 1)
        return NULL;
    unsigned flags = MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_USE_ITC | (six ? MHD_USE_IPv6 : 0);
    return MHD_start_daemon(
        flags, s->port, NULL, NULL, on_request, s, MHD_OPTION_SOCK_ADDR,
        six ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)SERVE_CONNECTIONS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, SERVE_HEADER_MOST, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_THREAD_POOL_SIZE, 2u, MHD_OPTION_END);
}

static bool is_loopback(const char *address) {
    return !strncmp(address, "127.", 4) || !strcmp(address, "::1");
}

static kadr_status listen_all(struct serve *s, kadr_error *err) {
    const char *bind = s->config.bind;
    if (bind && !is_loopback(bind) && !s->config.token)
        return err_set(err, KADR_EUSAGE, "bind %s: beyond this machine a --token is needed", bind);
    s->daemon[0] = listen_at(s, bind ? bind : "127.0.0.1");
    if (!s->daemon[0])
        return err_set(err, KADR_EIO, "%s port %u: cannot listen there", bind ? bind : "127.0.0.1",
                       s->port);
    s->port = MHD_get_daemon_info(s->daemon[0], MHD_DAEMON_INFO_BIND_PORT)->port;
    if (!bind) s->daemon[1] = listen_at(s, "::1"); /* a machine may have no IPv6 */
    return KADR_OK;
}

kadr_status serve_open(struct serve **out, const struct serve_config *config, kadr_error *err) {
    struct serve *s = mem_alloc(config->mem, sizeof *s);
    if (!s) return err_nomem(err, "the server", sizeof *s);
    s->config = *config;
    s->mem = config->mem;
    s->store = config->store;
    s->port = config->port;
    s->started = sys_seconds();
    s->events.mem = s->mem;
    /* Numbers go on where an earlier server ended. */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    s->events.first = s->events.next = (uint64_t)now.tv_sec * 1000;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_mutex_init(&s->list_mutex, NULL);
    pthread_cond_init(&s->work, NULL);
    kadr_status st = kadr_open(&config->draw, &s->ctx, err);
    if (!st) st = listen_all(s, err);
    if (!st) s->draws = !pthread_create(&s->drawer, NULL, jobs_draw, s);
    if (!st) s->reaps = !pthread_create(&s->reaper, NULL, reap, s);
    if (!st && (!s->draws || !s->reaps)) st = err_set(err, KADR_EOTHER, "cannot start a thread");
    if (st) serve_close(s);
    else *out = s;
    return st;
}

uint16_t serve_port(const struct serve *s) {
    return s->port;
}

void serve_close(struct serve *s) {
    if (!s) return;
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    if (s->now.job) kadr_interrupt(s->ctx);
    pthread_cond_broadcast(&s->work);
    events_wake(s);
    pthread_mutex_unlock(&s->mutex);
    if (s->draws) pthread_join(s->drawer, NULL);
    if (s->reaps) pthread_join(s->reaper, NULL);
    pthread_mutex_lock(&s->mutex);
    events_wake(s);
    pthread_mutex_unlock(&s->mutex);
    for (int i = 0; i < 2; i++)
        if (s->daemon[i]) MHD_stop_daemon(s->daemon[i]);
    kadr_close(s->ctx);
    events_free(&s->events);
    mem_free(s->now.preview);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->mutex);
    pthread_mutex_destroy(&s->list_mutex);
    mem_free(s);
}
