/* image.h: pictures of 8 bits a channel: made, read, written, cut, laid over each other.
 *
 *     struct image im;
 *     status = image_read(&im, mem, "photo.jpg", IMAGE_OVER_WHITE, NULL, err);
 *     status = image_write_png(&im, mem, "photo.png", texts, text_count, err);
 *     image_free(&im);
 *
 * Pixels are the sRGB numbers as they stand in the file: no colour profile is applied (as PIL and
 * diffusers do). A struct image of all zeros is an empty one and may be freed.
 */
#ifndef KADR_IMAGE_IMAGE_H
#define KADR_IMAGE_IMAGE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

struct image {
    int width, height;
    int channels;  /* 3: RGB; 4: RGBA, not premultiplied */
    uint8_t *data; /* [height, width, channels], top row first, no padding */
};

/* No picture that kadr makes or reads is wider or higher than this. */
#define IMAGE_SIDE 32768

/* A picture of zeros. KADR_EMEMORY when refused, KADR_EUSAGE for a size outside 1..IMAGE_SIDE. */
kadr_status image_make(struct image *im, struct mem *m, int width, int height, int channels,
                       kadr_error *err);
void image_free(struct image *im); /* idempotent */
size_t image_bytes(const struct image *im);

/* ---- Reading -------------------------------------------------------------------------------- */
enum image_format { IMAGE_UNKNOWN, IMAGE_PNG, IMAGE_JPEG, IMAGE_WEBP };
/* Told by the content's first bytes, never by the name. */
enum image_format image_format_of(const void *data, size_t size);
const char *image_format_name(enum image_format format); /* "PNG"; "picture" when unknown */

/* What becomes of an alpha channel. */
enum image_alpha {
    IMAGE_OVER_WHITE, /* composed over white: RGB */
    IMAGE_DROP_ALPHA, /* forgotten, as PIL's convert("RGB"): RGB */
    IMAGE_KEEP_ALPHA, /* RGBA if the file has one, RGB if not */
};

/* What is refused before a pixel is decoded. */
struct image_limits {
    uint64_t pixels; /* width * height */
    size_t bytes;    /* of the file */
    size_t memory;   /* that unpacking may take, the picture included; 0: any */
};
#define IMAGE_LIMITS ((struct image_limits){(uint64_t)64 << 20, (size_t)256 << 20, 0})

/* PNG, JPEG (EXIF orientation applied) or WebP (the first frame of an animated one). `limits` may
 * be NULL: IMAGE_LIMITS. A missing file and a damaged picture are KADR_EIO; one that is larger than
 * the limits or no picture at all is KADR_EUSAGE. */
kadr_status image_read(struct image *im, struct mem *m, const char *path, enum image_alpha alpha,
                       const struct image_limits *limits, kadr_error *err);
/* The same from memory; `name` is used in messages only. */
kadr_status image_decode(struct image *im, struct mem *m, const void *data, size_t size,
                         const char *name, enum image_alpha alpha,
                         const struct image_limits *limits, kadr_error *err);

/* ---- Text inside pictures -------------------------------------------------------------------
 * PNG: all tEXt, zTXt and iTXt chunks. JPEG and WebP: EXIF's UserComment is "parameters" and its
 * ImageDescription "kadr", the two that kadr writes. */
struct image_text {
    const char *key;   /* 1..79 Latin-1 letters */
    const char *value; /* UTF-8 */
};

/* In file order, from `a`; broken UTF-8 is mended with U+FFFD. A picture without text gives 0. */
kadr_status image_read_texts(struct arena *a, const char *path, struct image_text **texts,
                             size_t *count, kadr_error *err);
kadr_status image_decode_texts(struct arena *a, const void *data, size_t size, const char *name,
                               struct image_text **texts, size_t *count, kadr_error *err);
/* The value of the first text of that key, or NULL. */
const char *image_text_find(const struct image_text *texts, size_t count, const char *key);

/* ---- Writing --------------------------------------------------------------------------------
 * The same pixels and texts give the same bytes: no time, no name of a program. */
struct image_style {
    enum image_format format;
    int quality; /* JPEG: 1..100; WebP: 1..100, or 0: lossless; PNG: not read */
};

/* Appends the file's bytes to `out`. JPEG has no alpha: it is composed over white. */
kadr_status image_encode(const struct image *im, struct mem *m, struct image_style style,
                         const struct image_text *texts, size_t count, struct buf *out,
                         kadr_error *err);
/* Writes a file atomically. */
kadr_status image_write(const struct image *im, struct mem *m, struct image_style style,
                        const char *path, const struct image_text *texts, size_t count,
                        kadr_error *err);
kadr_status image_write_png(const struct image *im, struct mem *m, const char *path,
                            const struct image_text *texts, size_t count, kadr_error *err);

/* ---- Cutting and laying ----------------------------------------------------------------------*/
/* The part of `im` at (x, y), which must lie inside. */
kadr_status image_crop(const struct image *im, struct mem *m, int x, int y, int width, int height,
                       struct image *out, kadr_error *err);
/* Alpha composed over white, in place of data (the block keeps its size). */
void image_over_white(struct image *im);
/* Lays `top` (its alpha counts) onto `im`, which is RGB, with its upper left corner at (x, y); what
 * lies outside is cut off. */
void image_lay(struct image *im, const struct image *top, int x, int y);
/* A rectangle of an RGB picture in one colour; what lies outside is cut off. */
void image_fill(struct image *im, int x, int y, int width, int height, const uint8_t rgb[3]);

#endif
