/* ip_adapter.c: see ip_adapter.h. Labels are the keys of the adapters' own files. */
#include "model/ip_adapter.h"
#include "model/describe.h"

#include <math.h>
#include <string.h>

#define HEAD_WIDTH 64 /* of the resampler: in every published adapter, and assumed by diffusers */

kadr_status ip_adapter_read_config(const json_t *json, struct ip_adapter_config *c,
                                   kadr_error *err) {
    static const char name[] = "ip_adapter";
    const char *kind = NULL;
    *c = (struct ip_adapter_config){0};
    kadr_status st = json_get_string(json, name, "kind", &kind, err);
    const int64_t most = 1 << 18;
    const struct {
        const char *key;
        int64_t *to;
    } ints[] = {{"feature", &c->feature},
                {"cross", &c->cross},
                {"tokens", &c->tokens},
                {"width", &c->width},
                {"inner", &c->inner},
                {"depth", &c->depth},
                {"feed_forward", &c->feed_forward}};
    for (size_t i = 0; i < sizeof ints / sizeof *ints && !st; i++)
        st = json_get_int(json, name, ints[i].key, 1, most, ints[i].to, err);
    if (st) return st;
    c->kind = kind && strcmp(kind, "plus") == 0 ? IP_ADAPTER_PLUS : IP_ADAPTER_CLASSIC;
    if (c->kind == IP_ADAPTER_PLUS && c->inner % HEAD_WIDTH)
        return err_set(err, KADR_EMODEL,
                       "%s: image_proj.layers.0.0.to_q has %lld rows; expected heads of %d", name,
                       (long long)c->inner, HEAD_WIDTH);
    return KADR_OK;
}

kadr_status ip_adapter_check_encoder(const struct ip_adapter_config *c,
                                     const struct clip_vision_config *encoder, kadr_error *err) {
    bool plus = c->kind == IP_ADAPTER_PLUS;
    int64_t has = plus ? encoder->width : encoder->projection;
    if (has == c->feature) return KADR_OK;
    const char *wanted = plus ? (c->feature == 1280 ? "ViT-H-14" : NULL)
                              : (c->feature == 1280   ? "ViT-bigG-14"
                                 : c->feature == 1024 ? "ViT-H-14"
                                                      : NULL);
    const char *given = clip_vision_name(encoder);
    return err_set(err, KADR_EMODEL,
                   "the adapter reads %s of width %lld%s%s, the image encoder%s%s gives %lld: "
                   "expected the image encoder that the adapter was made for",
                   plus ? "hidden states" : "pooled embeddings", (long long)c->feature,
                   wanted ? ", which come from " : "", wanted ? wanted : "", given ? " " : "",
                   given ? given : "", (long long)has);
}

const char *ip_adapter_norm(const struct ip_adapter_config *c) {
    return c->kind == IP_ADAPTER_PLUS ? "ip_adapter.image_proj.norm_out"
                                      : "ip_adapter.image_proj.norm";
}

/* Queries attend to what the encoder saw and to themselves. The stored to_kv is both halves of one
 * product: keys first. */
static tensor_id resampler_layer(struct graph *g, const struct ip_adapter_config *c, int i,
                                 tensor_id x, tensor_id latents) {
    char label[96];
#define AT(part) describe_label(label, sizeof label, "ip_adapter.image_proj.layers.%d." part, i)
    struct epilogue add = EPI_NONE, gelu = EPI_NONE;
    x = graph_layer_norm(g, x, AT("0.norm1"), 1e-5f);
    tensor_id n = graph_layer_norm(g, latents, AT("0.norm2"), 1e-5f);
    tensor_id all = graph_concat(g, x, n, false);
    struct attention_inputs in = {
        .lengths = NO_TENSOR, .add = NO_TENSOR, .gain = NO_TENSOR, .mask = NO_TENSOR};
    in.q = graph_linear(g, n, AT("0.to_q"), c->inner, false, EPI_NONE);
    in.k = graph_linear(g, all, AT("0.to_k"), c->inner, false, EPI_NONE);
    in.v = graph_linear(g, all, AT("0.to_v"), c->inner, false, EPI_NONE);
    tensor_id a = graph_attention(g, AT("0"), in, (int)(c->inner / HEAD_WIDTH),
                                  1.0f / sqrtf(HEAD_WIDTH), false);
    add.residual = latents;
    latents = graph_linear(g, a, AT("0.to_out"), c->width, false, add);
    n = graph_layer_norm(g, latents, AT("1.0"), 1e-5f);
    gelu.act = ACT_GELU;
    n = graph_linear(g, n, AT("1.1"), c->feed_forward, false, gelu);
    add.residual = latents;
    return graph_linear(g, n, AT("1.3"), c->width, false, add);
#undef AT
}

static tensor_id resampler(struct graph *g, const struct ip_adapter_config *c, int64_t patches) {
    tensor_id x =
        graph_input(g, "image_encoder.hidden", DTYPE_F32, 3, (int64_t[]){1, patches, c->feature});
    tensor_id queries =
        graph_input(g, "ip_adapter.queries", DTYPE_I32, 2, (int64_t[]){1, c->tokens});
    x = graph_convert(g, x, g->dtype, ORDER_SAME);
    x = graph_linear(g, x, "ip_adapter.image_proj.proj_in", c->width, true, EPI_NONE);
    tensor_id latents = graph_embed(g, queries, NO_TENSOR, "ip_adapter.image_proj.latents",
                                    c->tokens, NULL, 0, c->width);
    latents = graph_convert(g, latents, g->dtype, ORDER_SAME);
    for (int64_t i = 0; i < c->depth; i++) latents = resampler_layer(g, c, (int)i, x, latents);
    struct epilogue f32 = EPI_NONE;
    f32.f32_out = true;
    return graph_linear(g, latents, "ip_adapter.image_proj.proj_out", c->cross, true, f32);
}

static tensor_id linear(struct graph *g, const struct ip_adapter_config *c) {
    tensor_id x = graph_input(g, "image_encoder.embeds", DTYPE_F32, 2, (int64_t[]){1, c->feature});
    x = graph_convert(g, x, g->dtype, ORDER_SAME);
    struct epilogue f32 = EPI_NONE;
    f32.f32_out = true;
    return graph_linear(g, x, "ip_adapter.image_proj.proj", c->tokens * c->cross, true, f32);
}

void ip_adapter_graph(struct graph *g, const struct ip_adapter_config *c, int64_t patches) {
    tensor_id x = c->kind == IP_ADAPTER_PLUS ? resampler(g, c, patches) : linear(g, c);
    graph_output(g, x, "ip_adapter.projected");
}
