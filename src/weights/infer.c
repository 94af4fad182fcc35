/* infer.c: what diffusers' configurations would say, from the shapes of the tensors. What shapes
 * cannot tell (widths of heads, groups of norms, scaling factors) is SDXL's own. */
#include "weights/set.h"

#include <stdio.h>
#include <string.h>

#define HEAD_WIDTH 64 /* of every attention in SDXL's UNet and text encoders */
#define LEVELS 16
#define LAYERS 64

static json_t *list_of(const int64_t *value, int count) {
    json_t *list = json_array();
    for (int i = 0; i < count; i++) json_array_append_new(list, json_integer(value[i]));
    return list;
}

/* Size of a dimension of a tensor that must be there. */
static kadr_status dimension(const struct weights *w, const char *name, int axis, int64_t *out,
                             kadr_error *err) {
    const struct entry *e = set_find(w, name);
    if (!e) return err_set(err, KADR_EMODEL, "%s: no tensor %s", w->path, name);
    if (axis >= e->t.rank || e->t.dim[axis] < 1) {
        char text[128];
        return err_set(err, KADR_EMODEL, "%s: tensor %s: shape %s; expected at least %d dimensions",
                       e->file->file.path, e->stored->name,
                       set_shape_text(text, sizeof text, e->t.rank, e->t.dim), axis + 1);
    }
    *out = e->t.dim[axis];
    return KADR_OK;
}

static kadr_status heads_of(const struct weights *w, const char *what, int64_t width, int64_t *out,
                            kadr_error *err) {
    if (width % HEAD_WIDTH)
        return err_set(err, KADR_EMODEL,
                       "%s: %s is %lld wide; expected a multiple of %d (a single file cannot say "
                       "how many heads it has: use the diffusers folder)",
                       w->path, what, (long long)width, HEAD_WIDTH);
    *out = width / HEAD_WIDTH;
    return KADR_OK;
}

/* ---- UNet ---- */

struct unet_shapes {
    int levels;
    int64_t channels[LEVELS], heads[LEVELS], layers[LEVELS], depth[LEVELS];
    int64_t up_depth[LEVELS]; /* 0: no attention; in diffusers' order, the deepest level first */
    bool attention[LEVELS];
    int64_t in, out, cross, embedding, pooled;
};

static int64_t count_blocks(const struct weights *w, const char *attention) {
    int64_t n = 0;
    while (n < LAYERS &&
           set_findf(w, "unet.%s.transformer_blocks.%d.norm1.weight", attention, (int)n))
        n++;
    return n;
}

static const struct entry *attention_of(const struct weights *w, const char *side, int level,
                                        int64_t *depth) {
    char name[64];
    snprintf(name, sizeof name, "%s.%d.attentions.0", side, level);
    const struct entry *e = set_findf(w, "unet.%s.norm.weight", name);
    *depth = e ? count_blocks(w, name) : 0;
    return e;
}

static kadr_status read_levels(const struct weights *w, struct unet_shapes *u, kadr_error *err) {
    char name[64];
    for (; u->levels < LEVELS; u->levels++) {
        int i = u->levels;
        while (u->layers[i] < LAYERS &&
               set_findf(w, "unet.down_blocks.%d.resnets.%d.norm1.weight", i, (int)u->layers[i]))
            u->layers[i]++;
        if (!u->layers[i]) break;
        snprintf(name, sizeof name, "unet.down_blocks.%d.resnets.0.conv1.weight", i);
        kadr_status st = dimension(w, name, 0, &u->channels[i], err);
        if (!st) st = heads_of(w, name, u->channels[i], &u->heads[i], err);
        if (st) return st;
        u->attention[i] = attention_of(w, "down_blocks", i, &u->depth[i]) != NULL;
    }
    for (int i = 0; i < u->levels; i++) attention_of(w, "up_blocks", i, &u->up_depth[i]);
    if (!u->levels)
        return err_set(err, KADR_EMODEL, "%s: no tensor unet.down_blocks.0.resnets.0.norm1.weight",
                       w->path);
    return KADR_OK;
}

