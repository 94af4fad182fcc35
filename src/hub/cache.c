/* cache.c: see cache.h. */
#include "hub/cache.h"
#include "base/buf.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define CAPITALS "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
#define NAME_MOST 96 /* as the hub has it */
#define REVISION_MOST 256

/* An absolute path from the environment; others do not count, as the XDG specification has it. */
static const char *folder_from(const char *variable) {
    const char *value = getenv(variable);
    return value && value[0] == '/' ? value : NULL;
}

const char *cache_home(struct arena *a) {
    const char *folder = folder_from("HF_HOME");
    return folder ? folder : file_place(a, "XDG_CACHE_HOME", ".cache", "huggingface");
}

const char *cache_folder(struct arena *a) {
    const char *folder = folder_from("HF_HUB_CACHE");
    if (!folder) folder = folder_from("HUGGINGFACE_HUB_CACHE");
    if (folder) return folder;
    folder = cache_home(a);
    return folder ? arena_printf(a, "%s/hub", folder) : NULL;
}

bool cache_switch(const char *variable) {
    static const char *const on[] = {"1", "on", "yes", "true"};
    const char *value = getenv(variable);
    for (size_t i = 0; value && i < sizeof on / sizeof *on; i++)
        if (!strcasecmp(value, on[i])) return true;
    return false;
}

bool cache_is_path(const char *name) {
    for (const char *part = name;; part++) {
        size_t n = strcspn(part, "/");
        if (!n || *part == '.') return false;
        part += n;
        if (!*part) return true;
    }
}

bool cache_is_repository(const char *name) {
    const char *slash = strchr(name, '/');
    size_t n = strlen(name);
    return n <= NAME_MOST && cache_is_path(name) && !(slash && strchr(slash + 1, '/')) &&
           strspn(name, LETTERS CAPITALS DIGITS "-_./") == n && !strstr(name, "--") &&
           !strstr(name, "..");
}

bool cache_is_revision(const char *revision) {
    size_t n = strlen(revision);
    return n <= REVISION_MOST && cache_is_path(revision) && !strstr(revision, "..") &&
           strspn(revision, LETTERS CAPITALS DIGITS "-_./+@") == n;
}

bool cache_is_commit(const char *text) {
    return strlen(text) == 40 && strspn(text, DIGITS "abcdef") == 40;
}

char *cache_repository(struct arena *a, const char *cache, const char *name) {
    struct buf b;
    buf_init(&b, a->mem);
    buf_printf(&b, "%s/models--", cache);
    for (const char *p = name; *p; p++) {
        if (*p == '/') buf_puts(&b, "--");
        else buf_putc(&b, *p);
    }
    char *folder = buf_ok(&b) ? arena_strdup(a, b.data) : NULL;
    buf_free(&b);
    return folder;
}

static const char *read_ref(struct arena *a, const char *path) {
    char *text;
    size_t size;
    if (file_read_all(a->mem, path, 256, KADR_EMODEL, &text, &size, NULL)) return NULL;
    text[strcspn(text, " \t\r\n")] = 0;
    const char *commit = cache_is_path(text) ? arena_strdup(a, text) : NULL;
    mem_free(text);
    return commit;
}

const char *cache_commit(struct arena *a, const char *repository, const char *revision) {
    char **names;
    size_t count;
    const char *ref = arena_printf(a, "%s/refs/%s", repository, revision ? revision : "main");
    const char *snapshots = arena_printf(a, "%s/snapshots", repository);
    if (!ref || !snapshots) return NULL;
    if (file_exists(ref)) return read_ref(a, ref);
    if (revision) {
        const char *own = file_join(a, snapshots, revision);
        return own && !strchr(revision, '/') && file_is_folder(own) ? revision : NULL;
    }
    if (!file_is_folder(snapshots) || file_list(a, snapshots, &names, &count, NULL) || count != 1)
        return NULL;
    return names[0];
}
