/* sheet.c: the contact sheet. First the places are worked out, then everything is drawn. */
#include "base/file.h"
#include "pages/ink.h"
#include <math.h>

#define WIDTH 480.0 /* of a panel, in pixels as everything here */
#define LEAST 288.0 /* the same, where all pictures are smaller */
#define MARGIN 12.0
#define COLUMNS 6
#define LINES 3 /* of a panel's text */

static const struct ink_font head = {15, true, false}, plain = {14, false, false};

struct grid {
    int columns, rows;
    double width, height; /* of a picture's place */
    double step;          /* from row to row */
};

/* As many columns as make the sheet nearest to 3:2. */
static int choose_columns(size_t count, double width, double height) {
    int best = 1;
    double least = HUGE_VAL;
    for (int c = 1; c <= COLUMNS && (size_t)c <= count; c++) {
        double rows = ceil((double)count / c);
        double away = fabs(2 * c * width - 3 * rows * height);
        if (away < least) {
            least = away;
            best = c;
        }
    }
    return best;
}

/* The pictures, and the place that the widest and the highest of them need. */
static kadr_status read_pictures(struct pages *p, const struct shot *shots, size_t count,
                                 cairo_surface_t **pictures, struct grid *g, kadr_error *err) {
    kadr_status status = KADR_OK;
    g->width = g->height = 0;
    for (size_t i = 0; status == KADR_OK && i < count; i++) {
        if (!shots[i].picture) continue;
        status = ink_picture(p, shots[i].picture, WIDTH, 2 * WIDTH, false, &pictures[i], err);
        if (status != KADR_OK) return err_context(err, "panel %s", shots[i].number);
        g->width = fmax(g->width, cairo_image_surface_get_width(pictures[i]));
        g->height = fmax(g->height, cairo_image_surface_get_height(pictures[i]));
    }
    if (!g->width) g->height = (g->width = WIDTH) * 9 / 16;
    if (g->width < LEAST) { /* room for words */
        g->height = round(g->height * LEAST / g->width);
        g->width = LEAST;
    }
    g->step = g->height + ink_line_height(head) + LINES * ink_line_height(plain) + 2 * MARGIN;
    g->columns = choose_columns(count, g->width + MARGIN, g->step);
    g->rows = (int)((count + (size_t)g->columns - 1) / (size_t)g->columns);
    return status;
}

static void put_panel(struct pages *p, cairo_t *cr, const struct shot *shot,
                      cairo_surface_t *picture, struct ink_box box) {
    struct ink_box at = box, text = box;
    ink_grey(cr, INK_FAINT);
    ink_fill(cr, box);
    if (picture) at = ink_lay(cr, picture, box);
    ink_arrows(cr, at, shot->camera);
    text.y += box.height + 4;
    ink_head(p, cr, shot, text, head, false);
    text.y += ink_line_height(head) + 1;
    ink_grey(cr, INK_BLACK);
    ink_put_short(p, cr, plain, *shot->action ? shot->action : shot->dialogue, text, LINES);
}

/* RGB of what was drawn. */
static kadr_status take_image(cairo_surface_t *from, struct mem *m, struct image *out,
                              kadr_error *err) {
    int width = cairo_image_surface_get_width(from), height = cairo_image_surface_get_height(from);
    kadr_status status = image_make(out, m, width, height, 3, err);
    if (status == KADR_OK) ink_pixels(from, out->data);
    return status;
}

static kadr_status draw(struct pages *p, const char *path, const struct shot *shots, size_t count,
                        cairo_surface_t *const *pictures, const struct grid *g, kadr_error *err) {
    struct image sheet = {0};
    int width = (int)ceil(g->columns * (g->width + MARGIN) + MARGIN);
    int height = (int)ceil(g->rows * g->step + MARGIN);
    cairo_surface_t *s = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    cairo_t *cr = cairo_create(s);
    ink_grey(cr, 1);
    cairo_paint(cr);
    for (size_t i = 0; i < count; i++) {
        int column = (int)(i % (size_t)g->columns), row = (int)(i / (size_t)g->columns);
        put_panel(p, cr, &shots[i], pictures[i],
                  (struct ink_box){MARGIN + column * (g->width + MARGIN), MARGIN + row * g->step,
                                   g->width, g->height});
    }
    kadr_status status = ink_check(cairo_status(cr), path, err);
    if (status == KADR_OK) status = take_image(s, p->mem, &sheet, err);
    if (status == KADR_OK) status = image_write_png(&sheet, p->mem, path, NULL, 0, err);
    image_free(&sheet);
    cairo_destroy(cr);
    cairo_surface_destroy(s);
    return status;
}

kadr_status pages_sheet(struct pages *p, const char *path, size_t first, size_t count,
                        kadr_error *err) {
    struct grid g = {0};
    size_t all = p->t->count;
    if (!count || first >= all || count > all - first)
        return err_set(err, KADR_EUSAGE, "panels %zu to %zu of %zu", first + 1, first + count, all);
    const struct shot *shots = p->t->shots + first;
    cairo_surface_t **pictures = mem_array(p->mem, count, sizeof(cairo_surface_t *));
    if (!pictures) return err_nomem(err, "a contact sheet", count);
    kadr_status status = read_pictures(p, shots, count, pictures, &g, err);
    if (status == KADR_OK) status = draw(p, path, shots, count, pictures, &g, err);
    for (size_t i = 0; i < count; i++) cairo_surface_destroy(pictures[i]);
    mem_free(pictures);
    return status;
}
