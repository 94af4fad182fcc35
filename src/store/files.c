/* files.c: the files beside the database, known by names as "pictures/1-0-1.png". They lie in the
 * store's folder, in one that all processes share, or in the database's table `files`; then this
 * process has a folder of its own for what it needs at the moment. */
#include "store/inside.h"

#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MOST ((size_t)512 << 20)
#define OWN_PREFIX "store-"
#define MARK "kadr-store" /* in a shared folder: whose it is */
#define HOUR_MS 3600000

/* ---- Sending and fetching -------------------------------------------------------------------- */
char *files_path(struct store *s, const char *name) {
    struct buf b;
    buf_init(&b, s->mem);
    buf_printf(&b, "%s/%s", s->folder, name);
    char *path = buf_take(&b);
    buf_free(&b);
    return path;
}

kadr_status files_send(struct store *s, const char *name, kadr_error *err) {
    char *data = NULL, *path = s->carries ? files_path(s, name) : NULL;
    size_t size = 0;
    if (!s->carries) return KADR_OK;
    kadr_status st = path ? file_read_all(s->mem, path, FILE_MOST, KADR_EIO, &data, &size, err)
                          : err_nomem(err, "a path", 0);
    const struct db_bytes bytes = {data, size};
    if (!st)
        st = db_run(&s->db, NULL,
                    "INSERT INTO files(name, data, created) VALUES($1, $2, kadr_now()) "
                    "ON CONFLICT(name) DO NOTHING",
                    err, "sb", name, &bytes);
    mem_free(data);
    mem_free(path);
    return st;
}

/* Of what was fetched only the last is kept. */
static void remember(struct store *s, const char *path) {
    char **slot = &s->fetched[s->fetches++ % FILES_FETCHED];
    if (*slot) unlink(*slot);
    mem_free(*slot);
    *slot = mem_strdup(s->mem, path);
}

static kadr_status fetch(struct store *s, const char *name, const char *path, kadr_error *err) {
    struct db_row row;
    kadr_status st =
        db_start(&s->db, &row, "SELECT data FROM files WHERE name = $1", err, "s", name);
    if (!st) st = db_next(&row, err);
    if (!st && row.there) {
        struct db_bytes bytes = db_bytes(&row, 0);
        st = file_write_atomic(s->mem, path, bytes.data, bytes.size, err);
        if (!st) remember(s, path);
    } else if (!st) unlink(path); /* deleted meanwhile */
    db_end(&row);
    return st;
}

kadr_status files_fetch(struct store *s, const char *name, char **path, kadr_error *err) {
    *path = files_path(s, name);
    if (!*path) return err_nomem(err, "a path", 0);
    kadr_status st = KADR_OK;
    bool fixed = !strncmp(name, "pictures/", 9) || !strncmp(name, "latents/", 8) ||
                 !strncmp(name, "uploads/", 8); /* never changed */
    if (s->carries && !(fixed && file_exists(*path))) st = fetch(s, name, *path, err);
    if (!st) return KADR_OK;
    mem_free(*path);
    *path = NULL;
    return st;
}

kadr_status files_forget(struct store *s, const char *name, kadr_error *err) {
    if (!s->carries) return KADR_OK;
    return db_run(&s->db, NULL, "DELETE FROM files WHERE name = $1", err, "s", name);
}

/* ---- Uploads --------------------------------------------------------------------------------- */
static bool upload_name(const char *name, char *to, size_t room) {
    size_t n = strspn(name, "0123456789abcdef");
    if (!n || n > 64 || name[n]) return false;
    snprintf(to, room, "uploads/%s.png", name);
    return true;
}

char *store_upload_path(struct store *s, const char *name) {
    char file[80];
    return upload_name(name, file, sizeof file) ? files_path(s, file) : NULL;
}

kadr_status store_add_upload(struct store *s, const char *name, kadr_error *err) {
    char file[80];
    if (!upload_name(name, file, sizeof file)) return err_set(err, KADR_EUSAGE, "no such upload");
    return store_add_file(s, file, err);
}

