/* lora.c: LoRA files: which tensor each key belongs to, and the merging while rows are read.
 *
 * Two families of keys are known. kohya's are a prefix (lora_unet_, lora_te1_, lora_te2_) and the
 * layer's name with underscores for dots, in diffusers' or in the original layout; as underscores
 * are ambiguous, the names of all layers of the model are flattened and looked up. diffusers' and
 * PEFT's are the component and the layer's name with dots. A key that belongs to nothing is an
 * error: a picture must not quietly lack a part of what was asked for.
 */
#include "weights/names.h"
#include "weights/set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum role { ROLE_DOWN, ROLE_UP, ROLE_ALPHA, ROLE_REFUSED, ROLE_UNKNOWN };

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

/* What a key's end says, and where its layer's name ends. */
static enum role role_of(const char *key, size_t *layer, const char **what) {
    static const struct {
        const char *end;
        enum role role;
    } ends[] = {
        {".lora_down.weight", ROLE_DOWN},
        {".lora_up.weight", ROLE_UP},
        {".alpha", ROLE_ALPHA},
        {".lora_A.weight", ROLE_DOWN},
        {".lora_B.weight", ROLE_UP},
        {".lora_A.default.weight", ROLE_DOWN},
        {".lora_B.default.weight", ROLE_UP},
        {".lora.down.weight", ROLE_DOWN},
        {".lora.up.weight", ROLE_UP},
        {".lora_linear_layer.down.weight", ROLE_DOWN},
        {".lora_linear_layer.up.weight", ROLE_UP},
        {"_lora.down.weight", ROLE_DOWN},
        {"_lora.up.weight", ROLE_UP},
    };
    static const struct {
        const char *part, *what;
    } refused[] = {
        {".hada_", "LoHa"},
        {".lokr_", "LoKr"},
        {".dora_scale", "DoRA"},
        {".lora_magnitude_vector", "DoRA"},
        {".lora_mid.", "LoCon with a middle factor (Tucker decomposition)"},
        {".oft_", "OFT"},
        {".boft_", "BOFT"},
        {".on_input", "IA3"},
        {".diff", "a full difference of weights"},
        {".lora_B.bias", "LoRA with biases"},
        {".lora_up.bias", "LoRA with biases"},
        {".lora_embedding_", "LoRA of an embedding"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (strstr(key, refused[i].part)) {
            *what = refused[i].what;
            return ROLE_REFUSED;
        }
    size_t n = strlen(key);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t m = strlen(ends[i].end);
        if (n <= m || strcmp(key + n - m, ends[i].end) != 0) continue;
        *layer = n - m;
        return ends[i].role;
    }
    return ROLE_UNKNOWN;
}

/* ---- Names of layers ---- */

struct flat {
    const char *name; /* "lora_unet_down_blocks_1_..." */
    struct entry *entry;
};

struct index {
    struct arena arena; /* for the time of opening one file */
    struct flat *flat;
    size_t count;
};

static int by_flat(const void *a, const void *b) {
    const struct flat *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static kadr_status add_flat(struct index *x, const char *prefix, const char *layer, size_t length,
                            struct entry *e, kadr_error *err) {
    char *name = arena_printf(&x->arena, "%s%.*s", prefix, (int)length, layer);
    if (!name) return err_nomem(err, "names of layers", length);
    for (char *p = name; *p; p++)
        if (*p == '.') *p = '_';
    x->flat[x->count++] = (struct flat){name, e};
    return KADR_OK;
}

static bool has_unet_tensor(void *user, const char *name) {
    return set_findf(user, "unet.%s", name) != NULL;
}

static kadr_status build_index(struct index *x, struct weights *w, kadr_error *err) {
    static const char *const parts[][2] = {{"unet.", "lora_unet_"},
                                           {"text_encoder.", "lora_te1_"},
                                           {"text_encoder.", "lora_te_"},
                                           {"text_encoder_2.", "lora_te2_"}};
    struct unet_layout layout = names_layout_diffusers(has_unet_tensor, w);
    struct name_rules rules = names_unet(&x->arena, &layout);
    x->flat = arena_array(&x->arena, 2 * w->count + 1, sizeof *x->flat);
    if (!x->flat || !rules.rule) return err_nomem(err, "names of layers", w->count);
    for (size_t i = 0; i < w->count; i++) {
        struct entry *e = w->entries[i];
        size_t n = strlen(e->t.name), weight = strlen(".weight");
        if (n < weight || strcmp(e->t.name + n - weight, ".weight") != 0 || e->t.rank < 2) continue;
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
            if (!starts(e->t.name, parts[p][0])) continue;
            const char *layer = e->t.name + strlen(parts[p][0]);
            char original[NAMES_SIZE];
            kadr_status st = add_flat(x, parts[p][1], layer, strlen(layer) - weight, e, err);
            if (!st && p == 0 && names_to_original(&rules, layer, original))
                st = add_flat(x, parts[p][1], original, strlen(original) - weight, e, err);
            if (st) return st;
        }
    }
    if (x->count) qsort(x->flat, x->count, sizeof *x->flat, by_flat);
    return KADR_OK;
}

/* "unet.down_blocks...attn1.processor.to_out" (the "_lora" is off) -> "...attn1.to_out.0", and
 * "self_attn.to_q" of a text encoder -> "self_attn.q_proj": diffusers' first form. */
static void modern_name(char *name, size_t size) {
    static const char *const pairs[][2] = {
        {".processor.to_out", ".to_out.0"},       {".processor.", "."},
        {".self_attn.to_q", ".self_attn.q_proj"}, {".self_attn.to_k", ".self_attn.k_proj"},
        {".self_attn.to_v", ".self_attn.v_proj"}, {".self_attn.to_out", ".self_attn.out_proj"}};
    char copy[NAMES_SIZE];
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *at = strstr(name, pairs[i][0]);
        if (!at) continue;
        snprintf(copy, sizeof copy, "%s", at + strlen(pairs[i][0]));
        snprintf(at, size - (size_t)(at - name), "%s%s", pairs[i][1], copy);
        return;
    }
}

