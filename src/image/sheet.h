/* sheet.h: a contact sheet: pictures in a grid, each with its number and a caption below. */
#ifndef KADR_IMAGE_SHEET_H
#define KADR_IMAGE_SHEET_H

#include "image/image.h"

struct sheet_panel {
    const struct image *image; /* NULL: a panel that was not drawn; its place stays empty */
    const char *number;        /* "12A" */
    const char *caption;       /* UTF-8, wrapped at words, cut after SHEET_LINES lines; or NULL */
};
#define SHEET_LINES 3

struct sheet_style {
    int columns; /* 0: as many as make the sheet about 3:2, at most 6 */
    int width;   /* most pixels of a panel's width; 0: 480 */
};

/* Pictures keep their proportions; larger ones are made smaller (Lanczos), none larger. */
kadr_status sheet_make(const struct sheet_panel *panels, size_t count, struct sheet_style style,
                       struct mem *m, struct image *out, kadr_error *err);

#endif
