/* routes.c: kadr's own API, /api/v1, and the page. */
#include "serve/routes.h"

#include "base/sys.h"
#include "image/image.h"
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

extern const char web_html[], web_css[], web_js[];
extern const size_t web_html_size, web_css_size, web_js_size;

static void give(struct call *c, const char *type, const char *data, size_t size) {
    c->code = 200;
    c->type = type;
    buf_add(&c->reply, data, size);
}

static void page_html(struct call *c) {
    give(c, "text/html; charset=utf-8", web_html, web_html_size);
}

static void page_css(struct call *c) {
    give(c, "text/css; charset=utf-8", web_css, web_css_size);
}

static void page_js(struct call *c) {
    give(c, "text/javascript; charset=utf-8", web_js, web_js_size);
}

/* ---- Jobs ------------------------------------------------------------------------------------ */
static void give_job(struct call *c, unsigned code, int64_t id) {
    kadr_error err;
    json_t *job;
    kadr_status st = store_job(c->serve->store, id, &job, &err);
    if (st) call_error(c, st, &err);
    else if (!job) call_fail(c, 404, "there is no job %" PRId64, id);
    else call_json(c, code, job);
}

static void post_job(struct call *c) {
    kadr_error err;
    int64_t id;
    json_t *json = call_body(c);
    if (!json) return;
    kadr_status st = jobs_submit(c->serve, json, &id, &err);
    if (st) call_error(c, st, &err);
    else give_job(c, 201, id);
    json_decref(json);
}

static void get_job(struct call *c) {
    give_job(c, 200, c->number);
}

static void give_list(struct call *c, kadr_status st, const char *name, json_t *list,
                      const kadr_error *err) {
    if (st) call_error(c, st, err);
    else call_json(c, 200, json_pack("{s:o}", name, list));
}

/* A number of the query, `otherwise` when it is absent; -1 when it is none within 0..most. */
static int64_t query_number(struct call *c, const char *name, int64_t otherwise, int64_t most) {
    const char *text = call_query(c, name);
    if (!text) return otherwise;
    size_t n = strlen(text);
    if (!n || n > 18 || strspn(text, "0123456789") != n) return -1;
    int64_t value = (int64_t)strtoll(text, NULL, 10);
    return value <= most ? value : -1;
}

static void get_jobs(struct call *c) {
    kadr_error err;
    json_t *list;
    int64_t most = query_number(c, "limit", 100, 500);
    if (most < 1) return call_fail(c, 400, "limit: expected a whole number from 1 to 500");
    kadr_status st = store_jobs(c->serve->store, most, &list, &err);
    give_list(c, st, "jobs", list, &err);
}

static void cancel_job(struct call *c) {
    kadr_error err;
    bool was;
    kadr_status st = jobs_cancel(c->serve, c->number, &was, &err);
    if (st) call_error(c, st, &err);
    else give_job(c, 200, c->number);
}

static void move_job(struct call *c) {
    kadr_error err;
    bool was = false;
    json_t *json = call_body(c);
    if (!json) return;
    json_t *before = json_object_get(json, "before");
    kadr_status st = KADR_OK;
    if (before && (!json_is_integer(before) || json_integer_value(before) < 0))
        call_fail(c, 400, "before: expected the number of a waiting job, or 0 for the end");
    else {
        st = store_move(c->serve->store, c->number, json_integer_value(before), &was, &err);
        if (st) call_error(c, st, &err);
        else if (!was) call_fail(c, 409, "both jobs must wait");
        else give_job(c, 200, c->number);
    }
    json_decref(json);
}

static void get_preview(struct call *c) {
    struct serve *s = c->serve;
    struct image im = {0};
    kadr_error err;
    kadr_status st = KADR_OK;
    pthread_mutex_lock(&s->mutex);
    const struct now *n = &s->now;
    bool there = n->job == c->number && n->preview;
    if (there) st = image_make(&im, s->mem, n->preview_width, n->preview_height, 3, &err);
    if (there && !st) memcpy(im.data, n->preview, image_bytes(&im));
    pthread_mutex_unlock(&s->mutex);
    if (!there) return call_fail(c, 404, "there is no preview");
    if (!st)
        st =
            image_encode(&im, s->mem, (struct image_style){IMAGE_PNG, 0}, NULL, 0, &c->reply, &err);
    image_free(&im);
    if (st) return call_error(c, st, &err);
    c->code = 200;
    c->type = "image/png";
}