/* Depths on the way up where they are not those on the way down; NULL otherwise. A level without
 * attention has depth 1 in either list, which says nothing. */
static json_t *reverse_depths(struct unet_shapes *u) {
    bool same = true;
    for (int i = 0; i < u->levels; i++) {
        int64_t *down = &u->depth[u->levels - 1 - i], *up = &u->up_depth[i];
        if (!*down) *down = *up ? *up : 1;
        if (!*up) *up = *down;
        same = same && *down == *up;
    }
    return same ? json_null() : list_of(u->up_depth, u->levels);
}

static json_t *block_types(const struct unet_shapes *u, bool up) {
    json_t *list = json_array();
    for (int i = 0; i < u->levels; i++) {
        const char *type = up ? (u->up_depth[i] ? "CrossAttnUpBlock2D" : "UpBlock2D")
                              : (u->attention[i] ? "CrossAttnDownBlock2D" : "DownBlock2D");
        json_array_append_new(list, json_string(type));
    }
    return list;
}

kadr_status infer_unet(struct weights *w, kadr_error *err) {
    struct unet_shapes u = {0};
    kadr_status st = dimension(w, "unet.conv_in.weight", 1, &u.in, err);
    if (!st) st = dimension(w, "unet.conv_out.weight", 0, &u.out, err);
    if (!st) st = dimension(w, "unet.add_embedding.linear_1.weight", 1, &u.embedding, err);
    if (!st)
        st = dimension(w, "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 1,
                       &u.cross, err);
    if (!st) st = read_levels(w, &u, err);
    if (st) return st;
    const struct entry *pooled = set_find(w, "text_encoder_2.text_projection.weight");
    u.pooled = pooled && pooled->t.rank == 2 ? pooled->t.dim[0] : 1280;
    /* Six numbers beside the pooled prompt, each as that many sinusoids. */
    int64_t six = u.embedding - u.pooled;
    if (six < 12 || six % 12)
        return err_set(err, KADR_EMODEL,
                       "%s: the unet's added embedding is %lld wide; expected the pooled prompt's "
                       "%lld and six times an even number",
                       w->path, (long long)u.embedding, (long long)u.pooled);
    int last = u.levels - 1;
    if (!u.depth[last]) u.depth[last] = count_blocks(w, "mid_block.attentions.0");
    json_t *down_types = block_types(&u, false), *up_types = block_types(&u, true);
    json_t *reverse = reverse_depths(&u);
    json_t *json = json_pack(
        "{s:s, s:s, s:I, s:o, s:o, s:I, s:o, s:o, s:I, s:I, s:o, s:i, s:I, s:o, s:o, s:b}",
        "_class_name", "UNet2DConditionModel", "addition_embed_type", "text_time",
        "addition_time_embed_dim", (json_int_t)(six / 6), "attention_head_dim",
        list_of(u.heads, u.levels), "block_out_channels", list_of(u.channels, u.levels),
        "cross_attention_dim", (json_int_t)u.cross, "down_block_types", down_types,
        "up_block_types", up_types, "in_channels", (json_int_t)u.in, "out_channels",
        (json_int_t)u.out, "layers_per_block", list_of(u.layers, u.levels), "norm_num_groups", 32,
        "projection_class_embeddings_input_dim", (json_int_t)u.embedding,
        "transformer_layers_per_block", list_of(u.depth, u.levels),
        "reverse_transformer_layers_per_block", reverse, "use_linear_projection", 1);
    return set_config(w, "unet", json, err);
}

/* ---- VAE ---- */

