/* pixels.h: between pictures and the numbers that networks eat and give, bit for bit as diffusers'
 * VaeImageProcessor does it. Floats are [height, width, 3] in [-1, 1], f32. */
#ifndef KADR_IMAGE_PIXELS_H
#define KADR_IMAGE_PIXELS_H

#include "image/image.h"

/* What a VAE decoded -> 8 bits: x / 2 + 0.5, clamped to [0, 1], times 255, rounded half to even.
 * Not-a-numbers become 0. `count` is of single values. */
void pixels_from_floats(const float *from, size_t count, uint8_t *to);

/* 8 bits -> what a VAE encodes. */
void pixels_to_floats(const uint8_t *from, size_t count, float *to);

/* A picture as init image: resized to width x height by Lanczos, alpha dropped after it. `to` has
 * room for height * width * 3 floats. */
kadr_status pixels_prepare(const struct image *im, struct mem *m, int width, int height, float *to,
                           kadr_error *err);

/* A picture as inpainting mask: resized likewise, made grey; 1 (draw anew) from 128 up, else 0.
 * `to`: [height, width]. */
kadr_status pixels_prepare_mask(const struct image *im, struct mem *m, int width, int height,
                                float *to, kadr_error *err);

/* A picture as CLIP's image encoders want it (transformers' CLIPImageProcessor with Pillow): the
 * shorter side to `side` bicubically, the middle cut out, normalised; alpha is over white already.
 * `to`: [side, side, 3]. */
kadr_status pixels_prepare_clip(const struct image *im, struct mem *m, int side, float *to,
                                kadr_error *err);

/* A mask on the grid of the latents: the nearest value (torch's "nearest"). */
void pixels_mask_to_latents(const float *mask, int width, int height, int latent_width,
                            int latent_height, float *to);

/* A mask as weights of the `count` tokens of a picture of any size and about the same shape
 * (diffusers' IPAdapterMaskProcessor.downsample): bicubic as torch has it. */
void pixels_mask_to_tokens(const float *mask, int width, int height, int64_t count, float *to);

#endif
