/* scale.h: pictures in another size, bit for bit as Pillow's Image.resize. Networks are fed with
 * these (CLIP's preprocessing is defined by Pillow), so "nearly" is not enough.
 *
 * Two passes, across and down, each a convolution in fixed point with coefficients rounded to 22
 * bits, rounded to 8 bits in between; RGBA is premultiplied for the time. Nearest is none of that.
 */
#ifndef KADR_IMAGE_SCALE_H
#define KADR_IMAGE_SCALE_H

#include "image/image.h"

enum scale_filter { SCALE_NEAREST, SCALE_BOX, SCALE_BILINEAR, SCALE_BICUBIC, SCALE_LANCZOS };

kadr_status image_scale(const struct image *im, struct mem *m, int width, int height,
                        enum scale_filter filter, struct image *out, kadr_error *err);

#endif
