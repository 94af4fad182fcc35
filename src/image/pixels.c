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
