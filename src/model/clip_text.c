/* clip_text.c: see clip_text.h. Pre-norm transformer with causal attention; the keys' names are
 * those of transformers. */
#include "model/clip_text.h"
#include "model/describe.h"

#include <string.h>

kadr_status clip_text_read_config(const json_t *json, const char *name, struct clip_text_config *c,
                                  kadr_error *err) {
    *c = (struct clip_text_config){.vocab_size = 49408,
                                   .width = 768,
                                   .inner = 3072,
                                   .layers = 12,
                                   .heads = 12,
                                   .positions = CLIP_TOKENS,
                                   .projection = 0,
                                   .eos_id = 49407,
                                   .pad_id = -1,
                                   .eps = 1e-5,
                                   .act = ACT_QUICK_GELU};
    int64_t projection = 0;
    const char *act = NULL, *class = NULL;
    const json_t *classes = json_object_get(json, "architectures");
    if (json_is_array(classes)) class = json_string_value(json_array_get(classes, 0));
    const struct {
        const char *key;
        int64_t low, high, *to;
    } ints[] = {
        {"vocab_size", 1, 1 << 24, &c->vocab_size},
        {"hidden_size", 1, 1 << 16, &c->width},
        {"intermediate_size", 1, 1 << 18, &c->inner},
        {"num_hidden_layers", 1, 256, &c->layers},
        {"num_attention_heads", 1, 1024, &c->heads},
        {"max_position_embeddings", CLIP_TOKENS, 1 << 16, &c->positions},
        {"projection_dim", 1, 1 << 16, &projection},
        {"eos_token_id", 0, 1 << 24, &c->eos_id},
        {"pad_token_id", 0, 1 << 24, &c->pad_id},
    };
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        if (json_get_int(json, name, ints[i].key, ints[i].low, ints[i].high, ints[i].to, err))
            return err ? err->status : KADR_EMODEL;
    if (json_get_real(json, name, "layer_norm_eps", &c->eps, err) ||
        json_get_string(json, name, "hidden_act", &act, err))
        return err ? err->status : KADR_EMODEL;
    if (act && describe_act(act, &c->act))
        return err_set(err, KADR_EMODEL, "%s: hidden_act \"%s\" is not known to kadr", name, act);
    if (!(c->eps >= 0 && c->eps <= 1))
        return err_set(err, KADR_EMODEL, "%s: layer_norm_eps: expected a number from 0 to 1", name);
    if (c->width % c->heads)
        return err_set(err, KADR_EMODEL, "%s: hidden_size is no multiple of num_attention_heads",
                       name);
    if (class && strcmp(class, "CLIPTextModelWithProjection") == 0) c->projection = projection;
    return KADR_OK;
}

int32_t clip_text_eos(const struct clip_text_config *config, const int32_t *ids, int count) {
    int32_t at = 0;
    for (int32_t i = 0; i < count; i++) {
        if (config->eos_id != 2 && ids[i] == config->eos_id) return i;
        if (config->eos_id == 2 && ids[i] > ids[at]) at = i;
    }
    return at;
}

void clip_text_graph(struct graph *g, const struct clip_text_config *c, const char *prefix,
                     const struct clip_text_shape *s) {
    char name[160], positions[160];
    tensor_id ids = graph_input(g, describe_label(name, sizeof name, "%s.ids", prefix), DTYPE_I32,
                                2, (int64_t[]){s->samples, CLIP_TOKENS});
    tensor_id extra = NO_TENSOR;
    if (s->extra_rows)
        extra = graph_input(g, describe_label(name, sizeof name, "%s.extra", prefix), DTYPE_F32, 2,
                            (int64_t[]){s->extra_rows, c->width});
    describe_label(positions, sizeof positions, "%s.text_model.embeddings.position_embedding",
                   prefix);
    describe_label(name, sizeof name, "%s.text_model.embeddings.token_embedding", prefix);
    tensor_id x =
        graph_embed(g, ids, extra, name, c->vocab_size, positions, c->positions, c->width);

    /* With no projection nothing after the penultimate states is wanted. */
    int64_t hidden_at = c->layers - 1, skipped_at = hidden_at - s->clip_skip;
    if (skipped_at < 0) skipped_at = 0;
    int64_t run = c->projection ? c->layers : hidden_at;
    tensor_id hidden = x, skipped = x;
    const struct clip_layer_shape layer = {c->width,      c->inner, c->heads,
                                           (float)c->eps, c->act,   true};
    for (int64_t i = 0; i < run; i++) {
        describe_label(name, sizeof name, "%s.text_model.encoder.layers.%d", prefix, (int)i);
        x = describe_clip_layer(g, x, name, &layer);
        if (i + 1 == hidden_at) hidden = x;
        if (i + 1 == skipped_at) skipped = x;
    }
    hidden = graph_convert(g, hidden, DTYPE_F32, ORDER_SAME);
    graph_output(g, hidden, describe_label(name, sizeof name, "%s.hidden", prefix));
    if (s->clip_skip) {
        skipped = graph_convert(g, skipped, DTYPE_F32, ORDER_SAME);
        graph_output(g, skipped, describe_label(name, sizeof name, "%s.skipped", prefix));
    }
    if (!c->projection) return;
    tensor_id eos = graph_input(g, describe_label(name, sizeof name, "%s.eos", prefix), DTYPE_I32,
                                1, (int64_t[]){s->samples});
    /* One row: its rounding would show and its arithmetic does not. */
    enum dtype narrow = g->dtype, products = graph_products(g, DTYPE_F32);
    g->dtype = DTYPE_F32;
    x = graph_gather(g, x, eos);
    describe_label(name, sizeof name, "%s.text_model.final_layer_norm", prefix);
    x = graph_layer_norm(g, x, name, (float)c->eps);
    describe_label(name, sizeof name, "%s.text_projection", prefix);
    x = graph_linear(g, x, name, c->projection, false, EPI_NONE);
    graph_output(g, x, describe_label(name, sizeof name, "%s.pooled", prefix));
    g->dtype = narrow;
    graph_products(g, products);
}