static void get_events(struct call *c) {
    struct serve *s = c->serve;
    const char *last = MHD_lookup_connection_value(c->http, MHD_HEADER_KIND, "Last-Event-ID");
    pthread_mutex_lock(&s->mutex);
    c->seen = s->events.next;
    if (last && strspn(last, "0123456789") == strlen(last) && strlen(last) < 19 && *last) {
        uint64_t told = strtoull(last, NULL, 10) + 1;
        if (told < c->seen) c->seen = told;
    }
    pthread_mutex_unlock(&s->mutex);
    c->stream = true;
    c->code = 200;
    c->type = "text/event-stream";
    /* The page reads what there is when the stream has begun, and misses nothing. */
    serve_publish(s, "alive", json_object());
}

/* ---- Pictures -------------------------------------------------------------------------------- */
static void get_pictures(struct call *c) {
    kadr_error err;
    json_t *list;
    int64_t most = query_number(c, "limit", 60, 500);
    int64_t before = query_number(c, "before", 0, INT64_MAX);
    if (most < 1 || before < 0) return call_fail(c, 400, "limit, before: expected whole numbers");
    kadr_status st =
        store_pictures(c->serve->store, call_query(c, "search"), before, most, &list, &err);
    give_list(c, st, "pictures", list, &err);
}

static void get_picture(struct call *c) {
    kadr_error err;
    char *path;
    kadr_status st = store_picture_file(c->serve->store, c->number, &path, &err);
    if (st) return call_error(c, st, &err);
    c->file = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    mem_free(path);
    if (c->file < 0) return call_fail(c, 404, "there is no picture %" PRId64, c->number);
    c->code = 200;
    c->type = "image/png";
}

static void delete_picture(struct call *c) {
    kadr_error err;
    bool was;
    kadr_status st = store_delete_picture(c->serve->store, c->number, &was, &err);
    if (st) call_error(c, st, &err);
    else if (!was) call_fail(c, 404, "there is no picture %" PRId64, c->number);
    else call_json(c, 200, json_pack("{s:b}", "deleted", 1));
}

/* The settings inside a picture that was dropped on the page. */
static void inspect(struct call *c) {
    struct arena a;
    struct image_text *texts;
    size_t count;
    kadr_error err;
    arena_init(&a, c->serve->mem);
    kadr_status st =
        image_decode_texts(&a, c->body.data, c->body.size, "picture", &texts, &count, &err);
    if (st) call_error(c, KADR_EUSAGE, &err);
    else {
        const char *own = image_text_find(texts, count, "kadr");
        const char *others = image_text_find(texts, count, "parameters");
        json_t *settings = own ? json_loads(own, JSON_REJECT_DUPLICATES, NULL) : NULL;
        call_json(c, 200,
                  json_pack("{s:o, s:s?}", "settings", settings ? settings : json_null(),
                            "parameters", others));
    }
    arena_free(&a);
}

/* ---- What there is --------------------------------------------------------------------------- */
json_t *routes_models(const struct serve *s) {
    json_t *list = json_array();
    for (const char *at = s->config.models; list && *at;) {
        size_t n = strcspn(at, "\n");
        json_array_append_new(list, json_stringn(at, n));
        at += n + (at[n] == '\n');
    }
    return list;
}

static void get_models(struct call *c) {
    call_json(c, 200, json_pack("{s:o}", "models", routes_models(c->serve)));
}

static void get_health(struct call *c) {
    call_json(c, 200, json_pack("{s:s, s:s}", "status", "ok", "version", kadr_version()));
}

