/* scratch.c: see scratch.h. Invariant, under the lock: done <= made <= done + REQUESTS. */
#include "run/scratch.h"
#include "base/pool.h"
#include "base/sys.h"

#include <pthread.h>

#define REQUESTS 32 /* that may wait; who makes one more waits himself */

struct request {
    uint64_t at;
    char *memory;
    size_t size;
    bool write;
};

struct scratch {
    struct file file;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    /* Under the lock. */
    struct request request[REQUESTS];
    uint64_t made, done;
    bool closing;
    kadr_status status;
    kadr_error error;
    struct scratch_stats stats;
};

static void *worker(void *arg) {
    struct scratch *s = arg;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->closing && s->done == s->made) pthread_cond_wait(&s->work, &s->lock);
        if (s->closing) break;
        const struct request r = s->request[s->done % REQUESTS];
        bool go = !s->status;
        pthread_mutex_unlock(&s->lock);
        kadr_error error = {0};
        kadr_status st = KADR_OK;
        if (go && r.write) st = file_write_direct(&s->file, r.at, r.memory, r.size, &error);
        else if (go) st = file_read_direct(&s->file, r.at, r.memory, r.size, &error);
        pthread_mutex_lock(&s->lock);
        if (st) {
            s->status = st;
            s->error = error;
        } else if (go) s->stats.bytes += r.size;
        s->done++;
        pthread_cond_signal(&s->ready);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

kadr_status scratch_open(struct scratch **out, struct mem *m, uint64_t size, kadr_error *err) {
    struct scratch *s = mem_alloc(m, sizeof *s);
    if (!s) return err_nomem(err, "scratch file", sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->ready, NULL);
    kadr_status st = file_open_scratch(&s->file, m, NULL, size, err);
    if (!st) {
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, POOL_STACK);
        s->started = pthread_create(&s->thread, &attr, worker, s) == 0;
        pthread_attr_destroy(&attr);
        if (!s->started) st = err_set(err, KADR_EOTHER, "cannot start the scratch file's thread");
    }
    if (st) scratch_close(s);
    else *out = s;
    return st;
}

void scratch_close(struct scratch *s) {
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    if (s->started) pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->ready);
    pthread_mutex_destroy(&s->lock);
    file_close(&s->file);
    mem_free(s);
}

static uint64_t add(struct scratch *s, struct request r) {
    pthread_mutex_lock(&s->lock);
    while (s->made - s->done == REQUESTS) pthread_cond_wait(&s->ready, &s->lock);
    s->request[s->made % REQUESTS] = r;
    uint64_t number = ++s->made;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    return number;
}

uint64_t scratch_read(struct scratch *s, uint64_t at, void *to, size_t size) {
    return add(s, (struct request){at, to, size, false});
}

uint64_t scratch_write(struct scratch *s, uint64_t at, const void *from, size_t size) {
    return add(s, (struct request){at, (char *)(uintptr_t)from, size, true});
}

uint64_t scratch_last(const struct scratch *s) {
    return s->made; /* only the caller's thread changes it */
}

kadr_status scratch_wait(struct scratch *s, uint64_t number, kadr_error *err) {
    pthread_mutex_lock(&s->lock);
    if (s->done < number) {
        double from = sys_seconds();
        while (s->done < number) pthread_cond_wait(&s->ready, &s->lock);
        s->stats.waited += sys_seconds() - from;
    }
    kadr_status st = s->status;
    if (st && err) *err = s->error;
    pthread_mutex_unlock(&s->lock);
    return st;
}

void scratch_get_stats(struct scratch *s, struct scratch_stats *stats) {
    pthread_mutex_lock(&s->lock);
    *stats = s->stats;
    pthread_mutex_unlock(&s->lock);
}
