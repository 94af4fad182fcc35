/* vae.c: see vae.h. The keys' names are those of diffusers. */
#include "model/vae.h"
#include "model/describe.h"

#include <math.h>
#include <string.h>

#define VAE_EPS 1e-6f

/* A list of numbers of exactly or at most `most` entries. */
static kadr_status read_list(const json_t *json, const char *key, size_t most, double *to,
                             size_t *count, kadr_error *err) {
    const json_t *list = json_object_get(json, key);
    *count = 0;
    if (!list || json_is_null(list)) return KADR_OK;
    if (!json_is_array(list) || json_array_size(list) > most || json_array_size(list) == 0)
        return err_set(err, KADR_EMODEL, "vae: %s: expected a list of 1 to %zu numbers", key, most);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_number(v))
            return err_set(err, KADR_EMODEL, "vae: %s: entry %zu is no number", key, i);
        to[i] = json_number_value(v);
    }
    *count = json_array_size(list);
    return KADR_OK;
}

static kadr_status read_channels(const json_t *json, struct vae_config *c, kadr_error *err) {
    double list[VAE_LEVELS];
    size_t n;
    kadr_status st = read_list(json, "block_out_channels", VAE_LEVELS, list, &n, err);
    if (st) return st;
    if (n) c->levels = (int)n;
    for (size_t i = 0; i < n; i++) {
        if (!(list[i] >= 1 && list[i] <= 65536))
            return err_set(err, KADR_EMODEL, "vae: block_out_channels: expected 1 to 65536");
        c->channels[i] = (int64_t)list[i];
    }
    for (int i = 0; i < c->levels; i++)
        if (c->channels[i] % c->groups)
            return err_set(err, KADR_EMODEL,
                           "vae: %d channels are no multiple of norm_num_groups %d",
                           (int)c->channels[i], (int)c->groups);
    return KADR_OK;
}

static kadr_status read_stats(const json_t *json, struct vae_config *c, kadr_error *err) {
    size_t means, stds;
    kadr_status st = read_list(json, "latents_mean", 16, c->mean, &means, err);
    if (!st) st = read_list(json, "latents_std", 16, c->std, &stds, err);
    if (st) return st;
    c->has_stats = means > 0 || stds > 0;
    if (c->has_stats && (means != (size_t)c->latent_channels || stds != (size_t)c->latent_channels))
        return err_set(err, KADR_EMODEL, "vae: latents_mean and latents_std: expected %d numbers",
                       (int)c->latent_channels);
    for (size_t i = 0; i < stds; i++)
        if (!(c->std[i] > 0))
            return err_set(err, KADR_EMODEL, "vae: latents_std: expected positive numbers");
    return KADR_OK;
}

/* "latent_rgb": rows of a matrix that a model's maker found; known for SDXL's own VAE. */
static kadr_status read_look(const json_t *json, struct vae_config *c, kadr_error *err) {
    static const float sdxl[5][3] = {{0.3651f, 0.4232f, 0.4341f},
                                     {-0.2533f, -0.0042f, 0.1068f},
                                     {0.1076f, 0.1111f, -0.0362f},
                                     {-0.3165f, -0.2492f, -0.2188f},
                                     {0.1084f, -0.0175f, -0.0011f}};
    double list[15];
    size_t n;
    kadr_status st = read_list(json, "latent_rgb", 15, list, &n, err);
    if (st || c->latent_channels != 4) return st;
    if (n && n != 15)
        return err_set(err, KADR_EMODEL, "vae: latent_rgb: expected 15 numbers, found %zu", n);
    for (size_t i = 0; i < n; i++) c->look[i / 3][i % 3] = (float)list[i];
    c->has_look = n == 15;
    if (n || fabs(c->scaling_factor - 0.13025) > 1e-6) return KADR_OK;
    memcpy(c->look, sdxl, sizeof sdxl);
    c->has_look = true;
    return KADR_OK;
}

void vae_look(const struct vae_config *c, const float *latents, int64_t plane, uint8_t *rgb) {
    for (int64_t i = 0; i < plane; i++)
        for (int j = 0; j < 3; j++) {
            float v = c->look[4][j];
            for (int k = 0; k < 4; k++) v += c->look[k][j] * latents[k * plane + i];
            v = fminf(fmaxf((v + 1) * 127.5f, 0), 255);
            rgb[i * 3 + j] = (uint8_t)lrintf(v);
        }
}

