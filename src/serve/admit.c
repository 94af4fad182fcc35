/* admit.c: see admit.h. In this order: form (one Content-Length, no transfer coding beside it),
 * Host (a page of another name that resolves to this machine is refused), Origin, token, route,
 * kind of body, size of body. */
#include "serve/admit.h"

#include "serve/inside.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool only(const char *text, const char *letters) {
    return text[strspn(text, letters)] == 0;
}

#define DIGITS "0123456789"

/* ---- Host ------------------------------------------------------------------------------------ */
/* Name or address of "name:port", "[::1]:port". */
static size_t host_length(const char *host) {
    return *host == '[' ? strcspn(host, "]") + (strchr(host, ']') != NULL) : strcspn(host, ":");
}

static bool is_address(const char *host, size_t n) {
    char address[64];
    struct in6_addr parsed;
    bool six = *host == '[';
    if (n < 3 || n >= sizeof address || (six && host[n - 1] != ']')) return false;
    snprintf(address, sizeof address, "%.*s", (int)(six ? n - 2 : n), host + six);
    return inet_pton(six ? AF_INET6 : AF_INET, address, &parsed) == 1;
}

static bool known_host(const struct admit_rules *rules, const char *host) {
    static const char *const own[] = {"localhost", "127.0.0.1", "[::1]"};
    size_t n = host_length(host);
    if (host[n] && (host[n] != ':' || !only(host + n + 1, DIGITS))) return false;
    for (size_t i = 0; i < 3; i++)
        if (n == strlen(own[i]) && !strncasecmp(host, own[i], n)) return true;
    for (size_t i = 0; i < rules->host_count; i++)
        if (n == strlen(rules->hosts[i]) && !strncasecmp(host, rules->hosts[i], n)) return true;
    /* Bound elsewhere a token is asked for; an address as such cannot be rebound. */
    return rules->beyond && is_address(host, n);
}

/* ---- Origin ---------------------------------------------------------------------------------- */
static bool is_own_origin(const char *origin, const char *host) {
    if (!strncmp(origin, "http://", 7)) return !strcasecmp(origin + 7, host);
    return !strncmp(origin, "https://", 8) && !strcasecmp(origin + 8, host);
}

static bool is_friend(const struct admit_rules *rules, const char *origin) {
    for (size_t i = 0; i < rules->origin_count; i++)
        if (!strcmp(origin, rules->origins[i])) return true;
    return false;
}

/* A browser says where a page that changes something comes from, even where it sends no Origin. */
static bool is_foreign_site(const struct admit_head *h, bool reads) {
    return !reads && h->site && strcmp(h->site, "same-origin") != 0 && strcmp(h->site, "none") != 0;
}

/* ---- Token ----------------------------------------------------------------------------------- */
static bool same_secret(const char *a, size_t n, const char *b) {
    size_t m = strlen(b);
    unsigned differ = n != m;
    for (size_t i = 0; i < n; i++) differ |= (unsigned)(a[i] ^ b[m ? i % m : 0]);
    return !differ;
}

/* "name:token" in base64, as clients send that know only names and passwords. */
static bool is_basic(const char *coded, const char *token) {
    char text[512];
    size_t size = strlen(coded), n = SIZE_MAX;
    if (size / 4 * 3 + 3 <= sizeof text) n = buf_unbase64(coded, size, text);
    const char *colon = n == SIZE_MAX ? NULL : memchr(text, ':', n);
    return colon && same_secret(colon + 1, n - (size_t)(colon + 1 - text), token);
}

static bool has_token(const char *token, const struct admit_head *h) {
    const char *given = h->authorization;
    if (!token) return true;
    if (given && !strncasecmp(given, "Bearer ", 7))
        return same_secret(given + 7, strlen(given + 7), token);
    if (given && !strncasecmp(given, "Basic ", 6)) return is_basic(given + 6, token);
    return h->cookie && same_secret(h->cookie, strlen(h->cookie), token);
}

/* ---- Body ------------------------------------------------------------------------------------ */
static bool is_type(const char *type, const char *wanted) {
    size_t n = strlen(wanted);
    return type && !strncasecmp(type, wanted, n) && (!type[n] || type[n] == ';' || type[n] == ' ');
}

static bool fitting_body(const struct route *r, const char *type) {
    switch (r->body) {
    case BODY_JSON:
    case BODY_LARGE: return is_type(type, "application/json");
    case BODY_PICTURE:
        return is_type(type, "image/png") || is_type(type, "image/jpeg") ||
               is_type(type, "image/webp");
    case BODY_FORM: return is_type(type, "multipart/form-data");
    case BODY_NONE: break;
    }
    return !type || is_type(type, "application/json");
}

static bool is_ambiguous(const struct admit_head *h) {
    return h->lengths + h->codings > 1 || h->hosts > 1 || h->origins > 1 || h->types > 1 ||
           (h->length && (!*h->length || !only(h->length, DIGITS))) ||
           (h->coding && strcasecmp(h->coding, "chunked") != 0);
}

static bool is_too_long(const struct route *r, const char *length, size_t most) {
    return length && (strlen(length) > 18 || strtoull(length, NULL, 10) > route_body_most(r, most));
}

static struct admission refused(struct admission a, unsigned code, const char *why) {
    a.code = code;
    a.why = why;
    return a;
}

struct admission admit(const struct admit_rules *rules, const struct admit_head *h) {
    struct admission a = {0};
    bool reads = !strcmp(h->method, "GET") || !strcmp(h->method, "HEAD");
    bool asks = !strcmp(h->method, "OPTIONS"), other = false;
    a.route = route_find(reads ? "GET" : h->method, h->path, &a.place, &other);
    if (is_ambiguous(h)) return refused(a, 400, "ambiguous request");
    if (!h->host || !known_host(rules, h->host))
        return refused(a, 403, "this server is not known by that name (kadr serve --host)");
    if (h->origin && is_friend(rules, h->origin)) a.origin = h->origin;
    else if ((h->origin && !is_own_origin(h->origin, h->host)) || is_foreign_site(h, reads))
        return refused(a, 403, "a page of another origin may not do this (kadr serve --cors)");
    if (asks && a.origin) return refused(a, 204, "");
    if (!(a.route && a.route->how & ROUTE_OPEN) && !has_token(rules->token, h))
        return refused(a, 401, "a token is needed: Authorization: Bearer TOKEN");
    if (!a.route && other) return refused(a, 405, "there is no such method for this address");
    if (!a.route) return refused(a, 404, "there is nothing at this address");
    if (!fitting_body(a.route, h->type)) return refused(a, 415, "expected another Content-Type");
    if (is_too_long(a.route, h->length, rules->body_most))
        return refused(a, 413, "the body is too large");
    return a;
}
