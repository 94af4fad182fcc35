/* subject.h: where in a reference picture the character is, told without any model: what differs
 * from the colours along the picture's border. Right for a character on a calm ground; in a busy
 * picture the box grows to the whole picture, and it cannot tell a face from anything else. */
#ifndef KADR_IMAGE_SUBJECT_H
#define KADR_IMAGE_SUBJECT_H

#include "image/image.h"

struct box {
    int x, y, width, height;
};

/* A box around what stands out, with some room, grown to a square as far as the picture goes; the
 * whole picture when nothing stands out. */
kadr_status image_find_subject(const struct image *im, struct mem *m, struct box *out,
                               kadr_error *err);

/* Where the head of a standing character is in such a box: its upper end, as wide as high. */
struct box image_upper_end(struct box subject);

#endif