kadr_status store_upload_file(struct store *s, const char *name, char **path, kadr_error *err) {
    char file[80];
    *path = NULL;
    return upload_name(name, file, sizeof file) ? store_file(s, file, path, err) : KADR_OK;
}

/* ---- Files of other kinds -------------------------------------------------------------------- */
char *store_file_path(struct store *s, const char *name) {
    return files_path(s, name);
}

kadr_status store_add_file(struct store *s, const char *name, kadr_error *err) {
    kadr_status st = store_begin(s, err);
    if (st) return st;
    return store_end(s, files_send(s, name, err), err);
}

kadr_status store_file(struct store *s, const char *name, char **path, kadr_error *err) {
    kadr_status st = store_begin(s, err);
    if (st) return st;
    return store_end(s, files_fetch(s, name, path, err), err);
}

kadr_status store_delete_file(struct store *s, const char *name, kadr_error *err) {
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = store_end(s, files_forget(s, name, err), err);
    char *path = st ? NULL : files_path(s, name);
    if (path) unlink(path);
    mem_free(path);
    return st;
}

kadr_status store_list_files(struct store *s, struct arena *a, const char *folder, char ***names,
                             size_t *count, kadr_error *err) {
    const char *path = file_join(a, s->folder, folder);
    *count = 0;
    if (!path) return err_nomem(err, "a path", 0);
    return s->carries ? KADR_OK : file_list(a, path, names, count, err);
}

char *store_state_path(struct store *s, const struct store_claim *claim) {
    char name[64];
    if (s->shared) return NULL;
    snprintf(name, sizeof name, "states/%lld.checkpoint", (long long)claim->job);
    return files_path(s, name);
}

/* ---- Sweeping -------------------------------------------------------------------------------- */
/* Whether a file may be of somebody who is just writing it. */
static bool is_young(const struct store *s, const char *path) {
    struct stat st;
    return s->shared && !stat(path, &st) && time(NULL) - st.st_mtime < HOUR_MS / 1000;
}

static kadr_status sweep_folder(struct store *s, const char *below, const char *known_by,
                                kadr_error *err) {
    char **names;
    size_t count;
    const char *folder = file_join(&s->arena, s->folder, below);
    if (!folder) return err_nomem(err, "a path", 0);
    kadr_status st = file_list(&s->arena, folder, &names, &count, err);
    for (size_t i = 0; !st && i < count; i++) {
        int64_t known = 0;
        const char *path = file_join(&s->arena, folder, names[i]);
        if (strcmp(below, "pictures") != 0) names[i][strcspn(names[i], ".")] = 0;
        st = db_number(&s->db, 0, &known, known_by, err, "s", names[i]);
        if (!st && !known && path && !is_young(s, path)) unlink(path);
    }
    return st;
}

/* Files of drawings that were killed between the file and its row, states of what is not drawn any
 * more, and pictures that were sent and that no job or document names. */
static kadr_status sweep(struct store *s, kadr_error *err) {
    kadr_status st = store_begin(s, err);
    if (st) return st;
    if (s->carries)
        st = db_run(&s->db, NULL,
                    "DELETE FROM files WHERE name LIKE 'uploads/%' AND created < kadr_now() - $1 "
                    "AND NOT EXISTS(SELECT 1 FROM jobs "
                    "WHERE instr(request, substr(files.name, 9, length(files.name) - 12)) > 0) "
                    "AND NOT EXISTS(SELECT 1 FROM documents "
                    "WHERE instr(body, substr(files.name, 9, length(files.name) - 12)) > 0)",
                    err, "i", (int64_t)HOUR_MS);
    else {
        st = sweep_folder(s, "pictures", "SELECT 1 FROM pictures WHERE file = $1", err);
        if (!st)
            st =
                sweep_folder(s, "latents", "SELECT 1 FROM pictures WHERE file = $1 || '.png'", err);
        if (!st && !s->shared)
            st = sweep_folder(s, "states", "SELECT 1 FROM parts WHERE job || '' = $1", err);
        if (!st)
            st = sweep_folder(s, "uploads",
                              "SELECT 1 WHERE EXISTS(SELECT 1 FROM jobs WHERE "
                              "instr(request, $1) > 0) OR "
                              "EXISTS(SELECT 1 FROM documents WHERE instr(body, $1) > 0)",
                              err);
    }
    return store_end(s, st, err);
}

