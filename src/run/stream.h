/* stream.h: the reader thread of a run. It walks the units of the segment at hand ahead of the
 * executor and has their weights in place before they are asked for. Slots are taken from the ring
 * in order and given back in order.
 *
 * One thread drives it: begin, then for each unit await and done.
 */
#ifndef KADR_RUN_STREAM_H
#define KADR_RUN_STREAM_H

#include "run/load.h"

struct stream;

/* `arena`: of the run; `ids`: the ids of an OP_EMBED, by segment and operation. Borrowed. */
struct stream_config {
    const struct run_config *run;
    char *arena;
    const int32_t *(*ids)(void *user, int segment, const struct op *op);
    void *user;
};
kadr_status stream_open(struct stream **out, struct mem *m, const struct stream_config *config,
                        kadr_error *err);
void stream_close(struct stream *st); /* `st` may be NULL; waits for a read that is under way */

/* The segment's units are wanted once, from the first on; with `again` its first ones may be
 * fetched a second time for the next begin of the same segment. */
void stream_begin(struct stream *st, int segment, bool again);

/* Waits until the next unit's weights are there; *slot is where its streamed ones lie. */
kadr_status stream_await(struct stream *st, char **slot, kadr_error *err);

/* The unit was computed: its slot is free. */
void stream_done(struct stream *st);

void stream_get_stats(struct stream *st, struct run_stats *stats);

#endif
