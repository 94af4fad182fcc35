/* stream.c: see stream.h.
 *
 * Units are counted from the beginning of a session, which lasts as long as one segment is run
 * again and again; number n is unit n % count. Two readers take batches of units in turns, so that
 * one reads while the other checks what it has read; batches are given out in their order. What
 * needs the staging (weights that are converted) is read by who has his turn.
 *
 * Invariants, under the lock: done <= loaded <= next <= wanted; slots of units [done, next) are in
 * use, contiguous in the ring but for one jump to its start. Readers touch slots and places of
 * weights that stay only for numbers in [loaded, next).
 */
#include "run/stream.h"
#include "base/pool.h"
#include "base/sys.h"

#include <pthread.h>

struct taken {
    uint64_t number; /* of the unit */
    size_t at, bytes;
};

/* Units that are read together: a small request costs a disk as much time as one of a megabyte. */
#define BATCH_UNITS 16
#define BATCH_BYTES ((size_t)4 << 20)
struct batch {
    uint64_t first; /* number of its first unit */
    int segment, count;
    const struct unit *unit[BATCH_UNITS]; /* NULL: left out */
    char *slot[BATCH_UNITS];
    bool plain; /* nothing of it needs the staging */
};

#define READERS 2
struct reader {
    struct stream *stream;
    pthread_t thread;
    bool started;
    struct loader loader;
    struct batch batch;
};

struct stream {
    struct stream_config config;
    struct mem *mem;
    struct reader reader[READERS];
    pthread_mutex_t lock;
    pthread_cond_t work, ready; /* readers wait for the one, executor and readers for the other */
    /* Under the lock. */
    int segment; /* -1: none */
    uint64_t wanted, next, loaded, done;
    bool closing;
    bool reuse;         /* units of the cut are not wanted this time */
    kadr_status status; /* of the session */
    kadr_error error;
    struct taken *taken; /* slots in use, a queue */
    int room, oldest, count;
    int reading;  /* readers that have a batch */
    double since; /* when the first of them began */
    uint64_t bytes_read;
    double waited, read_seconds;
    /* By segment, then weight: it stays, and is in place or in a batch. */
    bool *there[PROGRAM_SEGMENTS];
};

static const struct walk *walk_of(const struct stream *st) {
    return &st->config.run->plan->segments[st->segment].walk;
}

