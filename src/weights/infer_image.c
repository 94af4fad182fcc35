/* infer_image.c: what an IP-Adapter and a CLIP image encoder without a configuration are, from the
 * shapes of their tensors. The adapters' files carry no configuration at all.
 *
 * ip_adapter: {"kind": "classic"|"plus", "feature": what the encoder must give, "cross", "tokens"};
 * plus also: "width", "inner", "depth", "feed_forward" of the resampler.
 */
#include "weights/set.h"

#include <stdio.h>
#include <string.h>

#define DEPTH 64

/* A matrix that must be there. */
static kadr_status matrix(const struct weights *w, const char *name, int64_t *rows, int64_t *cols,
                          kadr_error *err) {
    const struct entry *e = set_find(w, name);
    if (!e) return err_set(err, KADR_EMODEL, "%s: no tensor %s", w->path, name);
    if (e->t.rank < 2 || e->t.dim[0] < 1 || e->t.dim[1] < 1) {
        char text[128];
        return err_set(err, KADR_EMODEL, "%s: tensor %s: shape %s; expected a matrix",
                       e->file->file.path, e->stored->name,
                       set_shape_text(text, sizeof text, e->t.rank, e->t.dim));
    }
    *rows = e->t.dim[0];
    *cols = e->t.dim[1];
    return KADR_OK;
}

#define PROJ "ip_adapter.image_proj."

static kadr_status infer_classic(struct weights *w, kadr_error *err) {
    int64_t all, feature;
    kadr_status st = matrix(w, PROJ "proj.weight", &all, &feature, err);
    const struct entry *norm = set_find(w, PROJ "norm.weight");
    int64_t cross = norm && norm->t.rank == 1 ? norm->t.dim[0] : 0;
    if (st) return st;
    if (cross < 1 || all % cross)
        return err_set(err, KADR_EMODEL,
                       "%s: image_proj.norm.weight does not divide the %lld rows of "
                       "image_proj.proj.weight into tokens",
                       w->path, (long long)all);
    return set_config(w, "ip_adapter",
                      json_pack("{s:s, s:I, s:I, s:I}", "kind", "classic", "feature",
                                (json_int_t)feature, "cross", (json_int_t)cross, "tokens",
                                (json_int_t)(all / cross)),
                      err);
}

static kadr_status infer_plus(struct weights *w, kadr_error *err) {
    int64_t width, feature, cross, tokens, inner, feed, depth = 0, unused;
    kadr_status st = matrix(w, PROJ "proj_in.weight", &width, &feature, err);
    if (!st) st = matrix(w, PROJ "proj_out.weight", &cross, &unused, err);
    if (!st) st = matrix(w, PROJ "latents.weight", &tokens, &unused, err);
    if (!st) st = matrix(w, PROJ "layers.0.0.to_q.weight", &inner, &unused, err);
    if (!st) st = matrix(w, PROJ "layers.0.1.1.weight", &feed, &unused, err);
    if (st) return st;
    while (depth < DEPTH && set_findf(w, PROJ "layers.%d.0.to_q.weight", (int)depth)) depth++;
    return set_config(w, "ip_adapter",
                      json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "kind", "plus",
                                "feature", (json_int_t)feature, "cross", (json_int_t)cross,
                                "tokens", (json_int_t)tokens, "width", (json_int_t)width, "inner",
                                (json_int_t)inner, "depth", (json_int_t)depth, "feed_forward",
                                (json_int_t)feed),
                      err);
}

kadr_status infer_ip_adapter(struct weights *w, const char *path, kadr_error *err) {
    static const struct {
        const char *tensor, *kind;
    } others[] = {{PROJ "perceiver_resampler.proj_in.weight", "a FaceID plus adapter"},
                  {PROJ "proj.0.weight", "a FaceID or full-face adapter"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (set_find(w, others[i].tensor))
            return err_set(err, KADR_EMODEL,
                           "%s: %s, which is not supported; expected IP-Adapter's classic or plus "
                           "form for SDXL",
                           path, others[i].kind);
    if (set_find(w, PROJ "proj.weight")) return infer_classic(w, err);
    if (set_find(w, PROJ "latents.weight")) return infer_plus(w, err);
    return err_set(err, KADR_EMODEL,
                   "%s: no IP-Adapter; expected tensors image_proj.proj.weight (classic) or "
                   "image_proj.latents (plus), and ip_adapter.*",
                   path);
}

/* OpenCLIP's and OpenAI's towers by width: heads are what shapes do not tell. */
static const struct {
    int64_t width, heads;
    const char *act;
} towers[] = {
    {768, 12, "quick_gelu"}, {1024, 16, "quick_gelu"}, {1280, 16, "gelu"}, {1664, 16, "gelu"}};

#define VISION "image_encoder.vision_model."

kadr_status infer_image_encoder(struct weights *w, const char *path, kadr_error *err) {
    int64_t width, positions, inner, projection, unused, side = 1, layers = 0;
    const struct entry *patch = set_find(w, VISION "embeddings.patch_embedding.weight");
    if (!patch || patch->t.rank != 4)
        return err_set(err, KADR_EMODEL,
                       "%s: no CLIP image encoder; expected tensors vision_model.* and "
                       "visual_projection.weight",
                       path);
    kadr_status st =
        matrix(w, VISION "embeddings.position_embedding.weight", &positions, &width, err);
    if (!st) st = matrix(w, VISION "encoder.layers.0.mlp.fc1.weight", &inner, &unused, err);
    if (!st) st = matrix(w, "image_encoder.visual_projection.weight", &projection, &unused, err);
    if (st) return st;
    while (layers < 256 && set_findf(w, VISION "encoder.layers.%d.layer_norm1.weight", (int)layers))
        layers++;
    while (side * side + 1 < positions && side < 1024) side++;
    size_t at = 0, count = sizeof towers / sizeof *towers;
    while (at < count && towers[at].width != width) at++;
    if (at == count)
        return err_set(err, KADR_EMODEL,
                       "%s: an image encoder %lld wide, whose heads a file alone cannot tell; "
                       "expected its config.json in the same folder",
                       path, (long long)width);
    return set_config(
        w, "image_encoder",
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "hidden_size", (json_int_t)width,
                  "intermediate_size", (json_int_t)inner, "num_hidden_layers", (json_int_t)layers,
                  "num_attention_heads", (json_int_t)towers[at].heads, "image_size",
                  (json_int_t)(side * patch->t.dim[2]), "patch_size", (json_int_t)patch->t.dim[2],
                  "projection_dim", (json_int_t)projection, "hidden_act", towers[at].act),
        err);
}
