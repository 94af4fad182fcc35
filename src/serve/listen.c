/* listen.c: where the server listens, how long connections may last, its beginning and its end.
 * Each phase of a connection has a total deadline, after which it is closed; when nearly all places
 * are taken, the one that has waited longest without a whole request makes room. */
#include "serve/inside.h"

#include "base/sys.h"
#include "serve/openapi.h"
#include <arpa/inet.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECONDS_HEARTBEAT 15
#define SPARE 16 /* places that are kept free, by closing who dawdles */

/* ---- What it may take ------------------------------------------------------------------------ */
#define MIB ((uint64_t)1 << 20)
#define ALL_LEAST (20 * MIB)
#define ALL_MOST (160 * MIB)
#define CONNECTIONS_MOST 1100
#define SHARED (16 * MIB) /* a picture on its way into a database, and libpq with it */
#define CONNECTION_BYTES ((uint64_t)48 << 10) /* headers and a block of an answer */

/* An eighth of what the process may take, within bounds: half of it the ledger, a third
 * connections, the rest JSON at work (one body at a time, at the desk) and what is small. */
struct serve_limits serve_limits_of(uint64_t memory) {
    uint64_t all = memory ? memory / 8 : ALL_MOST;
    if (all < ALL_LEAST) all = ALL_LEAST;
    if (all > ALL_MOST) all = ALL_MOST;
    uint64_t connections = all / 3 / CONNECTION_BYTES;
    if (connections > CONNECTIONS_MOST) connections = CONNECTIONS_MOST;
    /* A picture that is sent: its file, 4 bytes a pixel, and the file that is made of it. */
    return (struct serve_limits){.memory = (size_t)(all / 2),
                                 .body = (size_t)(all / 10),
                                 .pixels = all / 10 / 4,
                                 .connections = (int)connections,
                                 .all = (size_t)all};
}

/* ---- Connections ----------------------------------------------------------------------------- */
/* Closes the one that has been at it the longest of those whose request is not whole yet. */
static void make_room(struct serve *s) {
    struct connection *first = NULL;
    for (struct connection *k = s->connections; k; k = k->next)
        if (!k->asked && (!first || k->since < first->since)) first = k;
    if (first) shutdown(first->fd, SHUT_RDWR);
}

