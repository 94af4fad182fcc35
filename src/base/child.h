/* child.h: another program run for us: what it is fed, what it says, how it ends.
 *
 *     struct child c;
 *     status = child_start(&c, mem, argv, true, err);
 *     while (...) status = child_feed(&c, frame, size, err);
 *     status = child_end(&c, &code, err);    // c.said: all that it wrote
 *     child_close(&c);
 */
#ifndef KADR_BASE_CHILD_H
#define KADR_BASE_CHILD_H

#include "base/buf.h"
#include "base/err.h"
#include <sys/types.h>

#define CHILD_SAID ((size_t)64 << 10) /* what is kept of its words */

struct child {
    pid_t pid; /* 0: none */
    int in, out;
    struct buf said; /* standard output and standard error */
};

/* argv[0] is looked for in PATH when it has no slash. Its standard input is what is fed, or
 * nothing. KADR_EIO: it cannot be started. On failure there is nothing to close. */
kadr_status child_start(struct child *c, struct mem *m, const char *const *argv, bool fed,
                        kadr_error *err);
/* KADR_EIO when it takes no more. */
kadr_status child_feed(struct child *c, const void *data, size_t size, kadr_error *err);
/* Waits for its end: *code is its exit status, 128 + the signal's number when that ended it. */
kadr_status child_end(struct child *c, int *code, kadr_error *err);
/* Idempotent; one that still runs is killed. */
void child_close(struct child *c);

#endif
