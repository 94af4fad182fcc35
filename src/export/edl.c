/* edl.c: CMX 3600. Times are non-drop: frames are counted as if a second had a whole number. */
#include "export/export.h"
#include "export/text.h"
#include <inttypes.h>

#define HOUR 1 /* where programmes begin by custom */

static void put_timecode(const struct timeline *t, struct buf *out, int64_t frame, int hour) {
    int64_t fps = timeline_fps(t), second = frame / fps;
    buf_printf(out, " %02" PRId64 ":%02" PRId64 ":%02" PRId64 ":%02" PRId64,
               hour + second / 3600 % 99, second / 60 % 60, second % 60, frame % fps);
}

static void put_line(struct buf *out, const char *key, const char *text) {
    if (!*text) return;
    buf_printf(out, "* %s: ", key);
    text_line(out, text);
    buf_putc(out, '\n');
}

kadr_status export_edl(struct timeline *t, struct buf *out, kadr_error *err) {
    buf_puts(out, "TITLE: ");
    text_line(out, t->title);
    buf_puts(out, "\nFCM: NON-DROP FRAME\n\n");
    for (size_t i = 0; i < t->count; i++) {
        const struct shot *s = &t->shots[i];
        buf_printf(out, "%03zu  AX       V     C       ", i + 1);
        put_timecode(t, out, 0, 0);
        put_timecode(t, out, s->end - s->first, 0);
        put_timecode(t, out, s->first, HOUR);
        put_timecode(t, out, s->end, HOUR);
        buf_putc(out, '\n');
        put_line(out, "FROM CLIP NAME", s->url ? s->url : s->number);
        if (s->url) {
            buf_puts(out, "* FROM CLIP: ");
            text_url(out, t, s);
            buf_putc(out, '\n');
        }
        put_line(out, "COMMENT", s->action);
        put_line(out, "COMMENT", s->dialogue);
    }
    return buf_ok(out) ? KADR_OK : err_nomem(err, "an edit list", out->size);
}
