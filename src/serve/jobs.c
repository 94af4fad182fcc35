/* jobs.c: requests from outside: what they may say, into the queue, and as they are drawn. */
#include "serve/inside.h"

#include "base/sys.h"
#include "board/panel.h"
#include "sample/sample.h"
#include <string.h>

/* ---- Requests -------------------------------------------------------------------------------- */
/* What clients may say: what decides the pixels, but nothing that names a file: a model is a name,
 * the picture to begin from and its mask are uploads or pictures of the gallery (or its latents),
 * casts are the store's, LoRAs of one folder. */
bool jobs_allowed(int id) {
    if (id < 0) return false;
    if (id == OPTION_init || id == OPTION_mask || id == OPTION_cast || id == OPTION_lora)
        return true;
    const kadr_option *o = request_option_at((enum option_id)id);
    if (id == OPTION_model || id == OPTION_count || id == OPTION_preset || id == OPTION_aspect)
        return true;
    return o->use & KADR_IN_SETTINGS && o->type != KADR_FILE && o->type != KADR_LIST;
}

static kadr_status set_upload(struct serve *s, kadr_request *rq, enum option_id id,
                              const json_t *value, const struct request_origin *origin,
                              kadr_error *err) {
    char *path = NULL;
    const char *said = json_string_value(value);
    const size_t before = sizeof UPLOAD_LATENTS - 1;
    if (json_is_null(value)) return KADR_OK;
    bool latents = id == OPTION_init && said && !strncmp(said, UPLOAD_LATENTS, before);
    kadr_status st = latents ? upload_latents(s, said + before, &path, err)
                             : upload_path(s, value, request_option_at(id)->name, &path, err);
    if (!st) st = request_set_from(rq, id, path, origin, err);
    mem_free(path);
    return st;
}

/* Settings of a board are what they are to `kadr board`: less than a flag, so that a width and a
 * height go before a shape. */
