/* loras.c: LoRAs that clients may ask for: the files NAME.safetensors of one folder, by name. */
#include "serve/inside.h"

#include "base/file.h"
#include <string.h>

#define SUFFIX ".safetensors"

/* Length of a file's name without its suffix; 0 when it is none of a LoRA. */
static size_t name_length(const char *file) {
    size_t n = strlen(file), suffix = sizeof SUFFIX - 1;
    return *file != '.' && n > suffix && !strcmp(file + n - suffix, SUFFIX) ? n - suffix : 0;
}

static kadr_status list_files(struct serve *s, struct arena *a, char ***names, size_t *count,
                              kadr_error *err) {
    const char *folder = s->config.loras;
    *count = 0;
    if (!folder || !file_is_folder(folder)) return KADR_OK;
    return file_list(a, folder, names, count, err);
}

kadr_status loras_list(struct serve *s, json_t **out, kadr_error *err) {
    struct arena a;
    char **names;
    size_t count;
    arena_init(&a, s->mem);
    json_t *list = *out = json_array();
    kadr_status st = list ? list_files(s, &a, &names, &count, err) : err_nomem(err, "names", 0);
    for (size_t i = 0; !st && i < count; i++) {
        size_t n = name_length(names[i]);
        if (n) json_array_append_new(list, json_stringn(names[i], n)); /* none that is no UTF-8 */
    }
    arena_free(&a);
    return st;
}

/* A name is looked for among those that are there, and so never leads elsewhere. */
static kadr_status set_one(struct serve *s, struct arena *a, kadr_request *rq, const char *entry,
                           const struct request_origin *origin, kadr_error *err) {
    double weight;
    char **names;
    size_t count, n = request_weighted(entry, &weight);
    kadr_status st = list_files(s, a, &names, &count, err);
    for (size_t i = 0; !st && i < count; i++) {
        if (name_length(names[i]) != n || memcmp(names[i], entry, n) != 0) continue;
        const char *path = arena_printf(a, "%s/%s:%.15g", s->config.loras, names[i], weight);
        if (!path) return err_nomem(err, "a path", n);
        return request_set_from(rq, OPTION_lora, path, origin, err);
    }
    return st ? st
              : err_set(err, KADR_EMODEL, "lora: there is no \"%.*s\"", (int)(n < 100 ? n : 100),
                        entry);
}

kadr_status loras_set(struct serve *s, kadr_request *rq, const json_t *entries,
                      const struct request_origin *origin, kadr_error *err) {
    struct arena a;
    kadr_status st = KADR_OK;
    if (json_is_null(entries)) return KADR_OK;
    if (!json_is_array(entries))
        return err_set(err, KADR_EUSAGE, "lora: expected an array of texts NAME:WEIGHT");
    arena_init(&a, s->mem);
    for (size_t i = 0; !st && i < json_array_size(entries); i++) {
        const char *entry = json_string_value(json_array_get(entries, i));
        if (!entry) st = err_set(err, KADR_EUSAGE, "lora: expected an array of texts NAME:WEIGHT");
        else st = set_one(s, &a, rq, entry, origin, err);
    }
    arena_free(&a);
    return st;
}
