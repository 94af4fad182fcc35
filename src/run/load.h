/* load.h: brings one weight, or a part of it, from its source into the form that the backend wants.
 */
#ifndef KADR_RUN_LOAD_H
#define KADR_RUN_LOAD_H

#include "run/run.h"

struct loader {
    const struct run_config *config; /* borrowed */
    void *staging;                   /* of the segment at hand */
    uint64_t bytes_read;
    struct run_piece piece[RUN_PIECES]; /* of packed weights, to be read */
    int pieces;
};

/* The bytes of staging that a weight wants; 0 when it is read as it will be used. */
kadr_status load_staging(const struct backend *backend, void *state,
                         const struct run_source *source, const struct graph *g, weight_id w,
                         size_t *bytes, kadr_error *err);

/* Whether a weight is read as it lies in its file. Others need the staging. */
bool load_is_plain(const struct loader *l, const struct segment *s, weight_id w);

/* Weight `w` of a segment, or a part of it (NULL: all), to `to`. Plain ones are noted as pieces;
 * only when RUN_PIECES are, all are read and checked. */
kadr_status load_weight(struct loader *l, const struct segment *s, weight_id w,
                        const struct op_part *part, void *to, kadr_error *err);

/* Reads the pieces noted; checks them, after which none are. */
kadr_status load_read(struct loader *l, kadr_error *err);
kadr_status load_check(struct loader *l, kadr_error *err);

/* Where the rows of a lane lie among those that are picked of a table. */
size_t load_picked_at(const struct segment *s, weight_id w, int lane);
/* The rows of a table that the ids of one lane name, in their order. */
kadr_status load_picked(struct loader *l, const struct segment *s, weight_id w, const int32_t *id,
                        void *to, kadr_error *err);

#endif
