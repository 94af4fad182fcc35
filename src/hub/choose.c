/* choose.c: which of a model's files kadr needs: of weights the half-sized variant (fp16) where
 * there is one, and never a pickle, because reading one runs whatever program it holds. */
#include "hub/inside.h"

#include "base/file.h"
#include <string.h>

#define CHOSEN_MOST 1000

static bool ends(const char *text, const char *with) {
    size_t n = strlen(text), m = strlen(with);
    return n >= m && strcmp(text + n - m, with) == 0;
}

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static bool is_pickle(const char *name) {
    static const char *const extensions[] = {"bin", "ckpt", "pt", "pth", "pkl", "pickle"};
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++)
        if (!strcasecmp(file_extension(name), extensions[i])) return true;
    return false;
}

static kadr_status refuse_pickle(const char *model, const char *name, kadr_error *err) {
    return err_set(err, KADR_EMODEL,
                   "%s: %s is a pickle, which can run any program when it is read; kadr takes "
                   ".safetensors only: look for one in another revision (refs/pr/1) or another "
                   "model of that name",
                   model, name);
}

static const char *listed(const struct listing *l, const char *name) {
    for (size_t i = 0; i < l->count; i++)
        if (!strcmp(l->name[i], name)) return l->name[i];
    return NULL;
}

bool listing_has(const struct listing *l, const char *name) {
    return listed(l, name);
}

static kadr_status add(struct arena *a, struct chosen *c, const char *name, kadr_error *err) {
    if (!c->name) c->name = arena_array(a, CHOSEN_MOST, sizeof *c->name);
    if (!c->name) return err_nomem(err, "the list of files", CHOSEN_MOST * sizeof *c->name);
    for (size_t i = 0; i < c->count; i++)
        if (!strcmp(c->name[i], name)) return KADR_OK;
    if (c->count == CHOSEN_MOST)
        return err_set(err, KADR_EMODEL, "more than %d files belong to the model", CHOSEN_MOST);
    c->name[c->count++] = name;
    return KADR_OK;
}

/* ---- By name --------------------------------------------------------------------------------- */
kadr_status choose_named(struct arena *a, const struct listing *l, const struct pull_request *rq,
                         struct chosen *c, kadr_error *err) {
    kadr_status st = KADR_OK;
    for (size_t i = 0; i < rq->file_count && !st; i++) {
        const char *name = listed(l, rq->files[i]);
        if (!name) {
            const char *near = NULL;
            for (size_t k = 0; k < l->count && !near; k++)
                if (!strcmp(file_name(l->name[k]), file_name(rq->files[i]))) near = l->name[k];
            st = err_set(err, KADR_EMODEL, "%s: there is no file %.200s%s%.200s%s", rq->name,
                         rq->files[i], near ? "; is it " : "", near ? near : "", near ? "?" : "");
        } else st = is_pickle(name) ? refuse_pickle(rq->name, name, err) : add(a, c, name, err);
    }
    return st;
}

/* ---- Diffusers folders ----------------------------------------------------------------------- */
/* The shards of `stem` beside its index: "stem-00001-of-00002.safetensors", of the variant or not.
 */
static kadr_status add_shards(struct arena *a, const struct listing *l, const char *stem,
                              bool variant, struct chosen *c, kadr_error *err) {
    kadr_status st = KADR_OK;
    for (size_t i = 0; i < l->count && !st; i++) {
        const char *name = l->name[i];
        if (!starts(name, stem) || strchr(name + strlen(stem), '/')) continue;
        const char *rest = name + strlen(stem);
        bool shard = (*rest == '-' || *rest == '.') && strstr(rest, "-of-");
        if (shard && ends(rest, ".safetensors") && (strstr(rest, "fp16") != NULL) == variant)
            st = add(a, c, name, err);
    }
    return st;
}

static kadr_status add_weights(struct arena *a, const struct listing *l, const char *model,
                               const char *component, struct chosen *c, kadr_error *err) {
    static const char *const stems[] = {"diffusion_pytorch_model", "model"};
    static const struct {
        const char *ending;
        bool index, variant;
    } forms[] = {{".fp16.safetensors", false, true},
                 {".safetensors.index.fp16.json", true, true},
                 {".fp16.safetensors.index.json", true, true},
                 {".safetensors", false, false},
                 {".safetensors.index.json", true, false}};
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++)
        for (size_t s = 0; s < 2; s++) {
            const char *stem = arena_printf(a, "%s/%s", component, stems[s]);
            const char *name = stem ? arena_printf(a, "%s%s", stem, forms[f].ending) : NULL;
            if (!name) return err_nomem(err, "a name", 0);
            if (!(name = listed(l, name))) continue;
            kadr_status st = add(a, c, name, err);
            if (!st && forms[f].index) st = add_shards(a, l, stem, forms[f].variant, c, err);
            return st;
        }
    const char *folder = arena_printf(a, "%s/", component);
    for (size_t i = 0; folder && i < l->count; i++)
        if (starts(l->name[i], folder) && is_pickle(l->name[i]))
            return refuse_pickle(model, l->name[i], err);
    return err_set(err, KADR_EMODEL, "%s: no weights in %s; expected .safetensors", model,
                   component);
}

