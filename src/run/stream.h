/* stream.h: the readers of a run. They walk the units of the segment at hand ahead of the
 * executor and have their weights in place before they are asked for. Slots are taken from the ring
 * in order and given back in order.
 *
 * One thread drives it: begin, then for each unit await and done.
 */
#ifndef KADR_RUN_STREAM_H
#define KADR_RUN_STREAM_H

#include "run/load.h"

struct stream;

/* `arena`: of the run; `ids`: the ids of an OP_EMBED, by segment, operation and
 * lane, or NULL where that does not run. Borrowed. */
struct stream_config {
    const struct run_config *run;
    char *arena;
    const int32_t *(*ids)(void *user, int segment, const struct op *op, int lane);
    void *user;
};
kadr_status stream_open(struct stream **out, struct mem *m, const struct stream_config *config,
                        kadr_error *err);
void stream_close(struct stream *st); /* `st` may be NULL; waits for reads that are under way */

/* The segment's units are wanted once, from the first on, with `reuse` but those of the graph's
 * cut; with `again` its first ones (up to the cut) may be fetched a second time for the next begin
 * of the same segment. */
void stream_begin(struct stream *st, int segment, bool again, bool reuse);

/* Waits until the next unit's weights are there; *slot is where its streamed ones lie. */
kadr_status stream_await(struct stream *st, char **slot, kadr_error *err);

/* The unit was computed: its slot is free. */
void stream_done(struct stream *st);

void stream_get_stats(struct stream *st, struct run_stats *stats);

#endif
