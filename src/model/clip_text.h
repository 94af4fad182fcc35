/* clip_text.h: CLIP's text encoder (transformers' CLIPTextModel and CLIPTextModelWithProjection) as
 * a graph.
 *
 * Inputs   PREFIX.ids    i32 [n, 77]     token ids, padded
 *          PREFIX.extra  f32 [m, width]  vectors of ids >= vocab_size (textual inversion), when
 * extra_rows > 0 PREFIX.eos    i32 [n]         position of the end mark, when the model has a
 * projection Outputs  PREFIX.hidden      [n, 77, width]  hidden states before the last layer (no
 * final norm) PREFIX.skipped     the same, clip_skip layers earlier, when clip_skip > 0
 *          PREFIX.pooled      [n, projection] the end mark's final state, projected; f32
 */
#ifndef KADR_MODEL_CLIP_TEXT_H
#define KADR_MODEL_CLIP_TEXT_H

#include "base/json.h"
#include "graph/graph.h"

#define CLIP_TOKENS 77

struct clip_text_config {
    int64_t vocab_size, width, inner, layers, heads, positions, projection; /* projection 0: none */
    int64_t eos_id; /* where the pooled state is taken: the first of this id; 2 means the largest id
                       (old files) */
    int64_t pad_id; /* -1: not said */
    double eps;
    enum act act;
};

/* `name` is the component, "text_encoder"; for messages. */
kadr_status clip_text_read_config(const json_t *json, const char *name,
                                  struct clip_text_config *out, kadr_error *err);

struct clip_text_shape {
    int64_t samples;    /* chunks of 77 tokens in one pass */
    int64_t extra_rows; /* vectors that textual inversion adds */
    int clip_skip;      /* 0: no second output */
};
void clip_text_graph(struct graph *g, const struct clip_text_config *config, const char *prefix,
                     const struct clip_text_shape *shape);

/* Position of the pooled state in a chunk of ids. */
int32_t clip_text_eos(const struct clip_text_config *config, const int32_t *ids, int count);

#endif
