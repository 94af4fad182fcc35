/* unet_config.c: reads diffusers' unet/config.json. What kadr's graphs cannot do is refused by name
 * rather than ignored: a picture must not come out quietly wrong. */
#include "model/describe.h"
#include "model/unet.h"

#include <string.h>

/* An entry of a value that may be one number or a list with one entry a level. */
static kadr_status level_int(const json_t *json, const char *key, int level, int levels,
                             int64_t low, int64_t high, int64_t *out, kadr_error *err) {
    const json_t *v = json_object_get(json, key);
    if (!v || json_is_null(v)) return KADR_OK;
    if (json_is_array(v)) {
        if (json_array_size(v) != (size_t)levels)
            return err_set(err, KADR_EMODEL, "unet: %s: %zu entries, expected %d (one a level)",
                           key, json_array_size(v), levels);
        v = json_array_get(v, (size_t)level);
    }
    if (!json_is_integer(v) || json_integer_value(v) < low || json_integer_value(v) > high)
        return err_set(err, KADR_EMODEL, "unet: %s: expected a whole number from %lld to %lld", key,
                       (long long)low, (long long)high);
    *out = json_integer_value(v);
    return KADR_OK;
}

/* Keys that must have one of few values for the graph to be right. */
static kadr_status refuse_unknown(const json_t *json, kadr_error *err) {
    static const struct {
        const char *key, *expected; /* NULL: absent, null or false */
    } fixed[] = {
        {"addition_embed_type", "text_time"},
        {"mid_block_type", "UNetMidBlock2DCrossAttn"},
        {"resnet_time_scale_shift", "default"},
        {"time_embedding_type", "positional"},
        {"attention_type", "default"},
        {"class_embed_type", NULL},
        {"encoder_hid_dim", NULL},
        {"encoder_hid_dim_type", NULL},
        {"num_class_embeds", NULL},
        {"time_cond_proj_dim", NULL},
        {"time_embedding_act_fn", NULL},
        {"time_embedding_dim", NULL},
        {"timestep_post_act", NULL},
        {"cross_attention_norm", NULL},
        {"dual_cross_attention", NULL},
        {"only_cross_attention", NULL},
        {"mid_block_only_cross_attention", NULL},
        {"resnet_skip_time_act", NULL},
        {"center_input_sample", NULL},
        {"class_embeddings_concat", NULL},
    };
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        const json_t *v = json_object_get(json, fixed[i].key);
        if (!v || json_is_null(v) || json_is_false(v)) {
            if (v && fixed[i].expected && strcmp(fixed[i].key, "addition_embed_type") == 0)
                return err_set(
                    err, KADR_EMODEL,
                    "unet: addition_embed_type: expected \"text_time\" (is this an SDXL model?)");
            continue;
        }
        const char *text = json_string_value(v);
        if (!fixed[i].expected || !text || strcmp(text, fixed[i].expected) != 0)
            return err_set(err, KADR_EMODEL, "unet: %s: this value is not supported; SDXL has %s",
                           fixed[i].key, fixed[i].expected ? fixed[i].expected : "none");
    }
    static const struct {
        const char *key;
        int64_t only;
    } numbers[] = {{"conv_in_kernel", 3}, {"conv_out_kernel", 3}, {"downsample_padding", 1}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        int64_t v = numbers[i].only;
        kadr_status st = json_get_int(json, "unet", numbers[i].key, v, v, &v, err);
        if (st) return st;
    }
    return KADR_OK;
}

/* transformer_layers_per_block: a number, one a level, or (also reverse_...) a list a level. */
static kadr_status read_depths(const json_t *json, struct unet_config *c, kadr_error *err) {
    const json_t *reverse = json_object_get(json, "reverse_transformer_layers_per_block");
    for (int i = 0; i < c->levels; i++) {
        int64_t d = 1;
        kadr_status st =
            level_int(json, "transformer_layers_per_block", i, c->levels, 1, 64, &d, err);
        if (st) return st;
        c->level[i].depth = (int)d;
        const json_t *up =
            json_is_array(reverse) ? json_array_get(reverse, (size_t)(c->levels - 1 - i)) : NULL;
        for (int j = 0; j <= c->level[i].layers; j++) {
            const json_t *v = json_is_array(up) ? json_array_get(up, (size_t)j) : up;
            if (v &&
                (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > 64))
                return err_set(err, KADR_EMODEL,
                               "unet: reverse_transformer_layers_per_block: expected whole numbers "
                               "from 1 to 64");
            c->level[i].up_depth[j] = v ? (int)json_integer_value(v) : (int)d;
        }
    }
    c->mid_depth = c->level[c->levels - 1].depth;
    return KADR_OK;
}

