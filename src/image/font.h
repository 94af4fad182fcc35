/* font.h: text of fixed width drawn into a picture. */
#ifndef KADR_IMAGE_FONT_H
#define KADR_IMAGE_FONT_H

#include "image/image.h"

#define FONT_WIDTH 5
#define FONT_HEIGHT 8
#define FONT_STEP 6  /* from one letter to the next */
#define FONT_LINE 10 /* from one line to the next */

/* One line of UTF-8 with its upper left corner at (x, y) of an RGB picture; what lies outside is
 * cut off. A point of a letter is zoom x zoom pixels. */
void font_draw(struct image *im, int x, int y, int zoom, const uint8_t rgb[3], const char *text,
               size_t size);
size_t font_letters(const char *text, size_t size);

#endif
