/* hub.c: see hub.h. */
#include "hub/hub.h"
#include "base/buf.h"
#include "base/file.h"
#include "hub/cache.h"

#include <string.h>

static char *data_folder(struct mem *m, const char *below) {
    struct arena a;
    arena_init(&a, m);
    const char *folder = file_place(&a, "XDG_DATA_HOME", ".local/share", below);
    char *copy = folder ? mem_strdup(m, folder) : NULL;
    arena_free(&a);
    return copy;
}

char *hub_model_folder(struct mem *m) {
    return data_folder(m, "kadr/models");
}

char *hub_cast_folder(struct mem *m) {
    return data_folder(m, "kadr/casts");
}

static bool is_model(const char *path) {
    return path && (file_exists(path) || file_is_folder(path));
}

/* ---- One place after the other ---- */

struct search {
    struct arena arena;
    struct buf looked; /* where, for the message */
    const char *found;
};

static void note(struct search *s, const char *path) {
    buf_printf(&s->looked, "%s%s", s->looked.size ? ", " : "", path);
}

static void look_at(struct search *s, const char *path) {
    if (!path || s->found) return;
    if (is_model(path)) s->found = path;
    else note(s, path);
}

static void look_in_models(struct search *s, const char *name) {
    const char *folder = file_place(&s->arena, "XDG_DATA_HOME", ".local/share", "kadr/models");
    if (!folder) return;
    look_at(s, file_join(&s->arena, folder, name));
    look_at(s, arena_printf(&s->arena, "%s/%s.safetensors", folder, name));
    look_at(s, arena_printf(&s->arena, "%s/%s.kadr", folder, name));
}

/* A snapshot without model_index.json but with one checkpoint is that checkpoint. */
static const char *checkpoint_in(struct search *s, const char *snapshot) {
    char **names;
    size_t count;
    const char *only = NULL;
    const char *index = file_join(&s->arena, snapshot, "model_index.json");
    if (!index || file_exists(index) || file_list(&s->arena, snapshot, &names, &count, NULL))
        return snapshot;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(file_extension(names[i]), "safetensors") != 0) continue;
        if (only) return snapshot;
        only = names[i];
    }
    const char *path = only ? file_join(&s->arena, snapshot, only) : NULL;
    return path ? path : snapshot;
}

/* OWNER/NAME, with a file of it behind a further slash, of the revision behind an @. */
static void look_in_cache(struct search *s, const char *name) {
    struct arena *a = &s->arena;
    const char *cache = cache_folder(a), *revision = NULL, *file = NULL;
    char *own = arena_strdup(a, name), *at = own ? strchr(own, '@') : NULL;
    if (!cache || !own || s->found) return;
    if (at) {
        *at = 0;
        revision = at + 1;
        if (!cache_is_revision(revision)) return;
    }
    char *slash = strchr(own, '/');
    if (slash && (slash = strchr(slash + 1, '/'))) {
        *slash = 0;
        file = slash + 1;
    }
    const char *repository = cache_repository(a, cache, own);
    const char *commit = repository ? cache_commit(a, repository, revision) : NULL;
    if (!repository) return;
    const char *path =
        commit ? arena_printf(a, "%s/snapshots/%s%s%s", repository, commit, file ? "/" : "",
                              file ? file : "")
               : arena_printf(a, "%s/refs/%s", repository, revision ? revision : "main");
    if (!path) return;
    if (!commit) note(s, path);
    else look_at(s, path);
    if (s->found && !file) s->found = checkpoint_in(s, s->found);
}

kadr_status hub_find_model(struct mem *m, const char *name, char **path, kadr_error *err) {
    struct search s = {.found = is_model(name) ? name : NULL};
    kadr_status st = KADR_OK;
    arena_init(&s.arena, m);
    buf_init(&s.looked, m);
    if (!s.found && cache_is_path(name)) {
        look_in_models(&s, name);
        look_in_cache(&s, name);
    }
    if (s.found) {
        *path = mem_strdup(m, s.found);
        if (!*path) st = err_nomem(err, "path", strlen(s.found));
    } else {
        bool pullable = strchr(name, '/') && cache_is_repository(name);
        st = err_set(err, KADR_EMODEL,
                     "%s: no such model; expected a folder, a .safetensors file%s%s%s%s", name,
                     s.looked.size ? ", or one of " : "", s.looked.data,
                     pullable ? "; to download it: kadr pull " : "", pullable ? name : "");
    }
    buf_free(&s.looked);
    arena_free(&s.arena);
    return st;
}
