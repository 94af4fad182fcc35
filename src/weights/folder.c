/* folder.c: a diffusers folder. model_index.json names the components; each lies in a folder with
 * config.json and one weights file, or several with an index. */
#include "weights/set.h"

#include <string.h>

#define CONFIG_MAX ((size_t)1 << 20)
#define INDEX_MAX ((size_t)64 << 20)
#define SHARDS_MAX 256 /* each stays open */

static const char *const components[] = {"unet", "vae", "text_encoder", "text_encoder_2",
                                         "image_encoder"};

/* ---- Keys of one component ---- */

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

/* Older diffusers wrote the VAE's attention as query, key, value, proj_attn. */
static char *vae_key(struct arena *a, const char *key) {
    static const char *const pairs[][2] = {{".query.", ".to_q."},
                                           {".key.", ".to_k."},
                                           {".value.", ".to_v."},
                                           {".proj_attn.", ".to_out.0."}};
    if (strstr(key, ".attentions."))
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
            const char *at = strstr(key, pairs[i][0]);
            if (at)
                return arena_printf(a, "vae.%.*s%s%s", (int)(at - key), key, pairs[i][1],
                                    at + strlen(pairs[i][0]));
        }
    return arena_printf(a, "vae.%s", key);
}

/* transformers 5 leaves text_model. and vision_model. out where it can. */
static char *clip_key(struct arena *a, const char *component, const char *model, const char *key) {
    static const char *const bare[] = {"embeddings.", "encoder.", "final_layer_norm.",
                                       "pre_layrnorm.", "post_layernorm."};
    for (size_t i = 0; i < sizeof bare / sizeof *bare; i++)
        if (starts(key, bare[i])) return arena_printf(a, "%s.%s.%s", component, model, key);
    return arena_printf(a, "%s.%s", component, key);
}

static bool ends(const char *text, const char *with) {
    size_t n = strlen(text), m = strlen(with);
    return n >= m && strcmp(text + n - m, with) == 0;
}

/* Parameters without a name of their own kind that graphs read as tables of rows: CLIP's class
 * token [c] and the queries of IP-Adapter's resampler [1, n, c]. */
static kadr_status add_table(struct weights *w, const struct safetensors *file,
                             const struct safetensors_tensor *t, const char *name,
                             kadr_error *err) {
    struct entry *e;
    char *own = arena_printf(&w->arena, "%s.weight", name);
    if (!own) return err_nomem(err, "names of tensors", strlen(name));
    kadr_status st = set_add(w, file, t, own, &e, err);
    if (st || !t->rank) return st;
    int64_t rows = 1;
    for (int i = 0; i + 1 < t->rank; i++) rows *= t->dim[i];
    e->t.rank = 2;
    e->t.dim[0] = rows;
    e->t.dim[1] = t->dim[t->rank - 1];
    return KADR_OK;
}

/* IP-Adapter's resampler: keys above values. */
static kadr_status add_keys_and_values(struct weights *w, const struct safetensors *file,
                                       const struct safetensors_tensor *t, const char *name,
                                       kadr_error *err) {
    if (t->rank < 1 || t->dim[0] % 2)
        return err_set(err, KADR_EMODEL,
                       "%s: tensor %s: expected keys and values fused into it (an even first "
                       "dimension)",
                       file->file.path, t->name);
    int stem = (int)(strlen(name) - strlen("kv.weight"));
    for (int i = 0; i < 2; i++) {
        struct entry *e;
        char *own = arena_printf(&w->arena, "%.*s%c.weight", stem, name, i ? 'v' : 'k');
        kadr_status st =
            own ? set_add(w, file, t, own, &e, err) : err_nomem(err, "names of tensors", 64);
        if (st) return st;
        e->t.dim[0] = t->dim[0] / 2;
        e->begin = t->begin + t->size / 2 * (uint64_t)i;
    }
    return KADR_OK;
}