static kadr_status set_fields(struct serve *s, kadr_request *rq, const json_t *json, bool board,
                              kadr_error *err) {
    const struct request_origin origin = {.source = board ? SOURCE_PICTURE : SOURCE_FLAG};
    const char *key;
    json_t *value;
    if (!json_is_object(json)) return err_set(err, KADR_EUSAGE, "expected an object");
    kadr_status st = board ? panel_usual(rq, err) : KADR_OK;
    if (st) return st;
    json_object_foreach((json_t *)json, key, value) {
        int id = request_option(key);
        if (!jobs_allowed(id))
            return err_set(err, KADR_EUSAGE, "unknown or not allowed field \"%.100s\"", key);
        if (id == OPTION_init || id == OPTION_mask)
            st = set_upload(s, rq, (enum option_id)id, value, &origin, err);
        else if (id == OPTION_lora) st = loras_set(s, rq, value, &origin, err);
        else if (id == OPTION_cast && (st = casts_take(s, rq, value, err))) return st;
        else st = request_set_json(rq, (enum option_id)id, value, &origin, err);
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

/* As of a model that was trained as SDXL's are. */
static kadr_status check_sampler(const kadr_request *rq, kadr_error *err) {
    struct sampler_config config = {
        .sampler = rq->sampler, .schedule = rq->schedule, .steps = (int)rq->steps};
    kadr_status st = noise_training_read(NULL, &config.training, err);
    return st ? st : sampler_check(&config, err);
}

/* What must fit together is looked at now, on a copy, and not when its turn has come. `json` gets
 * what is decided by that. */
static kadr_status check_whole(struct serve *s, const kadr_request *rq, bool board, json_t *json,
                               kadr_error *err) {
    kadr_request *copy = kadr_request_copy(rq);
    json_t *defaults = NULL;
    if (!copy) return err_nomem(err, "a request", 0);
    kadr_status st = s->config.prepare(s->config.user, board, copy, err);
    if (!st) st = request_model_defaults(request_model_path(copy), &defaults, err);
    if (!st) st = request_resolve(copy, defaults, request_preset_for(sys_memory_total()), err);
    if (!st && copy->count > JOBS_COUNT_MOST)
        st = err_set(err, KADR_EUSAGE, "count: expected at most %d", JOBS_COUNT_MOST);
    if (!st) st = check_sampler(copy, err);
    /* The seed is decided now: a drawing that is begun anew draws the same. */
    if (!st && (json_object_set_new(json, "seed", json_integer(copy->seed)) ||
                json_object_set_new(json, "count", json_integer(copy->count))))
        st = err_nomem(err, "a request", 0);
    json_decref(defaults);
    kadr_request_free(copy);
    return st;
}

kadr_status jobs_request(struct serve *s, json_t *json, bool board, kadr_request **out,
                         kadr_error *err) {
    kadr_request *rq = kadr_request_new();
    if (!rq) return err_nomem(err, "a request", 0);
    kadr_status st = models_choose(s, json, err);
    if (!st) st = set_fields(s, rq, json, board, err);
    if (!st) st = check_model(rq, err);
    if (!st && (!rq->prompt || !*rq->prompt)) st = err_set(err, KADR_EUSAGE, "prompt: expected");
    if (!st) st = check_whole(s, rq, board, json, err);
    if (st) kadr_request_free(rq);
    else *out = rq;
    return st;
}

kadr_status jobs_check(struct serve *s, const json_t *json, kadr_error *err) {
    kadr_request *rq = json ? kadr_request_new() : NULL;
    kadr_status st = KADR_OK;
    if (json) st = rq ? set_fields(s, rq, json, false, err) : err_nomem(err, "a request", 0);
    if (!st && rq) st = check_model(rq, err);
    kadr_request_free(rq);
    return st;
}

/* Both texts of an order, each with its end. */
static bool put_texts(struct buf *text, const struct job_order *order) {
    bool good = json_put(text, order->request, REQUEST_JSON_FLAGS);
    buf_add(text, "", 1);
    if (order->about) good = good && json_put(text, order->about, REQUEST_JSON_FLAGS);
    buf_add(text, "", 1);
    return good && buf_ok(text);
}

kadr_status jobs_add(struct serve *s, const struct job_order *orders, size_t count, int64_t *ids,
                     kadr_error *err) {
    struct buf text;
    struct store_order *kept = mem_array(s->mem, count, sizeof *kept);
    buf_init(&text, s->mem);
    bool good = kept;
    for (size_t i = 0; i < count && good; i++) good = put_texts(&text, &orders[i]);
    const char *at = text.data;
    for (size_t i = 0; i < count && good; i++) {
        kept[i] = (struct store_order){
            .request = at,
            .pictures = json_integer_value(json_object_get(orders[i].request, "count")),
            .board = orders[i].board,
            .client = orders[i].client};
        at += strlen(at) + 1;
        if (orders[i].about) kept[i].about = at;
        at += strlen(at) + 1;
    }
    kadr_status st =
        good ? store_add_jobs(s->store, kept, count, ids, err) : err_nomem(err, "a request", 0);
    for (size_t i = 0; i < count && !st; i++) link_tell_job(s, ids[i]);
    if (!st) {
        pthread_mutex_lock(&s->mutex);
        pthread_cond_broadcast(&s->work); /* not only who looks after connections */
        pthread_mutex_unlock(&s->mutex);
    }
    buf_free(&text);
    mem_free(kept);
    return st;
}

kadr_status jobs_cancel(struct serve *s, int64_t id, bool *was, kadr_error *err) {
    kadr_status st = store_cancel(s->store, id, was, err);
    if (!st && *was) {
        pthread_mutex_lock(&s->mutex);
        now_drop(s, id);
        pthread_mutex_unlock(&s->mutex);
        link_tell_job(s, id);
    }
    return st;
}

void jobs_skip(struct serve *s, int64_t id) {
    if (store_is_shared(s->store)) /* who draws it hears that, also when it is drawn here */
        return link_tell(s, "skip", json_pack("{s:I}", "job", (json_int_t)id));
    pthread_mutex_lock(&s->mutex);
    now_skip(s, id);
    pthread_mutex_unlock(&s->mutex);
}

kadr_status jobs_resolve(struct serve *s, const char *request, bool board, kadr_request **out,
                         kadr_error *err) {
    json_t *json = NULL;
    kadr_request *rq = kadr_request_new();
    if (!rq) return err_nomem(err, "a request", 0);
    kadr_status st = json_parse(request, strlen(request), "job", KADR_EUSAGE, &json, err);
    if (!st) st = set_fields(s, rq, json, board, err);
    json_decref(json);
    if (st) kadr_request_free(rq);
    else *out = rq;
    return st;
}
