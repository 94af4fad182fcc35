/* safetensors.c: see safetensors.h. Everything is parsed into a list that is then checked as a
 * whole; nothing here reads tensor data. */
#include "weights/safetensors.h"
#include "base/buf.h"
#include "base/chk.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int bits;
} dtypes[] = {
#define DTYPE_ROW(name, bits) {#name, bits},
    SAFETENSORS_DTYPES(DTYPE_ROW)
#undef DTYPE_ROW
};

const char *safetensors_dtype_name(enum safetensors_dtype t) {
    return dtypes[t].name;
}

int safetensors_dtype_bits(enum safetensors_dtype t) {
    return dtypes[t].bits;
}

static kadr_status read_dtype(const json_t *v, const char *file, struct safetensors_tensor *t,
                              kadr_error *err) {
    const char *text = json_string_value(v);
    if (!text)
        return err_set(err, KADR_EMODEL, "%s: tensor %s: no dtype; expected a string", file,
                       t->name);
    for (int i = 0; i < SAFETENSORS_DTYPE_COUNT; i++)
        if (strcmp(text, dtypes[i].name) == 0) {
            t->dtype = (enum safetensors_dtype)i;
            return KADR_OK;
        }
    return err_set(err, KADR_EMODEL,
                   "%s: tensor %s: dtype \"%s\" is unknown; expected F32, F16, BF16, ...", file,
                   t->name, text);
}

static kadr_status read_shape(const json_t *v, const char *file, struct safetensors_tensor *t,
                              kadr_error *err) {
    if (!json_is_array(v))
        return err_set(err, KADR_EMODEL, "%s: tensor %s: no shape; expected a list of sizes", file,
                       t->name);
    size_t rank = json_array_size(v);
    if (rank > SAFETENSORS_RANK)
        return err_set(err, KADR_EMODEL, "%s: tensor %s: %zu dimensions; expected at most %d", file,
                       t->name, rank, SAFETENSORS_RANK);
    t->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *d = json_array_get(v, i);
        if (!json_is_integer(d) || json_integer_value(d) < 0)
            return err_set(err, KADR_EMODEL,
                           "%s: tensor %s: shape[%zu] is no size; expected a whole number >= 0",
                           file, t->name, i);
        t->dim[i] = json_integer_value(d);
    }
    return KADR_OK;
}

static kadr_status read_place(const json_t *v, const char *file, uint64_t base, uint64_t data,
                              struct safetensors_tensor *t, kadr_error *err) {
    const json_t *b = json_array_get(v, 0), *e = json_array_get(v, 1);
    if (json_array_size(v) != 2 || !json_is_integer(b) || !json_is_integer(e) ||
        json_integer_value(b) < 0 || json_integer_value(e) < json_integer_value(b))
        return err_set(err, KADR_EMODEL,
                       "%s: tensor %s: broken data_offsets; expected [begin, end] with 0 <= begin "
                       "<= end",
                       file, t->name);
    uint64_t begin = (uint64_t)json_integer_value(b), end = (uint64_t)json_integer_value(e);
    if (end > data)
        return err_set(
            err, KADR_EMODEL,
            "%s: tensor %s: data_offsets end at %llu, but the file holds %llu bytes of data "
            "(is it cut short?)",
            file, t->name, (unsigned long long)end, (unsigned long long)data);
    t->begin = base + begin;
    t->size = end - begin;
    size_t elements, bits;
    if (!chk_product(t->dim, t->rank, &elements) ||
        !chk_mul(elements, (size_t)dtypes[t->dtype].bits, &bits))
        return err_set(err, KADR_EMODEL, "%s: tensor %s: the product of its shape is too large",
                       file, t->name);
    if (bits % 8 || bits / 8 != t->size)
        return err_set(err, KADR_EMODEL,
                       "%s: tensor %s: data_offsets hold %llu bytes; expected %zu for its shape "
                       "and dtype %s",
                       file, t->name, (unsigned long long)t->size, bits / 8 + (bits % 8 != 0),
                       dtypes[t->dtype].name);
    return KADR_OK;
}

