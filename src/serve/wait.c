/* wait.c: calls that wait for a job's end, and previews kept for those who asked for them. */
#include "serve/inside.h"

#include <string.h>

/* ---- A job's end ----------------------------------------------------------------------------- */
void call_wait(struct call *c) {
    c->waits = c->suspended = true;
    c->next_waiting = c->serve->events.waiting;
    c->serve->events.waiting = c;
    MHD_suspend_connection(c->http);
}

bool job_ended(const json_t *job) {
    const char *state = json_string_value(json_object_get(job, "state"));
    return state && strcmp(state, "queued") != 0 && strcmp(state, "running") != 0;
}

static void finish(struct call *c) {
    kadr_error err;
    json_t *job = NULL;
    kadr_status st = store_job(c->serve->store, c->job, &job, &err);
    if (st) call_error(c, st, &err);
    else if (!job || !job_ended(job)) call_fail(c, 503, "the server ends");
    else c->done(c, job);
    json_decref(job);
}

static void wait_or_finish(struct call *c) {
    struct serve *s = c->serve;
    json_t *job = NULL;
    pthread_mutex_lock(&s->mutex);
    bool wait = !store_job(s->store, c->job, &job, NULL) && job && !job_ended(job) && !s->stopping;
    c->step = wait ? wait_or_finish : finish;
    c->desk = !wait;
    if (wait) call_wait(c);
    pthread_mutex_unlock(&s->mutex);
    json_decref(job);
}

void call_job(struct call *c, int64_t job, void (*done)(struct call *c, const json_t *job)) {
    c->job = job;
    c->done = done;
    c->step = wait_or_finish;
    call_free_body(c);
}

/* ---- Previews -------------------------------------------------------------------------------- */
void watch_begin(struct call *c, int parts) {
    struct serve *s = c->serve;
    c->watch = (struct watch){.job = c->job, .parts = parts};
    c->watch.last = &c->watch.first;
    pthread_mutex_lock(&s->mutex);
    c->watch.next = s->watches;
    s->watches = &c->watch;
    pthread_mutex_unlock(&s->mutex);
}

void partial_free(struct partial *p) {
    if (p) image_free(&p->im);
    mem_free(p);
}

struct partial *watch_take(struct call *c) {
    struct watch *w = &c->watch;
    struct partial *p = w->first;
    if (!p) return NULL;
    w->first = p->next;
    if (!w->first) w->last = &w->first;
    return p;
}

void watch_end(struct call *c) {
    struct serve *s = c->serve;
    struct partial *p;
    if (!c->watch.job) return;
    pthread_mutex_lock(&s->mutex);
    for (struct watch **at = &s->watches; *at; at = &(*at)->next)
        if (*at == &c->watch) {
            *at = c->watch.next;
            break;
        }
    while ((p = watch_take(c))) partial_free(p);
    pthread_mutex_unlock(&s->mutex);
    c->watch.job = 0;
}

static void keep(struct serve *s, struct watch *w, const kadr_progress *p) {
    struct partial *part = mem_alloc(s->mem, sizeof *part);
    if (!part) return;
    *part = (struct partial){.index = w->kept};
    if (image_make(&part->im, s->mem, p->preview_width, p->preview_height, 3, NULL))
        return mem_free(part);
    memcpy(part->im.data, p->preview, image_bytes(&part->im));
    *w->last = part;
    w->last = &part->next;
    w->kept++;
}

void watches_keep(struct serve *s, int64_t job, int64_t picture, const kadr_progress *p) {
    for (struct watch *w = s->watches; w; w = w->next) {
        if (w->job != job) continue;
        if (w->picture != picture) w->picture = picture, w->kept = 0;
        /* The last step's picture comes itself. */
        if (w->kept < w->parts && p->step < p->steps &&
            (int64_t)p->step * (w->parts + 1) >= (int64_t)p->steps * (w->kept + 1))
            keep(s, w, p);
    }
}
