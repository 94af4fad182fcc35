/* err.c: see err.h. */
#include "base/err.h"
#include "base/sys.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A message may hold bytes from hostile files and ends up in terminals: controls, the second set of
 * them too, and what is no UTF-8 become '?'. */
static void make_printable(char *text) {
    char *to = text;
    for (const char *p = text, *end = text + strlen(text); p < end;) {
        const char *from = p;
        uint32_t c = utf8_next(&p, end);
        bool shown = c != UTF8_BROKEN && c >= 0x20 && (c < 0x7F || c >= 0xA0);
        if (!shown) *to++ = '?';
        else
            while (from < p) *to++ = *from++;
    }
    *to = 0;
}

static void store(kadr_error *err, kadr_status status, const char *format, va_list ap) {
    err->status = status;
    vsnprintf(err->message, sizeof err->message, format, ap);
    make_printable(err->message);
}

kadr_status err_set(kadr_error *err, kadr_status status, const char *format, ...) {
    if (!err) return status;
    va_list ap;
    va_start(ap, format);
    store(err, status, format, ap);
    va_end(ap);
    return status;
}

kadr_status err_nomem(kadr_error *err, const char *what, size_t size) {
    return err_set(err, KADR_EMEMORY, "no memory for %s (%zu bytes)", what, size);
}

kadr_status err_errno(kadr_error *err, const char *what, const char *path) {
    char text[256];
    sys_error_text(errno, text, sizeof text);
    return err_set(err, KADR_EIO, "%s %s: %s", what, path, text);
}

kadr_status err_context(kadr_error *err, const char *format, ...) {
    if (!err) return KADR_EOTHER;
    char front[sizeof err->message];
    va_list ap;
    va_start(ap, format);
    vsnprintf(front, sizeof front, format, ap);
    va_end(ap);
    char tail[sizeof err->message];
    memcpy(tail, err->message, sizeof tail);
    snprintf(err->message, sizeof err->message, "%.400s: %.600s", front, tail);
    make_printable(err->message);
    return err->status;
}
