/* list.c: what models there are by name. A name is listed as it is found, so each is looked up
 * before it is told. */
#include "hub/hub.h"

#include "base/file.h"
#include "hub/cache.h"
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MOST 6 /* of folders in a model */

struct list {
    struct arena *arena;
    struct hub_model *model;
    size_t count, room;
    kadr_error *err;
};

/* All files below; links to files count, links to folders are not followed. */
static uint64_t size_of(struct arena *a, const char *path, int depth) {
    struct stat s;
    char **names;
    size_t count;
    uint64_t bytes = 0;
    if (stat(path, &s)) return 0;
    if (S_ISREG(s.st_mode)) return (uint64_t)s.st_size;
    if (!S_ISDIR(s.st_mode) || depth > DEPTH_MOST || (depth && lstat(path, &s)) ||
        S_ISLNK(s.st_mode) || file_list(a, path, &names, &count, NULL))
        return 0;
    for (size_t i = 0; i < count; i++) {
        const char *each = file_join(a, path, names[i]);
        if (each) bytes += size_of(a, each, depth + 1);
    }
    return bytes;
}

void hub_measure(struct arena *a, struct hub_model *model) {
    model->bytes = size_of(a, model->path, 0);
}

static kadr_status add(struct list *l, const char *name, const char *path) {
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        struct hub_model *more = arena_array(l->arena, room, sizeof *more);
        if (!more) return err_nomem(l->err, "the list of models", room * sizeof *more);
        if (l->count) memcpy(more, l->model, l->count * sizeof *more);
        l->model = more;
        l->room = room;
    }
    l->model[l->count] = (struct hub_model){.name = name, .path = path, .unfinished = !path};
    if (path) hub_measure(l->arena, &l->model[l->count]);
    l->count++;
    return KADR_OK;
}

/* Where `name` leads; NULL: nowhere. */
static const char *found_by(struct arena *a, const char *name) {
    char *path = NULL;
    if (hub_find_model(a->mem, name, &path, NULL)) return NULL;
    const char *own = arena_strdup(a, path);
    mem_free(path);
    return own;
}

/* ---- The model folder ---- */

static bool is_checkpoint(const char *path) {
    const char *extension = file_extension(path);
    return (!strcmp(extension, "safetensors") || !strcmp(extension, "kadr")) && file_exists(path);
}

static bool is_diffusers(struct arena *a, const char *path) {
    const char *index = file_join(a, path, "model_index.json");
    return index && file_exists(index);
}

/* By the shorter name where that one means the same file. */
static kadr_status add_checkpoint(struct list *l, const char *name, const char *path) {
    size_t n = strlen(name) - strlen(file_extension(name)) - 1;
    const char *brief = arena_strndup(l->arena, name, n);
    const char *leads = brief ? found_by(l->arena, brief) : NULL;
    return add(l, leads && !strcmp(leads, path) ? brief : name, path);
}

static kadr_status list_folder(struct list *l, const char *folder, const char *before, int depth) {
    char **names;
    size_t count;
    kadr_status st = KADR_OK;
    if (!file_is_folder(folder) || file_list(l->arena, folder, &names, &count, NULL))
        return KADR_OK;
    for (size_t i = 0; i < count && !st; i++) {
        const char *path = file_join(l->arena, folder, names[i]);
        const char *name = arena_printf(l->arena, "%s%s", before, names[i]);
        if (!path || !name) return err_nomem(l->err, "the list of models", 0);
        if (names[i][0] == '.') continue;
        if (is_checkpoint(path)) st = add_checkpoint(l, name, path);
        else if (is_diffusers(l->arena, path)) st = add(l, name, path);
        else if (depth < 1 && file_is_folder(path)) {
            const char *inside = arena_printf(l->arena, "%s/", name);
            st = inside ? list_folder(l, path, inside, depth + 1)
                        : err_nomem(l->err, "the list of models", 0);
        }
    }
    return st;
}

/* ---- The Hugging Face cache ---- */

/* "models--OWNER--NAME" -> "OWNER/NAME"; NULL: it is none. */
static char *repository_name(struct arena *a, const char *folder) {
    static const char start[] = "models--";
    if (strncmp(folder, start, sizeof start - 1) != 0) return NULL;
    char *name = arena_strdup(a, folder + sizeof start - 1);
    char *dashes = name ? strstr(name, "--") : NULL;
    if (dashes) {
        *dashes = '/';
        memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
    }
    return name && cache_is_repository(name) ? name : NULL;
}

static bool is_unfinished(struct arena *a, const char *repository) {
    char **names;
    size_t count;
    const char *blobs = file_join(a, repository, "blobs");
    if (!blobs || !file_is_folder(blobs) || file_list(a, blobs, &names, &count, NULL)) return false;
    for (size_t i = 0; i < count; i++)
        if (!strcmp(file_extension(names[i]), "incomplete")) return true;
    return false;
}

/* Several checkpoints beside each other are as many models, OWNER/NAME/FILE. */
static kadr_status list_snapshot(struct list *l, const char *name, const char *path) {
    char **names;
    size_t count;
    kadr_status st = KADR_OK;
    if (file_exists(path) || is_diffusers(l->arena, path)) return add(l, name, path);
    if (file_list(l->arena, path, &names, &count, NULL)) return KADR_OK;
    for (size_t i = 0; i < count && !st; i++) {
        const char *file = file_join(l->arena, path, names[i]);
        const char *own = arena_printf(l->arena, "%s/%s", name, names[i]);
        if (!file || !own) return err_nomem(l->err, "the list of models", 0);
        if (is_checkpoint(file)) st = add(l, own, file);
    }
    return st;
}

/* By its plain name, or by the names of its branches and tags. */
static kadr_status list_repository(struct list *l, const char *name, const char *repository) {
    char **refs;
    size_t count, before = l->count;
    kadr_status st = KADR_OK;
    const char *path = found_by(l->arena, name);
    const char *folder = file_join(l->arena, repository, "refs");
    if (path) return list_snapshot(l, name, path);
    if (folder && file_is_folder(folder) && !file_list(l->arena, folder, &refs, &count, NULL))
        for (size_t i = 0; i < count && !st; i++) {
            const char *own = arena_printf(l->arena, "%s@%s", name, refs[i]);
            path = own ? found_by(l->arena, own) : NULL;
            if (path) st = add(l, own, path);
        }
    bool nothing = !st && l->count == before;
    return nothing && is_unfinished(l->arena, repository) ? add(l, name, NULL) : st;
}

static kadr_status list_cache(struct list *l, const char *cache) {
    char **names;
    size_t count;
    kadr_status st = KADR_OK;
    if (!file_is_folder(cache) || file_list(l->arena, cache, &names, &count, NULL)) return KADR_OK;
    for (size_t i = 0; i < count && !st; i++) {
        const char *name = repository_name(l->arena, names[i]);
        const char *repository = file_join(l->arena, cache, names[i]);
        if (name && repository) st = list_repository(l, name, repository);
    }
    return st;
}

kadr_status hub_list(struct arena *a, struct hub_model **models, size_t *count, kadr_error *err) {
    struct list l = {.arena = a, .err = err};
    kadr_status st = KADR_OK;
    const char *cache = cache_folder(a);
    char *folder = hub_model_folder(a->mem);
    if (folder) st = list_folder(&l, folder, "", 0);
    if (!st && cache) st = list_cache(&l, cache);
    mem_free(folder);
    *models = l.model;
    *count = l.count;
    return st;
}
