/* exif.c: the three things of EXIF that concern kadr: orientation, UserComment, ImageDescription.
 *
 * A TIFF file in small: "II*\0" or "MM\0*", the place of a directory, and directories of 12-byte
 * entries (tag, type, count, value or its place). Every place is checked against the block. */
#include "base/utf8.h"
#include "image/codec.h"
#include <string.h>

enum {
    TAG_DESCRIPTION = 0x010E,
    TAG_ORIENTATION = 0x0112,
    TAG_EXIF = 0x8769,
    TAG_COMMENT = 0x9286
};
enum { TYPE_ASCII = 2, TYPE_SHORT = 3, TYPE_LONG = 4, TYPE_BYTES = 7 };
#define HEADER 8
#define ENTRY 12

struct tiff {
    const uint8_t *data;
    size_t size;
    bool big; /* endian */
};

static unsigned get16(const struct tiff *t, size_t at) {
    const uint8_t *p = t->data + at;
    return t->big ? (unsigned)(p[0] << 8 | p[1]) : (unsigned)(p[1] << 8 | p[0]);
}

static uint32_t get32(const struct tiff *t, size_t at) {
    uint32_t first = get16(t, at), second = get16(t, at + 2);
    return t->big ? first << 16 | second : second << 16 | first;
}

static bool tiff_open(struct tiff *t, const uint8_t *exif, size_t size) {
    if (size >= 6 && !memcmp(exif, "Exif\0\0", 6)) {
        exif += 6;
        size -= 6;
    }
    if (size < HEADER || (memcmp(exif, "II*\0", 4) != 0 && memcmp(exif, "MM\0*", 4) != 0))
        return false;
    *t = (struct tiff){exif, size, exif[0] == 'M'};
    return true;
}

/* The place of the entry `tag` in the directory at `at`; 0: there is none. */
static size_t find(const struct tiff *t, size_t at, unsigned tag) {
    if (at < HEADER || at > t->size || t->size - at < 2) return 0;
    size_t count = get16(t, at);
    if ((t->size - at - 2) / ENTRY < count) return 0;
    for (size_t i = 0; i < count; i++)
        if (get16(t, at + 2 + i * ENTRY) == tag) return at + 2 + i * ENTRY;
    return 0;
}

/* The bytes of an entry whose elements are bytes; NULL when it is not such a one or lies outside.
 */
static const uint8_t *bytes_of(const struct tiff *t, size_t entry, size_t *size) {
    if (!entry) return NULL;
    unsigned type = get16(t, entry + 2);
    if (type != TYPE_ASCII && type != TYPE_BYTES) return NULL;
    *size = get32(t, entry + 4);
    size_t at = *size <= 4 ? entry + 8 : get32(t, entry + 8);
    return at <= t->size && *size <= t->size - at ? t->data + at : NULL;
}

int codec_exif_orientation(const uint8_t *exif, size_t size) {
    struct tiff t;
    if (!tiff_open(&t, exif, size)) return 1;
    size_t entry = find(&t, get32(&t, 4), TAG_ORIENTATION);
    if (!entry || get16(&t, entry + 2) != TYPE_SHORT) return 1;
    unsigned way = get16(&t, entry + 8);
    return way >= 1 && way <= 8 ? (int)way : 1;
}

/* ---- UserComment ---------------------------------------------------------------------------- */
/* Writers disagree on UTF-16's byte order: Latin text has its zeros where the high bytes are. */
static bool is_little(const uint8_t *p, size_t size) {
    size_t even = 0, odd = 0;
    for (size_t i = 0; i + 1 < size; i += 2) {
        even += !p[i];
        odd += !p[i + 1];
    }
    return odd > even;
}

static uint32_t unit(const uint8_t *p, bool little) {
    return little ? (uint32_t)(p[1] << 8 | p[0]) : (uint32_t)(p[0] << 8 | p[1]);
}

static bool add_utf16(struct codec_texts *texts, const uint8_t *p, size_t size) {
    struct buf text;
    buf_init(&text, texts->arena->mem);
    bool little = is_little(p, size);
    for (size_t i = 0; i + 1 < size; i += 2) {
        uint32_t c = unit(p + i, little);
        bool pair = c >= 0xD800 && c < 0xDC00 && i + 3 < size;
        uint32_t low = pair ? unit(p + i + 2, little) : 0;
        if (low >= 0xDC00 && low < 0xE000) {
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
            i += 2;
        }
        if (!c) break;
        if (c >= 0xD800 && c < 0xE000) c = UTF8_REPLACEMENT;
        if (c == 0xFEFF && !text.size) continue;
        char bytes[4];
        buf_add(&text, bytes, utf8_put(c, bytes));
    }
    bool kept = buf_ok(&text) && codec_add_text(texts, "parameters", text.data, text.size);
    buf_free(&text);
    return kept;
}

