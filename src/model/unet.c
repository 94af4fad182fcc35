/* unet.c: see unet.h. One walk over the blocks serves both graphs: the conditioning graph takes the
 * keys and values of every cross-attention, the step graph everything else. The keys' names are
 * those of diffusers.
 */
#include "model/unet.h"
#include "model/describe.h"

#include <math.h>
#include <string.h>

struct walk {
    struct graph *g;
    const struct unet_config *c;
    const struct unet_shape *shape;
    tensor_id time;    /* activated time embedding (step graph) */
    tensor_id prompt;  /* prompt embeddings in the graph's dtype (conditioning graph) */
    tensor_id lengths; /* tokens of each sample's prompt (step graph) */
};

/* Names of the prompt's keys and values: the contract between the two graphs. */
static const char *kv_name(char *name, size_t size, const char *label, char which) {
    return describe_label(name, size, "%s.%c", label, which);
}

static void conditioning_attention(struct walk *w, const char *label, int64_t width) {
    char name[192];
    for (int i = 0; i < 2; i++) {
        describe_label(name, sizeof name, "%s.%s", label, i ? "to_v" : "to_k");
        tensor_id t = graph_linear(w->g, w->prompt, name, width, false, EPI_NONE);
        graph_output(w->g, t, kv_name(name, sizeof name, label, i ? 'v' : 'k'));
    }
}

static tensor_id self_attention(struct walk *w, tensor_id x, const char *block, int64_t width,
                                int64_t heads) {
    char label[192];
#define AT(name) describe_label(label, sizeof label, "%s." name, block)
    tensor_id n = graph_layer_norm(w->g, x, AT("norm1"), 1e-5f);
    struct attention_inputs in = {
        .lengths = NO_TENSOR, .add = NO_TENSOR, .gain = NO_TENSOR, .mask = NO_TENSOR};
    in.q = graph_linear(w->g, n, AT("attn1.to_q"), width, false, EPI_NONE);
    in.k = graph_linear(w->g, n, AT("attn1.to_k"), width, false, EPI_NONE);
    in.v = graph_linear(w->g, n, AT("attn1.to_v"), width, false, EPI_NONE);
    float scale = 1.0f / sqrtf((float)(width / heads));
    tensor_id a = graph_attention(w->g, AT("attn1"), in, (int)heads, scale, false);
    struct epilogue add = EPI_NONE;
    add.residual = x;
    return graph_linear(w->g, a, AT("attn1.to_out.0"), width, true, add);
}

static tensor_id cross_attention(struct walk *w, tensor_id x, const char *block, int64_t width,
                                 int64_t heads) {
    char label[192], name[192];
    const int64_t dim[3] = {w->shape->n, w->shape->prompt, width};
    tensor_id n = graph_layer_norm(w->g, x, AT("norm2"), 1e-5f);
    struct attention_inputs in = {
        .lengths = w->lengths, .add = NO_TENSOR, .gain = NO_TENSOR, .mask = NO_TENSOR};
    in.q = graph_linear(w->g, n, AT("attn2.to_q"), width, false, EPI_NONE);
    AT("attn2");
    in.k = graph_input(w->g, kv_name(name, sizeof name, label, 'k'), w->g->dtype, 3, dim);
    in.v = graph_input(w->g, kv_name(name, sizeof name, label, 'v'), w->g->dtype, 3, dim);
    float scale = 1.0f / sqrtf((float)(width / heads));
    tensor_id a = graph_attention(w->g, label, in, (int)heads, scale, false);
    struct epilogue add = EPI_NONE;
    add.residual = x;
    return graph_linear(w->g, a, AT("attn2.to_out.0"), width, true, add);
}

static tensor_id transformer_block(struct walk *w, tensor_id x, const char *block, int64_t width,
                                   int64_t heads) {
    char label[192];
    x = self_attention(w, x, block, width, heads);
    x = cross_attention(w, x, block, width, heads);
    tensor_id n = graph_layer_norm(w->g, x, AT("norm3"), 1e-5f);
    struct epilogue epi = EPI_NONE;
    epi.act = ACT_GEGLU;
    n = graph_linear(w->g, n, AT("ff.net.0.proj"), width * 8, true, epi);
    epi = EPI_NONE;
    epi.residual = x;
    return graph_linear(w->g, n, AT("ff.net.2"), width, true, epi);
#undef AT
}

