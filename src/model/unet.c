/* unet.c: see unet.h. Keys' names are those of diffusers. */
#include "model/unet.h"
#include "model/describe.h"

#include <math.h>
#include <string.h>

/* In int8 are the weights of the transformers and those that make keys and values of the prompt.
 * The graph's own dtype keep: convolutions (3x3 are as fast by Winograd, 1x1 are 1 % of the work,
 * and most of the error was theirs), and the embeddings of time and labels (one row a sample:
 * nothing to gain). docs/performance.md has the figures. */

/* ---- Transformers */

static void fill(const struct unet_config *c, struct unet_transformer *t) {
    static const char *const names[] = {[UNET_DOWN] = "down", [UNET_UP] = "up"};
    int last = c->levels - 1;
    t->level = t->part == UNET_DOWN ? t->block : t->part == UNET_UP ? last - t->block : last;
    t->width = c->level[t->level].channels;
    t->depth = t->part == UNET_DOWN ? c->level[t->level].depth
               : t->part == UNET_UP ? c->level[t->level].up_depth[t->index]
                                    : c->mid_depth;
    if (t->part == UNET_MIDDLE)
        describe_label(t->label, sizeof t->label, "unet.mid_block.attentions.0");
    else
        describe_label(t->label, sizeof t->label, "unet.%s_blocks.%d.attentions.%d", names[t->part],
                       t->block, t->index);
}

int unet_transformers(const struct unet_config *c, enum unet_part part, int block) {
    int level = part == UNET_DOWN ? block : c->levels - 1 - block;
    bool has = part == UNET_DOWN ? c->level[level].down_cross : c->level[level].up_cross;
    return has ? c->level[level].layers + (part == UNET_UP) : 0;
}

bool unet_next_transformer(const struct unet_config *c, struct unet_transformer *t) {
    if (t->part == UNET_MIDDLE) return false;
    if (t->depth) t->index++;
    t->attention += t->depth;
    while (t->part != UNET_MIDDLE) {
        if (t->index < unet_transformers(c, t->part, t->block)) break;
        t->index = 0;
        if (++t->block < c->levels) continue;
        t->block = 0;
        t->part++;
    }
    fill(c, t);
    return true;
}

const char *unet_attention_name(char *name, size_t size, const struct unet_transformer *t, int i) {
    return describe_label(name, size, "%s.transformer_blocks.%d.attn2", t->label, i);
}

/* ---- What is computed once */

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
    tensor_id ids = graph_input(g, "unet.time_ids", DTYPE_F32, 2, (int64_t[]){s->n, 6});
    tensor_id text = graph_input(g, "unet.text_embeds", DTYPE_F32, 2, (int64_t[]){s->n, c->pooled});
    tensor_id prompt =
        graph_input(g, "unet.prompt_embeds", DTYPE_F32, 3, (int64_t[]){s->n, s->prompt, c->cross});
    tensor_id t = graph_timestep(g, ids, c->time_ids_width, c->flip, (float)c->shift);
    t = graph_concat(g, graph_convert(g, text, g->dtype, ORDER_SAME), t, true);
    struct epilogue f32 = EPI_NONE;
    f32.f32_out = true;
    graph_output(g, embedding(g, t, "unet.add_embedding", c, f32), "unet.aug_emb");
    prompt = graph_convert(g, prompt, g->dtype, ORDER_SAME);
    if (s->int8) graph_products(g, DTYPE_I8);
    struct unet_transformer at = {0};
    while (unet_next_transformer(c, &at))
        for (int i = 0; i < at.depth * 2; i++) {
            char attention[128], name[160];
            char which = i % 2 ? 'v' : 'k';
            unet_attention_name(attention, sizeof attention, &at, i / 2);
            describe_label(name, sizeof name, "%s.to_%c", attention, which);
            tensor_id x = graph_linear(g, prompt, name, at.width, false, EPI_NONE);
            graph_output(g, x, describe_label(name, sizeof name, "%s.%c", attention, which));
        }
}

void unet_image_graph(struct graph *g, const struct unet_config *c, int64_t tokens,
                      const char *norm) {
    tensor_id x =
        graph_input(g, "ip_adapter.projected", DTYPE_F32, 3, (int64_t[]){1, tokens, c->cross});
    struct epilogue f32 = EPI_NONE;
    f32.f32_out = true;
    x = graph_layer_norm(g, x, norm, 1e-5f);
    struct unet_transformer at = {0};
    while (unet_next_transformer(c, &at))
        for (int i = 0; i < at.depth * 2; i++) {
            char attention[128], name[160];
            char which = i % 2 ? 'v' : 'k';
            int number = 2 * (at.attention + i / 2) + 1; /* self-attentions count, too */
            describe_label(name, sizeof name, "ip_adapter.ip_adapter.%d.to_%c_ip", number, which);
            tensor_id y = graph_linear(g, x, name, at.width, false, f32);
            unet_attention_name(attention, sizeof attention, &at, i / 2);
            graph_output(g, y, describe_label(name, sizeof name, "%s.ip_%c", attention, which));
        }
    graph_output(g, graph_convert(g, x, DTYPE_F32, ORDER_SAME), "ip_adapter.tokens");
}

/* ---- A step */

