/* codec.h: what the file formats of this room share; seen by no other room. */
#ifndef KADR_IMAGE_CODEC_H
#define KADR_IMAGE_CODEC_H

#include "image/image.h"

/* A file in memory. */
struct codec_input {
    const uint8_t *data;
    size_t size;
    const char *name; /* for messages */
    struct image_limits limits;
};

/* KADR_EUSAGE when a picture of that size is over the limits, KADR_EIO when it has no pixels. */
kadr_status codec_check_size(const struct codec_input *in, uint64_t width, uint64_t height,
                             kadr_error *err);

/* Before a picture of `picture` bytes is unpacked with `library` more that the ledger cannot see
 * (libjpeg and libwebp have memory of their own): KADR_EUSAGE when that is over the limits,
 * KADR_EMEMORY when it would go over the ledger's. */
kadr_status codec_check_memory(const struct codec_input *in, struct mem *m, uint64_t picture,
                               uint64_t library, kadr_error *err);

/* Texts as they are found. */
struct codec_texts {
    struct arena *arena;
    struct image_text *list;
    size_t count, room;
};
/* Copies; broken UTF-8 in `value` becomes U+FFFD. False when memory is refused. */
bool codec_add_text(struct codec_texts *t, const char *key, const char *value, size_t size);
/* The same for Latin-1. */
bool codec_add_latin1(struct codec_texts *t, const char *key, const char *value, size_t size);

/* Each fills `im` (RGB or RGBA as in the file), or `texts`; the other is NULL. */
kadr_status codec_png_read(const struct codec_input *in, struct mem *m, struct image *im,
                           struct codec_texts *texts, kadr_error *err);
kadr_status codec_jpeg_read(const struct codec_input *in, struct mem *m, struct image *im,
                            struct codec_texts *texts, kadr_error *err);
kadr_status codec_webp_read(const struct codec_input *in, struct mem *m, struct image *im,
                            struct codec_texts *texts, kadr_error *err);

/* Each appends a whole file. JPEG is given RGB. */
kadr_status codec_png_write(const struct image *im, struct mem *m, const struct image_text *texts,
                            size_t count, struct buf *out, kadr_error *err);
kadr_status codec_jpeg_write(const struct image *im, struct mem *m, int quality,
                             const struct image_text *texts, size_t count, struct buf *out,
                             kadr_error *err);
kadr_status codec_webp_write(const struct image *im, struct mem *m, int quality,
                             const struct image_text *texts, size_t count, struct buf *out,
                             kadr_error *err);

/* EXIF (the TIFF part, from "II" or "MM"). Damaged blocks read as empty: a picture is not refused
 * for its metadata. */
int codec_exif_orientation(const uint8_t *exif, size_t size); /* 1..8; 1 when it does not say */
bool codec_exif_texts(const uint8_t *exif, size_t size, struct codec_texts *texts);
/* Appends a block that holds the texts "parameters" and "kadr"; nothing when neither is there. */
void codec_exif_write(const struct image_text *texts, size_t count, struct buf *out);

#endif