/* Transformer2DModel. Projections that are stored as 1x1 convolutions are the same product. */
static tensor_id transformer(struct walk *w, tensor_id x, const char *label, int64_t width,
                             int64_t heads, int depth) {
    char part[192], block[160];
    if (w->prompt != NO_TENSOR) {
        for (int i = 0; i < depth; i++)
            conditioning_attention(
                w, describe_label(part, sizeof part, "%s.transformer_blocks.%d.attn2", label, i),
                width);
        return NO_TENSOR;
    }
    describe_label(part, sizeof part, "%s.norm", label);
    tensor_id h = graph_group_norm(w->g, x, NO_TENSOR, part, (int)w->c->groups, 1e-6f, ACT_NONE);
    describe_label(part, sizeof part, "%s.proj_in", label);
    h = graph_linear(w->g, h, part, width, true, EPI_NONE);
    for (int i = 0; i < depth; i++)
        h = transformer_block(
            w, h, describe_label(block, sizeof block, "%s.transformer_blocks.%d", label, i), width,
            heads);
    struct epilogue add = EPI_NONE;
    add.residual = x;
    describe_label(part, sizeof part, "%s.proj_out", label);
    return graph_linear(w->g, h, part, width, true, add);
}

static tensor_id resnet(struct walk *w, tensor_id x, tensor_id skip, const char *label, int64_t out,
                        double scale) {
    if (w->prompt != NO_TENSOR) return NO_TENSOR;
    const struct resnet_shape s = {.out = out,
                                   .groups = (int)w->c->groups,
                                   .eps = (float)w->c->eps,
                                   .act = w->c->act,
                                   .time = w->time,
                                   .scale = (float)(1.0 / scale)};
    return describe_resnet(w->g, x, skip, label, &s);
}

struct skips {
    tensor_id at[UNET_LEVELS * (UNET_LAYERS + 1) + 1];
    int count;
};

static tensor_id down(struct walk *w, tensor_id x, struct skips *skips) {
    char label[160];
    for (int i = 0; i < w->c->levels; i++) {
        int64_t width = w->c->level[i].channels;
        for (int j = 0; j < w->c->level[i].layers; j++) {
            describe_label(label, sizeof label, "unet.down_blocks.%d.resnets.%d", i, j);
            x = resnet(w, x, NO_TENSOR, label, width, 1.0);
            describe_label(label, sizeof label, "unet.down_blocks.%d.attentions.%d", i, j);
            if (w->c->level[i].down_cross)
                x = transformer(w, x, label, width, w->c->level[i].heads, w->c->level[i].depth);
            skips->at[skips->count++] = x;
        }
        if (i == w->c->levels - 1) break;
        describe_label(label, sizeof label, "unet.down_blocks.%d.downsamplers.0.conv", i);
        if (w->prompt == NO_TENSOR)
            x = graph_conv(
                w->g, x, NO_TENSOR, label,
                (struct conv_shape){
                    .out = width, .kernel = 3, .stride = 2, .pad_before = 1, .pad_after = 1},
                true, EPI_NONE);
        skips->at[skips->count++] = x;
    }
    return x;
}

static tensor_id middle(struct walk *w, tensor_id x) {
    int last = w->c->levels - 1;
    int64_t width = w->c->level[last].channels;
    x = resnet(w, x, NO_TENSOR, "unet.mid_block.resnets.0", width, w->c->mid_scale);
    x = transformer(w, x, "unet.mid_block.attentions.0", width, w->c->level[last].heads,
                    w->c->mid_depth);
    return resnet(w, x, NO_TENSOR, "unet.mid_block.resnets.1", width, w->c->mid_scale);
}

/* Doubles to the size of the next skip: sizes that were odd on the way down leave out the last row
 * or column. */
static tensor_id upsample(struct walk *w, tensor_id x, tensor_id next, const char *label,
                          int64_t width) {
    if (w->prompt != NO_TENSOR || graph_failed(w->g)) return NO_TENSOR;
    const struct tensor *small = &w->g->tensors[x], *big = &w->g->tensors[next];
    struct conv_shape s = {
        .out = width, .kernel = 3, .stride = 1, .pad_before = 1, .pad_after = 1, .upsample = 2};
    s.drop_h = (int)(small->dim[1] * 2 - big->dim[1]);
    s.drop_w = (int)(small->dim[2] * 2 - big->dim[2]);
    return graph_conv(w->g, x, NO_TENSOR, label, s, true, EPI_NONE);
}

static tensor_id up(struct walk *w, tensor_id x, struct skips *skips) {
    char label[160];
    for (int i = 0; i < w->c->levels; i++) {
        int level = w->c->levels - 1 - i;
        int64_t width = w->c->level[level].channels;
        for (int j = 0; j <= w->c->level[level].layers; j++) {
            describe_label(label, sizeof label, "unet.up_blocks.%d.resnets.%d", i, j);
            x = resnet(w, x, skips->at[--skips->count], label, width, 1.0);
            describe_label(label, sizeof label, "unet.up_blocks.%d.attentions.%d", i, j);
            if (w->c->level[level].up_cross)
                x = transformer(w, x, label, width, w->c->level[level].heads,
                                w->c->level[level].up_depth[j]);
        }
        if (i == w->c->levels - 1) break;
        describe_label(label, sizeof label, "unet.up_blocks.%d.upsamplers.0.conv", i);
        x = upsample(w, x, skips->at[skips->count - 1], label, width);
    }
    return x;
}

