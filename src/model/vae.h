/* vae.h: the autoencoder (diffusers' AutoencoderKL) as two graphs.
 *
 * decode:  vae.latents f32 [n, latent, h, w] (already divided by the scaling factor) -> vae.picture
 * f32 [n, H, W, 3], about -1..1 encode:  vae.picture f32 [n, H, W, 3] -> vae.moments f32 [n, 2
 * latent, h, w]: mean, then log variance
 */
#ifndef KADR_MODEL_VAE_H
#define KADR_MODEL_VAE_H

#include "base/json.h"
#include "graph/graph.h"

#define VAE_LEVELS 8

struct vae_config {
    int64_t in_channels, out_channels, latent_channels, layers;
    int levels;
    int64_t channels[VAE_LEVELS];
    int64_t groups;
    enum act act;
    bool quant_conv, post_quant_conv, mid_attention;
    double scaling_factor, shift_factor;
    int has_stats; /* latents_mean and latents_std are given */
    double mean[16], std[16];
    /* About what a latent pixel looks like, for previews: [latent channel][rgb] and, last, what is
     * added; of pictures in -1..1. */
    bool has_look;
    float look[5][3];
};

kadr_status vae_read_config(const json_t *json, struct vae_config *out, kadr_error *err);

/* How many picture pixels a latent has a side: 2^(levels - 1). */
int vae_scale(const struct vae_config *config);

void vae_decode_graph(struct graph *g, const struct vae_config *config, int64_t n, int64_t h,
                      int64_t w);
/* h, w: of the picture. */
void vae_encode_graph(struct graph *g, const struct vae_config *config, int64_t n, int64_t h,
                      int64_t w);

/* A small picture of 4-channel latents as the UNet knows them, [h * w][3]. Needs has_look. */
void vae_look(const struct vae_config *config, const float *latents, int64_t plane, uint8_t *rgb);

/* Latents as the UNet knows them <-> as the VAE knows them, [n, latent, plane] in place. */
void vae_unscale(const struct vae_config *config, float *latents, int64_t n, int64_t plane);
void vae_rescale(const struct vae_config *config, float *latents, int64_t n, int64_t plane);

#endif