static kadr_status read_block_types(const json_t *json, struct unet_config *c, kadr_error *err) {
    static const char *const keys[2] = {"down_block_types", "up_block_types"};
    static const char *const plain[2] = {"DownBlock2D", "UpBlock2D"};
    static const char *const cross[2] = {"CrossAttnDownBlock2D", "CrossAttnUpBlock2D"};
    for (int k = 0; k < 2; k++) {
        const json_t *list = json_object_get(json, keys[k]);
        if (!json_is_array(list) || json_array_size(list) != (size_t)c->levels)
            return err_set(err, KADR_EMODEL, "unet: %s: expected a list of %d block types", keys[k],
                           c->levels);
        for (int i = 0; i < c->levels; i++) {
            const char *type = json_string_value(json_array_get(list, (size_t)i));
            bool is_cross = type && strcmp(type, cross[k]) == 0;
            if (!is_cross && (!type || strcmp(type, plain[k]) != 0))
                return err_set(err, KADR_EMODEL,
                               "unet: %s: \"%s\" is not one of SDXL's blocks (%s, %s)", keys[k],
                               type ? type : "?", plain[k], cross[k]);
            if (k == 0) c->level[i].down_cross = is_cross;
            else c->level[c->levels - 1 - i].up_cross = is_cross;
        }
    }
    return KADR_OK;
}

static kadr_status read_levels(const json_t *json, struct unet_config *c, kadr_error *err) {
    const json_t *widths = json_object_get(json, "block_out_channels");
    size_t n = json_is_array(widths) ? json_array_size(widths) : 0;
    if (n < 1 || n > UNET_LEVELS)
        return err_set(err, KADR_EMODEL,
                       "unet: block_out_channels: expected a list of 1 to %d numbers", UNET_LEVELS);
    c->levels = (int)n;
    const json_t *heads = json_object_get(json, "num_attention_heads");
    /* In SDXL's configurations "attention_head_dim" is the number of heads. */
    const char *heads_key =
        heads && !json_is_null(heads) ? "num_attention_heads" : "attention_head_dim";
    for (int i = 0; i < c->levels; i++) {
        int64_t layers = 2;
        c->level[i].heads = 8;
        kadr_status st = level_int(json, "block_out_channels", i, c->levels, 1, 1 << 16,
                                   &c->level[i].channels, err);
        if (!st) st = level_int(json, heads_key, i, c->levels, 1, 1024, &c->level[i].heads, err);
        if (!st)
            st = level_int(json, "layers_per_block", i, c->levels, 1, UNET_LAYERS, &layers, err);
        if (st) return st;
        c->level[i].layers = (int)layers;
        if (c->level[i].channels % c->groups || c->level[i].channels % c->level[i].heads)
            return err_set(err, KADR_EMODEL,
                           "unet: %d channels are no multiple of %d groups and %d heads",
                           (int)c->level[i].channels, (int)c->groups, (int)c->level[i].heads);
    }
    kadr_status st = read_block_types(json, c, err);
    return st ? st : read_depths(json, c, err);
}

kadr_status unet_read_config(const json_t *json, struct unet_config *c, kadr_error *err) {
    *c = (struct unet_config){.in_channels = 4,
                              .out_channels = 4,
                              .cross = 2048,
                              .time_ids_width = 256,
                              .groups = 32,
                              .eps = 1e-5,
                              .mid_scale = 1,
                              .act = ACT_SILU,
                              .flip = true};
    const char *name = "unet", *act = NULL;
    int64_t projection = 2816;
    kadr_status st = refuse_unknown(json, err);
    if (!st) st = json_get_int(json, name, "in_channels", 1, 64, &c->in_channels, err);
    if (!st) st = json_get_int(json, name, "out_channels", 1, 64, &c->out_channels, err);
    if (!st) st = json_get_int(json, name, "cross_attention_dim", 1, 1 << 16, &c->cross, err);
    if (!st)
        st = json_get_int(json, name, "addition_time_embed_dim", 2, 1 << 14, &c->time_ids_width,
                          err);
    if (!st)
        st = json_get_int(json, name, "projection_class_embeddings_input_dim", 1, 1 << 18,
                          &projection, err);
    if (!st) st = json_get_int(json, name, "norm_num_groups", 1, 1024, &c->groups, err);
    if (!st) st = json_get_real(json, name, "norm_eps", &c->eps, err);
    if (!st) st = json_get_real(json, name, "mid_block_scale_factor", &c->mid_scale, err);
    if (!st) st = json_get_real(json, name, "freq_shift", &c->shift, err);
    if (!st) st = json_get_bool(json, name, "flip_sin_to_cos", &c->flip, err);
    if (!st) st = json_get_string(json, name, "act_fn", &act, err);
    if (!st) st = read_levels(json, c, err);
    if (st) return st;
    if (act && describe_act(act, &c->act))
        return err_set(err, KADR_EMODEL, "unet: act_fn \"%s\" is not known to kadr", act);
    c->pooled = projection - 6 * c->time_ids_width;
    if (c->pooled < 1 || c->time_ids_width % 2 || c->level[0].channels % 2)
        return err_set(err, KADR_EMODEL,
                       "unet: projection_class_embeddings_input_dim %d leaves no room for a pooled "
                       "prompt beside 6 x %d",
                       (int)projection, (int)c->time_ids_width);
    if (!(c->eps >= 0 && c->eps <= 1))
        return err_set(err, KADR_EMODEL, "unet: norm_eps: expected a number from 0 to 1");
    if (!(c->mid_scale > 0))
        return err_set(err, KADR_EMODEL, "unet: mid_block_scale_factor is not positive");
    return KADR_OK;
}
