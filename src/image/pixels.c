/* pixels.c: between 8-bit pictures and floats, as diffusers' VaeImageProcessor. */
#include "image/pixels.h"
#include "image/scale.h"
#include <math.h>

void pixels_from_floats(const float *from, size_t count, uint8_t *to) {
    for (size_t i = 0; i < count; i++) {
        float v = from[i] * 0.5f + 0.5f;
        v = v > 0 ? v : 0; /* catches NaN too */
        v = v < 1 ? v : 1;
        to[i] = (uint8_t)rintf(v * 255.0f);
    }
}

void pixels_to_floats(const uint8_t *from, size_t count, float *to) {
    for (size_t i = 0; i < count; i++) to[i] = 2.0f * ((float)from[i] / 255.0f) - 1.0f;
}

kadr_status pixels_prepare(const struct image *im, struct mem *m, int width, int height, float *to,
                           kadr_error *err) {
    struct image sized;
    kadr_status status = image_scale(im, m, width, height, SCALE_LANCZOS, &sized, err);
    if (status) return status;
    size_t pixels = (size_t)width * (size_t)height, pixel = (size_t)sized.channels;
    for (size_t i = 0; i < pixels; i++) pixels_to_floats(sized.data + i * pixel, 3, to + i * 3);
    image_free(&sized);
    return KADR_OK;
}

kadr_status pixels_prepare_clip(const struct image *im, struct mem *m, int side, float *to,
                                kadr_error *err) {
    static const float mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
    static const float deviation[3] = {0.26862954f, 0.26130258f, 0.27577711f};
    bool upright = im->width <= im->height;
    int64_t less = upright ? im->width : im->height, more = upright ? im->height : im->width;
    int64_t length = side * more / less;
    if (length > IMAGE_SIDE)
        return err_set(err, KADR_EUSAGE, "a picture of %dx%d is too long for its width", im->width,
                       im->height);
    int width = upright ? side : (int)length, height = upright ? (int)length : side;
    struct image sized;
    kadr_status status = image_scale(im, m, width, height, SCALE_BICUBIC, &sized, err);
    if (status) return status;
    int left = (width - side) / 2, top = (height - side) / 2;
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++, to += 3) {
            const uint8_t *from =
                sized.data +
                ((size_t)(y + top) * (size_t)width + (size_t)(x + left)) * (size_t)sized.channels;
            for (int c = 0; c < 3; c++)
                to[c] = ((float)(from[c] * (1 / 255.0)) - mean[c]) / deviation[c];
        }
    image_free(&sized);
    return KADR_OK;
}

/* ITU-R 601-2 luma in PIL's fixed point. */
static unsigned grey(const uint8_t *rgb) {
    return (rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16;
}

kadr_status pixels_prepare_mask(const struct image *im, struct mem *m, int width, int height,
                                float *to, kadr_error *err) {
    struct image sized;
    kadr_status status = image_scale(im, m, width, height, SCALE_LANCZOS, &sized, err);
    if (status) return status;
    size_t pixels = (size_t)width * (size_t)height, pixel = (size_t)sized.channels;
    for (size_t i = 0; i < pixels; i++) to[i] = grey(sized.data + i * pixel) >= 128;
    image_free(&sized);
    return KADR_OK;
}

void pixels_mask_to_latents(const float *mask, int width, int height, int latent_width,
                            int latent_height, float *to) {
    float across = (float)width / (float)latent_width;
    float down = (float)height / (float)latent_height;
    for (int y = 0; y < latent_height; y++)
        for (int x = 0; x < latent_width; x++) {
            int j = (int)floorf((float)y * down), i = (int)floorf((float)x * across);
            if (j >= height) j = height - 1;
            if (i >= width) i = width - 1;
            to[(size_t)y * (size_t)latent_width + (size_t)x] =
                mask[(size_t)j * (size_t)width + (size_t)i];
        }
}

/* Four weights of cubic convolution (a = -0.75) around a place `t` behind the second. */
static void cubic(float t, float weight[4]) {
    const float a = -0.75f;
    for (int i = 0; i < 4; i++) {
        float x = fabsf(t + 1 - (float)i);
        weight[i] = x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1
                           : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    }
}

static int clamp(int x, int size) {
    return x < 0 ? 0 : x < size ? x : size - 1;
}

void pixels_mask_to_tokens(const float *mask, int width, int height, int64_t count, float *to) {
    int64_t h = (int64_t)sqrt((double)count / ((double)width / height));
    if (h < 1) h = 1;
    h += count % h != 0;
    int64_t w = count / h;
    if (w < 1) w = 1;
    float across = (float)width / (float)w, down = (float)height / (float)h;
    for (int64_t i = 0; i < count; i++) to[i] = 0;
    for (int64_t i = 0; i < h * w && i < count; i++) {
        float x = across * ((float)(i % w) + 0.5f) - 0.5f;
        float y = down * ((float)(i / w) + 0.5f) - 0.5f;
        int left = (int)floorf(x), top = (int)floorf(y);
        float wx[4], wy[4], sum = 0;
        cubic(x - (float)left, wx);
        cubic(y - (float)top, wy);
        for (int j = 0; j < 4; j++) {
            const float *row = mask + (size_t)clamp(top + j - 1, height) * (size_t)width;
            float part = 0;
            for (int k = 0; k < 4; k++) part += wx[k] * row[clamp(left + k - 1, width)];
            sum += wy[j] * part;
        }
        to[i] = sum;
    }
}