kadr_status vae_read_config(const json_t *json, struct vae_config *c, kadr_error *err) {
    *c = (struct vae_config){.in_channels = 3,
                             .out_channels = 3,
                             .latent_channels = 4,
                             .layers = 2,
                             .levels = 4,
                             .channels = {128, 256, 512, 512},
                             .groups = 32,
                             .act = ACT_SILU,
                             .quant_conv = true,
                             .post_quant_conv = true,
                             .mid_attention = true,
                             .scaling_factor = 0.13025};
    const char *act = NULL, *name = "vae";
    kadr_status st = json_get_int(json, name, "in_channels", 3, 3, &c->in_channels, err);
    if (!st) st = json_get_int(json, name, "out_channels", 3, 3, &c->out_channels, err);
    if (!st) st = json_get_int(json, name, "latent_channels", 1, 16, &c->latent_channels, err);
    if (!st) st = json_get_int(json, name, "layers_per_block", 1, 16, &c->layers, err);
    if (!st) st = json_get_int(json, name, "norm_num_groups", 1, 1024, &c->groups, err);
    if (!st) st = json_get_string(json, name, "act_fn", &act, err);
    if (!st) st = json_get_bool(json, name, "use_quant_conv", &c->quant_conv, err);
    if (!st) st = json_get_bool(json, name, "use_post_quant_conv", &c->post_quant_conv, err);
    if (!st) st = json_get_bool(json, name, "mid_block_add_attention", &c->mid_attention, err);
    if (!st) st = json_get_real(json, name, "scaling_factor", &c->scaling_factor, err);
    if (!st) st = json_get_real(json, name, "shift_factor", &c->shift_factor, err);
    if (!st) st = read_channels(json, c, err);
    if (!st) st = read_stats(json, c, err);
    if (!st) st = read_look(json, c, err);
    if (st) return st;
    if (act && describe_act(act, &c->act))
        return err_set(err, KADR_EMODEL, "vae: act_fn \"%s\" is not known to kadr", act);
    if (!(c->scaling_factor > 1e-9 && c->scaling_factor < 1e9))
        return err_set(err, KADR_EMODEL, "vae: scaling_factor: expected a number from 1e-9 to 1e9");
    return KADR_OK;
}

int vae_scale(const struct vae_config *c) {
    return 1 << (c->levels - 1);
}

static tensor_id resnet(struct graph *g, const struct vae_config *c, tensor_id x, const char *label,
                        int64_t out) {
    const struct resnet_shape s = {
        .out = out, .groups = (int)c->groups, .eps = VAE_EPS, .act = c->act, .time = NO_TENSOR};
    return describe_resnet(g, x, NO_TENSOR, label, &s);
}

/* One head over all channels. */
static tensor_id attention(struct graph *g, const struct vae_config *c, tensor_id x,
                           const char *label) {
    char part[128];
#define AT(name) describe_label(part, sizeof part, "%s." name, label)
    int64_t width = c->channels[c->levels - 1];
    tensor_id h =
        graph_group_norm(g, x, NO_TENSOR, AT("group_norm"), (int)c->groups, VAE_EPS, ACT_NONE);
    tensor_id q = graph_linear(g, h, AT("to_q"), width, true, EPI_NONE);
    tensor_id k = graph_linear(g, h, AT("to_k"), width, true, EPI_NONE);
    tensor_id v = graph_linear(g, h, AT("to_v"), width, true, EPI_NONE);
    tensor_id a = graph_attention(
        g, label, (struct attention_inputs){q, k, v, NO_TENSOR, NO_TENSOR, NO_TENSOR, NO_TENSOR}, 1,
        1.0f / sqrtf((float)width), false);
    struct epilogue add = EPI_NONE;
    add.residual = x;
    return graph_linear(g, a, AT("to_out.0"), width, true, add);
#undef AT
}

static tensor_id middle(struct graph *g, const struct vae_config *c, tensor_id x,
                        const char *side) {
    char label[128];
    int64_t width = c->channels[c->levels - 1];
#define AT(name) describe_label(label, sizeof label, "vae.%s.mid_block." name, side)
    x = resnet(g, c, x, AT("resnets.0"), width);
    if (c->mid_attention) x = attention(g, c, x, AT("attentions.0"));
    return resnet(g, c, x, AT("resnets.1"), width);
#undef AT
}

static struct conv_shape three(int64_t out) {
    return (struct conv_shape){
        .out = out, .kernel = 3, .stride = 1, .pad_before = 1, .pad_after = 1};
}

static struct conv_shape one(int64_t out) {
    return (struct conv_shape){.out = out, .kernel = 1, .stride = 1};
}