/* From the decoder, which is always there. */
kadr_status infer_vae(struct weights *w, const json_t *base, kadr_error *err) {
    int64_t channels[LEVELS], out[LEVELS], layers = 0, latent, pixels;
    int levels = 0;
    char name[64];
    if (!set_find(w, "vae.decoder.conv_in.weight")) return KADR_OK;
    kadr_status st = dimension(w, "vae.decoder.conv_in.weight", 1, &latent, err);
    if (!st) st = dimension(w, "vae.decoder.conv_out.weight", 0, &pixels, err);
    for (; levels < LEVELS && !st; levels++) {
        snprintf(name, sizeof name, "vae.decoder.up_blocks.%d.resnets.0.conv1.weight", levels);
        if (!set_find(w, name)) break;
        st = dimension(w, name, 0, &channels[levels], err);
    }
    if (st) return st;
    while (layers < LAYERS &&
           set_findf(w, "vae.decoder.up_blocks.0.resnets.%d.norm1.weight", (int)layers))
        layers++;
    if (!levels || layers < 2)
        return err_set(err, KADR_EMODEL,
                       "%s: the vae has %d levels of %d resnets; expected at least 1 of 2", w->path,
                       levels, (int)layers);
    for (int i = 0; i < levels; i++) out[i] = channels[levels - 1 - i];
    json_t *shapes = json_pack(
        "{s:s, s:o, s:I, s:I, s:I, s:b, s:b, s:b}", "_class_name", "AutoencoderKL",
        "block_out_channels", list_of(out, levels), "latent_channels", (json_int_t)latent,
        "out_channels", (json_int_t)pixels, "layers_per_block", (json_int_t)(layers - 1),
        "use_quant_conv", set_find(w, "vae.quant_conv.weight") != NULL, "use_post_quant_conv",
        set_find(w, "vae.post_quant_conv.weight") != NULL, "mid_block_add_attention",
        set_find(w, "vae.decoder.mid_block.attentions.0.to_q.weight") != NULL);
    json_t *json =
        base ? json_copy((json_t *)base)
             : json_pack("{s:i, s:s, s:i, s:f, s:b}", "in_channels", 3, "act_fn", "silu",
                         "norm_num_groups", 32, "scaling_factor", 0.13025, "force_upcast", 1);
    bool bad = !shapes || !json || json_object_update(json, shapes);
    if (shapes) json_decref(shapes);
    if (bad && json) json_decref(json);
    return set_config(w, "vae", bad ? NULL : json, err);
}

/* ---- Text encoders ---- */

kadr_status infer_text(struct weights *w, int which, kadr_error *err) {
    const char *component = which ? "text_encoder_2" : "text_encoder";
    int64_t vocab, width, positions, inner, heads = 0, layers = 0;
    char name[96];
#define AT(key) (snprintf(name, sizeof name, "%s.text_model.%s", component, key), name)
    if (!set_find(w, AT("embeddings.token_embedding.weight"))) return KADR_OK;
    kadr_status st = dimension(w, name, 0, &vocab, err);
    if (!st) st = dimension(w, name, 1, &width, err);
    if (!st) st = dimension(w, AT("embeddings.position_embedding.weight"), 0, &positions, err);
    if (!st) st = dimension(w, AT("encoder.layers.0.mlp.fc1.weight"), 0, &inner, err);
    if (!st) st = heads_of(w, component, width, &heads, err);
    if (st) return st;
#undef AT
    while (layers < 256 && set_findf(w, "%s.text_model.encoder.layers.%d.layer_norm1.weight",
                                     component, (int)layers))
        layers++;
    const struct entry *projection = set_findf(w, "%s.text_projection.weight", component);
    json_t *json = json_pack(
        "{s:[s], s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:I, s:I, s:I}", "architectures",
        projection ? "CLIPTextModelWithProjection" : "CLIPTextModel", "vocab_size",
        (json_int_t)vocab, "hidden_size", (json_int_t)width, "intermediate_size", (json_int_t)inner,
        "num_hidden_layers", (json_int_t)layers, "num_attention_heads", (json_int_t)heads,
        "max_position_embeddings", (json_int_t)positions, "projection_dim",
        (json_int_t)(projection && projection->t.rank ? projection->t.dim[0] : width), "hidden_act",
        which ? "gelu" : "quick_gelu", "layer_norm_eps", 1e-5, "bos_token_id",
        (json_int_t)(vocab - 2), "eos_token_id", (json_int_t)(vocab - 1), "pad_token_id",
        (json_int_t)(which ? 0 : vocab - 1));
    return set_config(w, component, json, err);
}
