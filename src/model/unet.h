/* unet.h: SDXL's UNet (diffusers' UNet2DConditionModel of SDXL's blocks) as graphs. What depends on
 * the prompt or on reference pictures alone is computed once and not once a step:
 *
 * conditioning  unet.prompt_embeds f32 [n, s, cross], unet.text_embeds f32 [n, pooled],
 *               unet.time_ids f32 [n, 6]
 *               -> unet.aug_emb f32 [n, time], and for each cross-attention ATTENTION.k and
 *               ATTENTION.v [n, s, c]
 * image         ip_adapter.projected f32 [1, t, cross] -> ip_adapter.tokens f32 [1, t, cross], and
 *               for each cross-attention ATTENTION.ip_k and ATTENTION.ip_v f32 [1, t, c]
 * step          unet.latents f32 [n, in, h, w] (scaled), unet.timestep f32 [n, 1],
 *               unet.prompt_lengths i32 [n], unet.aug_emb, the prompt's keys and values; for cast i
 *               ATTENTION.cast<i>.k and .v [n, t, c], TRANSFORMER.cast<i>.gain f32 [n] and, where
 *               it has a region, unet.cast<i>.mask<level> f32 [n, h, w]
 *               -> unet.output f32 [n, out, h, w]
 *
 * ATTENTION is "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2", TRANSFORMER the same
 * up to "attentions.0".
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

/* A transformer of the UNet (diffusers' Transformer2DModel). */
enum unet_part { UNET_DOWN, UNET_UP, UNET_MIDDLE };
struct unet_transformer {
    char label[64]; /* TRANSFORMER */
    enum unet_part part;
    int block, index;     /* in the part, in the block */
    int level;            /* whose size it works at */
    int depth, attention; /* how many cross-attentions; how many of the UNet come before them */
    int64_t width;
};
/* The next one, in the order in which IP-Adapter counts: down, up, middle. `*t` is all zeros before
 * the first; false behind the last. */
bool unet_next_transformer(const struct unet_config *c, struct unet_transformer *t);
/* The name of cross-attention `i` of a transformer, into `name`, which it returns. */
const char *unet_attention_name(char *name, size_t size, const struct unet_transformer *t, int i);

/* How many a block has; UNET_DOWN or UNET_UP. */
int unet_transformers(const struct unet_config *c, enum unet_part part, int block);

/* How strongly image prompts count in a transformer by diffusers' "scale dictionary" (or a number).
 * KADR_EUSAGE says what is wrong; unet_scale_check says it for all of them at once. */
kadr_status unet_scale(const struct unet_config *c, const json_t *scale,
                       const struct unet_transformer *t, double *out, kadr_error *err);
kadr_status unet_scale_check(const struct unet_config *c, const json_t *scale, kadr_error *err);

/* Rows and columns at a level. */
static inline int64_t unet_side(int64_t latents, int level) {
    for (; level > 0; level--) latents = (latents + 1) / 2;
    return latents;
}

#define UNET_CASTS 8
struct unet_shape {
    int64_t n, h, w; /* samples (branches times pictures), size of the latents */
    int64_t prompt;  /* tokens of the longest prompt */
    bool int8;       /* products in int8 where that gains something: see unet.c */
    bool cut;        /* everything below the first level is a cut: see graph_cut_begin */
    int casts;       /* reference characters whose keys and values are attended to as well */
    struct {
        int64_t tokens;
        bool masked;
    } cast[UNET_CASTS];
};

void unet_conditioning_graph(struct graph *g, const struct unet_config *config,
                             const struct unet_shape *shape);
/* `norm`: label of the layer norm that the tokens go through first. The weights of attention i are
 * ip_adapter.ip_adapter.<2i + 1>.to_k_ip and .to_v_ip, as in the adapters' files. */
void unet_image_graph(struct graph *g, const struct unet_config *config, int64_t tokens,
                      const char *norm);
void unet_graph(struct graph *g, const struct unet_config *config, const struct unet_shape *shape);

#endif
