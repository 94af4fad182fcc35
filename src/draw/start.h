/* start.h: latents that a drawing begins from, in place of a picture: the tensor "latents"
 * f32 [1, channels, h, w] of a safetensors file, as the option save-latents writes it. What has
 * another size is made the picture's, bicubic as torch.nn.functional.interpolate has it.
 */
#ifndef KADR_DRAW_START_H
#define KADR_DRAW_START_H

#include "base/err.h"
#include "base/mem.h"

/* Whether the option init names such a file: its name ends in .safetensors. */
bool start_is_latents(const char *init); /* `init` may be NULL */

/* into `to` [channels, h, w]. KADR_EUSAGE when the file has other things in it. */
kadr_status start_read(struct mem *m, const char *path, int64_t channels, int64_t h, int64_t w,
                       float *to, kadr_error *err);

#endif
