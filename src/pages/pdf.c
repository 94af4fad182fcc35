/* pdf.c: the board on paper. Everything is laid out twice: once to count the pages, which each
 * page's head tells, and once with ink. */
#include "base/file.h"
#include "pages/ink.h"
#include <cairo-pdf.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MARGIN 36.0 /* points, as everything here */
#define HEADER 26.0
#define GAP 16.0
#define PRINT_DPI 300.0
#define PICTURE_BESIDE 0.58 /* of the cell's width */
#define TEXT_BESIDE 12.0    /* between picture and text */

struct layout {
    const char *name;
    int across, down;
    bool landscape, beside; /* the text stands beside the picture */
    double picture;         /* that takes at most this share of the cell's height */
    double text;            /* the font's size */
};

static const struct layout layouts[] = {{"2x3", 2, 3, false, false, 0.66, 8.5},
                                        {"1x3", 1, 3, false, true, 1, 9.5},
                                        {"1x1", 1, 1, true, false, 0.8, 11}};

struct flow {
    struct pages *p;
    cairo_t *cr;
    const struct layout *layout;
    double width, height; /* of the page */
    bool ink;             /* the second time */
    int page, pages;      /* the present one, and of how many, once that is known */
    int cells;            /* that the page has by now */
    const struct shot *shot;
    struct ink_box cell, text; /* the cell, and what is left in it for text */
    double y;                  /* of the next line */
};

/* ---- Pages and cells ------------------------------------------------------------------------- */
static struct ink_font head_font(const struct flow *f) {
    return (struct ink_font){f->layout->text + 1, true, false};
}

static void put_header(struct flow *f) {
    char number[32];
    int width;
    const struct ink_font bold = {11, true, false}, plain = {9, false, false};
    struct ink_box box = {MARGIN, MARGIN - 8, f->width - 2 * MARGIN, HEADER};
    snprintf(number, sizeof number, "%d / %d", f->page, f->pages);
    PangoLayout *of = ink_text(f->p, f->cr, plain, number, 0);
    pango_layout_get_size(of, &width, NULL);
    double wide = (double)width / PANGO_SCALE;
    ink_grey(f->cr, INK_GREY);
    cairo_move_to(f->cr, box.x + box.width - wide, box.y + 2);
    pango_cairo_show_layout(f->cr, of);
    g_object_unref(of);
    box.width -= wide + 12;
    ink_grey(f->cr, INK_BLACK);
    ink_put_short(f->p, f->cr, bold, f->p->t->title, box, 1);
    ink_grey(f->cr, INK_FAINT);
    ink_fill(f->cr, (struct ink_box){MARGIN, MARGIN + 10, f->width - 2 * MARGIN, 0.8});
}

/* The next cell, on a new page where this one is full: its head is there, its text is empty. */
static void begin_cell(struct flow *f, bool continued) {
    const struct layout *l = f->layout;
    if (!f->page || f->cells == l->across * l->down) {
        if (f->page && f->ink) cairo_show_page(f->cr);
        f->page++;
        f->cells = 0;
        if (f->ink) put_header(f);
    }
    double width = (f->width - 2 * MARGIN - (l->across - 1) * GAP) / l->across;
    double high = (f->height - 2 * MARGIN - HEADER - (l->down - 1) * GAP) / l->down;
    f->cell = (struct ink_box){MARGIN + f->cells % l->across * (width + GAP),
                               MARGIN + HEADER + (double)(f->cells / l->across) * (high + GAP),
                               width, high};
    f->cells++;
    if (f->ink) ink_head(f->p, f->cr, f->shot, f->cell, head_font(f), continued);
    double head = ink_line_height(head_font(f)) + 3;
    f->cell.y += head;
    f->cell.height -= head;
    f->text = f->cell;
    if (l->beside) {
        f->text.x += PICTURE_BESIDE * width + TEXT_BESIDE;
        f->text.width -= PICTURE_BESIDE * width + TEXT_BESIDE;
    }
    f->y = f->text.y;
}

/* At the cell's top; where the text does not stand beside it, that goes on below. */
static kadr_status put_picture(struct flow *f, kadr_error *err) {
    const struct layout *l = f->layout;
    cairo_surface_t *picture = NULL;
    struct ink_box box = f->cell;
    kadr_status status = KADR_OK;
    box.width *= l->beside ? PICTURE_BESIDE : 1;
    box.height *= l->picture;
    if (f->shot->picture)
        status = ink_picture(f->p, f->shot->picture, box.width * PRINT_DPI / 72,
                             box.height * PRINT_DPI / 72, f->ink, &picture, err);
    if (status != KADR_OK) return err_context(err, "panel %s", f->shot->number);
    double w = picture ? cairo_image_surface_get_width(picture) : 16;
    double h = picture ? cairo_image_surface_get_height(picture) : 9;
    double scale = fmin(box.width / w, box.height / h);
    box.x += l->beside ? 0 : (box.width - w * scale) / 2;
    box.width = w * scale;
    box.height = h * scale;
    if (f->ink) {
        ink_grey(f->cr, INK_FAINT);
        ink_fill(f->cr, box);
        if (picture) ink_lay(f->cr, picture, box);
        ink_grey(f->cr, INK_GREY);
        cairo_set_line_width(f->cr, 0.5);
        cairo_rectangle(f->cr, box.x, box.y, box.width, box.height);
        cairo_stroke(f->cr);
        ink_arrows(f->cr, box, f->shot->camera);
    }
    cairo_surface_destroy(picture);
    if (!l->beside) f->y += box.height + 5;
    return KADR_OK;
}

