/* Threads: every task runs once, on a thread that exists, for any number of either. */
#include "base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define TASKS 5000

struct work {
    atomic_int times[TASKS], busy[64], wrong;
    int threads;
    bool slow;
};

static void task(void *user, size_t i, int thread) {
    struct work *w = user;
    if (i >= TASKS || thread < 0 || thread >= w->threads) {
        atomic_fetch_add(&w->wrong, 1);
        return;
    }
    /* One thread number is never two threads at once. */
    if (atomic_fetch_add(&w->busy[thread], 1)) atomic_fetch_add(&w->wrong, 1);
    if (w->slow && i % 100 == 0) nanosleep(&(struct timespec){0, 200000}, NULL);
    atomic_fetch_add(&w->times[i], 1);
    atomic_fetch_sub(&w->busy[thread], 1);
}

static void run(struct pool *p, struct work *w, size_t tasks) {
    for (size_t i = 0; i < TASKS; i++) atomic_store(&w->times[i], 0);
    pool_run(p, tasks, task, w);
    for (size_t i = 0; i < TASKS; i++) assert_int_equal(atomic_load(&w->times[i]), i < tasks);
    assert_int_equal(atomic_load(&w->wrong), 0);
}

static void every_task_once(void **unused) {
    (void)unused;
    static const size_t counts[] = {0, 1, 2, 3, 7, 64, 1000, TASKS, 0, 1};
    struct mem *m = mem_open(0);
    static struct work w;
    for (int threads = 1; threads <= 16; threads += threads < 4 ? 1 : 4) {
        struct pool *p;
        assert_int_equal(pool_open(&p, m, threads, NULL), KADR_OK);
        assert_int_equal(pool_threads(p), threads);
        w.threads = threads;
        for (w.slow = false;; w.slow = true) {
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) run(p, &w, counts[i]);
            if (w.slow) break;
        }
        pool_close(p);
    }
    assert_int_equal(mem_close(m), 0);
}

/* Operations follow each other closely, or after a pause in which the threads fall asleep. */
static void many_runs(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    struct pool *p;
    static struct work w = {.threads = 3};
    assert_int_equal(pool_open(&p, m, 3, NULL), KADR_OK);
    for (size_t i = 0; i < TASKS; i++) atomic_store(&w.times[i], 0);
    for (int i = 0; i < 5000; i++) {
        pool_run(p, 4, task, &w);
        if (i % 500 == 0) nanosleep(&(struct timespec){0, 2000000}, NULL);
    }
    for (size_t i = 0; i < 4; i++) assert_int_equal(atomic_load(&w.times[i]), 5000);
    pool_close(p);
    /* Opened and closed without work, also at once. */
    for (int i = 0; i < 50; i++) {
        assert_int_equal(pool_open(&p, m, 1 + i % 5, NULL), KADR_OK);
        if (i % 2) pool_run(p, 2, task, &w);
        pool_close(p);
    }
    pool_close(NULL);
    assert_int_equal(mem_close(m), 0);
}

static void pools_beside_each_other(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    struct pool *p[3];
    static struct work w[3];
    for (int i = 0; i < 3; i++) {
        w[i].threads = i + 2;
        assert_int_equal(pool_open(&p[i], m, i + 2, NULL), KADR_OK);
    }
    for (int k = 0; k < 20; k++)
        for (int i = 0; i < 3; i++) run(p[i], &w[i], 100);
    for (int i = 0; i < 3; i++) pool_close(p[i]);
    assert_int_equal(mem_close(m), 0);
}

/* What one thread has written before pool_run, others read in their tasks, and back. */
static void sums(void *user, size_t i, int thread) {
    long *numbers = user;
    (void)thread;
    numbers[i] = i ? numbers[i] + (long)i : 1;
}

static void results_are_seen(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    struct pool *p;
    static long numbers[1000];
    assert_int_equal(pool_open(&p, m, 4, NULL), KADR_OK);
    for (int k = 0; k < 300; k++) {
        for (long i = 1; i < 1000; i++) numbers[i] = k;
        pool_run(p, 1000, sums, numbers);
        for (long i = 1; i < 1000; i++) assert_int_equal(numbers[i], k + i);
    }
    pool_close(p);
    assert_int_equal(mem_close(m), 0);
}

static void refused_memory_is_told(void **unused) {
    (void)unused;
    struct mem *m = mem_open(0);
    struct pool *p;
    kadr_error err = {0};
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail_at(m, n);
        assert_int_equal(pool_open(&p, m, 4, &err), KADR_EMEMORY);
        assert_int_equal(err.status, KADR_EMEMORY);
    }
    mem_fail_at(m, 0);
    assert_int_equal(mem_close(m), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_once),         cmocka_unit_test(many_runs),
        cmocka_unit_test(pools_beside_each_other), cmocka_unit_test(results_are_seen),
        cmocka_unit_test(refused_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
