/* checkpoint.h: pictures that were begun and not finished. The state of their samplers goes to a
 * file each, between steps; a later drawing of the same pictures goes on from there and ends with
 * the same bits.
 *
 * A file is of its picture when its id says so: a hash of all that decides the pixels. A file that
 * is of another picture, or damaged, is as none.
 */
#ifndef KADR_DRAW_CHECKPOINT_H
#define KADR_DRAW_CHECKPOINT_H

#include "base/arena.h"
#include "base/err.h"
#include "sample/sample.h"

struct checkpoint {
    char *path; /* NULL: none is kept */
    uint64_t id;
    struct sampler *sampler;
};

/* Pictures that are painted together are saved together: all or, when it fails, none. */
kadr_status checkpoints_save(const struct checkpoint *list, size_t count, struct mem *m,
                             kadr_error *err);
/* The states of all, when all are there and at the same step. False: the samplers are to be opened
 * anew. */
bool checkpoints_load(const struct checkpoint *list, size_t count, struct mem *m);
void checkpoint_remove(const struct checkpoint *c);

#endif