static struct entry *find_dotted(const struct weights *w, const char *key, size_t length) {
    static const char *const peft = "base_model.model.";
    char name[NAMES_SIZE];
    if (length >= sizeof name) return NULL;
    snprintf(name, sizeof name, "%.*s", (int)length, key);
    modern_name(name, sizeof name);
    const char *layer = starts(name, peft) ? name + strlen(peft) : name;
    struct entry *e = set_findf(w, "%s.weight", layer);
    if (!e) e = set_findf(w, "unet.%s.weight", layer);
    for (int i = 0; i < 2 && !e; i++) {
        const char *component = i ? "text_encoder_2." : "text_encoder.";
        if (starts(layer, component))
            e = set_findf(w, "%stext_model.%s.weight", component, layer + strlen(component));
    }
    return e;
}

static struct entry *find_layer(const struct weights *w, const struct index *x, const char *key,
                                size_t length) {
    if (!starts(key, "lora_unet_") && !starts(key, "lora_te")) return find_dotted(w, key, length);
    char name[NAMES_SIZE];
    if (length >= sizeof name) return NULL;
    snprintf(name, sizeof name, "%.*s", (int)length, key);
    struct flat wanted = {.name = name};
    struct flat *found =
        x->count ? bsearch(&wanted, x->flat, x->count, sizeof wanted, by_flat) : NULL;
    return found ? found->entry : NULL;
}

/* Whether the key is of a layer of a text encoder that the model has and this packed file has not:
 * the last ones, which are never computed. */
static bool is_left_out(const struct weights *w, const char *key) {
    static const struct {
        const char *prefix, *component;
    } of[] = {{"lora_te1_", "text_encoder"},
              {"lora_te2_", "text_encoder_2"},
              {"text_encoder.", "text_encoder"},
              {"text_encoder_2.", "text_encoder_2"}};
    const char *layers = strstr(key, "layers");
    if (w->kind != WEIGHTS_PACKED || !layers || !layers[6]) return false;
    long layer = strtol(layers + 7, NULL, 10);
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        if (!starts(key, of[i].prefix)) continue;
        const json_t *config = weights_config(w, of[i].component);
        return layer >= 0 &&
               layer < json_integer_value(json_object_get(config, "num_hidden_layers")) &&
               !set_findf(w, "%s.text_model.encoder.layers.%ld.layer_norm1.weight", of[i].component,
                          layer);
    }
    return false;
}

