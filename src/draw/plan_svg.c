/* plan_svg.c: see plan_svg.h. A segment that repeats is shown once. The width of a segment grows
 * with the root of its time, so that short ones can be seen beside the UNet.
 */
#include "draw/plan_svg.h"

#include <math.h>
#include <stdio.h>

#define LEFT 84.0
#define TOP 76.0
#define WIDTH 1000.0
#define HEIGHT 460.0
#define LEAST 70.0 /* width of a segment */
#define SPECK 2.0  /* area of what is too small to be seen */

static const struct {
    const char *name, *colour;
} kinds[] = {
    [BLOCK_BUFFER] = {"buffers between networks", "#8d99ae"},
    [BLOCK_TENSOR] = {"activations", "#ef8354"},
    [BLOCK_WEIGHTS] = {"weights that stay", "#2d6a9f"},
    [BLOCK_WORKSPACE] = {"workspace", "#6a994e"},
    [BLOCK_STAGING] = {"staging", "#bc6c9a"},
    [BLOCK_RING] = {"slots of streamed weights", "#7fb7e6"},
    [BLOCK_WINDOWS] = {"windows onto the scratch file", "#e9c46a"},
};
#define KINDS (sizeof kinds / sizeof *kinds)

struct canvas {
    struct buf *to;
    const struct job *job;
    double x[PROGRAM_SEGMENTS + 1]; /* left edge of each segment */
    double top;                     /* bytes at the upper edge */
    size_t beside;                  /* bytes below the arena: the program, pictures */
};

static double seconds_of(const struct stages *s, const struct stages_time *t, int segment) {
    if (segment == s->segment[STAGE_DENOISE]) return t->step * s->shape.steps;
    if (segment == s->segment[STAGE_DECODE]) return t->decode;
    return (t->encode + t->init) / 3;
}

static void lay_segments(struct canvas *c) {
    const struct stages *s = c->job->stages;
    int n = s->program.segment_count;
    double sum = 0, room = WIDTH - LEAST * n;
    for (int i = 0; i < n; i++) sum += sqrt(seconds_of(s, &c->job->time, i));
    c->x[0] = LEFT;
    for (int i = 0; i < n; i++) {
        double share = sum > 0 ? sqrt(seconds_of(s, &c->job->time, i)) / sum : 1.0 / n;
        c->x[i + 1] = c->x[i] + LEAST + room * share;
    }
}

/* Where a tick begins. */
static double x_of(const struct canvas *c, int tick) {
    const struct plan *plan = &c->job->stages->plan;
    int n = c->job->stages->program.segment_count, i = 0;
    while (i + 1 < n && tick >= plan->first[i + 1]) i++;
    int first = plan->first[i], last = plan->first[i + 1];
    double share = last > first ? (double)(tick - first) / (last - first) : 0;
    return c->x[i] + (c->x[i + 1] - c->x[i]) * fmin(share, 1);
}

static double y_of(const struct canvas *c, double bytes) {
    return TOP + HEIGHT * (1 - bytes / c->top);
}

static void put_rectangle(const struct canvas *c, double x, double end, double low, double high,
                          const char *colour, const char *title) {
    double top = y_of(c, high), bottom = y_of(c, low);
    buf_printf(c->to,
               "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\" "
               "stroke=\"#fff\" stroke-width=\"%.1f\"><title>%s, %.2f MiB</title></rect>\n",
               x, top, fmax(end - x, 0.4), fmax(bottom - top, 0.2), colour,
               bottom - top > 3 ? 0.3 : 0.0, title, (high - low) / (1 << 20));
}

static void put_text(const struct canvas *c, double x, double y, const char *anchor,
                     const char *text) {
    buf_printf(c->to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor,
               text);
}

static void put_blocks(const struct canvas *c) {
    const struct plan *plan = &c->job->stages->plan;
    for (int i = 0; i < plan->block_count; i++) {
        const struct plan_block *b = &plan->blocks[i];
        double low = (double)(c->beside + b->place.offset), high = low + (double)b->place.size;
        double x = x_of(c, b->place.first), end = x_of(c, b->place.last + 1);
        if ((end - x) * (y_of(c, low) - y_of(c, high)) < SPECK) continue;
        put_rectangle(c, x, end, low, high, kinds[b->kind].colour,
                      b->name ? b->name : kinds[b->kind].name);
    }
}