static kadr_status add_tensor(struct weights *w, const char *component,
                              const struct safetensors *file, const struct safetensors_tensor *t,
                              kadr_error *err) {
    if (ends(t->name, "position_ids") || strcmp(t->name, "logit_scale") == 0) return KADR_OK;
    const char *name;
    if (strcmp(component, "vae") == 0) name = vae_key(&w->arena, t->name);
    else if (starts(component, "text_encoder"))
        name = clip_key(&w->arena, component, "text_model", t->name);
    else if (strcmp(component, "image_encoder") == 0)
        name = clip_key(&w->arena, component, "vision_model", t->name);
    else name = arena_printf(&w->arena, "%s.%s", component, t->name);
    if (!name) return err_nomem(err, "names of tensors", strlen(t->name));
    if (ends(name, ".embeddings.class_embedding") || ends(name, ".image_proj.latents"))
        return add_table(w, file, t, name, err);
    if (ends(name, ".to_kv.weight")) return add_keys_and_values(w, file, t, name, err);
    return set_add(w, file, t, name, NULL, err);
}

kadr_status folder_add_file(struct weights *w, const char *component,
                            const struct safetensors *file, kadr_error *err) {
    kadr_status st = KADR_OK;
    for (size_t i = 0; i < file->count && !st; i++)
        st = add_tensor(w, component, file, &file->tensors[i], err);
    return st;
}

/* ---- Files of one component ---- */

/* A shard lies beside its index: its name is a name, not a way somewhere else. */
static kadr_status check_shard_name(const char *index, const char *key, const char *name,
                                    kadr_error *err) {
    if (!name || !*name || strchr(name, '/') || strchr(name, '\\') || !ends(name, ".safetensors"))
        return err_set(err, KADR_EMODEL,
                       "%s: weight_map: tensor %s: expected the name of a .safetensors file in the "
                       "same folder",
                       index, key);
    return KADR_OK;
}

struct shards {
    const char *name[SHARDS_MAX];
    const struct safetensors *file[SHARDS_MAX];
    size_t count;
};

static kadr_status open_shard(struct weights *w, struct shards *shards, const char *folder,
                              const char *name, const struct safetensors **out, kadr_error *err) {
    for (size_t i = 0; i < shards->count; i++)
        if (strcmp(shards->name[i], name) == 0) {
            *out = shards->file[i];
            return KADR_OK;
        }
    if (shards->count == SHARDS_MAX)
        return err_set(err, KADR_EMODEL, "%s: more than %d files", folder, SHARDS_MAX);
    char *path = file_join(&w->arena, folder, name);
    if (!path) return err_nomem(err, "path", strlen(folder));
    kadr_status st = set_source(w, path, out, err);
    if (st) return st;
    shards->name[shards->count] = name;
    shards->file[shards->count++] = *out;
    return KADR_OK;
}

static kadr_status add_indexed(struct weights *w, const char *component, const char *folder,
                               const char *index, const json_t *map, struct shards *shards,
                               kadr_error *err) {
    const char *key;
    json_t *v;
    if (!json_is_object(map) || !json_object_size(map))
        return err_set(err, KADR_EMODEL, "%s: no weight_map; expected tensor names and files",
                       index);
    json_object_foreach((json_t *)map, key, v) {
        const char *name = json_string_value(v);
        const struct safetensors *file = NULL;
        kadr_status st = check_shard_name(index, key, name, err);
        if (!st) st = open_shard(w, shards, folder, name, &file, err);
        if (st) return st;
        const struct safetensors_tensor *t = safetensors_find(file, key);
        if (!t)
            return err_set(err, KADR_EMODEL, "%s: no tensor %s; expected it there by %s",
                           file->file.path, key, file_name(index));
        st = add_tensor(w, component, file, t, err);
        if (st) return st;
    }
    return KADR_OK;
}

static kadr_status open_index(struct weights *w, const char *component, const char *folder,
                              const char *index, kadr_error *err) {
    json_t *json = NULL;
    struct shards *shards = NULL;
    kadr_status st = json_read(w->mem, index, INDEX_MAX, KADR_EMODEL, &json, err);
    if (st) return st;
    shards = mem_alloc(w->mem, sizeof *shards);
    st = shards ? add_indexed(w, component, folder, index, json_object_get(json, "weight_map"),
                              shards, err)
                : err_nomem(err, "list of files", sizeof *shards);
    mem_free(shards);
    json_decref(json);
    return st;
}

