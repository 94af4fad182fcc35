/* srt.c: SubRip. */
#include "export/export.h"
#include <inttypes.h>

static void put_time(struct buf *out, double seconds) {
    int64_t ms = (int64_t)(seconds * 1000 + 0.5);
    buf_printf(out, "%02" PRId64 ":%02" PRId64 ":%02" PRId64 ",%03" PRId64, ms / 3600000,
               ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
}

/* An empty line would end the caption. */
static void put_text(struct buf *out, const char *text) {
    bool line = false;
    for (; *text; text++) {
        if (*text == '\r') continue;
        if (*text == '\n' && !line) continue;
        line = *text != '\n';
        buf_putc(out, *text);
    }
    if (line) buf_putc(out, '\n');
}

kadr_status export_srt(struct timeline *t, struct buf *out, kadr_error *err) {
    int count = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct shot *s = &t->shots[i];
        if (!*s->dialogue) continue;
        buf_printf(out, "%d\n", ++count);
        put_time(out, timeline_seconds(t, s->first));
        buf_puts(out, " --> ");
        put_time(out, timeline_seconds(t, s->end));
        buf_putc(out, '\n');
        put_text(out, s->dialogue);
        buf_putc(out, '\n');
    }
    return buf_ok(out) ? KADR_OK : err_nomem(err, "subtitles", out->size);
}
