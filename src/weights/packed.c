/* packed.c: kadr's packed models, read: see packed.h and docs/packed-format.md. What the file says
 * about itself is checked against the container before anything is believed.
 */
#include "weights/packed.h"
#include "base/chk.h"
#include "weights/set.h"

#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* the state lies in our structures */
#include <xxhash.h>

/* Beside an entry of a packed model. */
struct packed {
    bool panels;
    uint64_t bytes, sum;
    /* The first reading from the first byte to the last is checked on the way. */
    uint64_t hashed;
    bool checked;
    XXH64_state_t hash;
};

static const char *const forms[] = {"rows", "panels", "text"};

static kadr_status damaged(const struct weights *w, const char *name, const char *what,
                           kadr_error *err) {
    return err_set(err, KADR_EMODEL, "%s: tensor %s: %s; pack the model again", w->path, name,
                   what);
}

/* Shape and bytes of an item into its entry. Rows must have exactly the bytes of their shape. */
static kadr_status read_item(struct weights *w, const char *name, const json_t *json,
                             struct entry *e, kadr_error *err) {
    const json_t *shape = json_object_get(json, "shape");
    const char *form = json_string_value(json_object_get(json, "form"));
    const char *dtype = json_string_value(json_object_get(json, "dtype"));
    size_t rank = json_array_size(shape), elements = 1, bytes;
    if (!form || !json_is_array(shape) || rank > GRAPH_RANK || !dtype ||
        !dtype_named(dtype, &e->t.dtype))
        return damaged(w, name, "no form, shape or dtype", err);
    e->packed->panels = strcmp(form, forms[1]) == 0;
    bool rows = strcmp(form, forms[0]) == 0, text = strcmp(form, forms[2]) == 0;
    bool number = e->t.dtype == DTYPE_F32 || e->t.dtype == DTYPE_F16 || e->t.dtype == DTYPE_BF16;
    /* A text is never taken for a weight. */
    bool names_text = strncmp(name, "tokenizer", 9) == 0 || strcmp(name, "kadr.json") == 0;
    if (text != names_text || !(text || rows || e->packed->panels) || (rows && !number))
        return damaged(w, name, "this form or dtype cannot be", err);
    e->t.rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        json_int_t d = json_integer_value(json_array_get(shape, i));
        if (d < 1 || !chk_mul(elements, (size_t)d, &elements))
            return damaged(w, name, "a dimension that cannot be", err);
        e->t.dim[i] = d;
    }
    json_int_t said = json_integer_value(json_object_get(json, "bytes"));
    if (said < 1 || (uint64_t)said > e->stored->size)
        return damaged(w, name, "more bytes than it has in the file", err);
    e->packed->bytes = (uint64_t)said;
    if (rows && (!chk_mul(elements, dtype_size(e->t.dtype), &bytes) || bytes != (size_t)said))
        return damaged(w, name, "shape and bytes contradict each other", err);
    return KADR_OK;
}

/* A tensor as if the file had stored it in that dtype and shape. */
static kadr_status add_item(struct weights *w, const struct safetensors *file, const char *name,
                            const json_t *json, uint64_t sum, kadr_error *err) {
    const struct safetensors_tensor *t = safetensors_find(file, name);
    if (!t) return damaged(w, name, "is not there", err);
    struct safetensors_tensor *stored = arena_alloc(&w->arena, sizeof *stored);
    struct packed *packed = arena_alloc(&w->arena, sizeof *packed);
    if (!stored || !packed) return err_nomem(err, "list of tensors", sizeof *packed);
    struct entry *e;
    *stored = *t;
    stored->dtype = SAFETENSORS_F32; /* set_add takes floats only; the truth follows */
    kadr_status st = set_add(w, file, stored, name, &e, err);
    if (st) return st;
    e->packed = packed;
    packed->sum = sum;
    XXH64_reset(&packed->hash, 0);
    st = read_item(w, name, json, e, err);
    if (e->t.dtype == DTYPE_BF16) stored->dtype = SAFETENSORS_BF16;
    if (e->t.dtype == DTYPE_F16) stored->dtype = SAFETENSORS_F16;
    return st;
}

