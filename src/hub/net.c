/* net.c: see net.h. Redirects are followed here and not by libcurl: each place is looked at first,
 * and gets the token only when it is the hub. */
#include "hub/net.h"
#include "base/sys.h"
#include "hub/curl.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOPS_MOST 8
#define TRIES_MOST 5
#define FIRST_PAUSE 0.5 /* seconds; doubles with each try */
#define LONGEST_PAUSE 300.0
#define HEADERS_MOST ((size_t)64 << 10)
#define SPOILED_MOST ((size_t)64 << 10) /* of the body of an error */
#define BLOCK 131072L                   /* bytes that libcurl hands over at most */

struct origin {
    char scheme[8], host[256], port[8];
};

struct net_wire {
    struct net *net;
    struct net_call *call;
    CURL *easy; /* NULL: waits until `due` */
    struct curl_slist *headers;
    struct arena arena; /* the urls of redirects */
    const char *url;    /* where it is asked now */
    int hops, tries;
    double due;
    char tag[NET_TAG]; /* of what was received so far, for If-Range */
    char text[CURL_ERROR_SIZE];
    /* of the response that comes in */
    long code;
    size_t header_bytes, spoiled;
    double pause; /* Retry-After; negative: none */
    bool has_length, ranged, wanted, refused;
    uint64_t length, range_from, range_size;
};

struct net {
    struct mem *mem;
    struct curl curl;
    CURLM *multi;
    struct net_config config;
    struct origin origin;
    bool local, answered;
    struct net_wire *wire[NET_CALLS];
};

/* ---- Places ---------------------------------------------------------------------------------- */
static bool get_part(const struct curl *c, CURLU *u, CURLUPart part, char *to, size_t size) {
    char *text = NULL;
    bool ok = !c->curl_url_get(u, part, &text, CURLU_DEFAULT_PORT) && strlen(text) < size;
    if (ok) memcpy(to, text, strlen(text) + 1);
    c->curl_free(text);
    return ok;
}

static bool read_origin(const struct curl *c, const char *url, struct origin *to) {
    char *user = NULL;
    CURLU *u = c->curl_url();
    bool ok = u && !c->curl_url_set(u, CURLUPART_URL, url, 0) &&
              get_part(c, u, CURLUPART_SCHEME, to->scheme, sizeof to->scheme) &&
              get_part(c, u, CURLUPART_HOST, to->host, sizeof to->host) &&
              get_part(c, u, CURLUPART_PORT, to->port, sizeof to->port) &&
              c->curl_url_get(u, CURLUPART_USER, &user, 0); /* none may be in it */
    c->curl_free(user);
    c->curl_url_cleanup(u);
    return ok;
}

static bool is_same(const struct origin *a, const struct origin *b) {
    return !strcmp(a->scheme, b->scheme) && !strcasecmp(a->host, b->host) &&
           !strcmp(a->port, b->port);
}