/* ---- Reading a file ---- */

/* The entry's part from this file, made when it is new. */
static struct lora_part *part_of(struct weights *w, struct entry *e,
                                 const struct safetensors *file) {
    struct lora_part **end = &e->lora;
    for (; *end; end = &(*end)->next)
        if ((*end)->file == file) return *end;
    *end = arena_alloc(&w->arena, sizeof **end);
    if (*end) (*end)->file = file;
    return *end;
}

static kadr_status add_key(struct weights *w, const struct index *x, const struct safetensors *file,
                           const struct safetensors_tensor *t, kadr_error *err) {
    size_t length = 0;
    const char *what = NULL, *path = file->file.path;
    enum dtype dtype;
    enum role role = role_of(t->name, &length, &what);
    if (role == ROLE_REFUSED)
        return err_set(err, KADR_EMODEL, "%s: tensor %s: %s is not supported; expected LoRA", path,
                       t->name, what);
    if (role == ROLE_UNKNOWN)
        return err_set(err, KADR_EMODEL,
                       "%s: tensor %s: not a key of a LoRA; expected ...lora_down.weight, "
                       "...lora_up.weight, ...alpha or ...lora_A.weight, ...lora_B.weight",
                       path, t->name);
    struct entry *e = find_layer(w, x, t->name, length);
    if (!e && is_left_out(w, t->name)) return KADR_OK;
    if (!e)
        return err_set(err, KADR_EMODEL,
                       "%s: tensor %s: the model has no such layer; expected a LoRA for SDXL", path,
                       t->name);
    if (!element_presented(t->dtype, &dtype))
        return err_set(err, KADR_EMODEL, "%s: tensor %s: dtype %s; expected F32, F16 or BF16", path,
                       t->name, safetensors_dtype_name(t->dtype));
    struct lora_part *part = part_of(w, e, file);
    if (!part) return err_nomem(err, "low-rank parts", sizeof *part);
    const struct safetensors_tensor **to = role == ROLE_DOWN ? &part->down
                                           : role == ROLE_UP ? &part->up
                                                             : &part->alpha;
    if (*to)
        return err_set(err, KADR_EMODEL, "%s: tensor %s and tensor %s are both for %s", path,
                       (*to)->name, t->name, e->t.name);
    *to = t;
    return KADR_OK;
}

/* Whether a layer's name ends with `pattern`, at a dot: how PEFT matches its patterns. */
static bool matches(const char *layer, const char *pattern) {
    size_t n = strlen(layer), m = strlen(pattern);
    return n >= m && strcmp(layer + n - m, pattern) == 0 && (n == m || layer[n - m - 1] == '.');
}

/* diffusers writes PEFT's configuration into the metadata: "unet.lora_alpha", ... */
static const json_t *adapter_field(const json_t *adapter, const struct entry *e,
                                   const char *field) {
    char key[NAMES_SIZE];
    snprintf(key, sizeof key, "%.*s.%s", (int)strcspn(e->t.name, "."), e->t.name, field);
    return json_object_get(adapter, key);
}

/* alpha / rank. Where nothing says what alpha is, it is the rank. */
static double adapter_scale(const json_t *adapter, const struct entry *e, int64_t rank) {
    const json_t *alpha = adapter_field(adapter, e, "lora_alpha");
    const char *dot = strchr(e->t.name, '.'), *pattern;
    char layer[NAMES_SIZE];
    json_t *v;
    snprintf(layer, sizeof layer, "%.*s", (int)(strlen(dot + 1) - strlen(".weight")), dot + 1);
    json_object_foreach((json_t *)adapter_field(adapter, e, "alpha_pattern"), pattern,
                        v) if (matches(layer, pattern)) alpha = v;
    if (!json_is_number(alpha)) return 1;
    bool root = json_is_true(adapter_field(adapter, e, "use_rslora"));
    return json_number_value(alpha) / (root ? sqrt((double)rank) : (double)rank);
}