static bool listed(char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

/* The weights in a component's folder: the plain file before shards before the fp16 variant. */
static kadr_status open_weights(struct weights *w, const char *component, const char *folder,
                                kadr_error *err) {
    static const char *const stems[] = {"diffusion_pytorch_model", "model"};
    static const struct {
        const char *ending;
        bool index;
    } forms[] = {{".safetensors", false},
                 {".safetensors.index.json", true},
                 {".fp16.safetensors", false},
                 {".safetensors.index.fp16.json", true},
                 {".fp16.safetensors.index.json", true}};
    char **names;
    size_t count;
    kadr_status st = file_list(&w->arena, folder, &names, &count, err);
    if (st) return err_set(err, KADR_EMODEL, "%s: cannot be listed", folder);
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++)
        for (size_t s = 0; s < 2; s++) {
            char *name = arena_printf(&w->arena, "%s%s", stems[s], forms[f].ending);
            char *path = name ? file_join(&w->arena, folder, name) : NULL;
            if (!path) return err_nomem(err, "path", strlen(folder));
            if (!listed(names, count, name)) continue;
            if (forms[f].index) return open_index(w, component, folder, path, err);
            const struct safetensors *file;
            st = set_source(w, path, &file, err);
            return st ? st : folder_add_file(w, component, file, err);
        }
    for (size_t i = 0; i < count; i++)
        if (ends(names[i], ".bin") || ends(names[i], ".ckpt") || ends(names[i], ".pt"))
            return err_set(err, KADR_EMODEL,
                           "%s/%s: a pickle (PyTorch) file, which can run any program when it is "
                           "loaded; expected %s.safetensors beside it",
                           folder, names[i], starts(names[i], stems[0]) ? stems[0] : stems[1]);
    return err_set(err, KADR_EMODEL,
                   "%s: no weights; expected diffusion_pytorch_model.safetensors or "
                   "model.safetensors",
                   folder);
}

/* ---- Folders ---- */

static kadr_status read_config(struct weights *w, const char *component, const char *folder,
                               const char *name, kadr_error *err) {
    json_t *json = NULL;
    char *path = file_join(&w->arena, folder, name);
    if (!path) return err_nomem(err, "path", strlen(folder));
    kadr_status st = json_read(w->mem, path, CONFIG_MAX, KADR_EMODEL, &json, err);
    if (st) return st;
    if (!json_is_object(json)) {
        json_decref(json);
        return err_set(err, KADR_EMODEL, "%s: expected a JSON object", path);
    }
    return set_config(w, component, json, err);
}

static kadr_status open_component(struct weights *w, const char *folder, const char *component,
                                  kadr_error *err) {
    kadr_status st = read_config(w, component, folder, "config.json", err);
    return st ? st : open_weights(w, component, folder, err);
}

kadr_status folder_open_component(struct weights *w, const char *folder, const char *component,
                                  kadr_error *err) {
    char *inside = file_join(&w->arena, folder, component);
    if (!inside) return err_nomem(err, "path", strlen(folder));
    return open_component(w, file_is_folder(inside) ? inside : folder, component, err);
}

/* "name": ["library", "class"]; [null, null] or null where a model leaves an optional part out. */
static bool is_named(const json_t *index, const char *component) {
    return json_is_string(json_array_get(json_object_get(index, component), 1));
}

kadr_status folder_open(struct weights *w, const char *path, kadr_error *err) {
    char *index_path = file_join(&w->arena, path, "model_index.json");
    if (!index_path) return err_nomem(err, "path", strlen(path));
    if (!file_exists(index_path))
        return err_set(err, KADR_EMODEL,
                       "%s: no model_index.json; expected the folder of a diffusers model", path);
    kadr_status st = read_config(w, "", path, "model_index.json", err);
    const json_t *index = weights_config(w, "");
    for (size_t i = 0; i < sizeof components / sizeof *components && !st; i++) {
        char *folder = file_join(&w->arena, path, components[i]);
        if (!folder) return err_nomem(err, "path", strlen(path));
        if (!is_named(index, components[i])) continue;
        if (!file_is_folder(folder))
            return err_set(err, KADR_EMODEL, "%s: no such folder; model_index.json names it",
                           folder);
        st = open_component(w, folder, components[i], err);
    }
    if (st) return st;
    for (int i = 0; i < 2 && !st; i++) {
        char *folder = file_join(&w->arena, path, i ? "tokenizer_2" : "tokenizer");
        if (!folder) return err_nomem(err, "path", strlen(path));
        if (file_is_folder(folder)) w->tokenizer[i] = folder;
    }
    char *scheduler = file_join(&w->arena, path, "scheduler");
    if (!scheduler) return err_nomem(err, "path", strlen(path));
    if (file_is_folder(scheduler))
        st = read_config(w, "scheduler", scheduler, "scheduler_config.json", err);
    return st ? st : set_sort(w, err);
}
