/* buf.c: see buf.h. */
#include "base/buf.h"
#include "base/chk.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char empty[1];

void buf_init(struct buf *b, struct mem *m) {
    *b = (struct buf){.mem = m, .data = empty};
}

void buf_free(struct buf *b) {
    if (b->data != empty) mem_free(b->data);
    buf_init(b, b->mem);
}

void buf_clear(struct buf *b) {
    b->size = 0;
    b->failed = false;
    if (b->data != empty) b->data[0] = 0;
}

bool buf_ok(const struct buf *b) {
    return !b->failed;
}

/* Room for `more` bytes and the NUL. */
static bool grow(struct buf *b, size_t more) {
    size_t need;
    if (b->failed || !chk_add(b->size, more, &need) || !chk_add(need, 1, &need)) {
        b->failed = true;
        return false;
    }
    if (need <= b->room) return true;
    size_t room = b->room < SIZE_MAX / 2 && b->room * 2 > need ? b->room * 2
                  : need < 64                                  ? 64
                                                               : need;
    char *p = mem_resize(b->mem, b->data == empty ? NULL : b->data, room);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->data = p;
    b->room = room;
    return true;
}

void buf_add(struct buf *b, const void *bytes, size_t size) {
    if (!grow(b, size)) return;
    if (size) memcpy(b->data + b->size, bytes, size);
    b->size += size;
    b->data[b->size] = 0;
}

void buf_puts(struct buf *b, const char *text) {
    buf_add(b, text, strlen(text));
}

void buf_putc(struct buf *b, char c) {
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *format, ...) {
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (n < 0) b->failed = true;
    else if (grow(b, (size_t)n)) {
        vsnprintf(b->data + b->size, (size_t)n + 1, format, again);
        b->size += (size_t)n;
    }
    va_end(again);
}

void buf_base64(struct buf *b, const void *bytes, size_t size) {
    static const char sign[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t word = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                        (left > 2 ? in[i + 2] : 0);
        const char four[4] = {sign[word >> 18], sign[word >> 12 & 63],
                              left > 1 ? sign[word >> 6 & 63] : '=',
                              left > 2 ? sign[word & 63] : '='};
        buf_add(b, four, 4);
    }
}

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

size_t buf_unbase64(const char *text, size_t size, void *to) {
    unsigned char *out = to;
    uint32_t held = 0;
    size_t n = 0, letters = 0, pads = 0;
    for (size_t i = 0; i < size; i++) {
        int v = base64_value(text[i]);
        if (text[i] == ' ' || text[i] == '\r' || text[i] == '\n') continue;
        if (text[i] == '=') pads++;
        else if (v < 0 || pads) return SIZE_MAX;
        else {
            held = held << 6 | (uint32_t)v;
            if (letters++ % 4) out[n++] = (unsigned char)(held >> (6 - 2 * ((letters - 1) % 4)));
        }
    }
    return letters % 4 == 1 || pads > 2 ? SIZE_MAX : n;
}

char *buf_take(struct buf *b) {
    if (b->data == empty) buf_add(b, "", 0);
    if (b->failed) {
        buf_free(b);
        return NULL;
    }
    char *p = b->data;
    buf_init(b, b->mem);
    return p;
}
