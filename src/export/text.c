/* text.c: see text.h. */
#include "export/text.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

void text_xml(struct buf *out, const char *text) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        switch (c) {
        case '&': buf_puts(out, "&amp;"); break;
        case '<': buf_puts(out, "&lt;"); break;
        case '>': buf_puts(out, "&gt;"); break;
        case '"': buf_puts(out, "&quot;"); break;
        case '\n': buf_puts(out, "&#10;"); break;
        case '\t': buf_puts(out, "&#9;"); break;
        case '\r': break;
        default:
            if (c < 0x20 || c == 0x7F) buf_puts(out, "\xEF\xBF\xBD");
            else buf_putc(out, (char)c);
        }
    }
}

void text_line(struct buf *out, const char *text) {
    for (; *text; text++) buf_putc(out, (unsigned char)*text < 0x20 ? ' ' : *text);
}

static void put_escaped(struct buf *out, const char *path) {
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
    for (; *path; path++) {
        if (strchr(plain, *path)) buf_putc(out, *path);
        else buf_printf(out, "%%%02X", (unsigned char)*path);
    }
}

void text_url(struct buf *out, const struct timeline *t, const struct shot *s) {
    char real[PATH_MAX];
    if (t->travels) return put_escaped(out, s->url);
    buf_puts(out, "file://");
    put_escaped(out, realpath(t->folder, real) ? real : t->folder);
    buf_putc(out, '/');
    put_escaped(out, s->url);
}
