/* describe.c: see describe.h. */
#include "model/describe.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *describe_label(char *label, size_t size, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    vsnprintf(label, size, format, ap);
    va_end(ap);
    return label;
}

int describe_act(const char *name, enum act *out) {
    static const struct {
        const char *name;
        enum act act;
    } acts[] = {{"silu", ACT_SILU},
                {"swish", ACT_SILU},
                {"gelu", ACT_GELU},
                {"quick_gelu", ACT_QUICK_GELU}};
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if (strcmp(name, acts[i].name) == 0) {
            *out = acts[i].act;
            return 0;
        }
    return 1;
}

/* The sum that layers add to stays f32: there are few tokens, and rounding it at every layer is
 * most of the error of narrow arithmetic. */
tensor_id describe_clip_layer(struct graph *g, tensor_id x, const char *label,
                              const struct clip_layer_shape *s) {
    char part[192];
#define AT(name) describe_label(part, sizeof part, "%s." name, label)
    tensor_id n = graph_layer_norm(g, x, AT("layer_norm1"), s->eps);
    tensor_id q = graph_linear(g, n, AT("self_attn.q_proj"), s->width, true, EPI_NONE);
    tensor_id k = graph_linear(g, n, AT("self_attn.k_proj"), s->width, true, EPI_NONE);
    tensor_id v = graph_linear(g, n, AT("self_attn.v_proj"), s->width, true, EPI_NONE);
    float scale = 1.0f / sqrtf((float)(s->width / s->heads));
    tensor_id a = graph_attention(
        g, AT("self_attn"),
        (struct attention_inputs){q, k, v, NO_TENSOR, NO_TENSOR, NO_TENSOR, NO_TENSOR},
        (int)s->heads, scale, s->causal);
    struct epilogue add = EPI_NONE;
    add.residual = x;
    add.f32_out = true;
    x = graph_linear(g, a, AT("self_attn.out_proj"), s->width, true, add);
    n = graph_layer_norm(g, x, AT("layer_norm2"), s->eps);
    struct epilogue act = EPI_NONE;
    act.act = s->act;
    tensor_id h = graph_linear(g, n, AT("mlp.fc1"), s->inner, true, act);
    add.residual = x;
    return graph_linear(g, h, AT("mlp.fc2"), s->width, true, add);
#undef AT
}

tensor_id describe_resnet(struct graph *g, tensor_id x, tensor_id x2, const char *label,
                          const struct resnet_shape *s) {
    if (graph_failed(g)) return NO_TENSOR;
    char part[192];
#define AT(name) describe_label(part, sizeof part, "%s." name, label)
    int64_t in =
        tensor_width(&g->tensors[x]) + (x2 == NO_TENSOR ? 0 : tensor_width(&g->tensors[x2]));
    tensor_id stats = graph_group_stats(g, x, x2, AT("norm1"), s->groups, s->eps);
    struct epilogue epi = EPI_NONE;
    if (s->time != NO_TENSOR) {
        struct epilogue f32 = EPI_NONE;
        f32.f32_out = true;
        enum dtype products = graph_products(g, g->dtype);
        epi.sample_add = graph_linear(g, s->time, AT("time_emb_proj"), s->out, true, f32);
        graph_products(g, products);
    }
    const struct conv_shape three = {
        .out = s->out, .kernel = 3, .stride = 1, .pad_before = 1, .pad_after = 1};
    tensor_id h = graph_normed_conv(g, x, x2, stats, s->act, AT("conv1"), three, true, epi);
    stats = graph_group_stats(g, h, NO_TENSOR, AT("norm2"), s->groups, s->eps);
    tensor_id shortcut = x;
    if (in != s->out)
        shortcut = graph_conv(g, x, x2, AT("conv_shortcut"),
                              (struct conv_shape){.out = s->out, .kernel = 1, .stride = 1}, true,
                              EPI_NONE);
    else if (x2 != NO_TENSOR) shortcut = graph_concat(g, x, x2, true);
    struct epilogue add = EPI_NONE;
    add.residual = shortcut;
    add.scale = s->scale;
    return graph_normed_conv(g, h, NO_TENSOR, stats, s->act, AT("conv2"), three, true, add);
#undef AT
}