void vae_decode_graph(struct graph *g, const struct vae_config *c, int64_t n, int64_t h,
                      int64_t w) {
    char label[128];
    struct conv_shape s;
    tensor_id x =
        graph_input(g, "vae.latents", DTYPE_F32, 4, (int64_t[]){n, c->latent_channels, h, w});
    x = graph_convert(g, x, g->dtype, ORDER_NCHW_TO_NHWC);
    if (c->post_quant_conv)
        x = graph_conv(g, x, NO_TENSOR, "vae.post_quant_conv", one(c->latent_channels), true,
                       EPI_NONE);
    x = graph_conv(g, x, NO_TENSOR, "vae.decoder.conv_in", three(c->channels[c->levels - 1]), true,
                   EPI_NONE);
    x = middle(g, c, x, "decoder");
    for (int i = 0; i < c->levels; i++) {
        int64_t out = c->channels[c->levels - 1 - i];
        for (int64_t j = 0; j <= c->layers; j++)
            x = resnet(g, c, x,
                       describe_label(label, sizeof label, "vae.decoder.up_blocks.%d.resnets.%d", i,
                                      (int)j),
                       out);
        if (i == c->levels - 1) break;
        s = three(out);
        s.upsample = 2;
        describe_label(label, sizeof label, "vae.decoder.up_blocks.%d.upsamplers.0.conv", i);
        x = graph_conv(g, x, NO_TENSOR, label, s, true, EPI_NONE);
    }
    tensor_id stats =
        graph_group_stats(g, x, NO_TENSOR, "vae.decoder.conv_norm_out", (int)c->groups, VAE_EPS);
    struct epilogue f32 = EPI_NONE;
    f32.f32_out = true;
    x = graph_normed_conv(g, x, NO_TENSOR, stats, c->act, "vae.decoder.conv_out",
                          three(c->out_channels), true, f32);
    graph_output(g, x, "vae.picture");
}

void vae_encode_graph(struct graph *g, const struct vae_config *c, int64_t n, int64_t h,
                      int64_t w) {
    char label[128];
    struct conv_shape s;
    tensor_id x = graph_input(g, "vae.picture", DTYPE_F32, 4, (int64_t[]){n, h, w, c->in_channels});
    x = graph_convert(g, x, g->dtype, ORDER_SAME);
    x = graph_conv(g, x, NO_TENSOR, "vae.encoder.conv_in", three(c->channels[0]), true, EPI_NONE);
    for (int i = 0; i < c->levels; i++) {
        for (int64_t j = 0; j < c->layers; j++)
            x = resnet(g, c, x,
                       describe_label(label, sizeof label, "vae.encoder.down_blocks.%d.resnets.%d",
                                      i, (int)j),
                       c->channels[i]);
        if (i == c->levels - 1) break;
        /* Padded at the right and the bottom only, as the original does. */
        s = (struct conv_shape){.out = c->channels[i], .kernel = 3, .stride = 2, .pad_after = 1};
        describe_label(label, sizeof label, "vae.encoder.down_blocks.%d.downsamplers.0.conv", i);
        x = graph_conv(g, x, NO_TENSOR, label, s, true, EPI_NONE);
    }
    x = middle(g, c, x, "encoder");
    tensor_id stats =
        graph_group_stats(g, x, NO_TENSOR, "vae.encoder.conv_norm_out", (int)c->groups, VAE_EPS);
    x = graph_normed_conv(g, x, NO_TENSOR, stats, c->act, "vae.encoder.conv_out",
                          three(2 * c->latent_channels), true, EPI_NONE);
    if (c->quant_conv)
        x = graph_conv(g, x, NO_TENSOR, "vae.quant_conv", one(2 * c->latent_channels), true,
                       EPI_NONE);
    x = graph_convert(g, x, DTYPE_F32, ORDER_NHWC_TO_NCHW);
    graph_output(g, x, "vae.moments");
}

void vae_unscale(const struct vae_config *c, float *latents, int64_t n, int64_t plane) {
    for (int64_t i = 0; i < n * c->latent_channels; i++) {
        int64_t ch = i % c->latent_channels;
        for (float *p = latents + i * plane, *end = p + plane; p < end; p++) {
            double v = *p / c->scaling_factor;
            *p = (float)(c->has_stats ? v * c->std[ch] + c->mean[ch] : v + c->shift_factor);
        }
    }
}

void vae_rescale(const struct vae_config *c, float *latents, int64_t n, int64_t plane) {
    for (int64_t i = 0; i < n * c->latent_channels; i++) {
        int64_t ch = i % c->latent_channels;
        for (float *p = latents + i * plane, *end = p + plane; p < end; p++) {
            double v = c->has_stats ? (*p - c->mean[ch]) / c->std[ch] : *p - c->shift_factor;
            *p = (float)(v * c->scaling_factor);
        }
    }
}
