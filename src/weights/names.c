/* names.c: see names.h. */
#include "weights/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS 4

/* ---- Rules ---- */

/* A decimal number without a sign or leading zeros, below 10000; -1 when there is none. */
static int read_number(const char **p) {
    int n = 0, digits = 0;
    const char *s = *p;
    for (; *s >= '0' && *s <= '9'; s++, digits++) {
        if (digits == 4) return -1;
        n = 10 * n + (*s - '0');
    }
    if (!digits || (digits > 1 && **p == '0')) return -1;
    *p = s;
    return n;
}

static bool match(const char *pattern, const char *name, int last, int number[NUMBERS],
                  const char **rest) {
    int n = 0;
    *rest = "";
    for (; *pattern; pattern++) {
        if (*pattern == '*') {
            *rest = name;
            return *name != 0;
        }
        if (*pattern == '#' || *pattern == '~') {
            int value = read_number(&name);
            if (*pattern == '~') value = value < 0 ? -1 : last - value;
            if (value < 0 || n == NUMBERS) return false;
            number[n++] = value;
        } else if (*pattern != *name++) {
            return false;
        }
    }
    return *name == 0;
}

static bool write_name(const char *pattern, int last, const int number[NUMBERS], const char *rest,
                       char *to) {
    size_t at = 0;
    int n = 0;
    for (; *pattern && at < NAMES_SIZE; pattern++) {
        if (*pattern == '*') {
            at += (size_t)snprintf(to + at, NAMES_SIZE - at, "%s", rest);
        } else if (*pattern == '#' || *pattern == '~') {
            int value = *pattern == '~' ? last - number[n] : number[n];
            n++;
            if (value < 0) return false;
            at += (size_t)snprintf(to + at, NAMES_SIZE - at, "%d", value);
        } else {
            to[at++] = *pattern;
        }
    }
    if (at >= NAMES_SIZE) return false;
    to[at] = 0;
    return true;
}

static bool translate(const struct name_rules *rules, bool back, const char *name, char *to) {
    int number[NUMBERS];
    const char *rest;
    for (size_t i = 0; i < rules->count; i++) {
        const struct name_rule *r = &rules->rule[i];
        if (match(back ? r->diffusers : r->original, name, rules->last, number, &rest))
            return write_name(back ? r->original : r->diffusers, rules->last, number, rest, to);
    }
    return false;
}

bool names_to_diffusers(const struct name_rules *rules, const char *name, char *to) {
    return translate(rules, false, name, to);
}

bool names_to_original(const struct name_rules *rules, const char *name, char *to) {
    return translate(rules, true, name, to);
}

/* ---- VAE and text encoder ---- */

#define VAE_MIDDLE(side)                                                                           \
    {side ".mid.block_1.nin_shortcut.*", side ".mid_block.resnets.0.conv_shortcut.*"},             \
        {side ".mid.block_2.nin_shortcut.*", side ".mid_block.resnets.1.conv_shortcut.*"},         \
        {side ".mid.block_1.*", side ".mid_block.resnets.0.*"},                                    \
        {side ".mid.block_2.*", side ".mid_block.resnets.1.*"},                                    \
        {side ".mid.attn_1.norm.*", side ".mid_block.attentions.0.group_norm.*"},                  \
        {side ".mid.attn_1.q.*", side ".mid_block.attentions.0.to_q.*"},                           \
        {side ".mid.attn_1.k.*", side ".mid_block.attentions.0.to_k.*"},                           \
        {side ".mid.attn_1.v.*", side ".mid_block.attentions.0.to_v.*"},                           \
        {side ".mid.attn_1.proj_out.*", side ".mid_block.attentions.0.to_out.0.*"},                \
        {side ".norm_out.*", side ".conv_norm_out.*"}, {side ".conv_in.*", side ".conv_in.*"}, {   \
        side ".conv_out.*", side ".conv_out.*"                                                     \
    }