/* ---- Opening --------------------------------------------------------------------------------- */
static kadr_status make_below(struct store *s, kadr_error *err) {
    static const char *const below[] = {"pictures", "latents", "states",
                                        "uploads",  "casts",   "exports"};
    kadr_status st = KADR_OK;
    for (size_t i = 0; !st && i < sizeof below / sizeof *below; i++) {
        const char *path = file_join(&s->arena, s->folder, below[i]);
        st = path ? file_make_folders(path, err) : err_nomem(err, "a path", 0);
    }
    return st;
}

/* -1 when somebody else holds it, or there is none. */
static int take_lock(const char *path, int flags) {
    int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0666);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void remove_folder(struct arena *a, const char *folder) {
    char **names;
    size_t count;
    if (file_list(a, folder, &names, &count, NULL)) return;
    for (size_t i = 0; i < count; i++) {
        const char *path = file_join(a, folder, names[i]);
        if (path && unlink(path)) remove_folder(a, path);
    }
    rmdir(folder);
}

/* All that is in a folder of the store's. */
static void remove_below(struct store *s, const char *below) {
    char **names;
    size_t count;
    const char *folder = file_join(&s->arena, s->folder, below);
    if (!folder || file_list(&s->arena, folder, &names, &count, NULL)) return;
    for (size_t i = 0; i < count; i++) {
        const char *path = file_join(&s->arena, folder, names[i]);
        if (path) remove_folder(&s->arena, path);
    }
}

/* What processes left that were killed. */
static void remove_left(struct store *s, const char *cache) {
    char **names;
    size_t count;
    if (file_list(&s->arena, cache, &names, &count, NULL)) return;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i], OWN_PREFIX, sizeof OWN_PREFIX - 1) != 0) continue;
        const char *folder = file_join(&s->arena, cache, names[i]);
        const char *lock = folder ? file_join(&s->arena, folder, "lock") : NULL;
        int fd = lock ? take_lock(lock, 0) : -1;
        if (fd < 0) continue;
        remove_folder(&s->arena, folder);
        close(fd);
    }
}

/* A folder of this process's own, with a lock in it that lives as long as it does. */
static kadr_status make_own(struct store *s, const char *cache, kadr_error *err) {
    char *folder = file_join(&s->arena, cache, OWN_PREFIX "XXXXXX");
    if (!folder) return err_nomem(err, "a path", 0);
    if (!mkdtemp(folder)) return err_errno(err, "cannot make folder", folder);
    s->folder = folder;
    s->carries = true;
    const char *lock = file_join(&s->arena, folder, "lock");
    s->lock = lock ? take_lock(lock, O_CREAT) : -1;
    return s->lock >= 0 ? KADR_OK : err_errno(err, "cannot lock", folder);
}

