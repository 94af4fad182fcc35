/* ink.h: what all pages are drawn with: pictures, texts and camera moves on a cairo context. */
#ifndef KADR_PAGES_INK_H
#define KADR_PAGES_INK_H

#include "image/image.h"
#include "pages/pages.h"
#include <cairo.h>
#include <pango/pangocairo.h>

struct ink_box {
    double x, y, width, height;
};

/* Greys, from 0 (black) to 1. */
#define INK_BLACK 0.08
#define INK_GREY 0.42
#define INK_FAINT 0.88
void ink_grey(cairo_t *cr, double grey);
void ink_fill(cairo_t *cr, struct ink_box box);

/* A picture's file as a surface of at most width x height pixels; its proportions are kept and it
 * is never made larger. `light`: a PDF gets it as JPEG, a tenth of the bytes. */
kadr_status ink_picture(struct pages *p, const char *path, double width, double height, bool light,
                        cairo_surface_t **out, kadr_error *err);
/* In the middle of the box, as large as fits; returns where it came to lie. */
struct ink_box ink_lay(cairo_t *cr, cairo_surface_t *picture, struct ink_box box);

/* [height, width, 3] of an RGB24 surface. */
void ink_pixels(cairo_surface_t *from, uint8_t *rgb);

struct ink_font {
    double size; /* of the context's units */
    bool bold, italic;
};
/* A text broken into lines of at most `width`, words where need be; the caller frees it with
 * g_object_unref. Letters that no font has are counted. */
PangoLayout *ink_text(struct pages *p, cairo_t *cr, struct ink_font font, const char *text,
                      double width);
/* At most `lines` of it; the rest becomes an ellipsis. */
void ink_put_short(struct pages *p, cairo_t *cr, struct ink_font font, const char *text,
                   struct ink_box box, int lines);
double ink_line_height(struct ink_font font); /* about */

/* "12A  wide  pan left" at the box's left and "2.5 s" at its right. */
void ink_head(struct pages *p, cairo_t *cr, const struct shot *shot, struct ink_box box,
              struct ink_font font, bool continued);

/* ---- arrows.c: a camera's move over a picture; nothing when it names none. */
void ink_arrows(cairo_t *cr, struct ink_box picture, const char *camera);

/* What cairo says about what was drawn. */
kadr_status ink_check(cairo_status_t status, const char *path, kadr_error *err);

#endif