static void put_line(const struct canvas *c, double bytes, const char *style) {
    double y = y_of(c, bytes);
    buf_printf(c->to,
               "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#333\" %s/>\n", LEFT,
               y, LEFT + WIDTH, y, style);
}

static void put_scale(const struct canvas *c) {
    double step = 1 << 20;
    while (c->top / step > 8) step *= 2;
    for (double at = 0; at <= c->top; at += step) {
        char text[32];
        bool gib = step >= 1 << 30;
        snprintf(text, sizeof text, gib ? "%.0f GiB" : "%.0f MiB", at / (gib ? 1 << 30 : 1 << 20));
        put_line(c, at, "stroke-width=\"0.3\"");
        put_text(c, LEFT - 8, y_of(c, at) + 4, "end", text);
    }
}

static void put_segments(const struct canvas *c) {
    const struct stages *s = c->job->stages;
    for (int i = 0; i < s->program.segment_count; i++) {
        const struct segment *seg = &s->program.segments[i];
        double middle = (c->x[i] + c->x[i + 1]) / 2;
        char text[64] = "";
        put_text(c, middle, TOP - (i % 2 ? 26 : 12), "middle", seg->graph->name);
        if (i == s->segment[STAGE_DENOISE])
            snprintf(text, sizeof text, "%d times, %.3g s each", s->shape.steps, c->job->time.step);
        if (i == s->segment[STAGE_DECODE])
            snprintf(text, sizeof text, "%.3g s", c->job->time.decode);
        put_text(c, middle, TOP + HEIGHT + 18, "middle", text);
        if (i)
            buf_printf(c->to,
                       "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#333\" "
                       "stroke-width=\"0.6\"/>\n",
                       c->x[i], TOP, c->x[i], TOP + HEIGHT);
    }
}

static void put_legend(const struct canvas *c) {
    double x = LEFT;
    for (size_t i = 0; i <= KINDS; i++) {
        const char *name = i < KINDS ? kinds[i].name : "the program and its pictures";
        double y = TOP + HEIGHT + 36 + (i >= 4 ? 22 : 0);
        if (i == 4) x = LEFT;
        buf_printf(c->to, "<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"12\" fill=\"%s\"/>\n",
                   x, y, i < KINDS ? kinds[i].colour : "#ccc");
        put_text(c, x + 18, y + 10, "start", name);
        x += 245;
    }
}

void plan_svg(struct buf *to, const struct job *job, uint64_t budget) {
    struct canvas c = {.to = to, .job = job, .beside = job->planned - job->stages->plan.bytes};
    bool near = budget > 0 && (double)budget < 1.5 * (double)job->planned;
    c.top = fmax((double)job->planned, near ? (double)budget : 0) * 1.02;
    lay_segments(&c);
    buf_printf(to,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
               "font-family=\"sans-serif\" font-size=\"12\">\n"
               "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
               LEFT + WIDTH + 24, TOP + HEIGHT + 86);
    buf_printf(
        to,
        "<text x=\"%.0f\" y=\"22\" font-size=\"15\">%dx%d in %s: peak %.1f MiB planned</text>\n",
        LEFT, (int)job->rq->width, (int)job->rq->height, dtype_name(job->stages->shape.dtype),
        (double)job->planned / (1 << 20));
    put_scale(&c);
    put_rectangle(&c, LEFT, LEFT + WIDTH, 0, (double)c.beside, "#ccc",
                  "the program and its pictures");
    put_blocks(&c);
    put_segments(&c);
    put_line(&c, (double)job->planned, "stroke-width=\"1\"");
    if (near) {
        put_line(&c, (double)budget, "stroke-width=\"1.2\" stroke-dasharray=\"6 4\"");
        put_text(&c, LEFT + WIDTH, y_of(&c, (double)budget) - 4, "end", "allowed");
    }
    put_legend(&c);
    buf_puts(to, "</svg>\n");
}
