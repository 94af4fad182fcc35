/* pull.c: see pull.h. List, choose, fetch, link, and last the ref by which it is found. */
#include "hub/pull.h"

#include "base/file.h"
#include "hub/cache.h"
#include "hub/hub.h"
#include "hub/inside.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define INDEX "model_index.json"
#define INDEX_MOST ((size_t)1 << 20)

/* ---- Links ----------------------------------------------------------------------------------- */
/* snapshots/COMMIT/unet/config.json -> ../../../blobs/SUM, in place of whatever was there. */
static kadr_status place(struct remote *r, struct pull_file *file, const char *snapshot,
                         kadr_error *err) {
    struct arena *a = r->arena;
    char there[512];
    struct buf target;
    buf_init(&target, a->mem);
    for (const char *p = file->name; (p = strchr(p, '/')); p++) buf_puts(&target, "../");
    buf_printf(&target, "../../blobs/%s", file->sum);
    const char *path = arena_printf(a, "%s/%s", snapshot, file->name);
    char *folder = path ? arena_strndup(a, path, (size_t)(file_name(path) - path) - 1) : NULL;
    kadr_status st = buf_ok(&target) && folder ? file_make_folders(folder, err)
                                               : err_nomem(err, "a path", target.size);
    ssize_t n = st ? -1 : readlink(path, there, sizeof there);
    bool same = n == (ssize_t)target.size && !memcmp(there, target.data, target.size);
    if (!st && !same) {
        /* No link of another name that is renamed: killed in between, it would stay as one file of
         * the model too many. A missing one is made by the next pull. */
        if ((unlink(path) && errno != ENOENT) || symlink(target.data, path))
            st = err_errno(err, "cannot make the link", path);
    }
    file->path = path;
    buf_free(&target);
    return st;
}

static kadr_status write_ref(struct remote *r, const char *commit, kadr_error *err) {
    struct arena *a = r->arena;
    if (!strcmp(r->revision, commit)) return KADR_OK;
    const char *path = arena_printf(a, "%s/refs/%s", r->repository, r->revision);
    char *folder = path ? arena_strndup(a, path, (size_t)(file_name(path) - path) - 1) : NULL;
    if (!folder) return err_nomem(err, "a path", 0);
    kadr_status st = file_make_folders(folder, err);
    return st ? st : file_write_atomic(a->mem, path, commit, strlen(commit), err);
}

/* ---- The whole ------------------------------------------------------------------------------- */
static kadr_status take_names(struct remote *r, const struct chosen *c, struct pull_result *result,
                              kadr_error *err) {
    result->file = arena_array(r->arena, c->count + 1, sizeof *result->file);
    if (!result->file) return err_nomem(err, "the list of files", c->count);
    result->files = c->count;
    for (size_t i = 0; i < c->count; i++) result->file[i].name = c->name[i];
    return KADR_OK;
}

/* model_index.json decides what else is wanted. */
static kadr_status read_index(struct remote *r, const char *commit, json_t **index,
                              uint64_t *fetched, kadr_error *err) {
    struct pull_file file = {.name = INDEX};
    kadr_status st = fetch(r, commit, &file, 1, err);
    const char *path = st ? NULL : arena_printf(r->arena, "%s/blobs/%s", r->repository, file.sum);
    if (!st && !path) st = err_nomem(err, "a path", 0);
    if (!st) st = json_read(r->arena->mem, path, INDEX_MOST, KADR_EMODEL, index, err);
    if (!st && file.fetched) *fetched += file.size;
    return st;
}

static kadr_status choose(struct remote *r, const struct listing *l, struct pull_result *result,
                          bool *index_fetched, kadr_error *err) {
    struct chosen c = {0};
    json_t *index = NULL;
    uint64_t fetched = 0;
    kadr_status st;
    if (r->rq->file_count) st = choose_named(r->arena, l, r->rq, &c, err);
    else if (!listing_has(l, INDEX)) st = choose_single(r->arena, l, r->rq->name, &c, err);
    else {
        st = read_index(r, l->commit, &index, &fetched, err);
        if (!st) st = choose_folder(r->arena, l, r->rq->name, index, &c, err);
    }
    json_decref(index);
    *index_fetched = fetched > 0;
    return st ? st : take_names(r, &c, result, err);
}

static kadr_status link_all(struct remote *r, struct pull_result *result, kadr_error *err) {
    const char *snapshot = arena_printf(r->arena, "%s/snapshots/%s", r->repository, result->commit);
    kadr_status st = snapshot ? KADR_OK : err_nomem(err, "a path", 0);
    for (size_t i = 0; i < result->files && !st; i++)
        st = place(r, &result->file[i], snapshot, err);
    return st ? st : write_ref(r, result->commit, err);
}

/* Where the model is now: as it is found by name, but one file that was asked for is itself. */
static kadr_status find(struct remote *r, struct pull_result *result, kadr_error *err) {
    const struct pull_request *rq = r->rq;
    char *path = NULL;
    if (rq->file_count == 1 && result->files == 1) {
        result->path = result->file[0].path;
        return KADR_OK;
    }
    const char *name = arena_printf(r->arena, "%s@%s", rq->name, r->revision);
    kadr_status st =
        name ? hub_find_model(r->arena->mem, name, &path, err) : err_nomem(err, "a name", 0);
    if (st) return st;
    result->path = arena_strdup(r->arena, path);
    mem_free(path);
    return result->path ? KADR_OK : err_nomem(err, "a path", 0);
}

/* Without a network: what is there, if it is all there. */
static kadr_status find_offline(struct remote *r, struct pull_result *result, kadr_error *err) {
    result->commit = cache_commit(r->arena, r->repository, r->revision);
    for (size_t i = 0; i < r->rq->file_count && result->commit; i++) {
        const char *path = arena_printf(r->arena, "%s/snapshots/%s/%s", r->repository,
                                        result->commit, r->rq->files[i]);
        if (!path) return err_nomem(err, "a path", 0);
        if (!file_exists(path)) result->commit = NULL;
        else result->path = path;
    }
    if (!result->commit)
        return err_set(err, KADR_EMODEL,
                       "%s: not all of it is here, and HF_HUB_OFFLINE forbids downloads: unset it",
                       r->rq->name);
    return r->rq->file_count == 1 ? KADR_OK : find(r, result, err);
}

kadr_status pull(struct arena *a, const struct pull_request *rq, struct pull_result *result,
                 kadr_error *err) {
    struct remote r;
    struct listing l = {0};
    bool index_fetched = false;
    *result = (struct pull_result){.name = rq->name};
    kadr_status st = remote_prepare(&r, a, rq, err);
    if (st) return st;
    result->revision = r.revision;
    if (cache_switch("HF_HUB_OFFLINE") || cache_switch("TRANSFORMERS_OFFLINE"))
        return find_offline(&r, result, err);
    st = remote_open(&r, err);
    if (!st) st = remote_list(&r, &l, err);
    result->commit = l.commit;
    if (!st) st = choose(&r, &l, result, &index_fetched, err);
    if (!st) st = fetch(&r, l.commit, result->file, result->files, err);
    if (!st) st = link_all(&r, result, err);
    if (!st) st = find(&r, result, err);
    remote_close(&r);
    for (size_t i = 0; i < result->files && !st; i++) {
        struct pull_file *f = &result->file[i];
        f->fetched |= index_fetched && !strcmp(f->name, INDEX);
        if (f->fetched) result->fetched += f->size;
    }
    return st;
}
