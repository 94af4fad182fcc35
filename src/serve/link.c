/* link.c: processes that draw from one store. What happens at one of them is told to all, through
 * the store: a job by its number alone, for whoever wants to know reads it there. One thread hears
 * what others tell, keeps the claim on what is being drawn here, and tells how far that is. Without
 * a shared store there is nobody else: events go straight to those who listen. */
#include "serve/inside.h"

#include "base/sys.h"
#include "image/scale.h"
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define LOOK_MS 200
#define TELL_SECONDS 0.25 /* how often progress is told, at most */
#define SHOW_SECONDS 0.5  /* and what emerges shown */
#define SHOW_SIDE 256

void link_name(struct serve *s) {
    uint16_t random = 0;
    char host[40] = "";
    gethostname(host, sizeof host - 1);
    getentropy(&random, sizeof random);
    snprintf(s->worker, sizeof s->worker, "%s-%ld-%04x", *host ? host : "worker", (long)getpid(),
             random);
}

/* ---- Telling --------------------------------------------------------------------------------- */
void link_tell(struct serve *s, const char *type, json_t *data) {
    struct buf b;
    if (!store_is_shared(s->store)) return serve_publish(s, type, data);
    json_t *told = json_pack("{s:s, s:o}", "type", type, "data", data);
    buf_init(&b, s->mem);
    if (json_put(&b, told, JSON_COMPACT)) store_tell(s->store, b.data, NULL);
    buf_free(&b);
    json_decref(told);
}

static void publish_job(struct serve *s, int64_t id) {
    json_t *job = NULL;
    if (!store_job(s->store, id, &job, NULL) && job) serve_publish(s, "job", job);
}

void link_tell_job(struct serve *s, int64_t id) {
    if (store_is_shared(s->store)) link_tell(s, "job", json_pack("{s:I}", "id", id));
    else publish_job(s, id);
}

/* Where previews are larger than this they are not shown elsewhere. */
static bool look(struct serve *s, size_t i, struct store_claim *claim, struct image *im) {
    const struct now *n = &s->now;
    pthread_mutex_lock(&s->mutex);
    bool there = i < n->count && n->preview_width <= SHOW_SIDE && n->preview_height <= SHOW_SIDE &&
                 !n->share[i].over && now_look(s, &n->share[i], im);
    *claim = n->share[i].claim;
    pthread_mutex_unlock(&s->mutex);
    return there;
}

static void show(struct serve *s) {
    struct store_claim claim;
    struct buf png;
    for (size_t i = 0; i < SHARES_MOST; i++) {
        struct image im = {0};
        if (!look(s, i, &claim, &im)) continue;
        buf_init(&png, s->mem);
        if (!image_encode(&im, s->mem, (struct image_style){IMAGE_PNG, 0}, NULL, 0, &png, NULL))
            store_show(s->store, &claim, png.data, png.size, NULL);
        buf_free(&png);
        image_free(&im);
    }
}

static void tell_progress(struct serve *s, double *shown) {
    double now = sys_seconds();
    json_t *told[SHARES_MOST];
    size_t count = 0;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < s->now.count && s->now.news; i++)
        if (s->now.share[i].picture >= 0 && !s->now.share[i].over)
            told[count++] = draw_progress(&s->now, &s->now.share[i]);
    s->now.news = false;
    bool preview = s->now.preview;
    pthread_mutex_unlock(&s->mutex);
    if (count && preview && now - *shown >= SHOW_SECONDS) {
        *shown = now;
        show(s);
    }
    for (size_t i = 0; i < count; i++) link_tell(s, "progress", told[i]);
}

/* ---- Keeping --------------------------------------------------------------------------------- */
static void say_here(struct serve *s, bool here) {
    struct buf b;
    json_t *about = json_pack("{s:s, s:I, s:i, s:b}", "version", kadr_version(), "memory",
                              (json_int_t)s->config.draw.memory, "threads", s->config.draw.threads,
                              "listens", s->config.listens);
    buf_init(&b, s->mem);
    if (json_put(&b, about, JSON_COMPACT) && s->config.draws)
        store_seen(s->store, s->worker, here ? b.data : NULL, NULL);
    buf_free(&b);
    json_decref(about);
}

