/* jobs.c: requests from outside, and the thread that draws them one after the other. */
#include "serve/inside.h"

#include "base/sys.h"
#include <string.h>

#define COUNT_MOST 64
#define LEASE 86400 /* seconds: nobody else draws from this store */

/* ---- Requests -------------------------------------------------------------------------------- */
/* What clients may say: what decides the pixels, but nothing that names a file. */
static bool allowed(int id) {
    if (id < 0) return false;
    const kadr_option *o = request_option_at((enum option_id)id);
    if (id == OPTION_model || id == OPTION_count || id == OPTION_preset || id == OPTION_aspect)
        return true;
    return o->use & KADR_IN_SETTINGS && o->type != KADR_FILE && o->type != KADR_LIST;
}

static kadr_status set_fields(kadr_request *rq, const json_t *json, kadr_error *err) {
    static const struct request_origin origin = {.source = SOURCE_FLAG};
    const char *key;
    json_t *value;
    kadr_status st = KADR_OK;
    if (!json_is_object(json)) return err_set(err, KADR_EUSAGE, "expected an object");
    json_object_foreach((json_t *)json, key, value) {
        int id = request_option(key);
        if (!allowed(id))
            return err_set(err, KADR_EUSAGE, "unknown or not allowed field \"%.100s\"", key);
        st = request_set_json(rq, (enum option_id)id, value, &origin, err);
        if (st) return st;
    }
    return KADR_OK;
}

/* A name is no path. */
static kadr_status check_model(const kadr_request *rq, kadr_error *err) {
    const char *m = rq->model;
    if (m && (!*m || *m == '/' || *m == '.' || *m == '~' || strstr(m, "/.") || strlen(m) > 200))
        return err_set(err, KADR_EUSAGE, "model: expected a model's name");
    return KADR_OK;
}

/* What must fit together is looked at now, on a copy, and not when its turn has come. `json` gets
 * what is decided by that. */
static kadr_status check_whole(struct serve *s, const kadr_request *rq, json_t *json,
                               kadr_error *err) {
    kadr_request *copy = kadr_request_copy(rq);
    json_t *defaults = NULL;
    if (!copy) return err_nomem(err, "a request", 0);
    kadr_status st = s->config.prepare(s->config.user, copy, err);
    if (!st) st = request_model_defaults(request_model_path(copy), &defaults, err);
    if (!st) st = request_resolve(copy, defaults, request_preset_for(sys_memory_total()), err);
    if (!st && copy->count > COUNT_MOST)
        st = err_set(err, KADR_EUSAGE, "count: expected at most %d", COUNT_MOST);
    /* The seed is decided now: a drawing that is begun anew draws the same. */
    if (!st && (json_object_set_new(json, "seed", json_integer(copy->seed)) ||
                json_object_set_new(json, "count", json_integer(copy->count))))
        st = err_nomem(err, "a request", 0);
    json_decref(defaults);
    kadr_request_free(copy);
    return st;
}

kadr_status jobs_request(struct serve *s, json_t *json, kadr_request **out, kadr_error *err) {
    kadr_request *rq = kadr_request_new();
    if (!rq) return err_nomem(err, "a request", 0);
    kadr_status st = set_fields(rq, json, err);
    if (!st) st = check_model(rq, err);
    if (!st && (!rq->prompt || !*rq->prompt)) st = err_set(err, KADR_EUSAGE, "prompt: expected");
    if (!st) st = check_whole(s, rq, json, err);
    if (st) kadr_request_free(rq);
    else *out = rq;
    return st;
}

static void tell_job(struct serve *s, int64_t id) {
    json_t *job = NULL;
    if (!store_job(s->store, id, &job, NULL) && job) serve_publish(s, "job", job);
}

kadr_status jobs_submit(struct serve *s, json_t *json, int64_t *id, kadr_error *err) {
    kadr_request *rq = NULL;
    json_t *counts = NULL;
    struct buf text;
    buf_init(&text, s->mem);
    kadr_status st = jobs_request(s, json, &rq, err);
    if (!st) st = store_counts(s->store, &counts, err);
    if (!st && json_integer_value(json_object_get(counts, "queued")) >= SERVE_QUEUE_MOST)
        st = err_set(err, KADR_EMEMORY, "the queue is full: %d jobs wait", SERVE_QUEUE_MOST);
    if (!st && !json_put(&text, json, REQUEST_JSON_FLAGS)) st = err_nomem(err, "a request", 0);
    if (!st)
        st = store_add_job(s->store, text.data, json_integer_value(json_object_get(json, "count")),
                           id, err);
    if (!st) {
        tell_job(s, *id);
        pthread_mutex_lock(&s->mutex);
        pthread_cond_signal(&s->work);
        pthread_mutex_unlock(&s->mutex);
    }
    json_decref(counts);
    buf_free(&text);
    kadr_request_free(rq);
    return st;
}

kadr_status jobs_cancel(struct serve *s, int64_t id, bool *was, kadr_error *err) {
    kadr_status st = store_cancel(s->store, id, was, err);
    pthread_mutex_lock(&s->mutex);
    if (!st && *was && s->now.job == id) {
        s->now.cancelled = true;
        kadr_interrupt(s->ctx);
    }
    pthread_mutex_unlock(&s->mutex);
    if (!st && *was) tell_job(s, id);
    return st;
}

/* ---- Drawing --------------------------------------------------------------------------------- */
struct drawing {
    struct serve *s;
    struct store_claim claim;
    const char *prompt;
    kadr_status status; /* of what could not be kept */
    kadr_error error;
};

