/* arrows.c: the camera's move as storyboards show it: an arrow where the frame goes, a smaller or
 * larger frame with arrows from its corners where it closes in or opens. */
#include "pages/ink.h"
#include <math.h>
#include <string.h>
#include <strings.h>

struct move {
    int x, y; /* where the frame goes: -1, 0, 1 */
    int zoom; /* 1: in, -1: out */
};

/* Beginnings of words, in the languages of the page. */
static const struct {
    const char *word;
    bool whole;
    struct move move;
} words[] = {
    {"left", true, {-1, 0, 0}},   {"right", true, {1, 0, 0}},  {"up", true, {0, -1, 0}},
    {"down", true, {0, 1, 0}},    {"in", true, {0, 0, 1}},     {"out", true, {0, 0, -1}},
    {"push", true, {0, 0, 1}},    {"pull", true, {0, 0, -1}},  {"влево", true, {-1, 0, 0}},
    {"вправо", true, {1, 0, 0}},  {"вверх", true, {0, -1, 0}}, {"вниз", true, {0, 1, 0}},
    {"наезд", false, {0, 0, 1}},  {"Наезд", false, {0, 0, 1}}, {"отъезд", false, {0, 0, -1}},
    {"Отъезд", false, {0, 0, -1}}};

static bool is_word(const char *text, size_t size, const char *word, bool whole) {
    size_t n = strlen(word);
    return size >= n && (!whole || size == n) && strncasecmp(text, word, n) == 0;
}

static struct move read_move(const char *camera) {
    struct move all = {0};
    while (*camera) {
        camera += strspn(camera, " ,;.-/()");
        size_t size = strcspn(camera, " ,;.-/()");
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            if (!is_word(camera, size, words[i].word, words[i].whole)) continue;
            if (words[i].move.x) all.x = words[i].move.x;
            if (words[i].move.y) all.y = words[i].move.y;
            if (words[i].move.zoom) all.zoom = words[i].move.zoom;
        }
        camera += size;
    }
    return all;
}

/* Dark around light: seen over any picture. */
static void stroke(cairo_t *cr, double width) {
    cairo_set_line_cap(cr, CAIRO_LINE_CAP_ROUND);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_width(cr, width * 1.9);
    ink_grey(cr, 0.1);
    cairo_stroke_preserve(cr);
    cairo_set_line_width(cr, width);
    ink_grey(cr, 1);
    cairo_stroke(cr);
}

static void arrow(cairo_t *cr, double x, double y, double to_x, double to_y, double width) {
    double angle = atan2(to_y - y, to_x - x), head = 4 * width;
    cairo_move_to(cr, x, y);
    cairo_line_to(cr, to_x, to_y);
    for (int side = -1; side <= 1; side += 2) {
        double a = angle + side * 2.5;
        cairo_move_to(cr, to_x + head * cos(a), to_y + head * sin(a));
        cairo_line_to(cr, to_x, to_y);
    }
    stroke(cr, width);
}

static void draw_zoom(cairo_t *cr, struct ink_box b, int zoom, double width) {
    double inset = 0.24, gap = 0.04;
    cairo_rectangle(cr, b.x + inset * b.width, b.y + inset * b.height, (1 - 2 * inset) * b.width,
                    (1 - 2 * inset) * b.height);
    stroke(cr, width * 0.6);
    for (int corner = 0; corner < 4; corner++) {
        double sx = corner % 2 ? 1 : -1, sy = corner / 2 ? 1 : -1;
        double mx = b.x + b.width / 2, my = b.y + b.height / 2;
        double far_x = mx + sx * (0.5 - gap) * b.width, far_y = my + sy * (0.5 - gap) * b.height;
        double near_x = mx + sx * (0.5 - inset + gap) * b.width;
        double near_y = my + sy * (0.5 - inset + gap) * b.height;
        if (zoom > 0) arrow(cr, far_x, far_y, near_x, near_y, width);
        else arrow(cr, near_x, near_y, far_x, far_y, width);
    }
}

void ink_arrows(cairo_t *cr, struct ink_box b, const char *camera) {
    struct move m = read_move(camera);
    double width = fmin(b.width, b.height) * 0.016;
    cairo_save(cr);
    if (m.zoom) draw_zoom(cr, b, m.zoom, width);
    if (m.x || m.y) {
        /* Along the lower edge, or the right one. */
        double mx = b.x + b.width * (m.y && !m.x ? 0.9 : 0.5);
        double my = b.y + b.height * (m.x && !m.y ? 0.86 : 0.5);
        double dx = m.x * b.width * 0.3, dy = m.y * b.height * 0.3;
        arrow(cr, mx - dx, my - dy, mx + dx, my + dy, width * 1.3);
    }
    cairo_restore(cr);
}
