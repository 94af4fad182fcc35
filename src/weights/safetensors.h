/* safetensors.h: the safetensors format, read and written.
 *
 * A file is the header's length (8 bytes, little-endian), the header (a JSON object: name -> dtype,
 * shape, data_offsets; and "__metadata__": strings) and the tensors' bytes. What the format
 * promises is checked before anything is believed: the header lies inside the file, no name comes
 * twice, every shape agrees with its bytes, and the tensors cover the data exactly, without holes
 * or overlaps.
 *
 *     struct safetensors s;
 *     safetensors_open(&s, mem, path, err);
 *     const struct safetensors_tensor *t = safetensors_find(&s, "conv_in.weight");
 *     file_read_at(&s.file, t->begin, to, t->size, err);
 *     safetensors_close(&s);
 */
#ifndef KADR_WEIGHTS_SAFETENSORS_H
#define KADR_WEIGHTS_SAFETENSORS_H

#include "base/file.h"
#include "base/json.h"

#define SAFETENSORS_RANK 8
#define SAFETENSORS_HEADER_MAX ((size_t)100000000) /* as the reference implementation has it */

/* name in the file, bits of an element */
#define SAFETENSORS_DTYPES(X)                                                                      \
    X(F32, 32)                                                                                     \
    X(F16, 16)                                                                                     \
    X(BF16, 16)                                                                                    \
    X(F64, 64)                                                                                     \
    X(F8_E4M3, 8)                                                                                  \
    X(F8_E5M2, 8)                                                                                  \
    X(F8_E8M0, 8)                                                                                  \
    X(F6_E2M3, 6)                                                                                  \
    X(F6_E3M2, 6)                                                                                  \
    X(F4, 4)                                                                                       \
    X(BOOL, 8)                                                                                     \
    X(U8, 8)                                                                                       \
    X(I8, 8)                                                                                       \
    X(U16, 16)                                                                                     \
    X(I16, 16)                                                                                     \
    X(U32, 32)                                                                                     \
    X(I32, 32)                                                                                     \
    X(U64, 64)                                                                                     \
    X(I64, 64)                                                                                     \
    X(C64, 64)

enum safetensors_dtype {
#define SAFETENSORS_ENUM(name, bits) SAFETENSORS_##name,
    SAFETENSORS_DTYPES(SAFETENSORS_ENUM)
#undef SAFETENSORS_ENUM
        SAFETENSORS_DTYPE_COUNT
};
const char *safetensors_dtype_name(enum safetensors_dtype t);
int safetensors_dtype_bits(enum safetensors_dtype t);

struct safetensors_tensor {
    const char *name;
    enum safetensors_dtype dtype;
    int rank;
    int64_t dim[SAFETENSORS_RANK];
    uint64_t begin, size; /* bytes in the file */
};

struct safetensors {
    struct arena arena;                 /* owns the list and the names */
    struct file file;                   /* closed when only a header was parsed */
    struct safetensors_tensor *tensors; /* sorted by name */
    size_t count;
    json_t *metadata; /* NULL: none */
};

kadr_status safetensors_open(struct safetensors *s, struct mem *m, const char *path,
                             kadr_error *err);
void safetensors_close(struct safetensors *s); /* idempotent on a zeroed or closed one */

/* The same from a header in memory; `data` is how many bytes follow it. `name` stands in messages.
 */
kadr_status safetensors_parse(struct safetensors *s, struct mem *m, const char *name,
                              const char *header, size_t size, uint64_t data, kadr_error *err);

/* NULL when there is none. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name);
const char *safetensors_metadata(const struct safetensors *s, const char *key);

/* Elements [at, at + count) of a tensor of a float type as f32. (element.c) */
kadr_status safetensors_read_f32(const struct safetensors *s, const struct safetensors_tensor *t,
                                 uint64_t at, size_t count, float *to, kadr_error *err);

/* A tensor to be written. */
struct safetensors_out {
    const char *name;
    enum safetensors_dtype dtype;
    int rank;
    int64_t dim[SAFETENSORS_RANK];
    const void *data;
};
/* Writes a file atomically, tensors in the order given (widest elements first keeps all of them
 * aligned). `metadata`: key, value, key, value, ..., NULL; or NULL. */
kadr_status safetensors_write(struct mem *m, const char *path,
                              const struct safetensors_out *tensors, size_t count,
                              const char *const *metadata, kadr_error *err);

/* The same for data that comes in pieces: begin writes the header (`data` of the tensors is not
 * looked at; the data begins at a multiple of `align`), then the bytes of all tensors follow in
 * order through file_writer_add, then file_writer_commit. */
kadr_status safetensors_begin(struct file_writer *w, struct mem *m, const char *path,
                              const struct safetensors_out *tensors, size_t count,
                              const char *const *metadata, size_t align, kadr_error *err);

#endif