/* ---- Hearing --------------------------------------------------------------------------------- */
static void hear_job(struct serve *s, int64_t id) {
    pthread_mutex_lock(&s->mutex);
    if (now_share(&s->now, id)) s->now.doubt = true;
    pthread_cond_broadcast(&s->work); /* it may be a new one */
    pthread_mutex_unlock(&s->mutex);
    if (s->config.listens) publish_job(s, id);
}

static void hear_skip(struct serve *s, int64_t id) {
    pthread_mutex_lock(&s->mutex);
    now_skip(s, id);
    pthread_mutex_unlock(&s->mutex);
}

/* What emerges elsewhere, for those who asked for it here. */
static void watch_elsewhere(struct serve *s, const json_t *data) {
    struct image im = {0};
    struct buf png;
    int64_t job = json_integer_value(json_object_get(data, "job"));
    pthread_mutex_lock(&s->mutex);
    bool watched = false;
    for (struct watch *w = s->watches; w; w = w->next) watched |= w->job == job;
    pthread_mutex_unlock(&s->mutex);
    if (!watched || !json_is_true(json_object_get(data, "preview"))) return;
    buf_init(&png, s->mem);
    if (!store_shown(s->store, job, &png, NULL) && png.size &&
        !image_decode(&im, s->mem, png.data, png.size, "preview", IMAGE_DROP_ALPHA, NULL, NULL)) {
        const kadr_progress p = {.picture =
                                     (size_t)json_integer_value(json_object_get(data, "picture")),
                                 .step = (int)json_integer_value(json_object_get(data, "step")),
                                 .steps = (int)json_integer_value(json_object_get(data, "steps")),
                                 .preview = im.data,
                                 .preview_width = im.width,
                                 .preview_height = im.height};
        pthread_mutex_lock(&s->mutex);
        watches_keep(s, job, (int64_t)p.picture, &p);
        pthread_mutex_unlock(&s->mutex);
    }
    buf_free(&png);
    image_free(&im);
}

static void hear(struct serve *s, const char *text) {
    json_t *told = json_loads(text, 0, NULL), *data = json_object_get(told, "data");
    const char *type = json_string_value(json_object_get(told, "type"));
    if (type && json_is_object(data)) {
        if (!strcmp(type, "job")) hear_job(s, json_integer_value(json_object_get(data, "id")));
        else if (!strcmp(type, "skip"))
            hear_skip(s, json_integer_value(json_object_get(data, "job")));
        else if (s->config.listens) {
            pthread_mutex_lock(&s->mutex);
            bool own = now_share(&s->now, json_integer_value(json_object_get(data, "job")));
            pthread_mutex_unlock(&s->mutex);
            if (!strcmp(type, "progress") && !own) watch_elsewhere(s, data);
            serve_publish(s, type, json_incref(data));
        }
    }
    json_decref(told);
}

void *link_run(void *serve) {
    struct serve *s = serve;
    double kept = 0, told = 0, shown = 0;
    sys_name_thread("kadr-link");
    for (bool stopping = false; !stopping;) {
        bool missed;
        const char *text = store_hear(s->store, LOOK_MS, &missed);
        double now = sys_seconds();
        if (text) hear(s, text);
        if (missed) serve_publish(s, "alive", json_object()); /* who waits looks again */
        pthread_mutex_lock(&s->mutex);
        bool doubt = s->now.doubt || missed;
        stopping = s->stopping;
        pthread_mutex_unlock(&s->mutex);
        /* A store that cannot be reached is asked again later; what was drawn is kept if the claim
         * is still held then. */
        if (doubt) now_keep(s);
        if (now - kept >= (double)s->config.lease / 3) {
            kept = now;
            now_keep(s);
            say_here(s, true);
        }
        if (now - told >= TELL_SECONDS) {
            told = now;
            tell_progress(s, &shown);
        }
    }
    say_here(s, false);
    return NULL;
}
