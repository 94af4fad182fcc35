/* embedding.c: textual inversion files: a few vectors that stand for a token of the prompt. */
#include "weights/set.h"

#include <string.h>

#define VECTORS_MAX 77 /* more do not fit into a prompt's chunk */

static const char *const names[2] = {"clip_l", "clip_g"};

/* Which encoder a tensor is for: by its name, or by its width. -1: neither. */
static int encoder_of(const struct safetensors_tensor *t, const int64_t width[2]) {
    for (int i = 0; i < 2; i++)
        if (strcmp(t->name, names[i]) == 0) return i;
    int64_t wide = t->rank ? t->dim[t->rank - 1] : 0;
    for (int i = 0; i < 2; i++)
        if (wide == width[i]) return i;
    return -1;
}

static kadr_status read_vectors(struct mem *m, const struct safetensors *file,
                                const struct safetensors_tensor *t, const int64_t width[2],
                                struct weights_embedding *out, kadr_error *err) {
    const char *path = file->file.path;
    char text[128];
    enum dtype dtype;
    int which = encoder_of(t, width);
    int64_t count = t->rank == 2 ? t->dim[0] : t->rank == 1 ? 1 : 0;
    if (which < 0 || count < 1 || t->dim[t->rank - 1] != width[which])
        return err_set(err, KADR_EMODEL,
                       "%s: tensor %s: shape %s; expected [vectors, %lld] for the first text "
                       "encoder or [vectors, %lld] for the second",
                       path, t->name, set_shape_text(text, sizeof text, t->rank, t->dim),
                       (long long)width[0], (long long)width[1]);
    if (count > VECTORS_MAX)
        return err_set(err, KADR_EMODEL, "%s: tensor %s: %lld vectors; expected at most %d", path,
                       t->name, (long long)count, VECTORS_MAX);
    if (!element_presented(t->dtype, &dtype))
        return err_set(err, KADR_EMODEL, "%s: tensor %s: dtype %s; expected F32, F16 or BF16", path,
                       t->name, safetensors_dtype_name(t->dtype));
    if (out->vector[which] || (out->count && out->count != count))
        return err_set(err, KADR_EMODEL,
                       "%s: tensor %s: expected one tensor for each text encoder, with as many "
                       "vectors in both",
                       path, t->name);
    size_t floats = (size_t)(count * width[which]);
    out->vector[which] = mem_array(m, floats, sizeof(float));
    if (!out->vector[which]) return err_nomem(err, "embedding", floats * sizeof(float));
    out->count = count;
    return safetensors_read_f32(file, t, 0, floats, out->vector[which], err);
}

kadr_status weights_embedding_read(struct mem *m, const char *path, const int64_t width[2],
                                   struct weights_embedding *out, kadr_error *err) {
    struct safetensors file;
    memset(out, 0, sizeof *out);
    kadr_status st = set_pickle(path, err);
    if (!st) st = safetensors_open(&file, m, path, err);
    if (st) return st;
    for (size_t i = 0; i < file.count && !st; i++)
        st = read_vectors(m, &file, &file.tensors[i], width, out, err);
    if (!st && !file.count)
        st = err_set(err, KADR_EMODEL, "%s: no tensors; expected clip_l and clip_g", path);
    safetensors_close(&file);
    if (st) weights_embedding_free(out);
    return st;
}

void weights_embedding_free(struct weights_embedding *e) {
    for (int i = 0; i < 2; i++) mem_free(e->vector[i]);
    memset(e, 0, sizeof *e);
}
