/* ink.c: see ink.h. */
#include "pages/ink.h"
#include "image/scale.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define JPEG_QUALITY 92

void ink_grey(cairo_t *cr, double grey) {
    cairo_set_source_rgb(cr, grey, grey, grey);
}

void ink_fill(cairo_t *cr, struct ink_box box) {
    cairo_rectangle(cr, box.x, box.y, box.width, box.height);
    cairo_fill(cr);
}

kadr_status ink_check(cairo_status_t status, const char *path, kadr_error *err) {
    if (status == CAIRO_STATUS_SUCCESS) return KADR_OK;
    if (status == CAIRO_STATUS_NO_MEMORY) return err_nomem(err, path, 0);
    return err_set(err, KADR_EIO, "%s: cairo: %s", path, cairo_status_to_string(status));
}

/* ---- Pictures -------------------------------------------------------------------------------- */
static void copy_pixels(const struct image *im, cairo_surface_t *to) {
    cairo_surface_flush(to);
    unsigned char *rows = cairo_image_surface_get_data(to);
    int stride = cairo_image_surface_get_stride(to);
    for (int y = 0; y < im->height; y++) {
        const uint8_t *from = im->data + (size_t)y * (size_t)im->width * 3;
        unsigned char *row = rows + (ptrdiff_t)y * stride;
        for (int x = 0; x < im->width; x++) {
            uint32_t rgb =
                (uint32_t)from[3 * x] << 16 | (uint32_t)from[3 * x + 1] << 8 | from[3 * x + 2];
            memcpy(row + 4 * (ptrdiff_t)x, &rgb, 4);
        }
    }
    cairo_surface_mark_dirty(to);
}

void ink_pixels(cairo_surface_t *from, uint8_t *rgb) {
    int width = cairo_image_surface_get_width(from), height = cairo_image_surface_get_height(from);
    int stride = cairo_image_surface_get_stride(from);
    cairo_surface_flush(from);
    const unsigned char *rows = cairo_image_surface_get_data(from);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, rgb += 3) {
            uint32_t pixel;
            memcpy(&pixel, rows + (ptrdiff_t)y * stride + 4 * (ptrdiff_t)x, 4);
            rgb[0] = (uint8_t)(pixel >> 16);
            rgb[1] = (uint8_t)(pixel >> 8);
            rgb[2] = (uint8_t)pixel;
        }
}

static void free_bytes(void *bytes) {
    mem_free(bytes);
}

/* What a PDF holds in place of the pixels. */
static kadr_status add_jpeg(const struct image *im, struct mem *m, cairo_surface_t *to,
                            kadr_error *err) {
    const struct image_style style = {IMAGE_JPEG, JPEG_QUALITY};
    struct buf bytes;
    buf_init(&bytes, m);
    kadr_status status = image_encode(im, m, style, NULL, 0, &bytes, err);
    size_t size = bytes.size;
    char *taken = status == KADR_OK ? buf_take(&bytes) : NULL;
    if (status == KADR_OK && !taken) status = err_nomem(err, "a picture", size);
    if (taken && cairo_surface_set_mime_data(to, CAIRO_MIME_TYPE_JPEG, (unsigned char *)taken, size,
                                             free_bytes, taken)) {
        mem_free(taken);
        status = err_nomem(err, "a picture", size);
    }
    buf_free(&bytes);
    return status;
}

static kadr_status read_fitting(struct mem *m, const char *path, double width, double height,
                                struct image *im, kadr_error *err) {
    struct image small = {0};
    kadr_status status = image_read(im, m, path, IMAGE_OVER_WHITE, NULL, err);
    if (status != KADR_OK) return status;
    double scale = fmin(width / im->width, height / im->height);
    if (scale >= 1) return KADR_OK;
    int w = (int)fmax(1, floor(im->width * scale)), h = (int)fmax(1, floor(im->height * scale));
    status = image_scale(im, m, w, h, SCALE_LANCZOS, &small, err);
    image_free(im);
    *im = small;
    return status;
}

kadr_status ink_picture(struct pages *p, const char *path, double width, double height, bool light,
                        cairo_surface_t **out, kadr_error *err) {
    struct image im = {0};
    *out = NULL;
    kadr_status status = read_fitting(p->mem, path, width, height, &im, err);
    if (status != KADR_OK) return status;
    cairo_surface_t *s = cairo_image_surface_create(CAIRO_FORMAT_RGB24, im.width, im.height);
    status = ink_check(cairo_surface_status(s), path, err);
    if (status == KADR_OK) copy_pixels(&im, s);
    if (status == KADR_OK && light) status = add_jpeg(&im, p->mem, s, err);
    image_free(&im);
    if (status == KADR_OK) *out = s;
    else cairo_surface_destroy(s);
    return status;
}

