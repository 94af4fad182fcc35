/* image.c: pictures in memory: made, cut, laid over each other. */
#include "image/image.h"
#include "base/chk.h"
#include <string.h>

kadr_status image_make(struct image *im, struct mem *m, int width, int height, int channels,
                       kadr_error *err) {
    memset(im, 0, sizeof *im);
    if (width < 1 || height < 1 || width > IMAGE_SIDE || height > IMAGE_SIDE)
        return err_set(err, KADR_EUSAGE, "a picture of %d x %d pixels: expected 1 to %d each way",
                       width, height, IMAGE_SIDE);
    size_t bytes;
    if (!chk_product((const int64_t[]){width, height, channels}, 3, &bytes))
        return err_nomem(err, "a picture", SIZE_MAX);
    im->data = mem_alloc(m, bytes);
    if (!im->data) return err_nomem(err, "a picture", bytes);
    im->width = width;
    im->height = height;
    im->channels = channels;
    return KADR_OK;
}

void image_free(struct image *im) {
    mem_free(im->data);
    memset(im, 0, sizeof *im);
}

size_t image_bytes(const struct image *im) {
    return (size_t)im->width * (size_t)im->height * (size_t)im->channels;
}

kadr_status image_crop(const struct image *im, struct mem *m, int x, int y, int width, int height,
                       struct image *out, kadr_error *err) {
    memset(out, 0, sizeof *out);
    if (x < 0 || y < 0 || width < 1 || height < 1 || width > im->width - x ||
        height > im->height - y)
        return err_set(err, KADR_EUSAGE,
                       "a part of %d x %d at %d,%d does not lie in a picture of %d x %d", width,
                       height, x, y, im->width, im->height);
    kadr_status status = image_make(out, m, width, height, im->channels, err);
    if (status) return status;
    size_t pixel = (size_t)im->channels, row = (size_t)width * pixel;
    for (int i = 0; i < height; i++)
        memcpy(out->data + (size_t)i * row,
               im->data + ((size_t)(y + i) * (size_t)im->width + (size_t)x) * pixel, row);
    return KADR_OK;
}

static uint8_t mix(uint8_t over, uint8_t under, uint8_t alpha) {
    unsigned t = over * (unsigned)alpha + under * (255u - alpha) + 128;
    return (uint8_t)(((t >> 8) + t) >> 8); /* division by 255, rounded */
}

void image_over_white(struct image *im) {
    if (im->channels != 4) return;
    size_t pixels = (size_t)im->width * (size_t)im->height;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *from = im->data + 4 * i;
        uint8_t alpha = from[3];
        for (size_t c = 0; c < 3; c++) im->data[3 * i + c] = mix(from[c], 255, alpha);
    }
    im->channels = 3;
}

static int clamp(int v, int low, int high) {
    return v < low ? low : v > high ? high : v;
}

/* The part of [at, at + length) that lies in [0, size). */
static void cut(int at, int length, int size, int *from, int *to) {
    int64_t end = (int64_t)at + length;
    *from = clamp(at, 0, size);
    *to = end < *from ? *from : end < size ? (int)end : size;
}

void image_lay(struct image *im, const struct image *top, int x, int y) {
    int x0, x1, y0, y1;
    cut(x, top->width, im->width, &x0, &x1);
    cut(y, top->height, im->height, &y0, &y1);
    size_t pixel = (size_t)top->channels;
    for (int j = y0; j < y1; j++)
        for (int i = x0; i < x1; i++) {
            uint8_t *to = im->data + ((size_t)j * (size_t)im->width + (size_t)i) * 3;
            const uint8_t *from =
                top->data + ((size_t)(j - y) * (size_t)top->width + (size_t)(i - x)) * pixel;
            uint8_t alpha = pixel == 4 ? from[3] : 255;
            for (size_t c = 0; c < 3; c++) to[c] = mix(from[c], to[c], alpha);
        }
}

void image_fill(struct image *im, int x, int y, int width, int height, const uint8_t rgb[3]) {
    int x0, x1, y0, y1;
    cut(x, width, im->width, &x0, &x1);
    cut(y, height, im->height, &y0, &y1);
    for (int j = y0; j < y1; j++)
        for (int i = x0; i < x1; i++)
            memcpy(im->data + ((size_t)j * (size_t)im->width + (size_t)i) * 3, rgb, 3);
}
