/* term.h: a picture in the terminal, through libchafa: kitty's or iTerm's protocol or sixels where
 * the terminal knows them, else coloured letters. Belongs to the program, not to libkadr. */
#ifndef KADR_IMAGE_TERM_H
#define KADR_IMAGE_TERM_H

#include "image/image.h"

/* Draws into the terminal behind `fd`; does nothing where there is none, where TERM is "dumb" or
 * where kadr was built without libchafa. With NO_COLOR set: letters without colours. */
kadr_status term_show(const struct image *im, struct mem *m, int fd, kadr_error *err);

/* What would be written to a terminal of that many columns and rows with that environment
 * ("NAME=value" strings, NULL-terminated). Appends nothing when built without libchafa. */
void term_render(const struct image *im, const char *const *environment, int columns, int rows,
                 struct buf *out);

#endif
