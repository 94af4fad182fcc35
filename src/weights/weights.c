/* weights.c: see weights.h. The set of tensors itself: opening, looking up, reading. How models lie
 * on disk is in folder.c and single.c. */
#include "weights/set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define CHUNK 16384 /* bytes on the stack while converting */

/* Formats that can run programs when they are loaded. */
static bool is_pickle(const char *path) {
    static const char *const kinds[] = {"ckpt", "bin", "pt", "pth", "pkl"};
    const char *extension = file_extension(path);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(extension, kinds[i]) == 0) return true;
    return false;
}

kadr_status set_pickle(const char *path, kadr_error *err) {
    return is_pickle(path)
               ? err_set(err, KADR_EMODEL,
                         "%s: a pickle (PyTorch) file, which can run any program when it is "
                         "loaded; convert it to .safetensors",
                         path)
               : KADR_OK;
}

kadr_status set_source(struct weights *w, const char *path, const struct safetensors **out,
                       kadr_error *err) {
    kadr_status st = set_pickle(path, err);
    if (st) return st;
    struct source *s = arena_alloc(&w->arena, sizeof *s);
    if (!s) return err_nomem(err, "list of files", sizeof *s);
    st = safetensors_open(&s->file, w->mem, path, err);
    if (st) return st;
    s->next = w->sources;
    w->sources = s;
    *out = &s->file;
    return KADR_OK;
}

kadr_status set_add(struct weights *w, const struct safetensors *file,
                    const struct safetensors_tensor *stored, const char *name, struct entry **out,
                    kadr_error *err) {
    enum dtype dtype;
    if (!element_presented(stored->dtype, &dtype))
        return err_set(err, KADR_EMODEL,
                       "%s: tensor %s: dtype %s; expected F32, F16, BF16, F64 or F8",
                       file->file.path, stored->name, safetensors_dtype_name(stored->dtype));
    if (w->count == w->room) {
        size_t room = w->room ? 2 * w->room : 1024;
        struct entry **grown = mem_resize(w->mem, w->entries, room * sizeof *grown);
        if (!grown) return err_nomem(err, "list of tensors", room * sizeof *grown);
        w->entries = grown;
        w->room = room;
    }
    struct entry *e = arena_alloc(&w->arena, sizeof *e);
    if (e) e->t.name = arena_strdup(&w->arena, name);
    if (!e || !e->t.name) return err_nomem(err, "list of tensors", sizeof *e);
    e->t.dtype = dtype;
    e->t.rank = stored->rank;
    memcpy(e->t.dim, stored->dim, sizeof e->t.dim);
    e->file = file;
    e->stored = stored;
    e->begin = stored->begin;
    w->entries[w->count++] = e;
    if (out) *out = e;
    return KADR_OK;
}

static int by_name(const void *a, const void *b) {
    const struct entry *const *x = a, *const *y = b;
    return strcmp((*x)->t.name, (*y)->t.name);
}

kadr_status set_sort(struct weights *w, kadr_error *err) {
    if (w->count) qsort(w->entries, w->count, sizeof *w->entries, by_name);
    for (size_t i = 1; i < w->count; i++) {
        const struct entry *a = w->entries[i - 1], *b = w->entries[i];
        if (strcmp(a->t.name, b->t.name) == 0)
            return err_set(err, KADR_EMODEL,
                           "%s: tensor %s and tensor %s of %s are both %s; expected one of them",
                           b->file->file.path, b->stored->name, a->stored->name, a->file->file.path,
                           a->t.name);
    }
    return KADR_OK;
}

struct entry *set_find(const struct weights *w, const char *name) {
    struct entry key = {.t.name = name}, *p = &key;
    struct entry **found =
        w->count ? bsearch(&p, w->entries, w->count, sizeof *w->entries, by_name) : NULL;
    return found ? *found : NULL;
}

struct entry *set_findf(const struct weights *w, const char *format, ...) {
    char name[256];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return set_find(w, name);
}

kadr_status set_config(struct weights *w, const char *component, json_t *config, kadr_error *err) {
    for (int i = 0; i < COMPONENTS; i++) {
        struct component *c = &w->components[i];
        if (c->name && strcmp(c->name, component) != 0) continue;
        if (!c->name) c->name = arena_strdup(&w->arena, component);
        if (!c->name || !config) break;
        if (c->config) json_decref(c->config);
        c->config = config;
        return KADR_OK;
    }
    if (config) json_decref(config);
    return err_nomem(err, "configuration", 0);
}

int64_t set_row_length(const struct weights_tensor *t) {
    int64_t n = 1;
    for (int i = 1; i < t->rank; i++) n *= t->dim[i];
    return n;
}

