/* models.c: what can be drawn with: models that are here, the one that is chosen, models that are
 * downloaded, and what this machine can do. */
#include "serve/routes.h"

#include "base/sys.h"
#include "hub/pull.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KIND "settings" /* of the document that holds the choice, */
#define NAME "model"    /* and its name */
#define TELL_SECONDS 0.5

/* ---- What is here ---------------------------------------------------------------------------- */
json_t *routes_models(const struct serve *s) {
    json_t *list = NULL, *names = json_array(), *one;
    size_t i;
    if (s->config.models(s->config.user, false, &list, NULL)) return names;
    json_array_foreach(list, i, one) {
        const json_t *unfinished = json_object_get(one, "unfinished");
        if (!unfinished) json_array_append(names, json_object_get(one, "name"));
    }
    json_decref(list);
    return names;
}

/* The chosen model's name, or NULL. */
static kadr_status chosen(struct serve *s, json_t **name, int64_t *version, kadr_error *err) {
    json_t *kept = NULL;
    *name = NULL;
    kadr_status st = store_get(s->store, KIND, NAME, &kept, err);
    const json_t *value = json_object_get(json_object_get(kept, "body"), "model");
    if (json_is_string(value)) *name = json_incref((json_t *)value);
    *version = json_integer_value(json_object_get(kept, "version"));
    json_decref(kept);
    return st;
}

kadr_status models_choose(struct serve *s, json_t *request, kadr_error *err) {
    json_t *name = NULL;
    int64_t version;
    const json_t *own = json_object_get(request, "model");
    if (own && !json_is_null(own)) return KADR_OK;
    kadr_status st = chosen(s, &name, &version, err);
    if (!st && name && json_object_set(request, "model", name)) st = err_nomem(err, "a request", 0);
    json_decref(name);
    return st;
}

json_t *models_default(struct serve *s) {
    int64_t version;
    json_t *name = NULL, *names = NULL;
    if (chosen(s, &name, &version, NULL) || name) return name;
    names = routes_models(s);
    name = json_incref(json_array_get(names, 0));
    json_decref(names);
    return name;
}

/* Where models lie is nobody's business. */
void models_list(struct call *c) {
    kadr_error err;
    struct serve *s = c->serve;
    json_t *list = NULL, *name = NULL, *one;
    int64_t version;
    size_t i;
    kadr_status st = s->config.models(s->config.user, true, &list, &err);
    if (!st) st = chosen(s, &name, &version, &err);
    json_array_foreach(list, i, one) json_object_del(one, "path");
    if (!st && !name) name = json_incref(json_object_get(json_array_get(list, 0), "name"));
    if (st) json_decref(list), call_error(c, st, &err);
    else call_json(c, 200, json_pack("{s:o, s:O?}", "models", list, "model", name));
    json_decref(name);
}

/* {"model": NAME, or null for what the program was started with} */
kadr_status models_keep(struct serve *s, json_t *name, kadr_error *err) {
    struct buf text;
    json_t *before = NULL;
    int64_t version = 0;
    buf_init(&text, s->mem);
    json_t *wish = json_pack("{s:s, s:O*}", "prompt", "a", "model", name);
    kadr_request *rq = NULL;
    kadr_status st = jobs_request(s, wish, false, &rq, err); /* whether there is such a model */
    kadr_request_free(rq);
    if (!st) st = chosen(s, &before, &version, err);
    json_t *kept = json_pack("{s:O?}", "model", name);
    if (!st && !json_put(&text, kept, REQUEST_JSON_FLAGS)) st = err_nomem(err, "a choice", 0);
    if (!st) st = store_put(s->store, KIND, NAME, text.data, version, &version, err);
    if (!st) serve_publish(s, "model", json_incref(kept));
    json_decref(kept);
    json_decref(before);
    json_decref(wish);
    buf_free(&text);
    return st;
}

void models_put(struct call *c) {
    kadr_error err;
    json_t *body = call_body(c);
    if (!body) return;
    json_t *name = json_object_get(body, "model");
    kadr_status st = models_keep(c->serve, name, &err);
    if (st) call_error(c, st, &err);
    else call_json(c, 200, json_pack("{s:O?}", "model", name));
    json_decref(body);
}