static void get_metrics(struct call *c) {
    struct serve *s = c->serve;
    kadr_error err;
    json_t *counts = NULL, *value;
    const char *key;
    kadr_status st = store_counts(s->store, &counts, &err);
    if (st) return call_error(c, st, &err);
    buf_puts(&c->reply, "# TYPE kadr_jobs gauge\n");
    json_object_foreach(counts, key, value) {
        if (strcmp(key, "pictures") != 0)
            buf_printf(&c->reply, "kadr_jobs{state=\"%s\"} %" JSON_INTEGER_FORMAT "\n", key,
                       json_integer_value(value));
    }
    buf_printf(&c->reply, "# TYPE kadr_pictures gauge\nkadr_pictures %" JSON_INTEGER_FORMAT "\n",
               json_integer_value(json_object_get(counts, "pictures")));
    pthread_mutex_lock(&s->list_mutex);
    buf_printf(&c->reply,
               "# TYPE kadr_connections gauge\nkadr_connections %d\n"
               "# TYPE kadr_requests_total counter\nkadr_requests_total %" PRIu64 "\n",
               s->connected, s->answered);
    pthread_mutex_unlock(&s->list_mutex);
    buf_printf(&c->reply, "# TYPE kadr_memory_bytes gauge\nkadr_memory_bytes %" PRIu64 "\n",
               sys_memory_now());
    json_decref(counts);
    c->code = 200;
    c->type = "text/plain; version=0.0.4";
}

/* Plans with a context of its own: the other one may be drawing. */
static void post_plan(struct call *c) {
    struct serve *s = c->serve;
    kadr_config config = s->config.draw;
    kadr_request *rq = NULL;
    kadr_context *ctx = NULL;
    kadr_error err;
    char *text = NULL;
    json_t *json = call_body(c), *plan = NULL;
    if (!json) return;
    config.threads = 1;
    kadr_status st = jobs_request(s, json, &rq, &err);
    if (!st) st = s->config.prepare(s->config.user, rq, &err);
    if (!st) st = kadr_open(&config, &ctx, &err);
    if (!st) st = kadr_plan(ctx, &rq, 1, &text, &err);
    if (!st) st = json_parse(text, strlen(text), "plan", KADR_EOTHER, &plan, &err);
    if (st) call_error(c, st, &err);
    else call_json(c, 200, plan);
    kadr_free(text);
    kadr_close(ctx);
    kadr_request_free(rq);
    json_decref(json);
}

/* ---- The table ------------------------------------------------------------------------------- */
static const struct route route_table[] = {
    {"GET", "/", BODY_NONE, true, page_html},
    {"GET", "/kadr.css", BODY_NONE, true, page_css},
    {"GET", "/kadr.js", BODY_NONE, true, page_js},
    {"GET", "/api/v1/health", BODY_NONE, true, get_health},
    {"GET", "/api/v1/metrics", BODY_NONE, false, get_metrics},
    {"GET", "/api/v1/models", BODY_NONE, false, get_models},
    {"GET", "/api/v1/events", BODY_NONE, false, get_events},
    {"GET", "/api/v1/jobs", BODY_NONE, false, get_jobs},
    {"POST", "/api/v1/jobs", BODY_JSON, false, post_job},
    {"GET", "/api/v1/jobs/*", BODY_NONE, false, get_job},
    {"GET", "/api/v1/jobs/*/preview", BODY_NONE, false, get_preview},
    {"POST", "/api/v1/jobs/*/cancel", BODY_JSON, false, cancel_job},
    {"POST", "/api/v1/jobs/*/move", BODY_JSON, false, move_job},
    {"POST", "/api/v1/plan", BODY_JSON, false, post_plan},
    {"GET", "/api/v1/pictures", BODY_NONE, false, get_pictures},
    {"GET", "/api/v1/pictures/*", BODY_NONE, false, get_picture},
    {"DELETE", "/api/v1/pictures/*", BODY_NONE, false, delete_picture},
    {"POST", "/api/v1/inspect", BODY_PICTURE, false, inspect},
    {"POST", "/v1/images/generations", BODY_JSON, false, openai_generate},
    {"GET", "/v1/models", BODY_NONE, false, openai_models},
};

/* Whether `path` is that of a route; "*" stands for up to 18 digits. */
static bool matches(const char *pattern, const char *path, int64_t *number) {
    for (; *pattern; pattern++) {
        if (*pattern != '*') {
            if (*path++ != *pattern) return false;
            continue;
        }
        size_t n = strspn(path, "0123456789");
        if (!n || n > 18) return false;
        *number = (int64_t)strtoll(path, NULL, 10);
        path += n;
    }
    return !*path;
}

const struct route *route_find(const char *method, const char *path, int64_t *number,
                               bool *other_method) {
    for (size_t i = 0; i < sizeof route_table / sizeof *route_table; i++) {
        const struct route *r = &route_table[i];
        if (!matches(r->path, path, number)) continue;
        if (!strcmp(r->method, method)) return r;
        *other_method = true;
    }
    return NULL;
}
