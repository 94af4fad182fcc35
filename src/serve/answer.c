/* answer.c: what calls are answered with, and the headers that every answer has: what a browser may
 * do with it is decided here. */
#include "serve/inside.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
    /* OpenAI's clients read "error", AUTOMATIC1111's "detail". */
    call_json(c, code,
              json_pack("{s:{s:s, s:s, s:i}, s:s}", "error", "message", err.message, "type",
                        code < 500 ? "invalid_request_error" : "server_error", "code", (int)code,
                        "detail", err.message));
}

void error_hide(struct serve *s, kadr_error *err) {
    char *folder = store_file_path(s->store, ""), *at;
    size_t n = folder ? strlen(folder) : 0;
    while (folder && (at = strstr(err->message, folder))) memmove(at, at + n, strlen(at + n) + 1);
    mem_free(folder);
}

void call_error(struct call *c, kadr_status status, const kadr_error *err) {
    unsigned code = 500;
    if (status == KADR_EUSAGE) code = 400;
    else if (status == KADR_EMODEL) code = 404;
    else if (status == KADR_EMEMORY) code = 422;
    else if (status == KADR_EIO) code = 503; /* a full disk, a database that is away: later */
    kadr_error told = *err;
    error_hide(c->serve, &told);
    call_fail(c, code, "%s", told.message);
}

json_t *call_body(struct call *c) {
    kadr_error err;
    json_t *json = NULL;
    kadr_status st = json_parse(c->body.data, c->body.size, "body", KADR_EUSAGE, &json, &err);
    if (!st && !json_is_object(json))
        st = err_set(&err, KADR_EUSAGE, "body: expected a JSON object");
    /* jobs_request looks through a drawing's. */
    if (!st && c->route->takes && strcmp(c->route->takes, "Request") != 0)
        st = schema_check(c->serve->api, c->route->takes, json, &err);
    if (!st) return json;
    json_decref(json);
    call_error(c, st, &err);
    return NULL;
}

bool call_nothing(struct call *c) {
    json_t *json = call_body(c);
    json_decref(json);
    return json;
}

const char *call_query(struct call *c, const char *name) {
    return MHD_lookup_connection_value(c->http, MHD_GET_ARGUMENT_KIND, name);
}

static struct MHD_Response *response_of(struct call *c) {
    struct MHD_Response *r = NULL;
    if (c->stream) {
        r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, SERVE_BLOCK, c->stream, c, NULL);
    } else if (c->file >= 0) {
        off_t size = lseek(c->file, 0, SEEK_END);
        r = MHD_create_response_from_fd((uint64_t)size, c->file);
        if (r) c->file = -1; /* the response closes it */
    } else if (buf_ok(&c->reply)) {
        /* Its block becomes the response's. */
        size_t size = c->reply.size;
        char *data = size ? buf_take(&c->reply) : NULL;
        if (data) r = MHD_create_response_from_buffer_with_free_callback(size, data, mem_free);
        else if (!size) r = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        if (data && !r) mem_free(data);
    }
    return r;
}

/* A page of another origin may read the answer only where the server was told of it by name. */
static void add_origin(struct call *c, struct MHD_Response *r) {
    MHD_add_response_header(r, "Cross-Origin-Resource-Policy",
                            c->origin ? "cross-origin" : "same-origin");
    if (!c->origin) return;
    MHD_add_response_header(r, "Access-Control-Allow-Origin", c->origin);
    MHD_add_response_header(r, "Vary", "Origin");
    if (c->code != 204) return;
    MHD_add_response_header(r, "Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE");
    MHD_add_response_header(r, "Access-Control-Allow-Headers",
                            "Authorization, Content-Type, Last-Event-ID");
    MHD_add_response_header(r, "Access-Control-Max-Age", "600");
}

enum MHD_Result call_answer(struct call *c) {
    char methods[64];
    struct MHD_Response *r = response_of(c);
    if (!r) return MHD_NO;
    MHD_add_response_header(r, "Content-Type", c->type ? c->type : "application/json");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(r, "Content-Security-Policy", policy);
    MHD_add_response_header(r, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(r, "Cache-Control", "no-store");
    add_origin(c, r);
    if (c->saved_as) MHD_add_response_header(r, "Content-Disposition", c->saved_as);
    if (c->code == 401) MHD_add_response_header(r, "WWW-Authenticate", "Bearer");
    if (c->code == 429) MHD_add_response_header(r, "Retry-After", "1");
    if (c->code == 405) {
        route_methods(c->path, methods, sizeof methods);
        MHD_add_response_header(r, "Allow", methods);
    }
    enum MHD_Result done = MHD_queue_response(c->http, c->code, r);
    MHD_destroy_response(r);
    return done;
}
