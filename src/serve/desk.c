/* desk.c: threads that do what takes a while, while those that listen go on listening. At the one
 * for short work bodies are parsed, pictures decoded and answers put together, one call after the
 * other, so that what this takes of memory is taken once; plans, exports and the like have a desk
 * of their own. */
#include "serve/inside.h"

#include "base/sys.h"

bool desk_put(struct call *c) {
    struct serve *s = c->serve;
    struct desk *d = &s->desk[c->route->how & ROUTE_SLOW ? DESK_LONG : DESK_SHORT];
    pthread_mutex_lock(&s->mutex);
    c->desk = false;
    bool open = !d->closing;
    if (!open) call_fail(c, 503, "the server ends");
    else {
        MHD_suspend_connection(c->http);
        c->next_waiting = NULL;
        *d->last = c;
        d->last = &c->next_waiting;
        pthread_cond_signal(&d->wanted);
    }
    pthread_mutex_unlock(&s->mutex);
    return open;
}

/* Ends when the desk closes and nobody waits at it. */
static void *work(void *desk) {
    struct desk *d = desk;
    struct serve *s = d->serve;
    sys_name_thread("kadr-desk");
    pthread_mutex_lock(&s->mutex);
    for (;;) {
        struct call *c = d->first;
        if (!c && d->closing) break;
        if (!c) {
            pthread_cond_wait(&d->wanted, &s->mutex);
            continue;
        }
        d->first = c->next_waiting;
        if (!d->first) d->last = &d->first;
        pthread_mutex_unlock(&s->mutex);
        route_fn *step = c->step;
        c->step = NULL;
        step(c);
        pthread_mutex_lock(&s->mutex);
        MHD_resume_connection(c->http); /* from here on `c` is another thread's */
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

bool desks_open(struct serve *s) {
    static const int threads[DESKS] = {[DESK_SHORT] = 1, [DESK_LONG] = DESK_THREADS};
    for (int i = 0; i < DESKS; i++) {
        struct desk *d = &s->desk[i];
        d->serve = s;
        d->last = &d->first;
        pthread_cond_init(&d->wanted, NULL);
        d->open = true;
        for (; d->threads < threads[i]; d->threads++)
            if (pthread_create(&d->thread[d->threads], NULL, work, d)) return false;
    }
    return true;
}

void desks_close(struct serve *s) {
    for (int i = 0; i < DESKS; i++) {
        struct desk *d = &s->desk[i];
        if (!d->open) continue;
        pthread_mutex_lock(&s->mutex);
        d->closing = true;
        pthread_cond_broadcast(&d->wanted);
        pthread_mutex_unlock(&s->mutex);
        for (int t = 0; t < d->threads; t++) pthread_join(d->thread[t], NULL);
        pthread_cond_destroy(&d->wanted);
        d->open = false;
    }
}
