/* pool.h: threads that wait for work. The calling thread takes part, so a pool of 1 starts none.
 *
 * What a task computes must not depend on which thread runs it nor in which order: that is how the
 * same request gives the same bits for any number of threads.
 */
#ifndef KADR_BASE_POOL_H
#define KADR_BASE_POOL_H

#include "base/err.h"
#include "base/mem.h"

struct pool;

/* `threads` >= 1, counting the caller. Stacks are of a fixed, small size (POOL_STACK bytes each).
 */
#define POOL_STACK ((size_t)256 * 1024)
kadr_status pool_open(struct pool **out, struct mem *m, int threads, kadr_error *err);
void pool_close(struct pool *p); /* `p` may be NULL */
int pool_threads(const struct pool *p);

/* Calls fn(user, task, thread) for each task in [0, tasks), thread in [0, pool_threads), and
 * returns when all are done. Tasks are handed out in ascending order. Not to be nested. */
typedef void pool_fn(void *user, size_t task, int thread);
void pool_run(struct pool *p, size_t tasks, pool_fn *fn, void *user);

#endif
