/* clients.c: how much one client may ask for: requests a second, and jobs that wait. A client is an
 * address, of IPv6 its first half. Who asks how often is a table of fixed size; whose jobs wait is
 * in the store until they are over. */
#include "serve/inside.h"

#include "base/sys.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define BURST 10 /* seconds' worth of requests that may come at once */
#define CLIENT_NAME (2 * sizeof(((struct address *)0)->byte) + 1)

struct address client_address(const struct sockaddr *from) {
    struct address a = {0};
    if (from && from->sa_family == AF_INET)
        memcpy(a.byte, &((const struct sockaddr_in *)from)->sin_addr, 4);
    else if (from && from->sa_family == AF_INET6)
        memcpy(a.byte, &((const struct sockaddr_in6 *)from)->sin6_addr, sizeof a.byte);
    return a;
}

static bool same(struct address a, struct address b) {
    return !memcmp(a.byte, b.byte, sizeof a.byte);
}

/* Its place in the table, or the one that was asked for the longest time ago. */
static struct client *place_of(struct serve *s, struct address a) {
    struct client *oldest = s->clients;
    for (struct client *k = s->clients; k < s->clients + SERVE_CLIENTS; k++) {
        if (k->seen > 0 && same(k->address, a)) return k;
        if (k->seen < oldest->seen) oldest = k;
    }
    *oldest = (struct client){.address = a, .tokens = s->config.rate * BURST};
    return oldest;
}

bool client_may_ask(struct serve *s, struct address a) {
    double now = sys_seconds();
    if (!(s->config.rate > 0)) return true;
    pthread_mutex_lock(&s->list_mutex);
    struct client *k = place_of(s, a);
    if (k->seen > 0) k->tokens += (now - k->seen) * s->config.rate;
    if (k->tokens > s->config.rate * BURST) k->tokens = s->config.rate * BURST;
    k->seen = now;
    bool may = k->tokens >= 1;
    if (may) k->tokens -= 1;
    pthread_mutex_unlock(&s->list_mutex);
    return may;
}

/* ---- Jobs that wait -------------------------------------------------------------------------- */
/* What the store knows a client by. */
static const char *client_name(struct address a, char name[CLIENT_NAME]) {
    for (size_t i = 0; i < sizeof a.byte; i++) snprintf(name + 2 * i, 3, "%02x", a.byte[i]);
    return name;
}

/* Answers and gives true when so many more jobs may not wait. */
static bool is_full(struct call *c, int64_t more) {
    struct serve *s = c->serve;
    json_t *counts = NULL;
    char name[CLIENT_NAME];
    int64_t own = 0;
    kadr_error err;
    kadr_status st = store_counts(s->store, &counts, &err);
    int64_t queued = json_integer_value(json_object_get(counts, "queued"));
    json_decref(counts);
    if (!st)
        st = store_client_jobs(s->store, client_name(c->connection->address, name), &own, &err);
    if (st) call_error(c, st, &err);
    else if (queued + more > SERVE_QUEUE_MOST)
        call_fail(c, 429, "%lld jobs wait, and at most %d may: ask again when some are drawn",
                  (long long)queued, SERVE_QUEUE_MOST);
    else if (own + more > SERVE_CLIENT_QUEUE)
        call_fail(c, 429,
                  "%lld jobs of yours wait, and with these %lld there would be more than %d: draw "
                  "fewer panels at a time, or ask again when some are drawn",
                  (long long)own, (long long)more, SERVE_CLIENT_QUEUE);
    else return false;
    return true;
}

bool call_submit(struct call *c, json_t *json, int64_t *job) {
    kadr_error err;
    kadr_request *rq = NULL;
    kadr_status st = jobs_request(c->serve, json, false, &rq, &err);
    kadr_request_free(rq);
    if (st) return call_error(c, st, &err), false;
    return call_add(c, &(struct job_order){.request = json}, 1, job);
}

bool call_add(struct call *c, struct job_order *orders, size_t count, int64_t *jobs) {
    kadr_error err;
    char name[CLIENT_NAME];
    if (!count) return true;
    if (is_full(c, (int64_t)count)) return false;
    client_name(c->connection->address, name);
    for (size_t i = 0; i < count; i++) orders[i].client = name;
    kadr_status st = jobs_add(c->serve, orders, count, jobs, &err);
    if (st) call_error(c, st, &err);
    return !st;
}

size_t client_drawn(struct call *c, int64_t jobs[CLIENT_DRAWN]) {
    char name[CLIENT_NAME];
    size_t count;
    store_client_drawn(c->serve->store, client_name(c->connection->address, name), jobs,
                       CLIENT_DRAWN, &count, NULL);
    return count;
}
