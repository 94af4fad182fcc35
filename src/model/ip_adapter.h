/* ip_adapter.h: IP-Adapter's projections for SDXL as graphs: what a CLIP image encoder saw becomes
 * a few tokens for the UNet's cross-attentions. classic: the pooled embedding through one linear
 * layer; plus: a resampler (perceiver) that reads the hidden states.
 *
 * Inputs   classic: image_encoder.embeds f32 [1, feature]
 *          plus:    image_encoder.hidden f32 [1, patches, feature], ip_adapter.queries i32 [1,
 * tokens] 0, 1, ... Output   ip_adapter.projected f32 [1, tokens, cross]: before the last norm,
 * with which unet_image_graph begins
 */
#ifndef KADR_MODEL_IP_ADAPTER_H
#define KADR_MODEL_IP_ADAPTER_H

#include "base/json.h"
#include "graph/graph.h"
#include "model/clip_vision.h"

enum ip_adapter_kind { IP_ADAPTER_CLASSIC, IP_ADAPTER_PLUS };

struct ip_adapter_config {
    enum ip_adapter_kind kind;
    int64_t feature; /* width of what it reads */
    int64_t cross;   /* the UNet's cross_attention_dim */
    int64_t tokens;
    int64_t width, inner, depth, feed_forward; /* of the resampler */
};

/* From what weights_config gives for "ip_adapter". */
kadr_status ip_adapter_read_config(const json_t *json, struct ip_adapter_config *out,
                                   kadr_error *err);

/* Whether the encoder is the one that the adapter was made for: KADR_EMODEL names the right one. */
kadr_status ip_adapter_check_encoder(const struct ip_adapter_config *config,
                                     const struct clip_vision_config *encoder, kadr_error *err);

/* `patches`: tokens of the encoder. */
void ip_adapter_graph(struct graph *g, const struct ip_adapter_config *config, int64_t patches);

/* The layer norm behind the projection: its weights' label. */
const char *ip_adapter_norm(const struct ip_adapter_config *config);

#endif