static const struct graph *graph_of(const struct stream *st) {
    return st->config.run->program->segments[st->segment].graph;
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

/* ---- The readers */

/* Rows of a table, as each lane wants them. */
static kadr_status load_lanes(const struct stream *st, struct loader *l, int segment,
                              const struct op *op, char *to, kadr_error *err) {
    const struct segment *s = &st->config.run->program->segments[segment];
    kadr_status e = KADR_OK;
    for (int lane = 0; lane < s->lanes && !e; lane++) {
        const int32_t *ids = st->config.ids(st->config.user, segment, op, lane);
        if (ids) e = load_picked(l, s, op->w, ids, to + load_picked_at(s, op->w, lane), err);
    }
    return e;
}

/* Weights of one unit: streamed ones to `slot`, those that stay to their places. */
static kadr_status load_unit(struct stream *st, struct loader *l, int segment, const struct unit *u,
                             char *slot, kadr_error *err) {
    const struct segment *s = &st->config.run->program->segments[segment];
    const struct segment_plan *sp = &st->config.run->plan->segments[segment];
    for (int i = u->first; i <= u->last; i++) {
        const struct op *op = &s->graph->ops[i];
        const weight_id of[2] = {op->w, op->b};
        for (int j = 0; j < 2; j++) {
            weight_id w = of[j];
            if (w == NO_WEIGHT) continue;
            kadr_status e = KADR_OK;
            if (s->graph->weights[w].picked)
                e = load_lanes(st, l, segment, op, slot + sp->walk.at[w], err);
            else if (!sp->stays[w]) e = load_weight(l, s, w, &u->part, slot + sp->walk.at[w], err);
            else if (!st->there[segment][w])
                e = load_weight(l, s, w, NULL, st->config.arena + sp->weight[w], err);
            if (e) return e;
            if (sp->stays[w]) st->there[segment][w] = true;
        }
    }
    return KADR_OK;
}

static kadr_status load_units(struct reader *r, kadr_error *err) {
    const struct batch *b = &r->batch;
    kadr_status e = KADR_OK;
    for (int i = 0; i < b->count && !e; i++)
        if (b->unit[i])
            e = load_unit(r->stream, &r->loader, b->segment, b->unit[i], b->slot[i], err);
    return e;
}

/* What of some units is still to be read. */
struct missing {
    size_t bytes;
    int weights;
    bool plain; /* all of them */
};
static void add_missing(const struct stream *st, const struct loader *l, const struct unit *u,
                        struct missing *m) {
    const struct segment *s = &st->config.run->program->segments[st->segment];
    const struct segment_plan *sp = &st->config.run->plan->segments[st->segment];
    for (int i = u->first; i <= u->last; i++) {
        const weight_id of[2] = {s->graph->ops[i].w, s->graph->ops[i].b};
        for (int j = 0; j < 2; j++) {
            weight_id w = of[j];
            if (w == NO_WEIGHT || (sp->stays[w] && st->there[st->segment][w])) continue;
            m->bytes += walk_part_bytes(s, w, sp->stays[w] ? NULL : &u->part);
            m->weights++;
            m->plain = m->plain && load_is_plain(l, s, w);
        }
    }
}

/* Takes the next units that are to be read, as far as there is room for them; no more than half of
 * the ring at a time, so that there is always something to compute with. */
static void gather(struct stream *st, struct reader *r) {
    struct batch *b = &r->batch;
    *b = (struct batch){.first = st->next, .segment = st->segment, .plain = true};
    if (st->segment < 0 || st->status) return;
    const struct segment_plan *sp = &st->config.run->plan->segments[st->segment];
    struct missing m = {.plain = true};
    for (; b->count < BATCH_UNITS && st->next < st->wanted; st->next++) {
        const struct unit *u = &sp->walk.units[st->next % (uint64_t)sp->walk.count];
        bool wanted = !walk_leaves_out(graph_of(st), u, st->reuse);
        size_t at = 0, slot = wanted ? u->bytes : 0;
        if (wanted) add_missing(st, &r->loader, u, &m);
        bool plain = m.plain && m.weights < RUN_PIECES;
        bool full = m.bytes > BATCH_BYTES || (slot && m.bytes > sp->ring_bytes / 2);
        if (b->count && (full || plain != b->plain)) return;
        if (slot && (st->count == st->room || !find_place(st, sp->ring_bytes, slot, &at))) return;
        if (slot) take_place(st, st->next, at, slot);
        b->unit[b->count] = wanted ? u : NULL;
        b->slot[b->count++] = st->config.arena + sp->ring + at;
        b->plain = plain;
    }
}

/* Until the batches before are given out; false when there is nothing to wait for any more. */
static bool await_turn(struct stream *st, const struct batch *b) {
    while (st->loaded != b->first && !st->status && !st->closing)
        pthread_cond_wait(&st->ready, &st->lock);
    return st->loaded == b->first;
}

/* Reads the batch, checks it and gives it out; with the lock on entry and return. */
static kadr_status read_batch(struct reader *r, kadr_error *err) {
    struct stream *st = r->stream;
    const struct batch *b = &r->batch;
    r->loader.pieces = 0;
    r->loader.staging = st->config.arena + st->config.run->plan->segments[b->segment].staging;
    bool turn = b->plain || await_turn(st, b);
    kadr_status e = b->plain ? load_units(r, err) : KADR_OK; /* notes what is to be read */
    pthread_mutex_unlock(&st->lock);
    if (!b->plain && turn) e = load_units(r, err);
    if (!e && turn) e = load_read(&r->loader, err);
    pthread_mutex_lock(&st->lock);
    turn = await_turn(st, b);
    pthread_mutex_unlock(&st->lock);
    if (!e && turn) e = load_check(&r->loader, err);
    pthread_mutex_lock(&st->lock);
    if (!e && turn) st->loaded += (uint64_t)b->count;
    return e;
}

static void *reader(void *arg) {
    struct reader *r = arg;
    struct stream *st = r->stream;
    pthread_mutex_lock(&st->lock);
    while (!st->closing) {
        gather(st, r);
        if (!r->batch.count) {
            pthread_cond_wait(&st->work, &st->lock);
            continue;
        }
        pthread_cond_signal(&st->work); /* there may be more for the other */
        if (!st->reading++) st->since = sys_seconds();
        kadr_error error = {0};
        kadr_status e = read_batch(r, &error);
        if (e && !st->status) {
            st->status = e;
            st->error = error;
        }
        if (!--st->reading) st->read_seconds += sys_seconds() - st->since;
        st->bytes_read += r->loader.bytes_read;
        r->loader.bytes_read = 0;
        pthread_cond_broadcast(&st->ready);
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
        for (int i = 0; i < READERS && !e; i++) {
            struct reader *r = &st->reader[i];
            *r = (struct reader){.stream = st, .loader = {.config = config->run}};
            r->started = pthread_create(&r->thread, &attr, reader, r) == 0;
            if (!r->started) e = err_set(err, KADR_EOTHER, "cannot start a reader thread");
        }
        pthread_attr_destroy(&attr);
    }
    if (e) stream_close(st);
    else *out = st;
    return e;
}

void stream_close(struct stream *st) {
    if (!st) return;
    pthread_mutex_lock(&st->lock);
    st->closing = true;
    pthread_cond_broadcast(&st->work);
    pthread_cond_broadcast(&st->ready);
    pthread_mutex_unlock(&st->lock);
    for (int i = 0; i < READERS; i++)
        if (st->reader[i].started) pthread_join(st->reader[i].thread, NULL);
    pthread_cond_destroy(&st->work);
    pthread_cond_destroy(&st->ready);
    pthread_mutex_destroy(&st->lock);
    for (int i = 0; i < PROGRAM_SEGMENTS; i++) mem_free(st->there[i]);
    mem_free(st->taken);
    mem_free(st);
}

/* Ends a session: what was read ahead is dropped. Weights that stay in other segments are lost
 * unless the plan keeps them: another segment's buffers lie there. After a failure nobody knows
 * which of this segment came. */
static void change_segment(struct stream *st, int segment) {
    st->wanted = st->next; /* the readers take no more */
    while (st->reading) pthread_cond_wait(&st->ready, &st->lock);
    const struct program *p = st->config.run->program;
    for (int i = 0; i < p->segment_count; i++) {
        bool lost =
            (i != segment && !st->config.run->plan->keep) || (st->status && i == st->segment);
        for (int w = 0; w < p->segments[i].graph->weight_count && lost; w++)
            st->there[i][w] = false;
    }
    st->segment = segment;
    st->wanted = st->next = st->loaded = st->done = 0;
    st->oldest = st->count = 0;
    st->status = KADR_OK;
}

/* Units that may be fetched ahead for the next run: what it leaves out is not known yet. */
static uint64_t units_ahead(const struct stream *st) {
    const struct walk *w = walk_of(st);
    const struct graph *g = graph_of(st);
    uint64_t n = 0;
    if (g->cut_first == g->cut_end) return (uint64_t)w->count;
    while (!graph_in_cut(g, w->units[n].first)) n++;
    return n;
}

void stream_begin(struct stream *st, int segment, bool again, bool reuse) {
    pthread_mutex_lock(&st->lock);
    if (segment != st->segment || st->status) change_segment(st, segment);
    uint64_t units = (uint64_t)walk_of(st)->count;
    /* A run that was given up may have left units undone. */
    if (st->done % units) {
        change_segment(st, segment);
        units = (uint64_t)walk_of(st)->count;
    }
    st->reuse = reuse;
    st->wanted = st->done + units + (again ? units_ahead(st) : 0);
    if (st->wanted < st->next) st->wanted = st->next;
    pthread_cond_broadcast(&st->work);
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
    double reading = st->read_seconds + (st->reading ? sys_seconds() - st->since : 0);
    *stats = (struct run_stats){
        .bytes_read = st->bytes_read, .seconds_reading = reading, .seconds_waited = st->waited};
    pthread_mutex_unlock(&st->lock);
}
