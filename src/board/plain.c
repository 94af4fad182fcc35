/* plain.c: the plainest script: a paragraph is a panel, a line that begins with # is a comment. */
#include "board/script.h"

/* Ends the paragraph in `text`. */
static void end_paragraph(struct script *s, struct buf *text) {
    if (!text->size) return;
    if (!buf_ok(text)) script_nomem(s);
    else if (s->panel) s->panel->action = script_keep(s, text->data, text->size);
    buf_clear(text);
}

void script_read_plain(struct script *s) {
    struct buf text, line_text;
    struct script_line line;
    buf_init(&text, s->mem);
    buf_init(&line_text, s->mem);
    for (size_t at = 0; !s->status && script_next_line(s, &at, &line);) {
        script_line_text(s, line, &line_text);
        if (line_text.size) {
            if (!text.size && !script_add_panel(s, line.at)) break;
            if (text.size) buf_putc(&text, '\n');
            buf_add(&text, line_text.data, line_text.size);
            script_see_notes(s, line);
            script_settle_notes(s);
        } else if (script_line_has_note(s, line)) {
            script_see_notes(s, line);
            if (text.size) script_settle_notes(s);
        } else {
            end_paragraph(s, &text);
            script_settle_notes(s);
        }
    }
    end_paragraph(s, &text);
    script_settle_notes(s);
    if (!buf_ok(&line_text)) script_nomem(s);
    buf_free(&text);
    buf_free(&line_text);
}
