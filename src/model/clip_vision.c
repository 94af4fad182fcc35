/* clip_vision.c: see clip_vision.h. The class token is row 0 of a table of one row, the patches are
 * the rows behind it: what textual inversion is to the text encoders. */
#include "model/clip_vision.h"
#include "model/describe.h"

kadr_status clip_vision_read_config(const json_t *json, struct clip_vision_config *c,
                                    kadr_error *err) {
    static const char name[] = "image_encoder";
    *c = (struct clip_vision_config){.width = 768,
                                     .inner = 3072,
                                     .layers = 12,
                                     .heads = 12,
                                     .projection = 512,
                                     .image = 224,
                                     .patch = 32,
                                     .eps = 1e-5,
                                     .act = ACT_QUICK_GELU};
    const char *act = NULL;
    int64_t channels = 3;
    const struct {
        const char *key;
        int64_t low, high, *to;
    } ints[] = {
        {"hidden_size", 1, 1 << 16, &c->width},
        {"intermediate_size", 1, 1 << 18, &c->inner},
        {"num_hidden_layers", 1, 256, &c->layers},
        {"num_attention_heads", 1, 1024, &c->heads},
        {"projection_dim", 1, 1 << 16, &c->projection},
        {"image_size", 1, 4096, &c->image},
        {"patch_size", 1, 1024, &c->patch},
        {"num_channels", 3, 3, &channels},
    };
    kadr_status st = KADR_OK;
    for (size_t i = 0; i < sizeof ints / sizeof *ints && !st; i++)
        st = json_get_int(json, name, ints[i].key, ints[i].low, ints[i].high, ints[i].to, err);
    if (!st) st = json_get_real(json, name, "layer_norm_eps", &c->eps, err);
    if (!st) st = json_get_string(json, name, "hidden_act", &act, err);
    if (st) return st;
    if (act && describe_act(act, &c->act))
        return err_set(err, KADR_EMODEL, "%s: hidden_act \"%s\" is not known to kadr", name, act);
    if (!(c->eps >= 0 && c->eps <= 1))
        return err_set(err, KADR_EMODEL, "%s: layer_norm_eps: expected a number from 0 to 1", name);
    if (c->width % c->heads)
        return err_set(err, KADR_EMODEL, "%s: hidden_size is no multiple of num_attention_heads",
                       name);
    if (c->image < c->patch)
        return err_set(err, KADR_EMODEL, "%s: image_size is less than patch_size", name);
    return KADR_OK;
}

int64_t clip_vision_tokens(const struct clip_vision_config *c) {
    int64_t side = c->image / c->patch;
    return side * side + 1;
}

void clip_vision_graph(struct graph *g, const struct clip_vision_config *c,
                       struct clip_vision_wish wish) {
    static const char embeddings[] = "image_encoder.vision_model.embeddings";
    char label[160], positions[96];
    int64_t tokens = clip_vision_tokens(c);
    tensor_id x =
        graph_input(g, "image_encoder.pixels", DTYPE_F32, 4, (int64_t[]){1, c->image, c->image, 3});
    tensor_id ids = graph_input(g, "image_encoder.ids", DTYPE_I32, 2, (int64_t[]){1, tokens});
    x = graph_convert(g, x, g->dtype, ORDER_SAME);
    struct epilogue f32 = EPI_NONE;
    f32.f32_out = true;
    describe_label(label, sizeof label, "%s.patch_embedding", embeddings);
    x = graph_conv(
        g, x, NO_TENSOR, label,
        (struct conv_shape){.out = c->width, .kernel = (int)c->patch, .stride = (int)c->patch},
        false, f32);
    describe_label(label, sizeof label, "%s.class_embedding", embeddings);
    describe_label(positions, sizeof positions, "%s.position_embedding", embeddings);
    x = graph_embed(g, ids, x, label, 1, positions, tokens, c->width);
    x = graph_layer_norm(g, x, "image_encoder.vision_model.pre_layrnorm", (float)c->eps);
    x = graph_convert(g, x, DTYPE_F32, ORDER_SAME);

    const struct clip_layer_shape layer = {c->width,      c->inner, c->heads,
                                           (float)c->eps, c->act,   false};
    tensor_id hidden = x;
    for (int64_t i = 0; i < c->layers - !wish.embeds; i++) {
        describe_label(label, sizeof label, "image_encoder.vision_model.encoder.layers.%d", (int)i);
        x = describe_clip_layer(g, x, label, &layer);
        if (i + 1 == c->layers - 1) hidden = x;
    }
    if (wish.hidden) graph_output(g, hidden, "image_encoder.hidden");
    if (!wish.embeds) return;
    tensor_id first = graph_input(g, "image_encoder.first", DTYPE_I32, 1, (int64_t[]){1});
    x = graph_gather(g, x, first);
    x = graph_layer_norm(g, x, "image_encoder.vision_model.post_layernorm", (float)c->eps);
    x = graph_linear(g, x, "image_encoder.visual_projection", c->projection, false, f32);
    graph_output(g, x, "image_encoder.embeds");
}

const char *clip_vision_name(const struct clip_vision_config *c) {
    static const struct {
        int64_t width, projection;
        const char *name;
    } known[] = {{768, 512, "ViT-B"},
                 {1024, 768, "ViT-L-14"},
                 {1280, 1024, "ViT-H-14"},
                 {1664, 1280, "ViT-bigG-14"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].width == c->width && known[i].projection == c->projection)
            return known[i].name;
    return NULL;
}
