/* hub.c: see hub.h. The Hugging Face cache holds one folder a model:
 *
 *     models--OWNER--NAME/refs/main          the newest revision's name
 *     models--OWNER--NAME/snapshots/REVISION the files of that revision, as links
 */
#include "hub/hub.h"
#include "base/buf.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>

/* An absolute path from the environment; others do not count, as the XDG specification has it. */
static const char *folder_from(const char *variable) {
    const char *value = getenv(variable);
    return value && value[0] == '/' ? value : NULL;
}

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

static const char *cache_folder(struct arena *a) {
    const char *folder = folder_from("HF_HUB_CACHE");
    if (!folder) folder = folder_from("HUGGINGFACE_HUB_CACHE");
    if (folder) return folder;
    folder = folder_from("HF_HOME");
    if (folder) return arena_printf(a, "%s/hub", folder);
    return file_place(a, "XDG_CACHE_HOME", ".cache", "huggingface/hub");
}

/* A name is no way through folders: parts between single slashes, none of them hidden or "..". */
static bool is_name(const char *name) {
    for (const char *part = name;; part++) {
        size_t n = strcspn(part, "/");
        if (!n || *part == '.') return false;
        part += n;
        if (!*part) return true;
    }
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

/* What refs/main says, or the only snapshot there is. NULL when neither. */
static const char *revision_of(struct search *s, const char *repository) {
    char *text = NULL, **names;
    size_t size, count;
    const char *ref = arena_printf(&s->arena, "%s/refs/main", repository);
    if (ref && file_exists(ref) &&
        !file_read_all(s->arena.mem, ref, 256, KADR_EMODEL, &text, &size, NULL)) {
        text[strcspn(text, " \t\r\n")] = 0;
        const char *revision = is_name(text) ? arena_strdup(&s->arena, text) : NULL;
        mem_free(text);
        return revision;
    }
    const char *snapshots = arena_printf(&s->arena, "%s/snapshots", repository);
    if (!snapshots || !file_is_folder(snapshots) ||
        file_list(&s->arena, snapshots, &names, &count, NULL) || count != 1)
        return NULL;
    return names[0];
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

static void look_in_cache(struct search *s, const char *name) {
    const char *cache = cache_folder(&s->arena);
    if (!cache || s->found) return;
    struct buf b;
    buf_init(&b, s->arena.mem);
    for (const char *p = name; *p; p++) {
        if (*p == '/') buf_puts(&b, "--");
        else buf_putc(&b, *p);
    }
    const char *repository =
        buf_ok(&b) ? arena_printf(&s->arena, "%s/models--%s", cache, b.data) : NULL;
    buf_free(&b);
    if (!repository) return;
    const char *revision = revision_of(s, repository);
    const char *path = revision ? arena_printf(&s->arena, "%s/snapshots/%s", repository, revision)
                                : arena_printf(&s->arena, "%s/refs/main", repository);
    if (!path) return;
    if (revision) look_at(s, path);
    else note(s, path);
    if (s->found) s->found = checkpoint_in(s, s->found);
}

kadr_status hub_find_model(struct mem *m, const char *name, char **path, kadr_error *err) {
    struct search s = {.found = is_model(name) ? name : NULL};
    kadr_status st = KADR_OK;
    arena_init(&s.arena, m);
    buf_init(&s.looked, m);
    if (!s.found && is_name(name)) {
        look_in_models(&s, name);
        look_in_cache(&s, name);
    }
    if (s.found) {
        *path = mem_strdup(m, s.found);
        if (!*path) st = err_nomem(err, "path", strlen(s.found));
    } else {
        st = err_set(err, KADR_EMODEL,
                     "%s: no such model; expected a folder, a .safetensors file%s%s", name,
                     s.looked.size ? ", or one of " : "", s.looked.data);
    }
    buf_free(&s.looked);
    arena_free(&s.arena);
    return st;
}