static void keep_preview(struct serve *s, const kadr_progress *p) {
    size_t size = (size_t)p->preview_width * (size_t)p->preview_height * 3;
    uint8_t *copy = mem_alloc(s->mem, size);
    if (!copy) return;
    memcpy(copy, p->preview, size);
    mem_free(s->now.preview);
    s->now.preview = copy;
    s->now.preview_width = p->preview_width;
    s->now.preview_height = p->preview_height;
}

static int on_progress(void *user, const kadr_progress *p) {
    struct drawing *d = user;
    struct serve *s = d->s;
    struct now *n = &s->now;
    pthread_mutex_lock(&s->mutex);
    size_t length = strnlen(p->stage, sizeof n->stage - 1);
    memcpy(n->stage, p->stage, length);
    n->stage[length] = 0;
    n->picture = (int64_t)p->picture + d->claim.done;
    n->step = p->step;
    n->steps = p->steps;
    n->seconds_left = p->seconds_left;
    if (p->preview) keep_preview(s, p);
    json_t *told = json_pack("{s:I, s:s, s:I, s:i, s:i, s:f, s:b}", "job", n->job, "stage",
                             n->stage, "picture", n->picture, "step", n->step, "steps", n->steps,
                             "seconds_left", n->seconds_left, "preview", n->preview != NULL);
    events_publish(s, "progress", told);
    json_decref(told);
    bool end = n->cancelled || s->stopping;
    pthread_mutex_unlock(&s->mutex);
    return end;
}

static int on_picture(void *user, const kadr_picture *p) {
    struct drawing *d = user;
    struct serve *s = d->s;
    int64_t id, number = d->claim.done + (int64_t)p->index;
    const struct store_picture kept = {number,    (int64_t)p->seed, p->width,     p->height,
                                       d->prompt, p->settings,      p->parameters};
    char *path = store_picture_path(s->store, &d->claim, number);
    if (!path) d->status = err_nomem(&d->error, "a path", 0);
    else d->status = kadr_picture_write(p, path, &d->error);
    if (!d->status) d->status = store_add_picture(s->store, &d->claim, &kept, &id, &d->error);
    mem_free(path);
    if (!d->status)
        serve_publish(
            s, "picture",
            json_pack("{s:I, s:I, s:I}", "id", id, "job", d->claim.job, "number", number));
    return d->status != KADR_OK;
}

/* What is left of the job: pictures that exist are not drawn again. */
static kadr_status what_is_left(struct drawing *d, kadr_request **out, kadr_error *err) {
    static const struct request_origin origin = {.source = SOURCE_FLAG};
    json_t *json = NULL, *seed, *count = NULL;
    kadr_request *rq = kadr_request_new();
    if (!rq) return err_nomem(err, "a request", 0);
    kadr_status st =
        json_parse(d->claim.request, strlen(d->claim.request), "job", KADR_EUSAGE, &json, err);
    if (!st) st = set_fields(rq, json, err);
    seed = json_integer(rq->seed + d->claim.done);
    if (!st) st = request_set_json(rq, OPTION_seed, seed, &origin, err);
    if (!st && rq->count > d->claim.done) {
        count = json_integer(rq->count - d->claim.done);
        st = request_set_json(rq, OPTION_count, count, &origin, err);
        if (!st) st = d->s->config.prepare(d->s->config.user, rq, err);
        if (!st) *out = rq;
    }
    json_decref(count);
    json_decref(seed);
    json_decref(json);
    if (!*out) kadr_request_free(rq);
    return st;
}

static void begin_now(struct serve *s, const struct store_claim *claim) {
    pthread_mutex_lock(&s->mutex);
    mem_free(s->now.preview);
    s->now = (struct now){.job = claim->job};
    pthread_mutex_unlock(&s->mutex);
}

static void draw_one(struct serve *s, struct store_claim *claim) {
    struct drawing d = {.s = s, .claim = *claim};
    const kadr_observer observer = {&d, on_progress, on_picture};
    kadr_request *rq = NULL;
    kadr_error err = {0};
    begin_now(s, claim);
    tell_job(s, claim->job);
    kadr_status st = what_is_left(&d, &rq, &err);
    if (!st && rq) {
        d.prompt = rq->prompt;
        st = kadr_draw(s->ctx, &rq, 1, &observer, &err);
        if (d.status) st = d.status, err = d.error;
    }
    kadr_request_free(rq);
    begin_now(s, &(struct store_claim){0});
    if (!st) store_finish(s->store, claim, NULL, NULL);
    else if (st == KADR_EINTERRUPTED && s->stopping) store_release(s->store, claim, NULL);
    else store_finish(s->store, claim, err.message, NULL); /* refused when it was cancelled */
    tell_job(s, claim->job);
}

void *jobs_draw(void *serve) {
    struct serve *s = serve;
    for (;;) {
        struct store_claim claim = {0};
        kadr_error err;
        pthread_mutex_lock(&s->mutex);
        bool stopping = s->stopping;
        pthread_mutex_unlock(&s->mutex);
        if (stopping) return NULL;
        kadr_status st = store_claim(s->store, "serve", LEASE, &claim, &err);
        if (st && s->config.draw.log)
            s->config.draw.log(s->config.draw.user, KADR_LOG_ERROR, err.message);
        if (claim.job) draw_one(s, &claim);
        else {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += 1;
            pthread_mutex_lock(&s->mutex);
            if (!s->stopping) pthread_cond_timedwait(&s->work, &s->mutex, &until);
            pthread_mutex_unlock(&s->mutex);
        }
        mem_free(claim.request);
    }
}
