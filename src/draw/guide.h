/* guide.h: what is done with a step's outputs before the sampler gets them. Pure functions. */
#ifndef KADR_DRAW_GUIDE_H
#define KADR_DRAW_GUIDE_H

#include <stddef.h>

/* Classifier-free guidance of the unconditional output u by the conditional c, in place of u:
 * u + scale * (c - u). With rescale > 0 the result's standard deviation is drawn toward that of the
 * conditional output (arXiv 2305.08891, section 3.4). */
void guide(float *u, const float *c, size_t count, double scale, double rescale);

/* Where the mask is 0, latents come from `known`: mask * latents + (1 - mask) * known.
 * mask: [plane], the others [channels, plane]. */
void guide_blend(float *latents, const float *known, const float *mask, size_t channels,
                 size_t plane);

#endif