static kadr_status check_part(const struct entry *e, struct lora_part *p, const json_t *adapter,
                              double strength, kadr_error *err) {
    const char *path = p->file->file.path;
    const struct safetensors_tensor *known = p->down ? p->down : p->up ? p->up : p->alpha;
    if (!p->down || !p->up)
        return err_set(err, KADR_EMODEL, "%s: tensor %s: its %s is missing", path, known->name,
                       p->down ? "up (B)" : "down (A)");
    char text[128];
    int64_t k = set_row_length(&e->t), down_k = 1, up_k = 1;
    for (int i = 1; i < p->down->rank; i++) down_k *= p->down->dim[i];
    for (int i = 2; i < p->up->rank; i++) up_k *= p->up->dim[i];
    p->rank = p->down->rank ? p->down->dim[0] : 0;
    if (p->rank < 1 || p->down->rank < 2 || down_k != k)
        return err_set(err, KADR_EMODEL, "%s: tensor %s: shape %s; expected [rank, %lld] for %s",
                       path, p->down->name,
                       set_shape_text(text, sizeof text, p->down->rank, p->down->dim), (long long)k,
                       e->t.name);
    if (p->up->rank < 2 || p->up->dim[0] != e->t.dim[0] || p->up->dim[1] != p->rank || up_k != 1)
        return err_set(err, KADR_EMODEL, "%s: tensor %s: shape %s; expected [%lld, %lld] for %s",
                       path, p->up->name,
                       set_shape_text(text, sizeof text, p->up->rank, p->up->dim),
                       (long long)e->t.dim[0], (long long)p->rank, e->t.name);
    double scale = adapter ? adapter_scale(adapter, e, p->rank) : 1;
    if (p->alpha) {
        float alpha;
        if (p->alpha->size * 8 != (uint64_t)safetensors_dtype_bits(p->alpha->dtype))
            return err_set(err, KADR_EMODEL, "%s: tensor %s: expected one number", path,
                           p->alpha->name);
        kadr_status st = safetensors_read_f32(p->file, p->alpha, 0, 1, &alpha, err);
        if (st) return st;
        scale = (double)alpha / (double)p->rank;
    }
    if (!isfinite(scale))
        return err_set(err, KADR_EMODEL, "%s: tensor %s: its alpha is not finite", path,
                       p->down->name);
    p->scale = (float)(strength * scale);
    return KADR_OK;
}

/* ---- Merging ---- */

#define ROWS 256 /* of the weight at a time */
#define RANKS 8  /* rows of `down` at a time */

static size_t padded(int64_t rank) {
    return ((size_t)rank + RANKS - 1) / RANKS * RANKS;
}

static size_t scratch_floats(const struct entry *e, const struct lora_part *p) {
    return RANKS * (size_t)set_row_length(&e->t) + ROWS * padded(p->rank);
}

/* w += sum of RANKS products; each element's sum is in ascending order of rank. */
static void add_rows(float *restrict w, const float *restrict down, const float *restrict up,
                     size_t k) {
    const float *d0 = down, *d1 = down + k, *d2 = down + 2 * k, *d3 = down + 3 * k;
    const float *d4 = down + 4 * k, *d5 = down + 5 * k, *d6 = down + 6 * k, *d7 = down + 7 * k;
    for (size_t i = 0; i < k; i++)
        w[i] += up[0] * d0[i] + up[1] * d1[i] + up[2] * d2[i] + up[3] * d3[i] + up[4] * d4[i] +
                up[5] * d5[i] + up[6] * d6[i] + up[7] * d7[i];
}