static int by_place(const void *a, const void *b) {
    const struct safetensors_tensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
    const struct safetensors_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Tensors one after the other from `base` to the end of the data. */
static kadr_status check_cover(struct safetensors *s, const char *file, uint64_t base,
                               uint64_t data, kadr_error *err) {
    if (s->count) qsort(s->tensors, s->count, sizeof *s->tensors, by_place);
    uint64_t at = base;
    const char *last = "the header";
    for (size_t i = 0; i < s->count; i++) {
        const struct safetensors_tensor *t = &s->tensors[i];
        if (t->begin != at)
            return err_set(err, KADR_EMODEL, "%s: tensor %s: %s %s; expected it to begin at %llu",
                           file, t->name, t->begin < at ? "overlaps" : "leaves a hole after", last,
                           (unsigned long long)(at - base));
        at += t->size;
        last = t->name;
    }
    if (at != base + data)
        return err_set(err, KADR_EMODEL,
                       "%s: %llu bytes of data, but the tensors end at %llu (after %s)", file,
                       (unsigned long long)data, (unsigned long long)(at - base), last);
    if (s->count) qsort(s->tensors, s->count, sizeof *s->tensors, by_name);
    return KADR_OK;
}

static kadr_status keep_metadata(struct safetensors *s, const char *file, json_t *v,
                                 kadr_error *err) {
    bool good = json_is_object(v);
    const char *key;
    json_t *text;
    if (good) json_object_foreach(v, key, text) good = good && json_is_string(text);
    if (!good)
        return err_set(err, KADR_EMODEL, "%s: __metadata__: expected an object of strings", file);
    s->metadata = json_incref(v);
    return KADR_OK;
}

static kadr_status add_tensor(struct safetensors *s, const char *file, const char *name,
                              const json_t *v, uint64_t base, uint64_t data, kadr_error *err) {
    struct safetensors_tensor *t = &s->tensors[s->count++];
    t->name = arena_strdup(&s->arena, name);
    if (!t->name) return err_nomem(err, "names of tensors", strlen(name));
    if (!json_is_object(v))
        return err_set(err, KADR_EMODEL,
                       "%s: tensor %s: expected an object with dtype, shape, data_offsets", file,
                       name);
    kadr_status st = read_dtype(json_object_get(v, "dtype"), file, t, err);
    if (!st) st = read_shape(json_object_get(v, "shape"), file, t, err);
    if (!st) st = read_place(json_object_get(v, "data_offsets"), file, base, data, t, err);
    return st;
}

static kadr_status read_tensors(struct safetensors *s, const char *file, json_t *header,
                                uint64_t base, uint64_t data, kadr_error *err) {
    size_t most = json_object_size(header);
    s->tensors = arena_array(&s->arena, most ? most : 1, sizeof *s->tensors);
    if (!s->tensors) return err_nomem(err, "list of tensors", most * sizeof *s->tensors);
    const char *key;
    json_t *v;
    json_object_foreach(header, key, v) {
        kadr_status st = strcmp(key, "__metadata__") == 0
                             ? keep_metadata(s, file, v, err)
                             : add_tensor(s, file, key, v, base, data, err);
        if (st) return st;
    }
    return check_cover(s, file, base, data, err);
}

kadr_status safetensors_parse(struct safetensors *s, struct mem *m, const char *name,
                              const char *header, size_t size, uint64_t data, kadr_error *err) {
    json_t *json = NULL;
    memset(s, 0, sizeof *s);
    s->file.fd = -1;
    arena_init(&s->arena, m);
    kadr_status st = size && header[0] == '{'
                         ? json_parse(header, size, name, KADR_EMODEL, &json, err)
                         : err_set(err, KADR_EMODEL, "%s: the header is no JSON object", name);
    if (!st) st = read_tensors(s, name, json, 8 + (uint64_t)size, data, err);
    json_decref(json);
    if (st) safetensors_close(s);
    return st;
}

/* What a file that is not safetensors may be: people rename things. */
static kadr_status not_safetensors(const struct file *f, const unsigned char head[8],
                                   kadr_error *err) {
    if (memcmp(head, "PK\3\4", 4) == 0 || (head[0] == 0x80 && head[1] <= 5))
        return err_set(err, KADR_EMODEL,
                       "%s: a pickle (PyTorch) file, which can run any program when it is loaded; "
                       "convert it to .safetensors",
                       f->path);
    if (memcmp(head, "GGUF", 4) == 0)
        return err_set(err, KADR_EMODEL, "%s: a GGUF file; expected safetensors", f->path);
    return KADR_OK;
}

static kadr_status read_header(const struct file *f, struct mem *m, char **header, size_t *size,
                               kadr_error *err) {
    unsigned char head[8];
    if (f->size < sizeof head)
        return err_set(err, KADR_EMODEL,
                       "%s: %llu bytes; expected a safetensors file (8 bytes and a header)",
                       f->path, (unsigned long long)f->size);
    kadr_status st = file_read_at(f, 0, head, sizeof head, err);
    if (!st) st = not_safetensors(f, head, err);
    if (st) return st;
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | head[i];
    if (n > f->size - 8)
        return err_set(err, KADR_EMODEL,
                       "%s: the header would be %llu bytes, but the file has %llu (cut short, or "
                       "no safetensors file)",
                       f->path, (unsigned long long)n, (unsigned long long)f->size);
    if (n > SAFETENSORS_HEADER_MAX)
        return err_set(err, KADR_EMODEL, "%s: a header of %llu bytes; expected at most %zu",
                       f->path, (unsigned long long)n, SAFETENSORS_HEADER_MAX);
    *size = (size_t)n;
    *header = mem_alloc(m, *size + 1);
    if (!*header) return err_nomem(err, "header", *size);
    st = file_read_at(f, 8, *header, *size, err);
    if (st) {
        mem_free(*header);
        *header = NULL;
    }
    return st;
}

kadr_status safetensors_open(struct safetensors *s, struct mem *m, const char *path,
                             kadr_error *err) {
    struct file f;
    memset(s, 0, sizeof *s);
    s->file.fd = -1;
    kadr_status st = file_open(&f, m, path, KADR_EMODEL, err);
    if (st) return st;
    char *header = NULL;
    size_t size = 0;
    st = read_header(&f, m, &header, &size, err);
    if (!st) st = safetensors_parse(s, m, path, header, size, f.size - 8 - size, err);
    mem_free(header);
    if (st) file_close(&f);
    else s->file = f;
    return st;
}

void safetensors_close(struct safetensors *s) {
    file_close(&s->file);
    json_decref(s->metadata);
    arena_free(&s->arena);
    s->metadata = NULL;
    s->tensors = NULL;
    s->count = 0;
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name) {
    struct safetensors_tensor key = {.name = name};
    return s->count ? bsearch(&key, s->tensors, s->count, sizeof key, by_name) : NULL;
}

const char *safetensors_metadata(const struct safetensors *s, const char *key) {
    return json_string_value(json_object_get(s->metadata, key));
}

static size_t out_bytes(const struct safetensors_out *t) {
    size_t n = (size_t)dtypes[t->dtype].bits / 8;
    for (int i = 0; i < t->rank; i++) n *= (size_t)t->dim[i];
    return n;
}

/* A JSON string. Names and metadata are UTF-8 of our own making. */
static void put_string(struct buf *b, const char *text) {
    buf_putc(b, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') buf_putc(b, '\\');
        if ((unsigned char)*text < 0x20) buf_printf(b, "\\u%04x", (unsigned)*text);
        else buf_putc(b, *text);
    }
    buf_putc(b, '"');
}

static void put_header(struct buf *b, const struct safetensors_out *tensors, size_t count,
                       const char *const *metadata, size_t align) {
    const char *comma = "";
    buf_putc(b, '{');
    if (metadata && *metadata) {
        buf_puts(b, "\"__metadata__\":{");
        for (; metadata[0]; metadata += 2, comma = ",") {
            buf_puts(b, comma);
            put_string(b, metadata[0]);
            buf_putc(b, ':');
            put_string(b, metadata[1]);
        }
        buf_putc(b, '}');
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++, comma = ",") {
        buf_puts(b, comma);
        put_string(b, tensors[i].name);
        buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", dtypes[tensors[i].dtype].name);
        for (int d = 0; d < tensors[i].rank; d++)
            buf_printf(b, "%s%lld", d ? "," : "", (long long)tensors[i].dim[d]);
        size_t end = at + out_bytes(&tensors[i]);
        buf_printf(b, "],\"data_offsets\":[%zu,%zu]}", at, end);
        at = end;
    }
    buf_putc(b, '}');
    while ((b->size + 8) % align && buf_ok(b)) buf_putc(b, ' ');
}

kadr_status safetensors_begin(struct file_writer *w, struct mem *m, const char *path,
                              const struct safetensors_out *tensors, size_t count,
                              const char *const *metadata, size_t align, kadr_error *err) {
    struct buf b;
    *w = (struct file_writer){.fd = -1};
    buf_init(&b, m);
    put_header(&b, tensors, count, metadata, align);
    kadr_status st = buf_ok(&b) ? KADR_OK : err_nomem(err, "header", 0);
    unsigned char head[8];
    for (int i = 0; i < 8; i++) head[i] = (unsigned char)((uint64_t)b.size >> 8 * i);
    if (!st) st = file_writer_begin(w, m, path, err);
    if (!st) st = file_writer_add(w, head, sizeof head, err);
    if (!st) st = file_writer_add(w, b.data, b.size, err);
    if (st) file_writer_abort(w);
    buf_free(&b);
    return st;
}

kadr_status safetensors_write(struct mem *m, const char *path,
                              const struct safetensors_out *tensors, size_t count,
                              const char *const *metadata, kadr_error *err) {
    struct file_writer w;
    kadr_status st = safetensors_begin(&w, m, path, tensors, count, metadata, 8, err);
    for (size_t i = 0; i < count && !st; i++)
        st = file_writer_add(&w, tensors[i].data, out_bytes(&tensors[i]), err);
    if (!st) st = file_writer_commit(&w, err);
    file_writer_abort(&w);
    return st;
}