struct ink_box ink_lay(cairo_t *cr, cairo_surface_t *picture, struct ink_box box) {
    double w = cairo_image_surface_get_width(picture);
    double h = cairo_image_surface_get_height(picture);
    double scale = fmin(box.width / w, box.height / h);
    struct ink_box at = {box.x + (box.width - w * scale) / 2, box.y + (box.height - h * scale) / 2,
                         w * scale, h * scale};
    cairo_save(cr);
    cairo_translate(cr, at.x, at.y);
    cairo_scale(cr, scale, scale);
    cairo_set_source_surface(cr, picture, 0, 0);
    cairo_rectangle(cr, 0, 0, w, h);
    cairo_fill(cr);
    cairo_restore(cr);
    return at;
}

/* ---- Texts ----------------------------------------------------------------------------------- */
double ink_line_height(struct ink_font font) {
    return font.size * 1.3;
}

PangoLayout *ink_text(struct pages *p, cairo_t *cr, struct ink_font font, const char *text,
                      double width) {
    PangoLayout *layout = pango_cairo_create_layout(cr);
    PangoFontDescription *about = pango_font_description_from_string("sans-serif");
    cairo_font_options_t *exact = cairo_font_options_create();
    pango_font_description_set_absolute_size(about, font.size * PANGO_SCALE);
    if (font.bold) pango_font_description_set_weight(about, PANGO_WEIGHT_BOLD);
    if (font.italic) pango_font_description_set_style(about, PANGO_STYLE_ITALIC);
    /* Lines break at the same places on every surface and at every scale. */
    cairo_font_options_set_hint_metrics(exact, CAIRO_HINT_METRICS_OFF);
    pango_cairo_context_set_font_options(pango_layout_get_context(layout), exact);
    pango_layout_context_changed(layout);
    pango_layout_set_font_description(layout, about);
    pango_layout_set_wrap(layout, PANGO_WRAP_WORD_CHAR);
    if (width > 0) pango_layout_set_width(layout, (int)(width * PANGO_SCALE));
    pango_layout_set_text(layout, text, -1);
    p->unknown += (unsigned)pango_layout_get_unknown_glyphs_count(layout);
    cairo_font_options_destroy(exact);
    pango_font_description_free(about);
    return layout;
}

void ink_put_short(struct pages *p, cairo_t *cr, struct ink_font font, const char *text,
                   struct ink_box box, int lines) {
    PangoLayout *layout = ink_text(p, cr, font, text, box.width);
    pango_layout_set_height(layout, -lines);
    pango_layout_set_ellipsize(layout, PANGO_ELLIPSIZE_END);
    cairo_move_to(cr, box.x, box.y);
    pango_cairo_show_layout(cr, layout);
    g_object_unref(layout);
}

static void put_at_right(struct pages *p, cairo_t *cr, struct ink_font font, const char *text,
                         struct ink_box *box) {
    int width;
    PangoLayout *layout = ink_text(p, cr, font, text, 0);
    pango_layout_get_size(layout, &width, NULL);
    double wide = (double)width / PANGO_SCALE;
    cairo_move_to(cr, box->x + box->width - wide, box->y);
    pango_cairo_show_layout(cr, layout);
    box->width -= wide + font.size;
    g_object_unref(layout);
}

void ink_head(struct pages *p, cairo_t *cr, const struct shot *shot, struct ink_box box,
              struct ink_font font, bool continued) {
    const struct ink_font plain = {font.size, false, false};
    char seconds[32];
    int width;
    snprintf(seconds, sizeof seconds, "%.3g s", timeline_seconds(p->t, shot->end - shot->first));
    ink_grey(cr, INK_GREY);
    if (!continued) put_at_right(p, cr, plain, seconds, &box);
    ink_grey(cr, INK_BLACK);
    ink_put_short(p, cr, font, shot->number, box, 1);
    PangoLayout *number = ink_text(p, cr, font, shot->number, 0);
    pango_layout_get_size(number, &width, NULL);
    g_object_unref(number);
    double shift = (double)width / PANGO_SCALE + font.size * 0.8;
    if (shift >= box.width) return;
    box.x += shift;
    box.width -= shift;
    struct buf said;
    buf_init(&said, p->mem);
    if (continued) buf_puts(&said, "(continued)");
    else
        buf_printf(&said, "%s%s%s", shot->size, *shot->size && *shot->camera ? ", " : "",
                   shot->camera);
    ink_grey(cr, INK_GREY);
    if (buf_ok(&said)) ink_put_short(p, cr, plain, said.data, box, 1);
    buf_free(&said);
}
