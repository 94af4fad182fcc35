/* routes.c: kadr's own API, /api/v1, but for boards, casts and models. */
#include "serve/routes.h"

#include "base/sys.h"
#include "image/image.h"
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define SEARCH_MOST 1000 /* bytes */

/* ---- Jobs ------------------------------------------------------------------------------------ */
static void give_job(struct call *c, unsigned code, int64_t id) {
    kadr_error err;
    json_t *job;
    kadr_status st = store_job(c->serve->store, id, &job, &err);
    if (st) call_error(c, st, &err);
    else if (!job) call_fail(c, 404, "there is no job %" PRId64, id);
    else call_json(c, code, job);
}

void route_post_job(struct call *c) {
    int64_t id;
    json_t *json = call_body(c);
    if (!json) return;
    if (call_submit(c, json, &id)) give_job(c, 201, id);
    json_decref(json);
}

void route_get_job(struct call *c) {
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

void route_get_jobs(struct call *c) {
    kadr_error err;
    json_t *list;
    int64_t most = query_number(c, "limit", 100, 500);
    if (most < 1) return call_fail(c, 400, "limit: expected a whole number from 1 to 500");
    kadr_status st = store_jobs(c->serve->store, most, &list, &err);
    give_list(c, st, "jobs", list, &err);
}

void route_get_workers(struct call *c) {
    kadr_error err;
    json_t *list;
    kadr_status st = store_workers(c->serve->store, &list, &err);
    give_list(c, st, "workers", list, &err);
}

void route_cancel_job(struct call *c) {
    kadr_error err;
    bool was;
    if (!call_nothing(c)) return;
    kadr_status st = jobs_cancel(c->serve, c->number, &was, &err);
    if (st) call_error(c, st, &err);
    else give_job(c, 200, c->number);
}

void route_move_job(struct call *c) {
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

void route_get_preview(struct call *c) {
    struct serve *s = c->serve;
    struct image im = {0};
    kadr_error err;
    kadr_status st = KADR_OK;
    pthread_mutex_lock(&s->mutex);
    const struct share *one = now_share(&s->now, c->number);
    bool there = one && now_look(s, one, &im);
    pthread_mutex_unlock(&s->mutex);
    if (!there) st = store_shown(s->store, c->number, &c->reply, &err); /* drawn elsewhere */
    if (!st && !there && !c->reply.size) return call_fail(c, 404, "there is no preview");
    if (!st && there)
        st =
            image_encode(&im, s->mem, (struct image_style){IMAGE_PNG, 0}, NULL, 0, &c->reply, &err);
    image_free(&im);
    if (st) return call_error(c, st, &err);
    c->code = 200;
    c->type = "image/png";
}

void route_get_events(struct call *c) {
    struct serve *s = c->serve;
    const char *last = MHD_lookup_connection_value(c->http, MHD_HEADER_KIND, "Last-Event-ID");
    pthread_mutex_lock(&s->mutex);
    c->seen = s->events.next;
    if (last && strspn(last, "0123456789") == strlen(last) && strlen(last) < 19 && *last) {
        uint64_t told = strtoull(last, NULL, 10) + 1;
        if (told < c->seen) c->seen = told;
    }
    pthread_mutex_unlock(&s->mutex);
    c->stream = events_read;
    c->code = 200;
    c->type = "text/event-stream";
    /* The page reads what there is when the stream has begun, and misses nothing. */
    serve_publish(s, "alive", json_object());
}

/* ---- Pictures -------------------------------------------------------------------------------- */
void route_get_pictures(struct call *c) {
    kadr_error err;
    json_t *list;
    int64_t most = query_number(c, "limit", 60, 500);
    int64_t before = query_number(c, "before", 0, INT64_MAX);
    const char *search = call_query(c, "search");
    if (most < 1 || before < 0) return call_fail(c, 400, "limit, before: expected whole numbers");
    if (search && strlen(search) > SEARCH_MOST)
        return call_fail(c, 400, "search: expected at most %d letters", SEARCH_MOST);
    kadr_status st = store_pictures(c->serve->store, search, before, most, &list, &err);
    give_list(c, st, "pictures", list, &err);
}

void route_get_picture(struct call *c) {
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

void route_delete_picture(struct call *c) {
    kadr_error err;
    bool was;
    kadr_status st = store_delete_picture(c->serve->store, c->number, &was, &err);
    if (st) call_error(c, st, &err);
    else if (!was) call_fail(c, 404, "there is no picture %" PRId64, c->number);
    else call_json(c, 200, json_pack("{s:b}", "deleted", 1));
}

/* The settings inside a picture that was dropped on the page. */
void route_inspect(struct call *c) {
    struct arena a;
    struct image_text *texts;
    size_t count;
    kadr_error err;
    struct mem *m = mem_open(SERVE_UNPACK); /* texts, too, can be small and unpack to much */
    if (!m) return call_fail(c, 500, "no memory");
    arena_init(&a, m);
    kadr_status st =
        image_decode_texts(&a, c->body.data, c->body.size, "picture", &texts, &count, &err);
    if (st) call_error(c, KADR_EUSAGE, &err);
    else {
        const char *own = image_text_find(texts, count, "kadr");
        const char *others = image_text_find(texts, count, "parameters");
        json_t *settings = own ? json_loads(own, JSON_REJECT_DUPLICATES, NULL) : NULL;
        if (settings && !json_is_object(settings)) json_decref(settings), settings = NULL;
        call_json(c, 200,
                  json_pack("{s:o, s:s?}", "settings", settings ? settings : json_null(),
                            "parameters", others));
    }
    arena_free(&a);
    mem_close(m);
}

/* A picture that jobs can begin from. */
void route_post_upload(struct call *c) {
    struct image im = {0};
    char name[UPLOAD_NAME];
    kadr_error err;
    kadr_status st = upload_decode(c->serve, c->body.data, c->body.size, "picture", &im, &err);
    if (!st) st = upload_keep(c->serve, &im, name, &err);
    if (st) call_error(c, st, &err);
    else
        call_json(c, 201,
                  json_pack("{s:s, s:i, s:i}", "id", name, "width", im.width, "height", im.height));
    image_free(&im);
}

/* ---- What there is --------------------------------------------------------------------------- */
void route_get_health(struct call *c) {
    call_json(c, 200, json_pack("{s:s, s:s}", "status", "ok", "version", kadr_version()));
}

void route_get_metrics(struct call *c) {
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
void route_post_plan(struct call *c) {
    struct serve *s = c->serve;
    kadr_config config = s->config.draw;
    kadr_request *rq = NULL;
    kadr_context *ctx = NULL;
    kadr_error err;
    char *text = NULL;
    json_t *json = call_body(c), *plan = NULL;
    if (!json) return;
    config.threads = 1;
    kadr_status st = jobs_request(s, json, false, &rq, &err);
    if (!st) st = s->config.prepare(s->config.user, false, rq, &err);
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