/* Checksums are in the order of the items in the file. */
static kadr_status read_sums(struct weights *w, const struct safetensors *file, size_t count,
                             uint64_t **sums, kadr_error *err) {
    const struct safetensors_tensor *t = safetensors_find(file, "checksums");
    if (!t || t->dtype != SAFETENSORS_U64 || t->size != count * sizeof **sums)
        return damaged(w, "checksums", "is not there or not one for each tensor", err);
    *sums = arena_array(&w->arena, count + 1, sizeof **sums);
    if (!*sums) return err_nomem(err, "checksums", count * sizeof **sums);
    return file_read_at(&file->file, t->begin, *sums, count * sizeof **sums, err);
}

static kadr_status read_about(struct weights *w, const json_t *about, kadr_error *err) {
    int64_t version = 0;
    const char *dtype = NULL;
    kadr_status st = json_get_int(about, w->path, "version", 0, INT32_MAX, &version, err);
    if (!st) st = json_get_string(about, w->path, "layout", &w->layout, err);
    if (!st) st = json_get_string(about, w->path, "dtype", &dtype, err);
    if (st) return st;
    if (version != PACKED_VERSION)
        return err_set(err, KADR_EMODEL,
                       "%s: packed in version %d of the format; this kadr reads version %d: pack "
                       "the model again",
                       w->path, (int)version, PACKED_VERSION);
    bool known = dtype && dtype_named(dtype, &w->dtype) &&
                 (w->dtype == DTYPE_F32 || w->dtype == DTYPE_BF16 || w->dtype == DTYPE_I8);
    if (!w->layout || !known)
        return err_set(err, KADR_EMODEL, "%s: does not say how it is packed", w->path);
    w->layout = arena_strdup(&w->arena, w->layout);
    if (!w->layout) return err_nomem(err, "layout", 16);
    const char *component;
    json_t *config;
    json_object_foreach(json_object_get(about, "configs"), component, config) {
        st = set_config(w, component, json_incref(config), err);
        if (st) return st;
    }
    return KADR_OK;
}

kadr_status packed_open(struct weights *w, const char *path, kadr_error *err) {
    const struct safetensors *file;
    kadr_status st = set_source(w, path, &file, err);
    if (st) return st;
    const char *text = safetensors_metadata(file, "kadr");
    if (!text) return err_set(err, KADR_EMODEL, "%s: expected a model packed by `kadr pack`", path);
    json_t *about = NULL;
    uint64_t *sums = NULL;
    st = json_parse(text, strlen(text), path, KADR_EMODEL, &about, err);
    json_t *items = json_object_get(about, "items"), *item;
    if (!st) st = read_about(w, about, err);
    if (!st) st = read_sums(w, file, json_object_size(items), &sums, err);
    const char *name;
    size_t i = 0;
    json_object_foreach(items, name, item) {
        if (!st) st = add_item(w, file, name, item, sums[i++], err);
    }
    json_decref(about);
    if (!st) file_open_direct((struct file *)(uintptr_t)&file->file);
    return st ? st : set_sort(w, err);
}

bool weights_packing(const struct weights *w, const char **layout, enum dtype *dtype) {
    if (w->kind != WEIGHTS_PACKED) return false;
    *layout = w->layout;
    *dtype = w->dtype;
    return true;
}

bool packed_is_panels(const struct entry *e) {
    return e->packed && e->packed->panels;
}

uint64_t weights_packed_size(const struct weights_tensor *t) {
    const struct entry *e = (const struct entry *)t;
    return e->packed ? e->packed->bytes : 0;
}

/* What lies in order from the first byte on is checked, once. */
static kadr_status check(const struct weights *w, const struct entry *e, uint64_t at,
                         const void *data, size_t size, kadr_error *err) {
    struct packed *p = e->packed;
    if (p->checked || at != p->hashed) return KADR_OK;
    XXH64_update(&p->hash, data, size);
    p->hashed += size;
    if (p->hashed < p->bytes) return KADR_OK;
    p->checked = XXH64_digest(&p->hash) == p->sum;
    if (p->checked) return KADR_OK;
    p->hashed = 0;
    XXH64_reset(&p->hash, 0);
    return damaged(w, e->t.name, "its checksum is wrong: the file is damaged", err);
}

