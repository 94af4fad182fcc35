/* fcpxml.c: Final Cut Pro's XML. Times are fractions of a second, whole frames all of them. A
 * picture's size is a format; f0 is the screen's. */
#include "export/export.h"
#include "export/text.h"
#include <inttypes.h>

static void put_time(struct buf *out, const struct timeline *t, const char *key, int64_t frames) {
    if (frames)
        buf_printf(out, " %s=\"%" PRId64 "/%" PRId64 "s\"", key, frames * t->rate.divisor,
                   t->rate.number);
    else buf_printf(out, " %s=\"0s\"", key);
}

static void put_text(struct buf *out, const char *key, const char *text) {
    buf_printf(out, " %s=\"", key);
    text_xml(out, text);
    buf_putc(out, '"');
}

/* The first shot whose picture has the size of this one's: its format serves. */
static size_t format_of(const struct timeline *t, size_t i) {
    size_t k = 0;
    while (t->shots[k].width != t->shots[i].width || t->shots[k].height != t->shots[i].height) k++;
    return k;
}

static void put_format(struct buf *out, const struct timeline *t, size_t id, int width,
                       int height) {
    buf_printf(out, "    <format id=\"f%zu\"", id);
    put_time(out, t, "frameDuration", 1);
    buf_printf(out, " width=\"%d\" height=\"%d\"/>\n", width, height);
}

static void put_resources(struct buf *out, const struct timeline *t) {
    int width = 0, height = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (t->shots[i].width > width) width = t->shots[i].width;
        if (t->shots[i].height > height) height = t->shots[i].height;
    }
    buf_puts(out, "  <resources>\n");
    put_format(out, t, 0, width ? width : 1920, height ? height : 1080);
    for (size_t i = 0; i < t->count; i++) {
        const struct shot *s = &t->shots[i];
        if (!s->url) continue;
        if (format_of(t, i) == i) put_format(out, t, i + 1, s->width, s->height);
        buf_printf(out, "    <asset id=\"a%zu\" format=\"f%zu\" hasVideo=\"1\"", i + 1,
                   format_of(t, i) + 1);
        put_time(out, t, "start", 0);
        put_time(out, t, "duration", s->end - s->first);
        put_text(out, "name", s->url);
        buf_puts(out, " src=\"");
        text_url(out, t, s);
        buf_puts(out, "\"/>\n");
    }
    buf_puts(out, "  </resources>\n");
}

static void put_shot(struct buf *out, const struct timeline *t, size_t i) {
    const struct shot *s = &t->shots[i];
    const char *kind = s->url ? "clip" : "gap";
    buf_printf(out, "            <%s", kind);
    put_text(out, "name", s->number);
    put_time(out, t, "offset", s->first);
    put_time(out, t, "start", 0);
    put_time(out, t, "duration", s->end - s->first);
    buf_puts(out, ">\n");
    if (*s->action || *s->notes) {
        buf_puts(out, "              <note>");
        text_xml(out, s->action);
        if (*s->action && *s->notes) text_xml(out, "\n");
        text_xml(out, s->notes);
        buf_puts(out, "</note>\n");
    }
    if (s->url) {
        buf_printf(out, "              <video ref=\"a%zu\" offset=\"0s\" start=\"0s\"", i + 1);
        put_time(out, t, "duration", s->end - s->first);
        buf_puts(out, "/>\n");
    }
    if (*s->dialogue) {
        buf_puts(out, "              <marker");
        put_time(out, t, "start", 0);
        put_time(out, t, "duration", 1);
        put_text(out, "value", s->dialogue);
        buf_puts(out, "/>\n");
    }
    buf_printf(out, "            </%s>\n", kind);
}

kadr_status export_fcpxml(struct timeline *t, struct buf *out, kadr_error *err) {
    kadr_status status = timeline_measure(t, err);
    if (status != KADR_OK) return status;
    buf_puts(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE fcpxml>\n"
                  "<fcpxml version=\"1.8\">\n");
    put_resources(out, t);
    buf_puts(out, "  <library>\n    <event");
    put_text(out, "name", t->title);
    buf_puts(out, ">\n      <project");
    put_text(out, "name", t->title);
    buf_puts(out, ">\n        <sequence format=\"f0\" tcStart=\"0s\" tcFormat=\"NDF\"");
    put_time(out, t, "duration", t->count ? t->shots[t->count - 1].end : 0);
    buf_puts(out, ">\n          <spine>\n");
    for (size_t i = 0; i < t->count; i++) put_shot(out, t, i);
    buf_puts(out, "          </spine>\n        </sequence>\n      </project>\n    </event>\n"
                  "  </library>\n</fcpxml>\n");
    return buf_ok(out) ? KADR_OK : err_nomem(err, "a timeline", out->size);
}
