/* sheet.c: contact sheets. First the places are worked out, then everything is drawn. */
#include "image/sheet.h"
#include "image/font.h"
#include "image/scale.h"
#include <string.h>

#define PANELS 10000
#define WIDTH 480
#define COLUMNS 6

static const uint8_t paper[3] = {255, 255, 255}, ink[3] = {40, 40, 44}, faint[3] = {226, 226, 230};

struct layout {
    int columns, rows;
    int cell_width, cell_height; /* of the picture in a panel */
    int zoom, margin;
    int text_height;
    int width, height;
};

/* The size of a picture that fits into width x height with its proportions kept. */
static void fit(const struct image *im, int width, int height, int *w, int *h) {
    *w = im->width;
    *h = im->height;
    if (*w > width) {
        *h = (int)(((int64_t)*h * width + *w / 2) / *w);
        *w = width;
    }
    if (*h > height) {
        *w = (int)(((int64_t)*w * height + *h / 2) / *h);
        *h = height;
    }
    if (*w < 1) *w = 1;
    if (*h < 1) *h = 1;
}

/* As many columns as make the sheet nearest to 3:2, in whole numbers. */
static int choose_columns(size_t count, int width, int height) {
    int best = 1;
    int64_t least = INT64_MAX;
    for (int c = 1; c <= COLUMNS && (size_t)c <= count; c++) {
        int64_t rows = ((int64_t)count + c - 1) / c;
        int64_t away = 2 * (int64_t)c * width - 3 * rows * height;
        if (away < 0) away = -away;
        if (away < least) {
            least = away;
            best = c;
        }
    }
    return best;
}

static kadr_status lay_out(const struct sheet_panel *panels, size_t count, struct sheet_style style,
                           struct layout *l, kadr_error *err) {
    int most = style.width > 0 ? style.width : WIDTH;
    if (count < 1 || count > PANELS || style.columns < 0 || most > IMAGE_SIDE)
        return err_set(err, KADR_EUSAGE, "a contact sheet of %zu panels, expected 1 to %d", count,
                       PANELS);
    memset(l, 0, sizeof *l);
    for (size_t i = 0; i < count; i++) {
        if (!panels[i].image) continue;
        int w, h;
        fit(panels[i].image, most, IMAGE_SIDE, &w, &h);
        if (w > l->cell_width) l->cell_width = w;
        if (h > l->cell_height) l->cell_height = h;
    }
    if (!l->cell_width) {
        l->cell_width = most;
        l->cell_height = most * 9 / 16 + 1;
    }
    if (l->cell_height > 2 * l->cell_width) l->cell_height = 2 * l->cell_width;
    l->zoom = l->cell_width >= 320 ? 2 : 1;
    l->margin = 6 * l->zoom;
    l->text_height = (1 + SHEET_LINES) * FONT_LINE * l->zoom;
    l->columns = style.columns ? style.columns
                               : choose_columns(count, l->cell_width + 2 * l->margin,
                                                l->cell_height + l->text_height + 3 * l->margin);
    int64_t rows = ((int64_t)count + l->columns - 1) / l->columns;
    int64_t width = (int64_t)l->columns * (l->cell_width + 2 * l->margin) + 2 * l->margin;
    int64_t height = rows * (l->cell_height + l->text_height + 3 * l->margin) + 2 * l->margin;
    if (width > IMAGE_SIDE || height > IMAGE_SIDE)
        return err_set(err, KADR_EUSAGE,
                       "a contact sheet of %lld x %lld pixels, expected at most %d each way: fewer "
                       "panels or smaller ones",
                       (long long)width, (long long)height, IMAGE_SIDE);
    l->rows = (int)rows;
    l->width = (int)width;
    l->height = (int)height;
    return KADR_OK;
}

/* How many bytes of `text` make a line of at most `letters`: up to the last blank that fits, or
 * through the word where none does. */
static size_t line_of(const char *text, size_t letters) {
    size_t size = 0, cut = 0, seen = 0;
    for (; text[size] && seen <= letters; size++) {
        if (text[size] == ' ' || text[size] == '\n') cut = size;
        if (text[size] == '\n') return size;
        if (((unsigned char)text[size] & 0xC0) != 0x80) seen++;
        if (seen > letters) break;
    }
    if (!text[size]) return size;
    return cut ? cut : size;
}

static void draw_caption(struct image *im, int x, int y, const struct layout *l, const char *text) {
    size_t letters = (size_t)(l->cell_width / (FONT_STEP * l->zoom));
    if (letters < 4) return;
    for (int line = 0; line < SHEET_LINES; line++, y += FONT_LINE * l->zoom) {
        while (*text == ' ' || *text == '\n') text++;
        size_t size = line_of(text, letters);
        bool more = line == SHEET_LINES - 1 && text[size];
        if (more) size = line_of(text, letters - 3);
        font_draw(im, x, y, l->zoom, ink, text, size);
        if (more) {
            int end = x + (int)font_letters(text, size) * FONT_STEP * l->zoom;
            font_draw(im, end, y, l->zoom, ink, "...", 3);
        }
        text += size;
    }
}

static kadr_status draw_panel(struct image *im, const struct sheet_panel *p, const struct layout *l,
                              int x, int y, struct mem *m, kadr_error *err) {
    int text = y + l->cell_height + l->margin;
    font_draw(im, x, text, l->zoom, ink, p->number, strlen(p->number));
    if (p->caption) draw_caption(im, x, text + FONT_LINE * l->zoom, l, p->caption);
    image_fill(im, x, y, l->cell_width, l->cell_height, faint);
    if (!p->image) return KADR_OK;
    int w, h;
    fit(p->image, l->cell_width, l->cell_height, &w, &h);
    int left = x + (l->cell_width - w) / 2, top = y + (l->cell_height - h) / 2;
    if (w == p->image->width && h == p->image->height) {
        image_lay(im, p->image, left, top);
        return KADR_OK;
    }
    struct image small;
    kadr_status status = image_scale(p->image, m, w, h, SCALE_LANCZOS, &small, err);
    if (status) return status;
    image_lay(im, &small, left, top);
    image_free(&small);
    return KADR_OK;
}

kadr_status sheet_make(const struct sheet_panel *panels, size_t count, struct sheet_style style,
                       struct mem *m, struct image *out, kadr_error *err) {
    struct layout l;
    memset(out, 0, sizeof *out);
    kadr_status status = lay_out(panels, count, style, &l, err);
    if (!status) status = image_make(out, m, l.width, l.height, 3, err);
    if (status) return status;
    image_fill(out, 0, 0, l.width, l.height, paper);
    int step_x = l.cell_width + 2 * l.margin;
    int step_y = l.cell_height + l.text_height + 3 * l.margin;
    for (size_t i = 0; !status && i < count; i++) {
        int column = (int)(i % (size_t)l.columns), row = (int)(i / (size_t)l.columns);
        status = draw_panel(out, &panels[i], &l, 2 * l.margin + column * step_x,
                            2 * l.margin + row * step_y, m, err);
    }
    if (status) image_free(out);
    return status;
}
