/* load.h: brings one weight, or a part of it, from its source into the form that the backend wants.
 */
#ifndef KADR_RUN_LOAD_H
#define KADR_RUN_LOAD_H

#include "run/run.h"

struct loader {
    const struct run_config *config; /* borrowed */
    void *staging;                   /* of the segment at hand */
    uint64_t bytes_read;
};

/* The bytes of staging that a weight wants; 0 when it is read as it will be used. */
kadr_status load_staging(const struct backend *backend, void *state,
                         const struct run_source *source, const struct graph *g, weight_id w,
                         size_t *bytes, kadr_error *err);

/* Weight `w` of a segment, or a part of it (NULL: all), to `to`. */
kadr_status load_weight(struct loader *l, const struct segment *s, weight_id w,
                        const struct op_part *part, void *to, kadr_error *err);

/* The rows of a table that the ids name, in their order. */
kadr_status load_picked(struct loader *l, const struct segment *s, weight_id w, const int32_t *id,
                        void *to, kadr_error *err);

#endif