/* Rows [row, row + n) of `up`, scaled, each padded with zeros to a multiple of RANKS. */
static kadr_status read_up(const struct lora_part *p, int64_t row, size_t n, float *up,
                           kadr_error *err) {
    size_t rank = (size_t)p->rank, wide = padded(p->rank);
    kadr_status st =
        safetensors_read_f32(p->file, p->up, (uint64_t)row * (uint64_t)rank, n * rank, up, err);
    if (st) return st;
    for (size_t i = n; i-- > 0;) {
        float *to = up + i * wide;
        memmove(to, up + i * rank, rank * sizeof *to);
        for (size_t j = 0; j < rank; j++) to[j] *= p->scale;
        for (size_t j = rank; j < wide; j++) to[j] = 0;
    }
    return KADR_OK;
}

static kadr_status merge_part(const struct entry *e, const struct lora_part *p, int64_t row,
                              size_t rows, float *to, float *scratch, kadr_error *err) {
    size_t k = (size_t)set_row_length(&e->t), wide = padded(p->rank);
    float *down = scratch, *up = scratch + RANKS * k;
    kadr_status st = read_up(p, row, rows, up, err);
    for (size_t j = 0; j < (size_t)p->rank && !st; j += RANKS) {
        size_t some = (size_t)p->rank - j < RANKS ? (size_t)p->rank - j : RANKS;
        st = safetensors_read_f32(p->file, p->down, (uint64_t)(j * k), some * k, down, err);
        if (st) break;
        memset(down + some * k, 0, (RANKS - some) * k * sizeof *down);
        for (size_t i = 0; i < rows; i++) add_rows(to + i * k, down, up + i * wide + j, k);
    }
    return st;
}

kadr_status lora_merge(const struct weights *w, const struct entry *e, int64_t row, int64_t rows,
                       float *to, kadr_error *err) {
    kadr_status st = KADR_OK;
    for (const struct lora_part *p = e->lora; p && !st; p = p->next) {
        size_t size = scratch_floats(e, p) * sizeof(float);
        float *scratch = mem_alloc(w->mem, size);
        if (!scratch) return err_nomem(err, "factors of a LoRA", size);
        for (int64_t i = 0; i < rows && !st; i += ROWS)
            st = merge_part(e, p, row + i, (size_t)(rows - i < ROWS ? rows - i : ROWS),
                            to + i * set_row_length(&e->t), scratch, err);
        mem_free(scratch);
    }
    return st;
}

/* ---- Opening ---- */

static kadr_status read_adapter(const struct safetensors *file, json_t **out, kadr_error *err) {
    const char *text = safetensors_metadata(file, "lora_adapter_metadata");
    *out = NULL;
    if (!text) return KADR_OK;
    kadr_status st = json_parse(text, strlen(text), "lora_adapter_metadata", KADR_EMODEL, out, err);
    if (st) err_context(err, "%s", file->file.path);
    return st;
}

kadr_status weights_add_lora(struct weights *w, const char *path, double strength,
                             kadr_error *err) {
    const struct safetensors *file;
    struct index x = {0};
    json_t *adapter = NULL;
    kadr_status st = set_source(w, path, &file, err);
    if (st) return st;
    arena_init(&x.arena, w->mem);
    st = build_index(&x, w, err);
    for (size_t i = 0; i < file->count && !st; i++)
        st = add_key(w, &x, file, &file->tensors[i], err);
    if (!st && !file->count)
        st = err_set(err, KADR_EMODEL, "%s: no tensors; expected a LoRA", path);
    if (!st) st = read_adapter(file, &adapter, err);
    for (size_t i = 0; i < w->count && !st; i++) {
        struct entry *e = w->entries[i];
        struct lora_part *p = e->lora;
        while (p && p->file != file) p = p->next;
        if (!p) continue;
        st = check_part(e, p, adapter, strength, err);
        if (!st && e->t.dtype == DTYPE_I8)
            st = err_set(err, KADR_EUSAGE,
                         "%s: a model packed in int8 takes no LoRA; pack the model with it: kadr "
                         "pack MODEL --lora %s",
                         w->path, path);
        if (!packed_is_panels(e)) e->t.dtype = DTYPE_F32;
        size_t bytes = st ? 0 : scratch_floats(e, p) * sizeof(float);
        if (bytes > w->lora_bytes) w->lora_bytes = bytes;
    }
    if (adapter) json_decref(adapter);
    arena_free(&x.arena);
    return st;
}
