/* unet.h: SDXL's UNet (diffusers' UNet2DConditionModel of SDXL's blocks) as two graphs. What
 * depends on the prompt alone is computed once a picture and not once a step:
 *
 * conditioning  unet.prompt_embeds f32 [n, s, cross], unet.text_embeds f32 [n, pooled],
 * unet.time_ids f32 [n, 6]
 *               -> unet.aug_emb f32 [n, time], and for each cross-attention ...attn2.k and
 * ...attn2.v [n, s, c] step          unet.latents f32 [n, in, h, w] (scaled), unet.timestep f32 [n,
 * 1], unet.prompt_lengths i32 [n], unet.aug_emb, the keys and values -> unet.output f32 [n, out, h,
 * w]
 */
#ifndef KADR_MODEL_UNET_H
#define KADR_MODEL_UNET_H

#include "base/json.h"
#include "graph/graph.h"

#define UNET_LEVELS 8
#define UNET_LAYERS 16

struct unet_config {
    int64_t in_channels, out_channels;
    int levels;
    struct {
        int64_t channels, heads;
        int layers; /* resnets on the way down; one more on the way up */
        int depth;  /* transformer blocks after each resnet on the way down */
        int up_depth[UNET_LAYERS +
                     1]; /* on the way up, by resnet; the level's own place, not reversed */
        bool down_cross, up_cross; /* has attention */
    } level[UNET_LEVELS];
    int mid_depth;
    int64_t cross, time_ids_width,
        pooled; /* cross_attention_dim, addition_time_embed_dim, width of the pooled prompt */
    int64_t groups;
    double eps, mid_scale;
    enum act act;
    bool flip;    /* flip_sin_to_cos */
    double shift; /* freq_shift */
};

kadr_status unet_read_config(const json_t *json, struct unet_config *out, kadr_error *err);

struct unet_shape {
    int64_t n, h, w; /* samples (branches times pictures), size of the latents */
    int64_t prompt;  /* tokens of the longest prompt */
};

void unet_conditioning_graph(struct graph *g, const struct unet_config *config,
                             const struct unet_shape *shape);
void unet_graph(struct graph *g, const struct unet_config *config, const struct unet_shape *shape);

#endif
