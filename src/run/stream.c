/* stream.c: see stream.h.
 *
 * Units are counted from the beginning of a session, which lasts as long as one segment is run
 * again and again; number n is unit n % count. Invariants, under the lock: done <= loaded <=
 * wanted; slots of units [done, loaded) are in use, contiguous in the ring but for one jump to its
 * start. The reader touches slots and places of weights that stay only for numbers in [loaded,
 * wanted).
 */
#include "run/stream.h"
#include "base/pool.h"
#include "base/sys.h"

#include <pthread.h>

struct taken {
    uint64_t number; /* of the unit */
    size_t at, bytes;
};

struct stream {
    struct stream_config config;
    struct mem *mem;
    struct loader loader;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t work, ready; /* the reader waits for the one, the executor for the other */
    /* Under the lock. */
    int segment; /* -1: none */
    uint64_t wanted, loaded, done;
    bool reading, closing;
    kadr_status status; /* of the session */
    kadr_error error;
    struct taken *taken; /* slots in use, a queue */
    int room, oldest, count;
    uint64_t bytes_read;
    double waited, read_seconds;
    /* By segment, then weight: it stays and is in place. The reader's. */
    bool *there[PROGRAM_SEGMENTS];
};

static const struct walk *walk_of(const struct stream *st) {
    return &st->config.run->plan->segments[st->segment].walk;
}

/* ---- The ring */

/* A place for `bytes`; false when there is none yet. */
static bool find_place(const struct stream *st, size_t ring, size_t bytes, size_t *at) {
    *at = 0;
    if (!st->count) return true;
    const struct taken *first = &st->taken[st->oldest],
                       *last = &st->taken[(st->oldest + st->count - 1) % st->room];
    size_t end = last->at + last->bytes;
    *at = end;
    if (last->at < first->at) return end + bytes <= first->at;
    if (end + bytes <= ring) return true;
    *at = 0;
    return bytes <= first->at;
}

static void take_place(struct stream *st, uint64_t number, size_t at, size_t bytes) {
    st->taken[(st->oldest + st->count) % st->room] = (struct taken){number, at, bytes};
    st->count++;
}

/* ---- The reader */

/* Weights of one unit: streamed ones to `slot`, those that stay to their places. */
static kadr_status load_unit(struct stream *st, int segment, const struct unit *u, char *slot,
                             kadr_error *err) {
    const struct segment *s = &st->config.run->program->segments[segment];
    const struct segment_plan *sp = &st->config.run->plan->segments[segment];
    st->loader.staging = st->config.arena + sp->staging;
    for (int i = u->first; i <= u->last; i++) {
        const struct op *op = &s->graph->ops[i];
        const weight_id of[2] = {op->w, op->b};
        for (int j = 0; j < 2; j++) {
            weight_id w = of[j];
            if (w == NO_WEIGHT) continue;
            kadr_status e = KADR_OK;
            if (s->graph->weights[w].picked)
                e = load_picked(&st->loader, s, w, st->config.ids(st->config.user, segment, op),
                                slot + sp->walk.at[w], err);
            else if (!sp->stays[w])
                e = load_weight(&st->loader, s, w, &u->part, slot + sp->walk.at[w], err);
            else if (!st->there[segment][w])
                e = load_weight(&st->loader, s, w, NULL, st->config.arena + sp->weight[w], err);
            if (e) return e;
            if (sp->stays[w]) st->there[segment][w] = true;
        }
    }
    return KADR_OK;
}

/* Whether there is a unit to be read and room for it. */
static bool can_read(const struct stream *st, size_t *at) {
    if (st->segment < 0 || st->status || st->loaded == st->wanted) return false;
    const struct walk *w = walk_of(st);
    size_t bytes = w->units[st->loaded % (uint64_t)w->count].bytes;
    *at = 0;
    if (!bytes) return true;
    return st->count < st->room &&
           find_place(st, st->config.run->plan->segments[st->segment].ring_bytes, bytes, at);
}

static void *reader(void *arg) {
    struct stream *st = arg;
    pthread_mutex_lock(&st->lock);
    for (;;) {
        size_t at;
        while (!st->closing && !can_read(st, &at)) pthread_cond_wait(&st->work, &st->lock);
        if (st->closing) break;
        int segment = st->segment;
        const struct segment_plan *sp = &st->config.run->plan->segments[segment];
        uint64_t number = st->loaded;
        const struct unit *u = &sp->walk.units[number % (uint64_t)sp->walk.count];
        if (u->bytes) take_place(st, number, at, u->bytes);
        st->reading = true;
        pthread_mutex_unlock(&st->lock);
        kadr_error error = {0};
        double from = sys_seconds();
        kadr_status e = load_unit(st, segment, u, st->config.arena + sp->ring + at, &error);
        double seconds = sys_seconds() - from;
        pthread_mutex_lock(&st->lock);
        st->read_seconds += seconds;
        st->reading = false;
        st->bytes_read = st->loader.bytes_read;
        if (e) {
            st->status = e;
            st->error = error;
        } else st->loaded = number + 1;
        pthread_cond_signal(&st->ready);
    }
    pthread_mutex_unlock(&st->lock);
    return NULL;
}

