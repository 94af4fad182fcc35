/* utf8.h: UTF-8 read and written one code point at a time. */
#ifndef KADR_BASE_UTF8_H
#define KADR_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

#define UTF8_BROKEN 0xFFFFFFFFu
#define UTF8_REPLACEMENT 0xFFFDu

/* The code point at *p (before `end`) and *p moved behind it. Overlong forms, surrogates, values
 * beyond U+10FFFF and cut sequences give UTF8_BROKEN and move by one byte. */
static inline uint32_t utf8_next(const char **p, const char *end) {
    const unsigned char *s = (const unsigned char *)*p;
    size_t left = (size_t)(end - *p);
    uint32_t c = s[0];
    size_t more = c < 0x80 ? 0 : c >= 0xC2 && c < 0xE0 ? 1 : c >= 0xE0 && c < 0xF0 ? 2 : 3;
    *p += 1;
    if (!more) return c;
    if (c < 0xC2 || c > 0xF4 || left <= more) return UTF8_BROKEN;
    c &= 0x3Fu >> more;
    for (size_t i = 1; i <= more; i++) {
        if ((s[i] & 0xC0) != 0x80) return UTF8_BROKEN;
        c = c << 6 | (s[i] & 0x3F);
    }
    uint32_t low = more == 1 ? 0x80 : more == 2 ? 0x800 : 0x10000;
    if (c < low || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return UTF8_BROKEN;
    *p += more;
    return c;
}

/* Writes a code point (below 0x110000); returns how many bytes. */
static inline size_t utf8_put(uint32_t c, char to[4]) {
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    to[0] = (char)((0xFFu ^ 0x7Fu >> more) | c >> 6 * more);
    for (size_t i = 1; i <= more; i++) to[i] = (char)(0x80 | (c >> 6 * (more - i) & 0x3F));
    return more + 1;
}

#endif
