/* clip_vision.h: CLIP's image encoder (transformers' CLIPVisionModelWithProjection) as a graph for
 * one picture.
 *
 * Inputs   image_encoder.pixels  f32 [1, s, s, 3]  normalised, channels last
 *          image_encoder.ids     i32 [1, 1+p]      0, 1, ..., p: the class token, then the patches
 *          image_encoder.first   i32 [1]           0: where the pooled state is taken; with embeds
 * Outputs  image_encoder.hidden  f32 [1, 1+p, width]   hidden states before the last layer
 *          image_encoder.embeds  f32 [1, projection]   the class token's final state, projected
 */
#ifndef KADR_MODEL_CLIP_VISION_H
#define KADR_MODEL_CLIP_VISION_H

#include "base/json.h"
#include "graph/graph.h"

struct clip_vision_config {
    int64_t width, inner, layers, heads, projection;
    int64_t image, patch; /* sides in pixels */
    double eps;
    enum act act;
};

kadr_status clip_vision_read_config(const json_t *json, struct clip_vision_config *out,
                                    kadr_error *err);

/* The class token and the patches. */
int64_t clip_vision_tokens(const struct clip_vision_config *config);

/* Which outputs are wanted. */
struct clip_vision_wish {
    bool hidden, embeds;
};
void clip_vision_graph(struct graph *g, const struct clip_vision_config *config,
                       struct clip_vision_wish wish);

/* The name by which the encoder is known ("ViT-H-14"), or NULL. */
const char *clip_vision_name(const struct clip_vision_config *config);

#endif