/* ---- What the machine can do ----------------------------------------------------------------- */
/* Measured once; a drawing beside it would make the figures wrong. */
void models_doctor(struct call *c) {
    struct serve *s = c->serve;
    kadr_error err;
    kadr_context *ctx = NULL;
    kadr_request *rq = kadr_request_new();
    char *text = NULL;
    pthread_mutex_lock(&s->mutex);
    bool draws = s->now.count != 0;
    json_t *report = s->doctor ? json_incref(s->doctor) : NULL;
    pthread_mutex_unlock(&s->mutex);
    if (!report && draws) {
        kadr_request_free(rq);
        return call_fail(c, 409, "it cannot be measured while something is drawn; try again later");
    }
    kadr_status st = rq ? KADR_OK : err_nomem(&err, "a request", 0);
    if (!report) {
        if (!st) st = s->config.prepare(s->config.user, false, rq, &err);
        if (!st) st = kadr_open(&s->config.draw, &ctx, &err);
        if (!st) st = kadr_doctor(ctx, rq, &text, &err);
        if (!st) st = json_parse(text, strlen(text), "report", KADR_EOTHER, &report, &err);
        kadr_free(text);
        kadr_close(ctx);
        pthread_mutex_lock(&s->mutex);
        if (!st && !s->doctor) s->doctor = json_incref(report);
        pthread_mutex_unlock(&s->mutex);
    }
    kadr_request_free(rq);
    if (st) call_error(c, st, &err);
    else call_json(c, 200, json_deep_copy(report));
    json_decref(report);
}

/* ---- Downloads ------------------------------------------------------------------------------- */
static const char *const states[] = {"queued", "running", "done", "failed", "cancelled"};
enum { QUEUED, RUNNING, DONE, FAILED, CANCELLED };

static json_t *task_json(const struct pull_task *t) {
    json_t *json =
        json_pack("{s:I, s:s, s:s, s:s, s:I, s:I, s:f}", "id", (json_int_t)t->id, "name", t->name,
                  "state", states[t->state], "stage", t->stage, "bytes", (json_int_t)t->bytes,
                  "bytes_done", (json_int_t)t->bytes_done, "rate", t->rate);
    if (t->seconds_left >= 0) /* else it is not known */
        json_object_set_new(json, "seconds_left", json_real(t->seconds_left));
    if (*t->revision) json_object_set_new(json, "revision", json_string(t->revision));
    if (*t->error) json_object_set_new(json, "error", json_string(t->error));
    return json;
}

/* Mutex held. */
static void tell(struct serve *s, const struct pull_task *t) {
    json_t *json = task_json(t);
    events_publish(s, "pull", json);
    json_decref(json);
}

struct pulling {
    struct serve *serve;
    struct pull_task *task;
    double told;
};

static bool on_progress(void *user, const struct pull_progress *p) {
    struct pulling *at = user;
    struct serve *s = at->serve;
    struct pull_task *t = at->task;
    double now = sys_seconds();
    pthread_mutex_lock(&s->mutex);
    snprintf(t->stage, sizeof t->stage, "%s", p->stage);
    t->bytes = p->bytes;
    t->bytes_done = p->bytes_done;
    t->rate = p->rate;
    t->seconds_left = p->seconds_left;
    if (now - at->told > TELL_SECONDS) {
        tell(s, t);
        at->told = now;
    }
    bool end = t->cancelled || s->stopping;
    pthread_mutex_unlock(&s->mutex);
    return end;
}

static void pull_one(struct serve *s, struct pull_task *t) {
    struct pulling at = {.serve = s, .task = t};
    const struct pull_request rq = {.name = t->name,
                                    .revision = *t->revision ? t->revision : NULL,
                                    .progress = on_progress,
                                    .user = &at};
    struct pull_result result;
    struct arena a;
    kadr_error err = {0};
    arena_init(&a, s->mem);
    kadr_status st = pull(&a, &rq, &result, &err);
    arena_free(&a);
    pthread_mutex_lock(&s->mutex);
    t->state = !st ? DONE : t->cancelled ? CANCELLED : FAILED;
    if (t->state == FAILED) snprintf(t->error, sizeof t->error, "%s", err.message);
    tell(s, t);
    pthread_mutex_unlock(&s->mutex);
}

