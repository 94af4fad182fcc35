/* read.c: which format a picture is in, its limits, what becomes of its alpha, its texts. */
#include "base/file.h"
#include "base/utf8.h"
#include "image/codec.h"
#include <string.h>

enum image_format image_format_of(const void *data, size_t size) {
    const char *bytes = data;
    if (size >= 8 && !memcmp(bytes, "\x89PNG\r\n\x1a\n", 8)) return IMAGE_PNG;
    if (size >= 3 && !memcmp(bytes, "\xff\xd8\xff", 3)) return IMAGE_JPEG;
    if (size >= 12 && !memcmp(bytes, "RIFF", 4) && !memcmp(bytes + 8, "WEBP", 4)) return IMAGE_WEBP;
    return IMAGE_UNKNOWN;
}

const char *image_format_name(enum image_format format) {
    switch (format) {
    case IMAGE_PNG: return "PNG";
    case IMAGE_JPEG: return "JPEG";
    case IMAGE_WEBP: return "WebP";
    case IMAGE_UNKNOWN: break;
    }
    return "picture";
}

kadr_status codec_check_size(const struct codec_input *in, uint64_t width, uint64_t height,
                             kadr_error *err) {
    if (!width || !height)
        return err_set(err, KADR_EIO, "%s: a picture of %llu x %llu pixels", in->name,
                       (unsigned long long)width, (unsigned long long)height);
    if (width > IMAGE_SIDE || height > IMAGE_SIDE || width * height > in->limits.pixels)
        return err_set(err, KADR_EUSAGE,
                       "%s: a picture of %llu x %llu pixels, expected at most %llu pixels in all "
                       "and %d each way",
                       in->name, (unsigned long long)width, (unsigned long long)height,
                       (unsigned long long)in->limits.pixels, IMAGE_SIDE);
    return KADR_OK;
}

kadr_status codec_check_memory(const struct codec_input *in, struct mem *m, uint64_t picture,
                               uint64_t library, kadr_error *err) {
    struct mem_stats stats;
    mem_get_stats(m, &stats);
    if (in->limits.memory && picture + library > in->limits.memory)
        return err_set(err, KADR_EUSAGE,
                       "%s: unpacking it takes %llu bytes, expected a picture that takes at most "
                       "%zu",
                       in->name, (unsigned long long)(picture + library), in->limits.memory);
    if (!stats.limit || (stats.now <= stats.limit && library <= stats.limit - stats.now))
        return KADR_OK;
    err_nomem(err, "unpacking a picture", (size_t)library);
    return err_context(err, "%s", in->name);
}

static kadr_status read_format(const struct codec_input *in, struct mem *m, struct image *im,
                               struct codec_texts *texts, kadr_error *err) {
    if (in->size > in->limits.bytes)
        return err_set(err, KADR_EUSAGE, "%s: %zu bytes, expected a picture of at most %zu",
                       in->name, in->size, in->limits.bytes);
    switch (image_format_of(in->data, in->size)) {
    case IMAGE_PNG: return codec_png_read(in, m, im, texts, err);
    case IMAGE_JPEG: return codec_jpeg_read(in, m, im, texts, err);
    case IMAGE_WEBP: return codec_webp_read(in, m, im, texts, err);
    case IMAGE_UNKNOWN: break;
    }
    return err_set(err, KADR_EUSAGE, "%s: not a picture; expected PNG, JPEG or WebP", in->name);
}

static void drop_alpha(struct image *im) {
    size_t pixels = (size_t)im->width * (size_t)im->height;
    for (size_t i = 0; i < pixels; i++) memmove(im->data + 3 * i, im->data + 4 * i, 3);
    im->channels = 3;
}

kadr_status image_decode(struct image *im, struct mem *m, const void *data, size_t size,
                         const char *name, enum image_alpha alpha,
                         const struct image_limits *limits, kadr_error *err) {
    memset(im, 0, sizeof *im);
    struct codec_input in = {data, size, name, limits ? *limits : IMAGE_LIMITS};
    kadr_status status = read_format(&in, m, im, NULL, err);
    if (status) return status;
    if (im->channels == 4 && alpha == IMAGE_OVER_WHITE) image_over_white(im);
    if (im->channels == 4 && alpha == IMAGE_DROP_ALPHA) drop_alpha(im);
    return KADR_OK;
}

kadr_status image_read(struct image *im, struct mem *m, const char *path, enum image_alpha alpha,
                       const struct image_limits *limits, kadr_error *err) {
    memset(im, 0, sizeof *im);
    char *data = NULL;
    size_t size = 0, most = limits ? limits->bytes : IMAGE_LIMITS.bytes;
    kadr_status status = file_read_all(m, path, most, KADR_EIO, &data, &size, err);
    if (!status) status = image_decode(im, m, data, size, path, alpha, limits, err);
    mem_free(data);
    return status;
}

/* ---- Texts ---------------------------------------------------------------------------------- */
/* Latin-1 to UTF-8; at most twice as long. */
static char *from_latin1(struct arena *a, const char *text, size_t size) {
    char *to = arena_alloc(a, 2 * size + 1), *p = to;
    for (size_t i = 0; to && i < size; i++) p += utf8_put((unsigned char)text[i], p);
    return to;
}

/* A broken byte becomes three. */
static char *mended(struct arena *a, const char *text, size_t size) {
    char *to = arena_alloc(a, 3 * size + 1), *p = to;
    const char *end = text + size;
    while (to && text < end) {
        uint32_t c = utf8_next(&text, end);
        p += utf8_put(c == UTF8_BROKEN ? UTF8_REPLACEMENT : c, p);
    }
    return to;
}

static bool add(struct codec_texts *t, const char *key, char *value) {
    if (!value) return false;
    if (t->count == t->room) {
        size_t room = t->room ? 2 * t->room : 8;
        struct image_text *list = arena_array(t->arena, room, sizeof *list);
        if (!list) return false;
        if (t->count) memcpy(list, t->list, t->count * sizeof *list);
        t->list = list;
        t->room = room;
    }
    char *name = from_latin1(t->arena, key, strlen(key));
    if (!name) return false;
    t->list[t->count++] = (struct image_text){name, value};
    return true;
}

bool codec_add_text(struct codec_texts *t, const char *key, const char *value, size_t size) {
    return add(t, key, mended(t->arena, value, size));
}

bool codec_add_latin1(struct codec_texts *t, const char *key, const char *value, size_t size) {
    return add(t, key, from_latin1(t->arena, value, size));
}

kadr_status image_decode_texts(struct arena *a, const void *data, size_t size, const char *name,
                               struct image_text **texts, size_t *count, kadr_error *err) {
    struct codec_input in = {data, size, name, IMAGE_LIMITS};
    struct codec_texts found = {.arena = a};
    *texts = NULL;
    *count = 0;
    kadr_status status = read_format(&in, a->mem, NULL, &found, err);
    if (status) return status;
    *texts = found.list;
    *count = found.count;
    return KADR_OK;
}

kadr_status image_read_texts(struct arena *a, const char *path, struct image_text **texts,
                             size_t *count, kadr_error *err) {
    char *data = NULL;
    size_t size = 0;
    *texts = NULL;
    *count = 0;
    kadr_status status =
        file_read_all(a->mem, path, IMAGE_LIMITS.bytes, KADR_EIO, &data, &size, err);
    if (!status) status = image_decode_texts(a, data, size, path, texts, count, err);
    mem_free(data);
    return status;
}

const char *image_text_find(const struct image_text *texts, size_t count, const char *key) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(texts[i].key, key)) return texts[i].value;
    return NULL;
}