/* One process at a time: a folder that is not locked yet looks like one that was left. */
static kadr_status open_own(struct store *s, const char *cache, kadr_error *err) {
    if (!cache)
        return err_set(err, KADR_EUSAGE, "store: expected a place for files, there is none");
    kadr_status st = file_make_folders(cache, err);
    if (st) return st;
    int all = open(cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (all < 0) return err_errno(err, "cannot open", cache);
    while (flock(all, LOCK_EX) && errno == EINTR) continue;
    remove_left(s, cache);
    st = make_own(s, cache, err);
    close(all);
    return st;
}

/* Whoever comes first says where pictures are, and marks the folder with the store's number. */
static kadr_status agree(struct store *s, kadr_error *err) {
    struct db_row row = {0};
    uint8_t random[16];
    char own[40] = "database", mark[80] = "", *file = NULL;
    int64_t first = 0;
    size_t size;
    const char *path = file_join(&s->arena, s->folder, MARK);
    if (!path) return err_nomem(err, "a path", 0);
    if (!s->carries) {
        if (getentropy(random, sizeof random)) return err_errno(err, "a name", "getentropy");
        for (size_t i = 0; i < sizeof random; i++) snprintf(own + 2 * i, 3, "%02x", random[i]);
    }
    kadr_status st = store_begin(s, err);
    if (st) return st;
    st = db_run(&s->db, &first,
                "INSERT INTO settings(name, value) VALUES('pictures', $1) "
                "ON CONFLICT(name) DO NOTHING",
                err, "s", own);
    if (!st && first && !s->carries) st = file_write_atomic(s->mem, path, own, strlen(own), err);
    if (!st)
        st = db_start(&s->db, &row, "SELECT value FROM settings WHERE name = 'pictures'", err, "");
    if (!st) st = db_next(&row, err);
    if (!st && row.there) snprintf(mark, sizeof mark, "%s", db_text(&row, 0));
    db_end(&row);
    st = store_end(s, st, err);
    if (st) return st;
    bool in_database = !strcmp(mark, "database");
    if (s->carries && !in_database)
        return err_set(err, KADR_EUSAGE,
                       "%s: its pictures are in a shared folder: expected --pictures FOLDER",
                       s->db.name);
    if (!s->carries && in_database)
        return err_set(err, KADR_EUSAGE, "%s: its pictures are in the database, not in --pictures",
                       s->db.name);
    if (s->carries) return KADR_OK;
    bool same = !file_read_all(s->mem, path, sizeof own, KADR_EIO, &file, &size, NULL) &&
                !strcmp(file, mark);
    mem_free(file);
    return same ? KADR_OK
                : err_set(err, KADR_EUSAGE,
                          "%s: is not the folder of this store, whose " MARK " is %s", s->folder,
                          mark);
}

static kadr_status open_shared(struct store *s, const struct store_place *place, kadr_error *err) {
    kadr_status st = KADR_OK;
    if (place->pictures) {
        s->folder = arena_strdup(&s->arena, place->pictures);
        if (!s->folder) st = err_nomem(err, "a path", 0);
    } else st = open_own(s, place->cache, err);
    if (!st) st = make_below(s, err);
    if (!st) st = db_open(&s->db, s->where, err);
    return st ? st : agree(s, err);
}

static kadr_status open_folder(struct store *s, kadr_error *err) {
    s->folder = s->where;
    const char *lock = file_join(&s->arena, s->folder, "lock");
    const char *path = file_join(&s->arena, s->folder, "kadr.db");
    if (!lock || !path) return err_nomem(err, "a path", 0);
    kadr_status st = make_below(s, err);
    if (st) return st;
    s->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->lock < 0) return err_errno(err, "opening", lock);
    if (flock(s->lock, LOCK_EX | LOCK_NB))
        return err_set(err, KADR_EUSAGE, "%s: another kadr serves from this folder", s->folder);
    remove_below(s, "exports");
    return db_open(&s->db, path, err);
}

kadr_status files_open(struct store *s, const struct store_place *place, kadr_error *err) {
    if (place->pictures && !s->shared)
        return err_set(err, KADR_EUSAGE, "pictures: only a store at postgresql:// has them apart");
    kadr_status st = s->shared ? open_shared(s, place, err) : open_folder(s, err);
    return st ? st : sweep(s, err);
}

void files_close(struct store *s) {
    for (size_t i = 0; i < FILES_FETCHED; i++) mem_free(s->fetched[i]);
    if (s->carries && s->folder) remove_folder(&s->arena, s->folder);
    if (s->lock >= 0) close(s->lock);
}