static void *pull_all(void *serve) {
    struct serve *s = serve;
    pthread_mutex_lock(&s->mutex);
    for (int i = 0; i < s->pulls.count && !s->stopping; i++) {
        struct pull_task *t = &s->pulls.task[i];
        if (t->state != QUEUED) continue;
        t->state = RUNNING;
        pthread_mutex_unlock(&s->mutex);
        pull_one(s, t);
        pthread_mutex_lock(&s->mutex);
    }
    s->pulls.runs = false;
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* Room for one more: of those that ended the oldest is forgotten, but not while the thread counts.
 * Mutex held. */
static struct pull_task *new_task(struct pulls *p) {
    if (p->count == PULLS_MOST && !p->runs) {
        memmove(p->task, p->task + 1, (PULLS_MOST - 1) * sizeof *p->task);
        p->count--;
    }
    if (p->count == PULLS_MOST) return NULL;
    struct pull_task *t = &p->task[p->count++];
    *t = (struct pull_task){.id = ++p->last, .seconds_left = -1};
    return t;
}

/* Mutex held. */
static bool start(struct serve *s) {
    struct pulls *p = &s->pulls;
    if (p->runs) return true;
    if (p->joinable) pthread_join(p->thread, NULL); /* it has ended */
    p->joinable = p->runs = !pthread_create(&p->thread, NULL, pull_all, s);
    return p->runs;
}

/* {"name": "OWNER/NAME", "revision": ...} */
void pulls_post(struct call *c) {
    struct serve *s = c->serve;
    json_t *body = call_body(c), *told = NULL;
    if (!body) return;
    const char *name = json_string_value(json_object_get(body, "name"));
    const char *revision = json_string_value(json_object_get(body, "revision"));
    if (!name || strlen(name) >= PULL_NAME || (revision && strlen(revision) >= PULL_NAME)) {
        json_decref(body);
        return call_fail(c, 400, "name: expected OWNER/NAME");
    }
    pthread_mutex_lock(&s->mutex);
    struct pull_task *t = new_task(&s->pulls);
    if (t) {
        snprintf(t->name, sizeof t->name, "%s", name);
        snprintf(t->revision, sizeof t->revision, "%s", revision ? revision : "");
        if (!start(s)) t->state = FAILED;
        told = task_json(t);
    }
    pthread_mutex_unlock(&s->mutex);
    json_decref(body);
    if (told) call_json(c, 201, told);
    else call_fail(c, 503, "too many downloads; try again when one has ended");
}

void pulls_list(struct call *c) {
    struct serve *s = c->serve;
    json_t *list = json_array();
    pthread_mutex_lock(&s->mutex);
    for (int i = s->pulls.count; i-- > 0;)
        json_array_append_new(list, task_json(&s->pulls.task[i]));
    pthread_mutex_unlock(&s->mutex);
    call_json(c, 200, json_pack("{s:o}", "pulls", list));
}

void pulls_cancel(struct call *c) {
    struct serve *s = c->serve;
    json_t *told = NULL;
    if (!call_nothing(c)) return;
    pthread_mutex_lock(&s->mutex);
    for (int i = 0; i < s->pulls.count; i++) {
        struct pull_task *t = &s->pulls.task[i];
        if (t->id != c->number) continue;
        t->cancelled = true;
        if (t->state == QUEUED) t->state = CANCELLED;
        told = task_json(t);
    }
    pthread_mutex_unlock(&s->mutex);
    if (told) call_json(c, 200, told);
    else call_fail(c, 404, "there is no download %" PRId64, c->number);
}

void models_close(struct serve *s) {
    if (s->pulls.joinable) pthread_join(s->pulls.thread, NULL);
    s->pulls.joinable = false;
    json_decref(s->doctor);
    s->doctor = NULL;
}