static bool is_named(const json_t *index, const char *component) {
    return json_is_string(json_array_get(json_object_get(index, component), 1));
}

static kadr_status check_kind(const char *model, const json_t *index, kadr_error *err) {
    static const char *const needed[] = {"unet", "vae", "text_encoder", "text_encoder_2"};
    const char *kind = json_string_value(json_object_get(index, "_class_name"));
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!is_named(index, needed[i]))
            return err_set(err, KADR_EMODEL,
                           "%s is a %.60s without %s; kadr draws with models of SDXL's kind. "
                           "Nothing was downloaded (--file takes single files all the same)",
                           model, kind ? kind : "model", needed[i]);
    return KADR_OK;
}

kadr_status choose_folder(struct arena *a, const struct listing *l, const char *model,
                          const json_t *index, struct chosen *c, kadr_error *err) {
    static const char *const always[] = {"model_index.json", "kadr.json",
                                         "scheduler/scheduler_config.json"};
    static const char *const components[] = {"unet", "vae", "text_encoder", "text_encoder_2",
                                             "image_encoder"};
    static const char *const tokenizers[] = {"tokenizer", "tokenizer_2"};
    static const char *const words[] = {"vocab.json",        "merges.txt",
                                        "tokenizer.json",    "tokenizer_config.json",
                                        "added_tokens.json", "special_tokens_map.json"};
    kadr_status st = check_kind(model, index, err);
    for (size_t i = 0; i < sizeof always / sizeof *always && !st; i++)
        if (listed(l, always[i])) st = add(a, c, listed(l, always[i]), err);
    for (size_t i = 0; i < sizeof components / sizeof *components && !st; i++) {
        if (!is_named(index, components[i])) continue;
        const char *config = arena_printf(a, "%s/config.json", components[i]);
        if (!config) return err_nomem(err, "a name", 0);
        if (!listed(l, config))
            return err_set(err, KADR_EMODEL, "%s: no %s; expected it as model_index.json names %s",
                           model, config, components[i]);
        st = add(a, c, listed(l, config), err);
        if (!st) st = add_weights(a, l, model, components[i], c, err);
    }
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < sizeof words / sizeof *words && !st; k++) {
            const char *name = arena_printf(a, "%s/%s", tokenizers[i], words[k]);
            if (!name) return err_nomem(err, "a name", 0);
            if (listed(l, name)) st = add(a, c, listed(l, name), err);
        }
    /* Of models that come with one: the adapter of casts. */
    for (size_t i = 0; i < l->count && !st; i++)
        if (starts(l->name[i], "ip_adapter/") &&
            (ends(l->name[i], ".json") || ends(l->name[i], ".safetensors")))
            st = add(a, c, l->name[i], err);
    return st;
}

/* ---- Single checkpoints ---------------------------------------------------------------------- */
kadr_status choose_single(struct arena *a, const struct listing *l, const char *model,
                          struct chosen *c, kadr_error *err) {
    const char *pickle = NULL, *one = NULL;
    struct buf names;
    size_t count = 0;
    kadr_status st;
    buf_init(&names, a->mem);
    for (size_t i = 0; i < l->count; i++) {
        if (is_pickle(l->name[i])) pickle = l->name[i];
        if (!ends(l->name[i], ".safetensors")) continue;
        one = l->name[i];
        if (count++ < 8) buf_printf(&names, "%s%s", count > 1 ? ", " : "", one);
    }
    if (count == 1) st = add(a, c, one, err);
    else if (count)
        st = err_set(err, KADR_EUSAGE, "%s has %zu checkpoints; say which with --file: %s%s", model,
                     count, buf_ok(&names) ? names.data : "", count > 8 ? ", ..." : "");
    else if (pickle) st = refuse_pickle(model, pickle, err);
    else
        st = err_set(err, KADR_EMODEL,
                     "%s: nothing in it that kadr could draw with; expected model_index.json or a "
                     ".safetensors file",
                     model);
    buf_free(&names);
    return st;
}