static void on_connection(void *user, struct MHD_Connection *http, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    struct serve *s = user;
    struct connection *k = *context;
    pthread_mutex_lock(&s->list_mutex);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        if (s->connected >= s->limits.connections - SPARE) make_room(s);
        k = mem_alloc(s->config.mem, sizeof *k);
        if (k) {
            k->fd = MHD_get_connection_info(http, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
            k->address = client_address(
                MHD_get_connection_info(http, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr);
            k->since = sys_seconds();
            k->deadline = k->since + SECONDS_HEADERS;
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
    /* poll, not epoll: of a client that has said all and closes, the latter is told but once. */
    unsigned flags = MHD_USE_POLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_USE_ITC | (six ? MHD_USE_IPv6 : 0);
    return MHD_start_daemon(
        flags, s->port, NULL, NULL, gate_request, s, MHD_OPTION_SOCK_ADDR,
        six ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4, MHD_OPTION_NOTIFY_COMPLETED,
        gate_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)s->limits.connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, SERVE_HEADER_MOST, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_THREAD_POOL_SIZE, 2u, MHD_OPTION_END);
}

static bool is_loopback(const char *address) {
    return !strncmp(address, "127.", 4) || !strcmp(address, "::1");
}

/* Each connection is an open file. */
static void raise_files(struct serve *s) {
    struct rlimit files;
    rlim_t want = (rlim_t)s->limits.connections + 200;
    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur >= want) return;
    files.rlim_cur = files.rlim_max < want ? files.rlim_max : want;
    if (setrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur < want)
        s->limits.connections = files.rlim_cur > 400 ? (int)files.rlim_cur - 200 : 200;
}

static kadr_status listen_all(struct serve *s, kadr_error *err) {
    const char *bind = s->config.bind;
    raise_files(s);
    if (bind && !is_loopback(bind) && !s->config.token)
        return err_set(err, KADR_EUSAGE,
                       "bind %s: beyond this machine a --token or --token-file is needed", bind);
    s->daemon[0] = listen_at(s, bind ? bind : "127.0.0.1");
    if (!s->daemon[0])
        return err_set(err, KADR_EIO, "%s port %u: cannot listen there", bind ? bind : "127.0.0.1",
                       s->port);
    s->port = MHD_get_daemon_info(s->daemon[0], MHD_DAEMON_INFO_BIND_PORT)->port;
    if (!bind) s->daemon[1] = listen_at(s, "::1"); /* a machine may have no IPv6 */
    return KADR_OK;
}

static kadr_status start_threads(struct serve *s, kadr_error *err) {
    bool shared = store_is_shared(s->store);
    if (s->config.draws) s->draws = !pthread_create(&s->drawer, NULL, draw_run, s);
    if (s->config.listens) s->reaps = !pthread_create(&s->reaper, NULL, reap, s);
    if (shared) s->links = !pthread_create(&s->linker, NULL, link_run, s);
    bool all = s->draws == s->config.draws && s->reaps == s->config.listens && s->links == shared;
    return all ? KADR_OK : err_set(err, KADR_EOTHER, "cannot start a thread");
}

kadr_status serve_open(struct serve **out, const struct serve_config *config, kadr_error *err) {
    struct serve *s = mem_alloc(config->mem, sizeof *s);
    if (!s) return err_nomem(err, "the server", sizeof *s);
    s->config = *config;
    s->limits = serve_limits_of(config->draw.memory);
    if (!config->listens) s->limits.all = 0;
    s->config.draw.reserve = s->limits.all + (store_is_shared(config->store) ? SHARED : 0);
    s->rules = (struct admit_rules){.token = config->token,
                                    .beyond = config->bind && !is_loopback(config->bind),
                                    .hosts = config->hosts,
                                    .host_count = config->host_count,
                                    .origins = config->origins,
                                    .origin_count = config->origin_count,
                                    .body_most = s->limits.body};
    s->mem = mem_open(s->limits.memory);
    if (!s->mem) return mem_free(s), err_nomem(err, "the server", sizeof *s);
    s->store = config->store;
    s->port = config->port;
    s->started = s->busy = sys_seconds();
    s->events.mem = s->mem;
    /* Numbers go on where an earlier server ended. */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    s->events.first = s->events.next = (uint64_t)now.tv_sec * 1000;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_mutex_init(&s->list_mutex, NULL);
    pthread_cond_init(&s->work, NULL);
    link_name(s);
    kadr_status st = kadr_open(&s->config.draw, &s->ctx, err);
    if (!st && config->listens && !(s->api = openapi())) st = err_nomem(err, "the description", 0);
    if (!st && config->listens && !desks_open(s))
        st = err_set(err, KADR_EOTHER, "cannot start a thread");
    if (!st && config->listens) st = listen_all(s, err);
    if (!st) st = start_threads(s, err);
    if (st) serve_close(s);
    else *out = s;
    return st;
}

uint16_t serve_port(const struct serve *s) {
    return s->port;
}

const char *serve_worker(const struct serve *s) {
    return s->worker;
}

void serve_close(struct serve *s) {
    if (!s) return;
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    if (s->now.count) kadr_interrupt(s->ctx);
    pthread_cond_broadcast(&s->work);
    events_wake(s);
    pthread_mutex_unlock(&s->mutex);
    if (s->draws) pthread_join(s->drawer, NULL);
    if (s->reaps) pthread_join(s->reaper, NULL);
    if (s->links) pthread_join(s->linker, NULL);
    desks_close(s);
    models_close(s);
    pthread_mutex_lock(&s->mutex);
    events_wake(s);
    pthread_mutex_unlock(&s->mutex);
    for (int i = 0; i < 2; i++)
        if (s->daemon[i]) MHD_stop_daemon(s->daemon[i]);
    kadr_close(s->ctx);
    events_free(&s->events);
    json_decref((json_t *)s->api);
    mem_free(s->now.preview);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->mutex);
    pthread_mutex_destroy(&s->list_mutex);
    mem_close(s->mem);
    mem_free(s);
}