static bool add_comment(struct codec_texts *texts, const uint8_t *p, size_t size) {
    if (size < 8) return true;
    if (!memcmp(p, "UNICODE\0", 8)) return add_utf16(texts, p + 8, size - 8);
    if (memcmp(p, "ASCII\0\0\0", 8) != 0 && memcmp(p, "\0\0\0\0\0\0\0\0", 8) != 0) return true;
    return codec_add_text(texts, "parameters", (const char *)p + 8,
                          strnlen((const char *)p + 8, size - 8));
}

bool codec_exif_texts(const uint8_t *exif, size_t size, struct codec_texts *texts) {
    struct tiff t;
    if (!tiff_open(&t, exif, size)) return true;
    size_t first = get32(&t, 4), length;
    size_t inner = find(&t, first, TAG_EXIF);
    const uint8_t *comment =
        inner ? bytes_of(&t, find(&t, get32(&t, inner + 8), TAG_COMMENT), &length) : NULL;
    if (comment && !add_comment(texts, comment, length)) return false;
    const char *about = (const char *)bytes_of(&t, find(&t, first, TAG_DESCRIPTION), &length);
    return !about || codec_add_text(texts, "kadr", about, strnlen(about, length));
}

/* ---- Writing -------------------------------------------------------------------------------- */
static void put16(struct buf *b, unsigned v) {
    buf_putc(b, (char)(v >> 8));
    buf_putc(b, (char)v);
}

static void put32(struct buf *b, size_t v) {
    put16(b, (unsigned)(v >> 16 & 0xFFFF));
    put16(b, (unsigned)(v & 0xFFFF));
}

static void put_entry(struct buf *b, unsigned tag, unsigned type, size_t count, size_t value) {
    put16(b, tag);
    put16(b, type);
    put32(b, count);
    put32(b, value);
}

static void put_utf16(struct buf *b, const char *text) {
    const char *end = text + strlen(text);
    while (text < end) {
        uint32_t c = utf8_next(&text, end);
        if (c == UTF8_BROKEN) c = UTF8_REPLACEMENT;
        if (c >= 0x10000) {
            put16(b, 0xD800 + ((c - 0x10000) >> 10));
            c = 0xDC00 + ((c - 0x10000) & 0x3FF);
        }
        put16(b, c);
    }
}

/* Layout: header; directory of up to two entries; directory of one entry; comment; description. A
 * description of fewer than 4 letters would have to stand in its entry: it is padded with blanks.
 */
void codec_exif_write(const struct image_text *texts, size_t count, struct buf *out) {
    const char *comment = image_text_find(texts, count, "parameters");
    const char *about = image_text_find(texts, count, "kadr");
    if (!comment && !about) return;
    struct buf text;
    buf_init(&text, out->mem);
    if (comment) {
        buf_add(&text, "UNICODE\0", 8);
        put_utf16(&text, comment);
    }
    size_t entries = (size_t)(comment != NULL) + (size_t)(about != NULL);
    size_t inner = HEADER + 2 + entries * ENTRY + 4;
    size_t comment_at = comment ? inner + 2 + ENTRY + 4 : inner;
    size_t about_at = comment_at + text.size;
    size_t length = about ? strlen(about) : 0, padded = length < 4 ? 4 : length;
    buf_add(out, "MM\0*\0\0\0\10", HEADER);
    put16(out, (unsigned)entries);
    if (about) put_entry(out, TAG_DESCRIPTION, TYPE_ASCII, padded + 1, about_at);
    if (comment) put_entry(out, TAG_EXIF, TYPE_LONG, 1, inner);
    put32(out, 0);
    if (comment) {
        put16(out, 1);
        put_entry(out, TAG_COMMENT, TYPE_BYTES, text.size, comment_at);
        put32(out, 0);
        buf_add(out, text.data, text.size);
    }
    if (about) {
        buf_puts(out, about);
        for (size_t i = length; i < padded; i++) buf_putc(out, ' ');
        buf_putc(out, 0);
    }
    if (!buf_ok(&text)) out->failed = true;
    buf_free(&text);
}
