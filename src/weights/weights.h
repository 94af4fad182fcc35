/* weights.h: where a named tensor's bytes come from. A model on disk (a diffusers folder, a single
 * file, ...) is presented as one set of tensors under canonical names, whatever the file calls
 * them:
 *
 *     unet.<diffusers key>              e.g. unet.down_blocks.1.attentions.0.proj_in.weight
 *     vae.<diffusers key>
 *     text_encoder.text_model.<key>     e.g.
 * text_encoder.text_model.embeddings.token_embedding.weight text_encoder_2.text_model.<key>,
 * text_encoder_2.text_projection.weight image_encoder.vision_model.<key>,
 * image_encoder.visual_projection.weight ip_adapter.image_proj.<key>,
 * ip_adapter.ip_adapter.<n>.to_k_ip.weight
 *
 * Tensors that a file stores fused or transposed are presented split and straight. Nothing is read
 * but headers until weights_read is called. After opening, reading is thread-safe.
 */
#ifndef KADR_WEIGHTS_WEIGHTS_H
#define KADR_WEIGHTS_WEIGHTS_H

#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "graph/graph.h"

struct weights;

enum weights_kind { WEIGHTS_FOLDER, WEIGHTS_SINGLE_FILE, WEIGHTS_PACKED };

struct weights_tensor {
    const char *name; /* canonical */
    enum dtype dtype; /* in which weights_read gives the rows: as stored, or f32 when a LoRA is
                         merged into it */
    int rank;
    int64_t dim[8];
};

/* `path`: a diffusers folder or a .safetensors file. Errors name file and tensor; KADR_EMODEL. */
kadr_status weights_open(struct mem *m, const struct log *log, const char *path,
                         struct weights **out, kadr_error *err);
void weights_close(struct weights *w); /* `w` may be NULL */

/* Takes one component ("vae", "image_encoder", "ip_adapter") from another file or folder instead.
 */
kadr_status weights_replace(struct weights *w, const char *component, const char *path,
                            kadr_error *err);

/* Merges a LoRA file (kohya or PEFT keys) at that strength into everything read from now on. */
kadr_status weights_add_lora(struct weights *w, const char *path, double strength, kadr_error *err);

enum weights_kind weights_kind(const struct weights *w);
const char *weights_path(const struct weights *w);

/* NULL when there is none. */
const struct weights_tensor *weights_find(const struct weights *w, const char *name);
size_t weights_count(const struct weights *w);
const struct weights_tensor *weights_at(const struct weights *w, size_t i); /* sorted by name */

/* Configuration of a component in diffusers' / transformers' form: "unet", "vae", "text_encoder",
 * "text_encoder_2", "scheduler", "image_encoder"; "" is model_index.json. From config.json, or
 * inferred from the tensors of a single file. NULL when the model has no such component. Borrowed.
 */
const json_t *weights_config(const struct weights *w, const char *component);

/* Folder that holds the files of a tokenizer ("tokenizer", "tokenizer_2"); NULL: the model carries
 * none and the shipped CLIP vocabulary is meant. Borrowed. */
const char *weights_tokenizer_folder(const struct weights *w, const char *which);

/* Rows [row, row + rows) of the first dimension, row-major in t->dtype, into `to` (a tensor of rank
 * 0 has one row). */
kadr_status weights_read(const struct weights *w, const struct weights_tensor *t, int64_t row,
                         int64_t rows, void *to, kadr_error *err);

#endif