struct name_rules names_vae(int levels) {
    static const struct name_rule rules[] = {
        {"encoder.down.#.block.#.nin_shortcut.*",
         "encoder.down_blocks.#.resnets.#.conv_shortcut.*"},
        {"encoder.down.#.block.#.*", "encoder.down_blocks.#.resnets.#.*"},
        {"encoder.down.#.downsample.*", "encoder.down_blocks.#.downsamplers.0.*"},
        {"decoder.up.#.block.#.nin_shortcut.*", "decoder.up_blocks.~.resnets.#.conv_shortcut.*"},
        {"decoder.up.#.block.#.*", "decoder.up_blocks.~.resnets.#.*"},
        {"decoder.up.#.upsample.*", "decoder.up_blocks.~.upsamplers.0.*"},
        VAE_MIDDLE("encoder"),
        VAE_MIDDLE("decoder"),
        {"quant_conv.*", "quant_conv.*"},
        {"post_quant_conv.*", "post_quant_conv.*"},
    };
    return (struct name_rules){rules, sizeof rules / sizeof *rules, levels - 1};
}

#define CLIP_LAYER "text_model.encoder.layers.#."
#define OPEN_LAYER "transformer.resblocks.#."

struct name_rules names_openclip(void) {
    static const struct name_rule rules[] = {
        {"token_embedding.weight", "text_model.embeddings.token_embedding.weight"},
        {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
        {OPEN_LAYER "ln_1.*", CLIP_LAYER "layer_norm1.*"},
        {OPEN_LAYER "ln_2.*", CLIP_LAYER "layer_norm2.*"},
        {OPEN_LAYER "attn.out_proj.*", CLIP_LAYER "self_attn.out_proj.*"},
        {OPEN_LAYER "mlp.c_fc.*", CLIP_LAYER "mlp.fc1.*"},
        {OPEN_LAYER "mlp.c_proj.*", CLIP_LAYER "mlp.fc2.*"},
        {"ln_final.*", "text_model.final_layer_norm.*"},
        {"text_projection.weight", "text_projection.weight"},
    };
    return (struct name_rules){rules, sizeof rules / sizeof *rules, 0};
}

/* ---- UNet ---- */

__attribute__((format(printf, 3, 4))) static bool has_name(names_has *has, void *user,
                                                           const char *format, ...) {
    char name[NAMES_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return has(user, name);
}

#define LAYERS_MAX 64

struct unet_layout names_layout_original(names_has *has, void *user) {
    struct unet_layout l = {.levels = 1};
    for (int block = 1; block < NAMES_LEVELS * LAYERS_MAX; block++) {
        if (has_name(has, user, "input_blocks.%d.0.in_layers.0.weight", block)) {
            l.layers[l.levels - 1]++;
        } else if (has_name(has, user, "input_blocks.%d.0.op.weight", block) &&
                   l.levels < NAMES_LEVELS) {
            l.levels++;
        } else {
            break;
        }
    }
    for (int level = l.levels - 1, block = 0; level >= 0; level--) {
        l.up_attention[level] = has_name(has, user, "output_blocks.%d.1.norm.weight", block);
        block += l.layers[level] + 1;
    }
    return l;
}

struct unet_layout names_layout_diffusers(names_has *has, void *user) {
    struct unet_layout l = {0};
    for (; l.levels < NAMES_LEVELS; l.levels++) {
        int *layers = &l.layers[l.levels];
        while (*layers < LAYERS_MAX &&
               has_name(has, user, "down_blocks.%d.resnets.%d.norm1.weight", l.levels, *layers))
            ++*layers;
        if (!*layers) break;
    }
    for (int level = 0; level < l.levels; level++)
        l.up_attention[level] =
            has_name(has, user, "up_blocks.%d.attentions.0.norm.weight", l.levels - 1 - level);
    return l;
}

struct builder {
    struct arena *arena;
    struct name_rule *rule;
    size_t count, room;
    bool failed;
};

static void add_rule(struct builder *b, char *original, char *diffusers) {
    if (!original || !diffusers || b->count == b->room) b->failed = true;
    else b->rule[b->count++] = (struct name_rule){original, diffusers};
}

static void add_resnet(struct builder *b, const char *original, const char *diffusers) {
    static const char *const parts[][2] = {
        {"in_layers.0", "norm1"},  {"in_layers.2", "conv1"},  {"emb_layers.1", "time_emb_proj"},
        {"out_layers.0", "norm2"}, {"out_layers.3", "conv2"}, {"skip_connection", "conv_shortcut"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        add_rule(b, arena_printf(b->arena, "%s.%s.*", original, parts[i][0]),
                 arena_printf(b->arena, "%s.%s.*", diffusers, parts[i][1]));
}

#define RESNET_RULES 6

/* A resnet, and the attention behind it if there is one. */
static void add_layer(struct builder *b, const char *side, int block, const char *blocks, int level,
                      int layer) {
    char original[64], diffusers[64];
    snprintf(original, sizeof original, "%s.%d.0", side, block);
    snprintf(diffusers, sizeof diffusers, "%s.%d.resnets.%d", blocks, level, layer);
    add_resnet(b, original, diffusers);
    add_rule(b, arena_printf(b->arena, "%s.%d.1.*", side, block),
             arena_printf(b->arena, "%s.%d.attentions.%d.*", blocks, level, layer));
}

static void add_down(struct builder *b, const struct unet_layout *l) {
    int block = 1;
    for (int level = 0; level < l->levels; level++) {
        for (int i = 0; i < l->layers[level]; i++)
            add_layer(b, "input_blocks", block++, "down_blocks", level, i);
        if (level == l->levels - 1) break;
        add_rule(b, arena_printf(b->arena, "input_blocks.%d.0.op.*", block++),
                 arena_printf(b->arena, "down_blocks.%d.downsamplers.0.conv.*", level));
    }
}

/* The upsampler follows the last layer of a level, behind its attention if it has one. */
static void add_up(struct builder *b, const struct unet_layout *l) {
    int block = 0;
    for (int up = 0; up < l->levels; up++) {
        int level = l->levels - 1 - up, layers = l->layers[level] + 1;
        if (level > 0)
            add_rule(b,
                     arena_printf(b->arena, "output_blocks.%d.%d.conv.*", block + layers - 1,
                                  l->up_attention[level] ? 2 : 1),
                     arena_printf(b->arena, "up_blocks.%d.upsamplers.0.conv.*", up));
        for (int i = 0; i < layers; i++) add_layer(b, "output_blocks", block++, "up_blocks", up, i);
    }
}

struct name_rules names_unet(struct arena *a, const struct unet_layout *l) {
    static const struct name_rule fixed[] = {
        {"input_blocks.0.0.*", "conv_in.*"},
        {"time_embed.0.*", "time_embedding.linear_1.*"},
        {"time_embed.2.*", "time_embedding.linear_2.*"},
        {"label_emb.0.0.*", "add_embedding.linear_1.*"},
        {"label_emb.0.2.*", "add_embedding.linear_2.*"},
        {"out.0.*", "conv_norm_out.*"},
        {"out.2.*", "conv_out.*"},
        {"middle_block.1.*", "mid_block.attentions.0.*"},
    };
    size_t n = sizeof fixed / sizeof *fixed + (size_t)2 * RESNET_RULES;
    for (int i = 0; i < l->levels; i++)
        n += (size_t)(2 * l->layers[i] + 1) * (RESNET_RULES + 1) + 2;
    struct builder b = {.arena = a, .rule = arena_array(a, n, sizeof *b.rule), .room = n};
    if (!b.rule) return (struct name_rules){0};
    memcpy(b.rule, fixed, sizeof fixed);
    b.count = sizeof fixed / sizeof *fixed;
    add_resnet(&b, "middle_block.0", "mid_block.resnets.0");
    add_resnet(&b, "middle_block.2", "mid_block.resnets.1");
    add_down(&b, l);
    add_up(&b, l);
    if (b.failed) return (struct name_rules){0};
    return (struct name_rules){b.rule, b.count, 0};
}