static void walk_blocks(struct walk *w, tensor_id x) {
    struct skips skips = {.count = 0};
    skips.at[skips.count++] = x;
    x = down(w, x, &skips);
    x = middle(w, x);
    x = up(w, x, &skips);
    if (w->prompt != NO_TENSOR) return;
    tensor_id stats = graph_group_stats(w->g, x, NO_TENSOR, "unet.conv_norm_out", (int)w->c->groups,
                                        (float)w->c->eps);
    const struct conv_shape three = {
        .out = w->c->out_channels, .kernel = 3, .stride = 1, .pad_before = 1, .pad_after = 1};
    struct epilogue f32 = EPI_NONE;
    f32.f32_out = true;
    x = graph_normed_conv(w->g, x, NO_TENSOR, stats, w->c->act, "unet.conv_out", three, true, f32);
    x = graph_convert(w->g, x, DTYPE_F32, ORDER_NHWC_TO_NCHW);
    graph_output(w->g, x, "unet.output");
}

/* Two linear layers with an activation between them. */
static tensor_id embedding(struct graph *g, tensor_id x, const char *label,
                           const struct unet_config *c, struct epilogue last) {
    char part[64];
    int64_t width = c->level[0].channels * 4;
    struct epilogue act = EPI_NONE;
    act.act = ACT_SILU;
    x = graph_linear(g, x, describe_label(part, sizeof part, "%s.linear_1", label), width, true,
                     act);
    return graph_linear(g, x, describe_label(part, sizeof part, "%s.linear_2", label), width, true,
                        last);
}

void unet_conditioning_graph(struct graph *g, const struct unet_config *c,
                             const struct unet_shape *s) {
    struct walk w = {.g = g, .c = c, .shape = s, .time = NO_TENSOR, .lengths = NO_TENSOR};
    tensor_id ids = graph_input(g, "unet.time_ids", DTYPE_F32, 2, (int64_t[]){s->n, 6});
    tensor_id text = graph_input(g, "unet.text_embeds", DTYPE_F32, 2, (int64_t[]){s->n, c->pooled});
    tensor_id prompt =
        graph_input(g, "unet.prompt_embeds", DTYPE_F32, 3, (int64_t[]){s->n, s->prompt, c->cross});
    tensor_id t = graph_timestep(g, ids, c->time_ids_width, c->flip, (float)c->shift);
    t = graph_concat(g, graph_convert(g, text, g->dtype, ORDER_SAME), t, true);
    struct epilogue f32 = EPI_NONE;
    f32.f32_out = true;
    graph_output(g, embedding(g, t, "unet.add_embedding", c, f32), "unet.aug_emb");
    w.prompt = graph_convert(g, prompt, g->dtype, ORDER_SAME);
    walk_blocks(&w, NO_TENSOR);
}

void unet_graph(struct graph *g, const struct unet_config *c, const struct unet_shape *s) {
    struct walk w = {.g = g, .c = c, .shape = s, .prompt = NO_TENSOR};
    int64_t time_width = c->level[0].channels * 4;
    tensor_id x =
        graph_input(g, "unet.latents", DTYPE_F32, 4, (int64_t[]){s->n, c->in_channels, s->h, s->w});
    tensor_id t = graph_input(g, "unet.timestep", DTYPE_F32, 2, (int64_t[]){s->n, 1});
    tensor_id aug = graph_input(g, "unet.aug_emb", DTYPE_F32, 2, (int64_t[]){s->n, time_width});
    w.lengths = graph_input(g, "unet.prompt_lengths", DTYPE_I32, 1, (int64_t[]){s->n});
    struct epilogue add = EPI_NONE;
    add.residual = aug;
    add.f32_out = true;
    t = graph_timestep(g, t, c->level[0].channels, c->flip, (float)c->shift);
    t = embedding(g, t, "unet.time_embedding", c, add);
    w.time = graph_act(g, t, ACT_SILU);
    x = graph_convert(g, x, g->dtype, ORDER_NCHW_TO_NHWC);
    x = graph_conv(
        g, x, NO_TENSOR, "unet.conv_in",
        (struct conv_shape){
            .out = c->level[0].channels, .kernel = 3, .stride = 1, .pad_before = 1, .pad_after = 1},
        true, EPI_NONE);
    walk_blocks(&w, x);
}