static const struct entry *entry_of(const struct weights_piece *p) {
    return (const struct entry *)p->tensor;
}

/* The first of the pieces and those that follow it in the file; *count: how many they are. */
static kadr_status read_together(const struct weights_piece *pieces, size_t *count,
                                 kadr_error *err) {
    struct file_piece part[FILE_PIECES];
    const struct file *file = &entry_of(pieces)->file->file;
    const uint64_t begin = entry_of(pieces)->begin + pieces->at;
    uint64_t next = begin;
    size_t n = 0, all = *count;
    for (; n < all && n < FILE_PIECES; n++) {
        const struct entry *e = entry_of(&pieces[n]);
        if (&e->file->file != file || e->begin + pieces[n].at != next) break;
        part[n] = (struct file_piece){pieces[n].to, pieces[n].size};
        next = chk_align(next + pieces[n].size, FILE_DIRECT);
    }
    *count = n;
    return file_read_pieces(file, begin, part, (int)n, err);
}

kadr_status weights_read_packed(const struct weights_piece *pieces, size_t count, kadr_error *err) {
    for (size_t i = 0; i < count; i++) {
        const struct packed *p = entry_of(&pieces[i])->packed;
        if (!p || pieces[i].at > p->bytes || pieces[i].size > p->bytes - pieces[i].at)
            return err_set(err, KADR_EOTHER, "%s: no such bytes", pieces[i].tensor->name);
    }
    kadr_status st = KADR_OK;
    for (size_t done = 0, n; done < count && !st; done += n) {
        n = count - done;
        st = read_together(pieces + done, &n, err);
    }
    return st;
}

kadr_status weights_check_packed(const struct weights *w, const struct weights_piece *pieces,
                                 size_t count, kadr_error *err) {
    kadr_status st = KADR_OK;
    for (size_t i = 0; i < count && !st; i++)
        st = check(w, entry_of(&pieces[i]), pieces[i].at, pieces[i].to, pieces[i].size, err);
    return st;
}

static kadr_status read_and_check(const struct weights *w, const struct entry *e, uint64_t at,
                                  size_t size, void *to, kadr_error *err) {
    const struct weights_piece piece = {&e->t, at, size, to};
    kadr_status st = weights_read_packed(&piece, 1, err);
    return st ? st : weights_check_packed(w, &piece, 1, err);
}

kadr_status weights_verify(const struct weights *w, void *block, size_t size,
                           bool (*progress)(void *user, size_t done, size_t count), void *user,
                           kadr_error *err) {
    for (size_t i = 0; i < w->count; i++) {
        struct entry *e = w->entries[i];
        if (!e->packed) continue;
        e->packed->checked = false;
        e->packed->hashed = 0;
        XXH64_reset(&e->packed->hash, 0);
        for (uint64_t at = 0; at < e->packed->bytes; at += size) {
            size_t n = e->packed->bytes - at < size ? (size_t)(e->packed->bytes - at) : size;
            kadr_status st = read_and_check(w, e, at, n, block, err);
            if (st) return st;
        }
        if (progress && progress(user, i + 1, w->count))
            return err_set(err, KADR_EINTERRUPTED, "interrupted");
    }
    return KADR_OK;
}

kadr_status weights_read_text(const struct weights *w, struct mem *m, const char *name, char **text,
                              size_t *size, kadr_error *err) {
    const struct entry *e = set_find(w, name);
    *text = NULL;
    *size = 0;
    if (!e || !e->packed) return KADR_OK;
    if (e->packed->bytes > (uint64_t)64 << 20) return damaged(w, name, "too large", err);
    *size = (size_t)e->packed->bytes;
    *text = mem_alloc(m, chk_align(*size + 1, FILE_DIRECT)); /* whole pages are read */
    if (!*text) return err_nomem(err, name, *size);
    kadr_status st = read_and_check(w, e, 0, *size, *text, err);
    (*text)[*size] = 0;
    if (!st) return KADR_OK;
    mem_free(*text);
    *text = NULL;
    return st;
}
