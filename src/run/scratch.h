/* scratch.h: the scratch file of a run, read and written behind the executor's back. Requests are
 * carried out in the order in which they are made, one after the other, so that what was written
 * is what is read, and memory that a request was made for may be used in a later one at once.
 *
 *     uint64_t n = scratch_read(s, at, window, size);
 *     ... compute something else ...
 *     scratch_wait(s, n, err);
 *
 * One thread drives it.
 */
#ifndef KADR_RUN_SCRATCH_H
#define KADR_RUN_SCRATCH_H

#include "base/file.h"

struct scratch;

/* A file of `size` bytes; file_open_scratch says where, and what goes wrong. */
kadr_status scratch_open(struct scratch **out, struct mem *m, uint64_t size, kadr_error *err);
void scratch_close(struct scratch *s); /* `s` may be NULL; waits for the request at hand */

/* Requests; their numbers ascend. The memory belongs to the request until it is done. Past the page
 * cache where offset and address leave the same rest when divided by FILE_DIRECT; `to` has room up
 * to the next multiple behind the end. */
uint64_t scratch_read(struct scratch *s, uint64_t at, void *to, size_t size);
uint64_t scratch_write(struct scratch *s, uint64_t at, const void *from, size_t size);
/* The number of the request that was made last; 0: none was. */
uint64_t scratch_last(const struct scratch *s);

/* Waits until all requests up to that number are done. What went wrong first is told from then on;
 * requests after it are not carried out. */
kadr_status scratch_wait(struct scratch *s, uint64_t number, kadr_error *err);

/* Seconds that scratch_wait took so far, and bytes that were read and written. */
struct scratch_stats {
    double waited;
    uint64_t bytes;
};
void scratch_get_stats(struct scratch *s, struct scratch_stats *stats);

#endif
