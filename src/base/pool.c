/* pool.c: see pool.h. Tasks are handed out by an atomic counter; between runs threads sleep on a
 * condition variable, after spinning a moment because operations follow each other closely.
 *
 * Invariants: `round` changes when a run begins; a run ends when every thread has left its loop, so
 * that `fn` and `user` are never touched by a late thread.
 */
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define SPINS 2000

struct worker {
    struct pool *pool;
    pthread_t thread;
    int index;
};

struct pool {
    struct mem *mem;
    struct worker *workers; /* threads - 1 of them; the caller is thread 0 */
    int threads, started;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    atomic_uint round;
    atomic_bool closing;
    atomic_size_t next;
    atomic_int working; /* workers that have not finished this round */
    size_t tasks;
    pool_fn *fn;
    void *user;
};

static void take_tasks(struct pool *p, int thread) {
    for (;;) {
        size_t task = atomic_fetch_add(&p->next, 1);
        if (task >= p->tasks) return;
        p->fn(p->user, task, thread);
    }
}

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Waits for another round than `seen`; false when the pool closes. */
static bool wait_round(struct pool *p, unsigned seen) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&p->round) != seen) return !atomic_load(&p->closing);
        relax();
    }
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->round) == seen) pthread_cond_wait(&p->wake, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return !atomic_load(&p->closing);
}

static void *work(void *arg) {
    struct worker *w = arg;
    struct pool *p = w->pool;
    unsigned seen = 0;
    while (wait_round(p, seen)) {
        seen = atomic_load(&p->round);
        take_tasks(p, w->index);
        if (atomic_fetch_sub(&p->working, 1) == 1) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
    }
    return NULL;
}

static void begin_round(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->round, 1);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

kadr_status pool_open(struct pool **out, struct mem *m, int threads, kadr_error *err) {
    struct pool *p = mem_alloc(m, sizeof *p);
    if (!p) return err_nomem(err, "threads", sizeof *p);
    p->mem = m;
    p->threads = threads < 1 ? 1 : threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    p->workers = mem_array(m, (size_t)p->threads, sizeof *p->workers);
    if (!p->workers) {
        pool_close(p);
        return err_nomem(err, "threads", (size_t)threads * sizeof *p->workers);
    }
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, POOL_STACK);
    kadr_status st = KADR_OK;
    for (int i = 0; i < p->threads - 1 && !st; i++) {
        p->workers[i] = (struct worker){.pool = p, .index = i + 1};
        if (pthread_create(&p->workers[i].thread, &attr, work, &p->workers[i]) != 0)
            st = err_set(err, KADR_EOTHER, "thread %d of %d could not be started; try --threads %d",
                         i + 2, p->threads, i + 1);
        else p->started++;
    }
    pthread_attr_destroy(&attr);
    if (st) pool_close(p);
    else *out = p;
    return st;
}

void pool_close(struct pool *p) {
    if (!p) return;
    atomic_store(&p->closing, true);
    begin_round(p);
    for (int i = 0; i < p->started; i++) pthread_join(p->workers[i].thread, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->done);
    mem_free(p->workers);
    mem_free(p);
}

int pool_threads(const struct pool *p) {
    return p->threads;
}

void pool_run(struct pool *p, size_t tasks, pool_fn *fn, void *user) {
    p->tasks = tasks;
    p->fn = fn;
    p->user = user;
    atomic_store(&p->next, 0);
    if (p->started == 0 || tasks <= 1) {
        take_tasks(p, 0);
        return;
    }
    atomic_store(&p->working, p->started);
    begin_round(p);
    take_tasks(p, 0);
    for (int i = 0; i < SPINS && atomic_load(&p->working) > 0; i++) relax();
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->working) > 0) pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