const char *set_shape_text(char *text, size_t size, int rank, const int64_t *dim) {
    size_t at = 0;
    for (int i = 0; i < rank && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%lld", i ? ", " : "[", (long long)dim[i]);
    if (at < size) snprintf(text + at, size - at, "%s", rank ? "]" : "[]");
    return text;
}

/* ---- Opening ---- */

kadr_status weights_open_empty(struct mem *m, const struct log *log, const char *name,
                               struct weights **out, kadr_error *err) {
    struct weights *w = mem_alloc(m, sizeof *w);
    if (!w) return err_nomem(err, "list of tensors", sizeof *w);
    w->mem = m;
    w->log = log;
    arena_init(&w->arena, m);
    w->path = mem_strdup(m, name);
    if (!w->path) {
        weights_close(w);
        return err_nomem(err, "path", strlen(name));
    }
    *out = w;
    return KADR_OK;
}

kadr_status weights_open(struct mem *m, const struct log *log, const char *path,
                         struct weights **out, kadr_error *err) {
    struct weights *w = NULL;
    kadr_status st = weights_open_empty(m, log, path, &w, err);
    if (st) return st;
    bool packed = strcmp(file_extension(path), "kadr") == 0;
    w->kind = file_is_folder(path) ? WEIGHTS_FOLDER : packed ? WEIGHTS_PACKED : WEIGHTS_SINGLE_FILE;
    st = w->kind == WEIGHTS_FOLDER ? folder_open(w, path, err)
         : packed                  ? packed_open(w, path, err)
                                   : single_open(w, path, err);
    if (st) {
        weights_close(w);
        return st;
    }
    *out = w;
    return KADR_OK;
}

void weights_close(struct weights *w) {
    if (!w) return;
    for (int i = 0; i < COMPONENTS; i++)
        if (w->components[i].config) json_decref(w->components[i].config);
    for (struct source *s = w->sources; s; s = s->next) safetensors_close(&s->file);
    mem_free((void *)w->entries);
    mem_free(w->path);
    arena_free(&w->arena);
    mem_free(w);
}

static bool belongs(const char *name, const char *component) {
    size_t n = strlen(component);
    return strncmp(name, component, n) == 0 && name[n] == '.';
}

kadr_status weights_replace(struct weights *w, const char *component, const char *path,
                            kadr_error *err) {
    size_t kept = 0;
    for (size_t i = 0; i < w->count; i++)
        if (!belongs(w->entries[i]->t.name, component)) w->entries[kept++] = w->entries[i];
    w->count = kept;
    kadr_status st = file_is_folder(path) ? folder_open_component(w, path, component, err)
                                          : single_open_component(w, path, component, err);
    return st ? st : set_sort(w, err);
}

enum weights_kind weights_kind(const struct weights *w) {
    return w->kind;
}

const char *weights_path(const struct weights *w) {
    return w->path;
}

/* ---- Looking up ---- */

const struct weights_tensor *weights_find(const struct weights *w, const char *name) {
    const struct entry *e = set_find(w, name);
    return e ? &e->t : NULL;
}

size_t weights_count(const struct weights *w) {
    return w->count;
}

const struct weights_tensor *weights_at(const struct weights *w, size_t i) {
    return &w->entries[i]->t;
}

static bool same_shape(const struct weights_tensor *t, int rank, const int64_t *dim) {
    for (int i = 0; i < rank || i < t->rank; i++)
        if ((i < rank ? dim[i] : 1) != (i < t->rank ? t->dim[i] : 1)) return false;
    return true;
}

kadr_status weights_expect(const struct weights *w, const char *name, int rank, const int64_t *dim,
                           const struct weights_tensor **out, kadr_error *err) {
    char wanted[128], found[128];
    const struct entry *e = set_find(w, name);
    if (!e)
        return err_set(err, KADR_EMODEL, "%s: no tensor %s; expected one of shape %s", w->path,
                       name, set_shape_text(wanted, sizeof wanted, rank, dim));
    if (!same_shape(&e->t, rank, dim)) {
        bool renamed = !strstr(name, e->stored->name);
        return err_set(err, KADR_EMODEL, "%s: tensor %s%s%s%s: shape %s; expected %s",
                       e->file->file.path, e->stored->name, renamed ? " (" : "",
                       renamed ? name : "", renamed ? ")" : "",
                       set_shape_text(found, sizeof found, e->t.rank, e->t.dim),
                       set_shape_text(wanted, sizeof wanted, rank, dim));
    }
    *out = &e->t;
    return KADR_OK;
}

const json_t *weights_config(const struct weights *w, const char *component) {
    for (int i = 0; i < COMPONENTS && w->components[i].name; i++)
        if (strcmp(w->components[i].name, component) == 0) return w->components[i].config;
    return NULL;
}

const char *weights_tokenizer_folder(const struct weights *w, const char *which) {
    return w->tokenizer[strcmp(which, "tokenizer_2") == 0];
}

size_t weights_lora_bytes(const struct weights *w) {
    return w->lora_bytes;
}

/* ---- Reading ---- */

/* Stored elements [at, at + count) in the entry's dtype. */
static kadr_status read_span(const struct entry *e, uint64_t at, size_t count, void *to,
                             kadr_error *err) {
    size_t from_size = (size_t)safetensors_dtype_bits(e->stored->dtype) / 8;
    size_t to_size = dtype_size(e->t.dtype);
    enum dtype plain;
    uint64_t begin = e->begin + at * from_size;
    if (element_presented(e->stored->dtype, &plain) && plain == e->t.dtype && from_size == to_size)
        return file_read_at(&e->file->file, begin, to, count * to_size, err);
    unsigned char chunk[CHUNK];
    for (size_t done = 0; done < count;) {
        size_t n = count - done < CHUNK / from_size ? count - done : CHUNK / from_size;
        kadr_status st =
            file_read_at(&e->file->file, begin + done * from_size, chunk, n * from_size, err);
        if (st) return st;
        element_convert(e->stored->dtype, chunk, e->t.dtype, (char *)to + done * to_size, n);
        done += n;
    }
    return KADR_OK;
}

/* Rows of a matrix that is stored the other way round: a piece of each of its columns. */
static kadr_status read_transposed(const struct entry *e, int64_t row, int64_t rows, char *to,
                                   kadr_error *err) {
    char column[4096];
    size_t size = dtype_size(e->t.dtype);
    int64_t n = e->t.dim[0], k = e->t.dim[1], most = (int64_t)(sizeof column / size);
    for (int64_t first = 0; first < rows; first += most) {
        int64_t some = rows - first < most ? rows - first : most;
        for (int64_t i = 0; i < k; i++) {
            kadr_status st =
                read_span(e, (uint64_t)(i * n + row + first), (size_t)some, column, err);
            if (st) return st;
            for (int64_t r = 0; r < some; r++)
                memcpy(to + (size_t)((first + r) * k + i) * size, column + (size_t)r * size, size);
        }
    }
    return KADR_OK;
}

kadr_status weights_read(const struct weights *w, const struct weights_tensor *t, int64_t row,
                         int64_t rows, void *to, kadr_error *err) {
    const struct entry *e = (const struct entry *)t;
    int64_t all = t->rank ? t->dim[0] : 1, length = set_row_length(t);
    if (row < 0 || rows < 0 || row > all || rows > all - row)
        return err_set(err, KADR_EOTHER, "%s: %lld rows at row %lld of %lld", t->name,
                       (long long)rows, (long long)row, (long long)all);
    if (packed_is_panels(e))
        return err_set(err, KADR_EMODEL, "%s: tensor %s is packed for another way of computing",
                       w->path, t->name);
    kadr_status st = e->transposed
                         ? read_transposed(e, row, rows, to, err)
                         : read_span(e, (uint64_t)(row * length), (size_t)(rows * length), to, err);
    if (!st && e->lora) st = lora_merge(w, e, row, rows, to, err);
    if (st) err_context(err, "tensor %s", t->name);
    return st;
}

bool weights_is_added_to(const struct weights_tensor *t) {
    const struct entry *e = (const struct entry *)t;
    return e && e->lora && packed_is_panels(e);
}

kadr_status weights_add(const struct weights *w, const struct weights_tensor *t, int64_t row,
                        int64_t rows, float *to, kadr_error *err) {
    kadr_status st = lora_merge(w, (const struct entry *)t, row, rows, to, err);
    if (st) err_context(err, "tensor %s", t->name);
    return st;
}

kadr_status weights_fingerprint(const struct weights *w, const char *component, uint64_t *out,
                                kadr_error *err) {
    char block[CHUNK];
    kadr_status st = KADR_OK;
    XXH64_state_t *hash = XXH64_createState();
    if (!hash) return err_nomem(err, "checksum", CHUNK);
    XXH64_reset(hash, 0);
    for (size_t i = 0; i < w->count && !st; i++) {
        const struct entry *e = w->entries[i];
        if (!belongs(e->t.name, component)) continue;
        XXH64_update(hash, e->t.name, strlen(e->t.name));
        for (uint64_t at = 0; at < e->stored->size && !st; at += sizeof block) {
            uint64_t left = e->stored->size - at;
            size_t n = left < sizeof block ? (size_t)left : sizeof block;
            st = file_read_at(&e->file->file, e->stored->begin + at, block, n, err);
            if (!st) XXH64_update(hash, block, n);
        }
    }
    *out = XXH64_digest(hash);
    XXH64_freeState(hash);
    return st;
}