struct walk {
    struct graph *g;
    const struct unet_config *c;
    const struct unet_shape *shape;
    tensor_id time;    /* activated time embedding */
    tensor_id lengths; /* tokens of each sample's prompt */
    tensor_id mask[UNET_CASTS][UNET_LEVELS];
    tensor_id gain[UNET_CASTS]; /* of the transformer at hand */
    int level;                  /* at which it works */
};

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
    describe_label(name, sizeof name, "%s.k", label);
    in.k = graph_input(w->g, name, w->g->dtype, 3, dim);
    describe_label(name, sizeof name, "%s.v", label);
    in.v = graph_input(w->g, name, w->g->dtype, 3, dim);
    float scale = 1.0f / sqrtf((float)(width / heads));
    tensor_id a = graph_attention(w->g, label, in, (int)heads, scale, false);
    in.lengths = NO_TENSOR;
    for (int i = 0; i < w->shape->casts; i++) {
        const int64_t image[3] = {w->shape->n, w->shape->cast[i].tokens, width};
        describe_label(name, sizeof name, "%s.cast%d.k", label, i);
        in.k = graph_input(w->g, name, w->g->dtype, 3, image);
        describe_label(name, sizeof name, "%s.cast%d.v", label, i);
        in.v = graph_input(w->g, name, w->g->dtype, 3, image);
        in.add = a;
        in.gain = w->gain[i];
        in.mask = w->mask[i][w->level];
        a = graph_attention(w->g, label, in, (int)heads, scale, false);
    }
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
static tensor_id transformer(struct walk *w, tensor_id x, const char *label, int64_t heads,
                             int depth) {
    char part[192], block[160];
    if (graph_failed(w->g)) return NO_TENSOR;
    int64_t width = tensor_width(&w->g->tensors[x]);
    for (int i = 0; i < w->shape->casts; i++) {
        describe_label(part, sizeof part, "%s.cast%d.gain", label, i);
        w->gain[i] = graph_input(w->g, part, DTYPE_F32, 1, (int64_t[]){w->shape->n});
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
        w->level = i;
        for (int j = 0; j < w->c->level[i].layers; j++) {
            describe_label(label, sizeof label, "unet.down_blocks.%d.resnets.%d", i, j);
            x = resnet(w, x, NO_TENSOR, label, width, 1.0);
            describe_label(label, sizeof label, "unet.down_blocks.%d.attentions.%d", i, j);
            if (w->c->level[i].down_cross)
                x = transformer(w, x, label, w->c->level[i].heads, w->c->level[i].depth);
            skips->at[skips->count++] = x;
        }
        if (i == w->c->levels - 1) break;
        if (i == 0 && w->shape->cut) graph_cut_begin(w->g);
        describe_label(label, sizeof label, "unet.down_blocks.%d.downsamplers.0.conv", i);
        x = graph_conv(w->g, x, NO_TENSOR, label,
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
    x = transformer(w, x, "unet.mid_block.attentions.0", w->c->level[last].heads, w->c->mid_depth);
    return resnet(w, x, NO_TENSOR, "unet.mid_block.resnets.1", width, w->c->mid_scale);
}

/* Doubles to the size of the next skip: sizes that were odd on the way down leave out the last row
 * or column. */
static tensor_id upsample(struct walk *w, tensor_id x, tensor_id next, const char *label,
                          int64_t width) {
    if (graph_failed(w->g)) return NO_TENSOR;
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
        w->level = level;
        for (int j = 0; j <= w->c->level[level].layers; j++) {
            describe_label(label, sizeof label, "unet.up_blocks.%d.resnets.%d", i, j);
            x = resnet(w, x, skips->at[--skips->count], label, width, 1.0);
            describe_label(label, sizeof label, "unet.up_blocks.%d.attentions.%d", i, j);
            if (w->c->level[level].up_cross)
                x = transformer(w, x, label, w->c->level[level].heads,
                                w->c->level[level].up_depth[j]);
        }
        if (i == w->c->levels - 1) break;
        describe_label(label, sizeof label, "unet.up_blocks.%d.upsamplers.0.conv", i);
        x = upsample(w, x, skips->at[skips->count - 1], label, width);
        if (level == 1 && w->shape->cut) graph_cut_end(w->g, x, "unet.deep");
    }
    return x;
}

static void walk_blocks(struct walk *w, tensor_id x) {
    struct skips skips = {.count = 0};
    skips.at[skips.count++] = x;
    x = down(w, x, &skips);
    x = middle(w, x);
    x = up(w, x, &skips);
    graph_products(w->g, w->g->dtype);
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

/* A mask a level that has cross-attentions, for each cast with a region. */
static void describe_masks(struct walk *w) {
    char name[64];
    for (int i = 0; i < w->shape->casts; i++)
        for (int level = 0; level < w->c->levels; level++) {
            bool used = w->c->level[level].down_cross || w->c->level[level].up_cross ||
                        level == w->c->levels - 1;
            w->mask[i][level] = NO_TENSOR;
            if (!w->shape->cast[i].masked || !used) continue;
            describe_label(name, sizeof name, "unet.cast%d.mask%d", i, level);
            w->mask[i][level] = graph_input(w->g, name, DTYPE_F32, 3,
                                            (int64_t[]){w->shape->n, unet_side(w->shape->h, level),
                                                        unet_side(w->shape->w, level)});
        }
}

void unet_graph(struct graph *g, const struct unet_config *c, const struct unet_shape *s) {
    struct walk w = {.g = g, .c = c, .shape = s};
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
    describe_masks(&w);
    x = graph_convert(g, x, g->dtype, ORDER_NCHW_TO_NHWC);
    x = graph_conv(
        g, x, NO_TENSOR, "unet.conv_in",
        (struct conv_shape){
            .out = c->level[0].channels, .kernel = 3, .stride = 1, .pad_before = 1, .pad_after = 1},
        true, EPI_NONE);
    if (s->int8) graph_products(g, DTYPE_I8);
    walk_blocks(&w, x);
}