static bool is_loopback(const char *host) {
    struct in_addr v4;
    if (!strcasecmp(host, "localhost") || !strcmp(host, "[::1]")) return true;
    return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static bool is_allowed(const struct net *net, const struct origin *o) {
    if (!strcmp(o->scheme, "https")) return true;
    return net->local && !strcmp(o->scheme, "http") && is_loopback(o->host);
}

char *net_escape(struct arena *a, const char *text, bool slashes) {
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~";
    char *out = arena_alloc(a, 3 * strlen(text) + 1), *to = out;
    for (; out && *text; text++) {
        if (strchr(plain, *text) || (slashes && *text == '/')) *to++ = *text;
        else to += snprintf(to, 4, "%%%02X", (unsigned char)*text);
    }
    return out;
}

/* ---- What comes in --------------------------------------------------------------------------- */
/* The value of a header if it has that name, else NULL; `line` ends with its NUL. */
static const char *value_of(const char *line, const char *name) {
    size_t n = strlen(name);
    if (strncasecmp(line, name, n) != 0 || line[n] != ':') return NULL;
    line += n + 1;
    return line + strspn(line, " \t");
}

static bool read_number(const char *text, uint64_t *out) {
    char *end;
    if (*text < '0' || *text > '9' || strlen(text) > 18) return false;
    *out = strtoull(text, &end, 10);
    return *end == 0;
}

static void keep(char *to, size_t size, const char *value, bool first) {
    if ((first && *to) || strlen(value) >= size) return;
    memcpy(to, value, strlen(value) + 1);
}

/* "bytes 100-199/200" */
static void read_range(struct net_wire *w, const char *value) {
    uint64_t from = 0, last = 0, size = 0;
    char end;
    w->ranged = sscanf(value, "bytes %18" SCNu64 "-%18" SCNu64 "/%18" SCNu64 "%c", &from, &last,
                       &size, &end) == 3 &&
                from <= last && last < size;
    w->range_from = from;
    w->range_size = size;
}

static void read_header(struct net_wire *w, const char *line) {
    struct net_answer *a = &w->call->answer;
    const char *v;
    uint64_t n;
    if ((v = value_of(line, "etag"))) keep(a->etag, sizeof a->etag, v, false);
    else if ((v = value_of(line, "x-linked-etag")))
        keep(a->linked_etag, sizeof a->linked_etag, v, true);
    else if ((v = value_of(line, "x-repo-commit"))) keep(a->commit, sizeof a->commit, v, true);
    else if ((v = value_of(line, "x-error-code"))) keep(a->error, sizeof a->error, v, false);
    else if ((v = value_of(line, "x-linked-size")) && read_number(v, &n) && !a->has_size) {
        a->has_size = true;
        a->size = n;
    } else if ((v = value_of(line, "content-length"))) w->has_length = read_number(v, &w->length);
    else if ((v = value_of(line, "content-range"))) read_range(w, v);
    else if ((v = value_of(line, "retry-after")) && read_number(v, &n)) w->pause = (double)n;
}

static void refuse(struct net_wire *w, const char *what) {
    struct net_call *c = w->call;
    w->refused = true;
    c->status = err_set(&c->error, KADR_EIO, "%s: %s", c->what, what);
}

/* The headers are complete: whether the body is wanted, and where it begins. */
static bool begin_body(struct net_wire *w) {
    struct net_call *c = w->call;
    uint64_t at = 0;
    w->wanted = !c->head && (w->code == 200 || w->code == 206);
    if (!w->wanted) return true;
    if (w->code == 206) {
        at = w->range_from;
        if (!w->ranged || at != c->from || (c->has_size && w->range_size != c->size))
            refuse(w, "the server sends another part than it was asked for");
    } else if (c->has_size && w->has_length && w->length != c->size) {
        refuse(w, "the server announces another length than the hub");
    }
    if (w->refused) return false;
    memcpy(w->tag, c->answer.etag, sizeof w->tag);
    c->from = at;
    if (!c->begin || c->begin(c, at)) return true;
    w->refused = true;
    return false;
}

static size_t on_header(char *data, size_t one, size_t size, void *user) {
    struct net_wire *w = user;
    char line[1024];
    size_t n = size;
    (void)one;
    if ((w->header_bytes += size) > HEADERS_MOST) {
        refuse(w, "the server sends headers without end");
        return 0;
    }
    while (n && (data[n - 1] == '\r' || data[n - 1] == '\n')) n--;
    if (n >= sizeof line) return size; /* none that is looked for is so long */
    memcpy(line, data, n);
    line[n] = 0;
    if (strlen(line) != n) return size;
    if (!strncmp(line, "HTTP/", 5)) {
        const char *code = strchr(line, ' ');
        w->code = code ? strtol(code, NULL, 10) : 0;
        w->has_length = w->ranged = false;
        w->call->answer.etag[0] = 0;
        w->pause = -1;
    } else if (n) read_header(w, line);
    else if (w->code >= 200 && !begin_body(w)) return 0;
    return size;
}

static size_t on_body(char *data, size_t one, size_t size, void *user) {
    struct net_wire *w = user;
    struct net_call *c = w->call;
    (void)one;
    if (!w->wanted) return (w->spoiled += size) > SPOILED_MOST ? 0 : size;
    if (c->has_size && size > c->size - c->from) {
        refuse(w, "the server sends more than the hub announced");
        return 0;
    }
    if (!c->body(c, data, size)) {
        w->refused = true;
        return 0;
    }
    c->from += size;
    w->tries = 0;
    return size;
}

/* ---- Asking ---------------------------------------------------------------------------------- */
static void end_request(struct net_wire *w) {
    struct net *net = w->net;
    if (w->easy) {
        net->curl.curl_multi_remove_handle(net->multi, w->easy);
        net->curl.curl_easy_cleanup(w->easy);
    }
    net->curl.curl_slist_free_all(w->headers);
    w->easy = NULL;
    w->headers = NULL;
}

static bool add_header(struct net_wire *w, const char *line) {
    struct curl_slist *more = line ? w->net->curl.curl_slist_append(w->headers, line) : NULL;
    if (more) w->headers = more;
    return more;
}

static bool put_headers(struct net_wire *w, const struct origin *o) {
    const struct net *net = w->net;
    const struct net_call *c = w->call;
    bool ok = add_header(w, "Accept-Encoding: identity");
    if (ok && net->config.token && is_same(o, &net->origin))
        ok = add_header(w, arena_printf(&w->arena, "Authorization: Bearer %s", net->config.token));
    if (ok && c->from && !c->head)
        ok = add_header(w, arena_printf(&w->arena, "Range: bytes=%" PRIu64 "-", c->from));
    /* A weak tag does not tell whether bytes are the same. */
    if (ok && c->from && !c->head && w->tag[0] == '"')
        ok = add_header(w, arena_printf(&w->arena, "If-Range: %s", w->tag));
    return ok;
}

static void set_options(struct net_wire *w) {
    const struct curl *c = &w->net->curl;
    const char *roots = getenv("SSL_CERT_FILE");
    long stall = w->net->config.stall;
    if (w->call->head) c->curl_easy_setopt(w->easy, CURLOPT_TIMEOUT, 4 * stall);
    if (w->net->local) c->curl_easy_setopt(w->easy, CURLOPT_NOPROXY, "*");
    c->curl_easy_setopt(w->easy, CURLOPT_URL, w->url);
    c->curl_easy_setopt(w->easy, CURLOPT_NOSIGNAL, 1L);
    c->curl_easy_setopt(w->easy, CURLOPT_FOLLOWLOCATION, 0L);
    c->curl_easy_setopt(w->easy, CURLOPT_USERAGENT, "kadr/" KADR_VERSION);
    c->curl_easy_setopt(w->easy, CURLOPT_HTTPHEADER, w->headers);
    c->curl_easy_setopt(w->easy, CURLOPT_NOBODY, w->call->head ? 1L : 0L);
    c->curl_easy_setopt(w->easy, CURLOPT_CONNECTTIMEOUT, stall);
    c->curl_easy_setopt(w->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    c->curl_easy_setopt(w->easy, CURLOPT_LOW_SPEED_TIME, stall);
    c->curl_easy_setopt(w->easy, CURLOPT_BUFFERSIZE, BLOCK);
    c->curl_easy_setopt(w->easy, CURLOPT_HEADERFUNCTION, on_header);
    c->curl_easy_setopt(w->easy, CURLOPT_HEADERDATA, w);
    c->curl_easy_setopt(w->easy, CURLOPT_WRITEFUNCTION, on_body);
    c->curl_easy_setopt(w->easy, CURLOPT_WRITEDATA, w);
    c->curl_easy_setopt(w->easy, CURLOPT_ERRORBUFFER, w->text);
    c->curl_easy_setopt(w->easy, CURLOPT_PRIVATE, w);
    if (roots && *roots) c->curl_easy_setopt(w->easy, CURLOPT_CAINFO, roots);
}

/* False: it has come to its end, with the error. */
static bool ask(struct net_wire *w) {
    struct net *net = w->net;
    struct net_call *c = w->call;
    struct origin o;
    if (!read_origin(&net->curl, w->url, &o) || !is_allowed(net, &o)) {
        c->status = err_set(&c->error, KADR_EIO,
                            "%s: the server leads to %.200s; expected an https:// address", c->what,
                            w->url);
        return false;
    }
    w->code = 0;
    w->header_bytes = w->spoiled = 0;
    w->wanted = w->refused = false;
    w->text[0] = 0;
    c->answer.moved = !is_same(&o, &net->origin);
    w->easy = net->curl.curl_easy_init();
    if (!w->easy || !put_headers(w, &o)) {
        c->status = err_nomem(&c->error, "a request", 0);
        return false;
    }
    set_options(w);
    if (!net->curl.curl_multi_add_handle(net->multi, w->easy)) return true;
    c->status = err_nomem(&c->error, "a request", 0);
    return false;
}

/* ---- How it ended ---------------------------------------------------------------------------- */
static bool is_passing(CURLcode code) {
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
    }
}

static bool is_passing_status(long code) {
    return code == 408 || code == 416 || code == 429 || code == 500 || code == 502 || code == 503 ||
           code == 504;
}

/* Asks again later, from the beginning of the chain: addresses of storage expire. False: not any
 * more, with the error. */
static bool again(struct net_wire *w, const char *why) {
    struct net_call *c = w->call;
    double pause = FIRST_PAUSE * (1 << w->tries);
    end_request(w);
    if (w->pause >= 0) pause = w->pause;
    if (++w->tries >= TRIES_MOST || pause > LONGEST_PAUSE) {
        c->status = err_set(&c->error, KADR_EIO,
                            "%s: %s; what has come is kept: run the same again later to go on",
                            c->what, why);
        return false;
    }
    w->url = c->url;
    w->hops = 0;
    w->due = sys_seconds() + pause;
    return true;
}

/* Follows a redirect. False: it has come to its end. */
static bool follow(struct net_wire *w) {
    struct net_call *c = w->call;
    char *to = NULL;
    struct origin o;
    w->net->curl.curl_easy_getinfo(w->easy, CURLINFO_REDIRECT_URL, &to);
    w->url = to ? arena_strdup(&w->arena, to) : NULL;
    end_request(w);
    if (!w->url || ++w->hops > HOPS_MOST) {
        c->status = err_set(&c->error, KADR_EIO, "%s: the server redirects %s", c->what,
                            w->url ? "without end" : "to nowhere");
        return false;
    }
    if (c->head && read_origin(&w->net->curl, w->url, &o) && is_allowed(w->net, &o) &&
        !is_same(&o, &w->net->origin)) {
        c->answer.moved = true;
        return false; /* the hub has said all */
    }
    return ask(w);
}

static bool fail_with(struct net_wire *w, const char *why) {
    struct net_call *c = w->call;
    c->status = err_set(&c->error, KADR_EIO, "%s: %s", c->what, why);
    return false;
}

/* A response is complete. True: the call goes on. */
static bool judge_status(struct net_wire *w) {
    struct net_call *c = w->call;
    char why[64];
    if (w->code >= 300 && w->code < 400 && w->code != 304) return follow(w);
    if (w->code == 200 || w->code == 206) {
        if (c->head && !c->answer.has_size && w->has_length) {
            c->answer.has_size = true;
            c->answer.size = w->length;
        }
        bool less = !c->head && c->has_size && c->from < c->size;
        return less ? again(w, "the server ends it too early") : false;
    }
    snprintf(why, sizeof why, "the server answers with status %ld", w->code);
    if (w->code == 416) {
        if (!c->from) return fail_with(w, why);
        c->from = 0;
    }
    return is_passing_status(w->code) ? again(w, why) : fail_with(w, why);
}

/* True: the call goes on. */
static bool judge(struct net_wire *w, CURLcode result) {
    struct net *net = w->net;
    struct net_call *c = w->call;
    bool first = !net->answered;
    net->answered = net->answered || w->code;
    c->answer.code = w->code;
    if (w->refused) {
        if (!c->status) c->status = c->error.status ? c->error.status : KADR_EIO;
        return false;
    }
    bool spoiled = result == CURLE_WRITE_ERROR && !w->wanted;
    if (result == CURLE_OK || spoiled) return judge_status(w);
    char why[CURL_ERROR_SIZE + 64];
    /* A hub that cannot be reached at all is not waited for. */
    bool hopeless =
        first && (result == CURLE_COULDNT_RESOLVE_HOST || result == CURLE_COULDNT_CONNECT ||
                  result == CURLE_COULDNT_RESOLVE_PROXY);
    snprintf(why, sizeof why, "%s%s", *w->text ? w->text : net->curl.curl_easy_strerror(result),
             hopeless ? "; is this machine online? (HF_ENDPOINT, https_proxy)" : "");
    return is_passing(result) && !hopeless ? again(w, why) : fail_with(w, why);
}

/* ---- All calls ------------------------------------------------------------------------------- */
static void free_wire(struct net_wire *w) {
    if (!w) return;
    end_request(w);
    arena_free(&w->arena);
    w->call->wire = NULL;
    mem_free(w);
}

kadr_status net_open(struct net **out, struct mem *m, const struct net_config *config,
                     kadr_error *err) {
    struct net *net = mem_alloc(m, sizeof *net);
    if (!net) return err_nomem(err, "the network", sizeof *net);
    net->mem = m;
    net->config = *config;
    kadr_status st = curl_load(&net->curl, err);
    if (st) {
        mem_free(net);
        return st;
    }
    bool known = read_origin(&net->curl, config->endpoint, &net->origin);
    net->local = known && is_loopback(net->origin.host);
    net->multi = net->curl.curl_multi_init();
    if (!known || !is_allowed(net, &net->origin))
        st = err_set(err, KADR_EUSAGE,
                     "HF_ENDPOINT: %s; expected https://HOST (http:// only for this machine)",
                     config->endpoint);
    else if (!net->multi) st = err_nomem(err, "the network", 0);
    if (st) net_close(net);
    else *out = net;
    return st;
}

void net_close(struct net *net) {
    if (!net) return;
    for (int i = 0; i < NET_CALLS; i++) free_wire(net->wire[i]);
    if (net->multi) net->curl.curl_multi_cleanup(net->multi);
    mem_free(net);
}

kadr_status net_start(struct net *net, struct net_call *call, kadr_error *err) {
    int free = 0;
    while (free < NET_CALLS && net->wire[free]) free++;
    struct net_wire *w = free < NET_CALLS ? mem_alloc(net->mem, sizeof *w) : NULL;
    if (!w) return err_nomem(err, "a request", sizeof *w);
    *w = (struct net_wire){.net = net, .call = call, .url = call->url, .pause = -1};
    arena_init(&w->arena, net->mem);
    if (call->tag) keep(w->tag, sizeof w->tag, call->tag, false);
    call->wire = w;
    call->status = KADR_OK;
    call->error = (kadr_error){0};
    call->answer = (struct net_answer){0};
    net->wire[free] = w;
    return KADR_OK;
}

static struct net_call *finish(struct net *net, struct net_wire *w) {
    struct net_call *call = w->call;
    for (int i = 0; i < NET_CALLS; i++)
        if (net->wire[i] == w) net->wire[i] = NULL;
    free_wire(w);
    return call;
}

/* What libcurl has done. */
static struct net_call *take_finished(struct net *net) {
    CURLMsg *message;
    int left;
    while ((message = net->curl.curl_multi_info_read(net->multi, &left))) {
        struct net_wire *w = NULL;
        CURLcode result = message->data.result;
        if (message->msg != CURLMSG_DONE) continue;
        net->curl.curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &w);
        if (!judge(w, result)) return finish(net, w);
    }
    return NULL;
}

struct net_call *net_next(struct net *net, double seconds) {
    double end = sys_seconds() + seconds;
    for (;;) {
        double now = sys_seconds(), wake = end;
        int running;
        for (int i = 0; i < NET_CALLS; i++) {
            struct net_wire *w = net->wire[i];
            if (!w || w->easy) continue;
            if (w->due <= now && !ask(w)) return finish(net, w);
            if (w->due > now && w->due < wake) wake = w->due;
        }
        net->curl.curl_multi_perform(net->multi, &running);
        struct net_call *done = take_finished(net);
        if (done || now >= end) return done;
        int ms = (int)((wake - now) * 1000) + 1;
        net->curl.curl_multi_poll(net->multi, NULL, 0, ms, NULL);
    }
}
