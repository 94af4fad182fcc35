/* describe.c: see describe.h. */
#include "model/describe.h"

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
        epi.sample_add = graph_linear(g, s->time, AT("time_emb_proj"), s->out, true, f32);
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
