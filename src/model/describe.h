/* describe.h: what the describers of networks share: labels and the names of activations. */
#ifndef KADR_MODEL_DESCRIBE_H
#define KADR_MODEL_DESCRIBE_H

#include "graph/graph.h"

/* snprintf into a caller's buffer, which it returns; a label that does not fit is cut. */
const char *describe_label(char *label, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "silu", "gelu", "quick_gelu", ...: false-like 0 when known, else 1. */
int describe_act(const char *name, enum act *out);

/* A layer of CLIP's encoders (transformers' CLIPEncoderLayer), pre-norm. */
struct clip_layer_shape {
    int64_t width, inner, heads;
    float eps;
    enum act act;
    bool causal;
};
tensor_id describe_clip_layer(struct graph *g, tensor_id x, const char *label,
                              const struct clip_layer_shape *s);

/* A resnet block of diffusers (ResnetBlock2D): norm, act, conv, time, norm, act, conv, shortcut. */
struct resnet_shape {
    int64_t out;
    int groups;
    float eps;
    enum act act;
    tensor_id time; /* activated embedding [n, c] to be projected to `out`, or NO_TENSOR */
    float scale;    /* of the output (1 / output_scale_factor) */
};
/* x2: the skip connection that x is concatenated with, or NO_TENSOR. */
tensor_id describe_resnet(struct graph *g, tensor_id x, tensor_id x2, const char *label,
                          const struct resnet_shape *s);

#endif
