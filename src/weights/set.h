/* set.h: the inside of a struct weights, shared by the files of this room: which file each
 * canonical tensor lies in, and where.
 *
 * Invariants: `entries` is sorted by name without duplicates once weights_open has returned;
 * entries never move, so pointers to them (and to their weights_tensor) stay valid.
 */
#ifndef KADR_WEIGHTS_SET_H
#define KADR_WEIGHTS_SET_H

#include "weights/safetensors.h"
#include "weights/weights.h"

/* One low-rank addition to a tensor: scale * up [n, rank] . down [rank, k]. The factors stay in
 * their file and are read when they are needed. */
struct lora_part {
    const struct safetensors *file;
    const struct safetensors_tensor *up, *down, *alpha; /* alpha may be NULL */
    int64_t rank;
    float scale; /* strength * alpha / rank */
    struct lora_part *next;
};

struct packed; /* packed.c */

struct entry {
    struct weights_tensor t; /* first: what others see */
    const struct safetensors *file;
    const struct safetensors_tensor *stored;
    uint64_t begin;         /* byte of its first element: behind stored->begin in a fused tensor */
    bool transposed;        /* stored [dim[1], dim[0]] */
    struct lora_part *lora; /* in the order they were added */
    struct packed *packed;  /* NULL: not of a packed model */
};

struct source {
    struct safetensors file;
    struct source *next;
};

struct component {
    const char *name;
    json_t *config;
};

#define COMPONENTS 8
struct weights {
    struct mem *mem;
    const struct log *log;
    enum weights_kind kind;
    char *path;
    struct arena arena; /* entries, names, low-rank parts */
    struct source *sources;
    struct entry **entries;
    size_t count, room;
    struct component components[COMPONENTS]; /* name NULL: free */
    char *tokenizer[2];                      /* folders, or NULL */
    size_t lora_bytes;
    const char *layout; /* of a packed model */
    enum dtype dtype;   /* of a packed model's networks */
};

/* Opens a file that stays open with `w`. Pickles are refused by name. */
kadr_status set_source(struct weights *w, const char *path, const struct safetensors **out,
                       kadr_error *err);

/* Refuses files whose extension says that they are pickles. */
kadr_status set_pickle(const char *path, kadr_error *err);

/* Adds a stored tensor under a canonical name. Refused when it is of no float type. NULL `out` is
 * fine. */
kadr_status set_add(struct weights *w, const struct safetensors *file,
                    const struct safetensors_tensor *stored, const char *name, struct entry **out,
                    kadr_error *err);

/* Sorts; a name that comes twice is an error. */
kadr_status set_sort(struct weights *w, kadr_error *err);

struct entry *set_find(const struct weights *w, const char *name);
struct entry *set_findf(const struct weights *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Takes ownership of `config`, also when it fails. */
kadr_status set_config(struct weights *w, const char *component, json_t *config, kadr_error *err);

/* Product of all dimensions but the first. */
int64_t set_row_length(const struct weights_tensor *t);

/* "[320, 4, 3, 3]" */
const char *set_shape_text(char *text, size_t size, int rank, const int64_t *dim);

/* ---- Where models lie: each fills `w` with entries and configurations ---- */

/* folder.c: a diffusers folder; one component of it, or of a folder of its own. */
kadr_status folder_open(struct weights *w, const char *path, kadr_error *err);
kadr_status folder_open_component(struct weights *w, const char *folder, const char *component,
                                  kadr_error *err);
/* The tensors of one file that holds that component alone, under diffusers' / transformers' keys.
 */
kadr_status folder_add_file(struct weights *w, const char *component,
                            const struct safetensors *file, kadr_error *err);

/* single.c: a checkpoint in the original layout; one component from a file in any layout. */
kadr_status single_open(struct weights *w, const char *path, kadr_error *err);
kadr_status single_open_component(struct weights *w, const char *path, const char *component,
                                  kadr_error *err);

/* packed.c: a model that `kadr pack` wrote. */
kadr_status packed_open(struct weights *w, const char *path, kadr_error *err);
/* Whether a tensor lies in the backend's form, where rows cannot be read. */
bool packed_is_panels(const struct entry *e);

/* infer.c: configurations from the shapes of the tensors. `base` (may be NULL) says what shapes
 * cannot tell. Components without tensors get none. */
kadr_status infer_unet(struct weights *w, kadr_error *err);
kadr_status infer_vae(struct weights *w, const json_t *base, kadr_error *err);
kadr_status infer_text(struct weights *w, int which, kadr_error *err);
/* infer_image.c: the same; their tensors must be there, `path` stands in messages. */
kadr_status infer_ip_adapter(struct weights *w, const char *path, kadr_error *err);
kadr_status infer_image_encoder(struct weights *w, const char *path, kadr_error *err);

/* ---- Elements ---- */

/* element.c: `count` stored floats of type `from` at `in` as `to` (f32, or f16 for 8-bit floats).
 */
void element_convert(enum safetensors_dtype from, const void *in, enum dtype to, void *out,
                     size_t count);
/* How a stored type is presented; false when it is no float. */
bool element_presented(enum safetensors_dtype stored, enum dtype *out);

/* lora.c: adds the low-rank parts of `e` to rows [row, row + rows) that lie at `to` as f32. */
kadr_status lora_merge(const struct weights *w, const struct entry *e, int64_t row, int64_t rows,
                       float *to, kadr_error *err);

#endif