/* ---- Text ------------------------------------------------------------------------------------ */
/* Line by line; where the cell has no room for the next one, the panel goes on in another cell. */
static void put_text(struct flow *f, struct ink_font font, double grey, double indent,
                     const char *text) {
    if (!*text) return;
    PangoLayout *layout = ink_text(f->p, f->cr, font, text, f->text.width - 2 * indent);
    PangoLayoutIter *line = pango_layout_get_iter(layout);
    double shift = f->y; /* of the layout's lines on the page */
    do {
        PangoRectangle box;
        pango_layout_iter_get_line_extents(line, NULL, &box);
        double top = (double)box.y / PANGO_SCALE, high = (double)box.height / PANGO_SCALE;
        bool alone = shift + top <= f->text.y; /* no other cell would have more room */
        if (shift + top + high > f->text.y + f->text.height && !alone) {
            begin_cell(f, true);
            shift = f->y - top;
        }
        f->y = shift + top + high;
        if (!f->ink) continue;
        ink_grey(f->cr, grey);
        cairo_move_to(f->cr, f->text.x + indent + (double)box.x / PANGO_SCALE,
                      shift + (double)pango_layout_iter_get_baseline(line) / PANGO_SCALE);
        pango_cairo_show_layout_line(f->cr, pango_layout_iter_get_line_readonly(line));
    } while (pango_layout_iter_next_line(line));
    pango_layout_iter_free(line);
    g_object_unref(layout);
    f->y += font.size * 0.35;
}

static kadr_status put_shot(struct flow *f, const struct shot *shot, const char *scene,
                            kadr_error *err) {
    double size = f->layout->text;
    f->shot = shot;
    begin_cell(f, false);
    kadr_status status = put_picture(f, err);
    if (status != KADR_OK) return status;
    if (strcmp(shot->scene, scene) != 0)
        put_text(f, (struct ink_font){size - 0.5, true, false}, INK_GREY, 0, shot->scene);
    put_text(f, (struct ink_font){size, false, false}, INK_BLACK, 0, shot->action);
    put_text(f, (struct ink_font){size, false, false}, INK_BLACK, size, shot->dialogue);
    put_text(f, (struct ink_font){size - 0.5, false, true}, INK_GREY, 0, shot->notes);
    return KADR_OK;
}

/* All pages onto the context; how many they are stays in f->page. */
static kadr_status put_shots(struct flow *f, cairo_t *cr, bool ink, kadr_error *err) {
    const struct timeline *t = f->p->t;
    kadr_status status = KADR_OK;
    f->cr = cr;
    f->ink = ink;
    f->page = f->cells = 0;
    for (size_t i = 0; status == KADR_OK && i < t->count; i++)
        status = put_shot(f, &t->shots[i], i ? t->shots[i - 1].scene : "", err);
    if (ink && status == KADR_OK) cairo_show_page(cr);
    return status;
}

/* ---- The file -------------------------------------------------------------------------------- */
static cairo_status_t take_bytes(void *to, const unsigned char *bytes, unsigned size) {
    buf_add(to, bytes, size);
    return buf_ok(to) ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_NO_MEMORY;
}

static kadr_status print(struct flow *f, struct buf *to, const char *path, kadr_error *err) {
    cairo_surface_t *s =
        cairo_pdf_surface_create_for_stream(to ? take_bytes : NULL, to, f->width, f->height);
    cairo_pdf_surface_set_metadata(s, CAIRO_PDF_METADATA_TITLE, f->p->t->title);
    cairo_pdf_surface_set_metadata(s, CAIRO_PDF_METADATA_CREATOR, "kadr " KADR_VERSION);
    cairo_t *cr = cairo_create(s);
    kadr_status status = put_shots(f, cr, to != NULL, err);
    cairo_surface_finish(s);
    if (status == KADR_OK) status = ink_check(cairo_status(cr), path, err);
    if (status == KADR_OK) status = ink_check(cairo_surface_status(s), path, err);
    cairo_destroy(cr);
    cairo_surface_destroy(s);
    return status;
}

static const struct layout *find_layout(const char *name) {
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (!strcmp(layouts[i].name, name)) return &layouts[i];
    return NULL;
}

kadr_status pages_pdf(struct pages *p, const char *path, struct pdf_style style, kadr_error *err) {
    struct flow f = {.p = p, .layout = find_layout(style.layout)};
    bool letter = !strcmp(style.paper, "letter");
    struct buf bytes;
    if (!f.layout) return err_set(err, KADR_EUSAGE, "no layout \"%.20s\"", style.layout);
    const double portrait[2] = {letter ? 612 : 595.28, letter ? 792 : 841.89};
    f.width = portrait[f.layout->landscape];
    f.height = portrait[!f.layout->landscape];
    buf_init(&bytes, p->mem);
    kadr_status status = print(&f, NULL, path, err);
    f.pages = f.page;
    p->unknown = 0; /* they are counted again */
    if (status == KADR_OK) status = print(&f, &bytes, path, err);
    if (status == KADR_OK) status = file_write_atomic(p->mem, path, bytes.data, bytes.size, err);
    buf_free(&bytes);
    return status;
}
