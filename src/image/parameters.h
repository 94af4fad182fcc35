/* parameters.h: the settings of a picture as A1111 writes them into PNGs under "parameters" and as
 * a good part of the world reads them:
 *
 *     a fox in the snow
 *     Negative prompt: blurry
 *     Steps: 12, Sampler: Euler, CFG scale: 6.5, Seed: 1, Size: 192x128, Model: "a, b"
 *
 * Values with comma, colon or newline are quoted as JSON strings. The reader understands whatever
 * it is given, as A1111's own does: what looks like no settings is prompt.
 */
#ifndef KADR_IMAGE_PARAMETERS_H
#define KADR_IMAGE_PARAMETERS_H

#include "image/image.h"

struct parameters {
    const char *prompt, *negative; /* "" when there is none */
    struct image_text *list;       /* in the order of the text */
    size_t count;
};

/* Everything in *out lives in `a`. KADR_EMEMORY is the only failure. */
kadr_status parameters_read(struct arena *a, const char *text, struct parameters *out,
                            kadr_error *err);
void parameters_write(const struct parameters *p, struct buf *out);
/* The first value of that key, or NULL. */
const char *parameters_get(const struct parameters *p, const char *key);

#endif
