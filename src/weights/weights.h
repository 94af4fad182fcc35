/* weights.h: where a named tensor's bytes come from. A model on disk (a diffusers folder, a single
 * file, ...) is presented as one set of tensors under canonical names, whatever the file calls
 * them:
 *
 *     unet.KEY                          KEY as in diffusers,
 * "down_blocks.1.attentions.0.proj_in.weight" vae.KEY text_encoder.text_model.KEY       as in
 * transformers, "embeddings.token_embedding.weight" text_encoder_2.text_model.KEY,
 * text_encoder_2.text_projection.weight image_encoder.vision_model.KEY,
 * image_encoder.visual_projection.weight ip_adapter.image_proj.KEY,
 * ip_adapter.ip_adapter.N.to_k_ip.weight
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
    enum dtype dtype; /* in which weights_read gives the rows: as stored (f16, bf16, f32), f32 for
                         f64 and when a LoRA is merged into it, f16 for 8-bit floats */
    int rank;
    int64_t dim[8];
};

/* `path`: a diffusers folder or a .safetensors file. Errors name file and tensor; KADR_EMODEL. */
kadr_status weights_open(struct mem *m, const struct log *log, const char *path,
                         struct weights **out, kadr_error *err);
/* A set without components, to be filled by weights_replace; `name` is used in messages. */
kadr_status weights_open_empty(struct mem *m, const struct log *log, const char *name,
                               struct weights **out, kadr_error *err);
void weights_close(struct weights *w); /* `w` may be NULL */

/* Takes one component ("vae", "image_encoder", "ip_adapter") from another file or folder instead.
 * Before any weights_add_lora; pointers to tensors of that component die. */
kadr_status weights_replace(struct weights *w, const char *component, const char *path,
                            kadr_error *err);

/* Merges a LoRA file (kohya or PEFT keys) at that strength into everything read from now on; into
 * panels of a packed model the reader has to add it himself (weights_add). KADR_EUSAGE where panels
 * are int8. On failure `w` may only be closed. */
kadr_status weights_add_lora(struct weights *w, const char *path, double strength, kadr_error *err);

/* The most that one weights_read takes from the ledger, for the plan; 0 without LoRA. */
size_t weights_lora_bytes(const struct weights *w);

enum weights_kind weights_kind(const struct weights *w);
const char *weights_path(const struct weights *w);

/* NULL when there is none. */
const struct weights_tensor *weights_find(const struct weights *w, const char *name);
size_t weights_count(const struct weights *w);
const struct weights_tensor *weights_at(const struct weights *w, size_t i); /* sorted by name */

/* The tensor of that name, which must have that shape (trailing ones do not count: a linear layer
 * may be stored as a 1x1 convolution). KADR_EMODEL with file, name and both shapes otherwise. */
kadr_status weights_expect(const struct weights *w, const char *name, int rank, const int64_t *dim,
                           const struct weights_tensor **out, kadr_error *err);

/* Configuration of a component in diffusers' / transformers' form: "unet", "vae", "text_encoder",
 * "text_encoder_2", "scheduler", "image_encoder", "ip_adapter"; "" is model_index.json. From
 * config.json, or inferred from the tensors of a single file. NULL when the model has no such
 * component. Borrowed.
 */
const json_t *weights_config(const struct weights *w, const char *component);

/* Folder that holds the files of a tokenizer ("tokenizer", "tokenizer_2"); NULL: the model carries
 * none and the shipped CLIP vocabulary is meant. Borrowed. */
const char *weights_tokenizer_folder(const struct weights *w, const char *which);

/* Rows [row, row + rows) of the first dimension, row-major in t->dtype, into `to` (a tensor of rank
 * 0 has one row). */
kadr_status weights_read(const struct weights *w, const struct weights_tensor *t, int64_t row,
                         int64_t rows, void *to, kadr_error *err);

/* What distinguishes a component's weights from others: a checksum over the names and bytes of its
 * tensors. Reads all of them. */
kadr_status weights_fingerprint(const struct weights *w, const char *component, uint64_t *out,
                                kadr_error *err);

/* `count` numbers as f32, f16 or bf16, rounded to nearest even. */
void weights_convert(const float *from, size_t count, enum dtype dtype, void *to);

/* ---- Packed models: tensors in the form that a backend computes with */

/* The name of that form and the dtype of the networks; false: the model is not packed. */
bool weights_packing(const struct weights *w, const char **layout, enum dtype *dtype);
/* Bytes of a tensor of a packed model; 0: of another. */
uint64_t weights_packed_size(const struct weights_tensor *t);
/* Bytes [at, at + size) of a tensor; `to` has room up to the next multiple of FILE_DIRECT. */
struct weights_piece {
    const struct weights_tensor *tensor;
    uint64_t at;
    size_t size;
    void *to;
};
/* Reads them past the page cache (file_read_direct), in one request what lies together in the file.
 * Thread-safe. */
kadr_status weights_read_packed(const struct weights_piece *pieces, size_t count, kadr_error *err);
/* To be called for what was read: a tensor that goes by from its first byte to its last, in order,
 * is checked against the file's checksum, once. One thread at a time. */
kadr_status weights_check_packed(const struct weights *w, const struct weights_piece *pieces,
                                 size_t count, kadr_error *err);
/* Whether a LoRA is to be added to a tensor in panels, and that to rows [row, row + rows) of its
 * first dimension, which lie at `to` as f32. `t` may be NULL. */
bool weights_is_added_to(const struct weights_tensor *t);
kadr_status weights_add(const struct weights *w, const struct weights_tensor *t, int64_t row,
                        int64_t rows, float *to, kadr_error *err);
/* Checks all tensors, through a block of `size` bytes. `progress` (may be NULL) returning true ends
 * it. */
kadr_status weights_verify(const struct weights *w, void *block, size_t size,
                           bool (*progress)(void *user, size_t done, size_t count), void *user,
                           kadr_error *err);
/* A text file that the model carries ("tokenizer.vocab.json"), NUL-terminated; *text NULL: none. */
kadr_status weights_read_text(const struct weights *w, struct mem *m, const char *name, char **text,
                              size_t *size, kadr_error *err);

/* A textual inversion: `count` vectors of its token for each encoder whose width it has. */
struct weights_embedding {
    int64_t count;
    float *vector[2]; /* [count, width of that text encoder]; NULL when the file has none for it */
};
/* `width`: of the two text encoders. A file with tensors clip_l and clip_g (SDXL), or with one
 * tensor (emb_params, or named by its token) that belongs to the encoder of its width. */
kadr_status weights_embedding_read(struct mem *m, const char *path, const int64_t width[2],
                                   struct weights_embedding *out, kadr_error *err);
void weights_embedding_free(struct weights_embedding *e); /* idempotent */

#endif