/* ---- The executor's side */

kadr_status stream_open(struct stream **out, struct mem *m, const struct stream_config *config,
                        kadr_error *err) {
    struct stream *st = mem_alloc(m, sizeof *st);
    if (!st) return err_nomem(err, "reader of weights", sizeof *st);
    st->config = *config;
    st->mem = m;
    st->loader.config = config->run;
    st->segment = -1;
    st->room = 1;
    pthread_mutex_init(&st->lock, NULL);
    pthread_cond_init(&st->work, NULL);
    pthread_cond_init(&st->ready, NULL);
    const struct program *p = config->run->program;
    bool ok = true;
    for (int i = 0; i < p->segment_count; i++) {
        int units = config->run->plan->segments[i].walk.count;
        if (units > st->room) st->room = units;
        size_t weights = (size_t)p->segments[i].graph->weight_count + 1;
        ok = ok && (st->there[i] = mem_array(m, weights, sizeof(bool)));
    }
    ok = ok && (st->taken = mem_array(m, (size_t)st->room, sizeof *st->taken));
    kadr_status e = ok ? KADR_OK : err_nomem(err, "reader of weights", sizeof *st);
    if (!e) {
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, POOL_STACK);
        st->started = pthread_create(&st->thread, &attr, reader, st) == 0;
        pthread_attr_destroy(&attr);
        if (!st->started) e = err_set(err, KADR_EOTHER, "cannot start the reader thread");
    }
    if (e) stream_close(st);
    else *out = st;
    return e;
}

void stream_close(struct stream *st) {
    if (!st) return;
    pthread_mutex_lock(&st->lock);
    st->closing = true;
    pthread_cond_signal(&st->work);
    pthread_mutex_unlock(&st->lock);
    if (st->started) pthread_join(st->thread, NULL);
    pthread_cond_destroy(&st->work);
    pthread_cond_destroy(&st->ready);
    pthread_mutex_destroy(&st->lock);
    for (int i = 0; i < PROGRAM_SEGMENTS; i++) mem_free(st->there[i]);
    mem_free(st->taken);
    mem_free(st);
}

/* Ends a session: what was read ahead is dropped. Weights that stay in other segments are lost
 * unless the plan keeps them: another segment's buffers lie there. */
static void change_segment(struct stream *st, int segment) {
    st->wanted = st->loaded; /* the reader takes no more */
    while (st->reading) pthread_cond_wait(&st->ready, &st->lock);
    const struct program *p = st->config.run->program;
    for (int i = 0; i < p->segment_count && !st->config.run->plan->keep; i++)
        for (int w = 0; w < p->segments[i].graph->weight_count && i != segment; w++)
            st->there[i][w] = false;
    st->segment = segment;
    st->wanted = st->loaded = st->done = 0;
    st->oldest = st->count = 0;
    st->status = KADR_OK;
}

void stream_begin(struct stream *st, int segment, bool again) {
    pthread_mutex_lock(&st->lock);
    if (segment != st->segment || st->status) change_segment(st, segment);
    uint64_t units = (uint64_t)walk_of(st)->count;
    /* A run that was given up may have left units undone. */
    if (st->done % units) {
        change_segment(st, segment);
        units = (uint64_t)walk_of(st)->count;
    }
    st->wanted = st->done + units * (again ? 2 : 1);
    if (st->wanted < st->loaded) st->wanted = st->loaded;
    pthread_cond_signal(&st->work);
    pthread_mutex_unlock(&st->lock);
}

kadr_status stream_await(struct stream *st, char **slot, kadr_error *err) {
    pthread_mutex_lock(&st->lock);
    if (st->loaded == st->done && !st->status) {
        double from = sys_seconds();
        while (st->loaded == st->done && !st->status) pthread_cond_wait(&st->ready, &st->lock);
        st->waited += sys_seconds() - from;
    }
    kadr_status e = st->loaded == st->done ? st->status : KADR_OK;
    if (e && err) *err = st->error;
    bool own = !e && st->count && st->taken[st->oldest].number == st->done;
    size_t ring = st->config.run->plan->segments[st->segment].ring;
    *slot = st->config.arena + ring + (own ? st->taken[st->oldest].at : 0);
    pthread_mutex_unlock(&st->lock);
    return e;
}

void stream_done(struct stream *st) {
    pthread_mutex_lock(&st->lock);
    if (st->count && st->taken[st->oldest].number == st->done) {
        st->oldest = (st->oldest + 1) % st->room;
        st->count--;
    }
    st->done++;
    pthread_cond_signal(&st->work);
    pthread_mutex_unlock(&st->lock);
}

void stream_get_stats(struct stream *st, struct run_stats *stats) {
    pthread_mutex_lock(&st->lock);
    *stats = (struct run_stats){st->bytes_read, st->read_seconds, st->waited};
    pthread_mutex_unlock(&st->lock);
}
