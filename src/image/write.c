/* write.c: pictures to bytes and to files. */
#include "base/file.h"
#include "image/codec.h"
#include <string.h>

static kadr_status encode_jpeg(const struct image *im, struct mem *m, int quality,
                               const struct image_text *texts, size_t count, struct buf *out,
                               kadr_error *err) {
    struct image flat = *im;
    if (im->channels == 4) {
        kadr_status status = image_crop(im, m, 0, 0, im->width, im->height, &flat, err);
        if (status) return status;
        image_over_white(&flat);
    }
    kadr_status status = codec_jpeg_write(&flat, m, quality, texts, count, out, err);
    if (im->channels == 4) image_free(&flat);
    return status;
}

kadr_status image_encode(const struct image *im, struct mem *m, struct image_style style,
                         const struct image_text *texts, size_t count, struct buf *out,
                         kadr_error *err) {
    int least = style.format == IMAGE_JPEG;
    if (style.format != IMAGE_PNG && (style.quality < least || style.quality > 100))
        return err_set(err, KADR_EUSAGE, "quality %d of a %s picture, expected %d to 100",
                       style.quality, image_format_name(style.format), least);
    switch (style.format) {
    case IMAGE_PNG: return codec_png_write(im, m, texts, count, out, err);
    case IMAGE_JPEG: return encode_jpeg(im, m, style.quality, texts, count, out, err);
    case IMAGE_WEBP: return codec_webp_write(im, m, style.quality, texts, count, out, err);
    case IMAGE_UNKNOWN: break;
    }
    return err_set(err, KADR_EUSAGE, "a picture cannot be written in an unknown format");
}

kadr_status image_write(const struct image *im, struct mem *m, struct image_style style,
                        const char *path, const struct image_text *texts, size_t count,
                        kadr_error *err) {
    struct buf bytes;
    buf_init(&bytes, m);
    kadr_status status = image_encode(im, m, style, texts, count, &bytes, err);
    if (status) err_context(err, "%s", path);
    else status = file_write_atomic(m, path, bytes.data, bytes.size, err);
    buf_free(&bytes);
    return status;
}

kadr_status image_write_png(const struct image *im, struct mem *m, const char *path,
                            const struct image_text *texts, size_t count, kadr_error *err) {
    return image_write(im, m, (struct image_style){IMAGE_PNG, 0}, path, texts, count, err);
}
