/* remote.c: the hub's side of a pull: where it is, who asks, what it lists, and what its refusals
 * mean. Everything it says is checked here before it becomes a path or a size. */
#include "hub/inside.h"

#include "base/file.h"
#include "base/utf8.h"
#include "hub/cache.h"
#include <stdlib.h>
#include <string.h>

#define HUB "https://huggingface.co"
#define LIST_MOST ((size_t)16 << 20)
#define FILES_MOST 100000
#define NAME_MOST 512
#define PART_MOST 200
#define SIZE_MOST ((uint64_t)1 << 40)
#define TOKEN_MOST 1024
#define STALL 30 /* seconds */

/* ---- The environment ------------------------------------------------------------------------- */
static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* Printable ASCII without spaces: it becomes part of a header. */
static kadr_status take_token(struct remote *r, const char *text, const char *from,
                              kadr_error *err) {
    const char *begin = text + strspn(text, " \t\r\n");
    size_t n = strcspn(begin, " \t\r\n");
    if (!n) return KADR_OK;
    for (size_t i = 0; i < n; i++)
        if (begin[i] <= ' ' || begin[i] > '~' || n > TOKEN_MOST)
            return err_set(err, KADR_EUSAGE, "%s: expected a token of letters and digits", from);
    r->token = arena_strndup(r->arena, begin, n);
    r->token_from = from;
    return r->token ? KADR_OK : err_nomem(err, "a token", n);
}

static kadr_status find_token(struct remote *r, kadr_error *err) {
    static const char *const names[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    struct arena *a = r->arena;
    char *text;
    size_t size;
    if (cache_switch("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return KADR_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (variable(names[i])) return take_token(r, variable(names[i]), names[i], err);
    const char *home = cache_home(a), *path = variable("HF_TOKEN_PATH");
    if (!path) path = home ? file_join(a, home, "token") : NULL;
    if (!path || !file_exists(path)) return KADR_OK;
    kadr_status st = file_read_all(a->mem, path, 4 * TOKEN_MOST, KADR_EIO, &text, &size, err);
    if (st) return st;
    st = take_token(r, text, path, err);
    mem_free(text);
    return st;
}

static kadr_status check_names(const struct pull_request *rq, kadr_error *err) {
    if (!cache_is_repository(rq->name))
        return err_set(err, KADR_EUSAGE, "\"%.100s\" is no model's name; expected OWNER/NAME",
                       rq->name);
    if (rq->revision && !cache_is_revision(rq->revision))
        return err_set(err, KADR_EUSAGE,
                       "\"%.100s\" is no revision; expected a branch, a tag or a commit",
                       rq->revision);
    return KADR_OK;
}

kadr_status remote_prepare(struct remote *r, struct arena *a, const struct pull_request *rq,
                           kadr_error *err) {
    const char *endpoint = variable("HF_ENDPOINT"), *stall = variable("HF_HUB_DOWNLOAD_TIMEOUT");
    *r = (struct remote){.arena = a, .rq = rq, .revision = rq->revision ? rq->revision : "main"};
    kadr_status st = check_names(rq, err);
    if (st) return st;
    if (!endpoint) endpoint = HUB;
    size_t n = strlen(endpoint);
    while (n && endpoint[n - 1] == '/') n--;
    r->endpoint = arena_strndup(a, endpoint, n);
    r->cache = cache_folder(a);
    if (!r->cache)
        return err_set(err, KADR_EUSAGE,
                       "there is no home folder to download to; expected HF_HUB_CACHE=/a/folder");
    r->repository = cache_repository(a, r->cache, rq->name);
    if (!r->endpoint || !r->repository) return err_nomem(err, "a path", n);
    long seconds = stall ? strtol(stall, NULL, 10) : 0;
    r->stall = seconds >= 1 && seconds <= 3600 ? (int)seconds : STALL;
    return find_token(r, err);
}

kadr_status remote_open(struct remote *r, kadr_error *err) {
    const struct net_config config = {
        .endpoint = r->endpoint, .token = r->token, .stall = r->stall};
    return net_open(&r->net, r->arena->mem, &config, err);
}

void remote_close(struct remote *r) {
    net_close(r->net);
    r->net = NULL;
}

bool remote_tell(struct remote *r) {
    if (r->rq->progress && r->rq->progress(r->rq->user, &r->seen)) r->interrupted = true;
    return r->interrupted;
}

kadr_status remote_interrupted(kadr_error *err) {
    return err_set(err, KADR_EINTERRUPTED,
                   "interrupted; what has come is kept: run the same again to go on");
}

/* ---- Refusals -------------------------------------------------------------------------------- */
/* What an answer without a content means for who asked. */
static kadr_status explain(struct remote *r, const struct net_call *call, kadr_error *err) {
    const char *name = r->rq->name, *code = call->answer.error;
    bool gated = !strcmp(code, "GatedRepo");
    switch (call->answer.code) {
    case 401:
    case 403:
        if (gated || (call->answer.code == 403 && r->token))
            return err_set(err, KADR_EMODEL,
                           "%s: its owner asks for consent: open %s/%s in a browser, accept the "
                           "conditions, and set HF_TOKEN to a token of that account%s",
                           name, r->endpoint, name,
                           r->token ? " (the one that was sent has no access)" : "");
        if (r->token)
            return err_set(err, KADR_EMODEL,
                           "%s: there is no such model, or the token in %s may not see it", name,
                           r->token_from);
        return err_set(err, KADR_EMODEL,
                       "%s: there is no such model, or it is private: then set HF_TOKEN to a token "
                       "from %s/settings/tokens",
                       name, r->endpoint);
    case 404:
        if (!strcmp(code, "RevisionNotFound"))
            return err_set(err, KADR_EMODEL, "%s: there is no revision %s", name, r->revision);
        return err_set(err, KADR_EMODEL, "%s: there is no %s at %s", name,
                       strcmp(code, "EntryNotFound") ? "such model" : call->what, r->endpoint);
    default: *err = call->error; return call->status;
    }
}

/* ---- The list of files ----------------------------------------------------------------------- */
static bool take(struct net_call *call, const void *bytes, size_t size) {
    struct buf *to = call->user;
    if (to->size + size > LIST_MOST) {
        call->status =
            err_set(&call->error, KADR_EIO, "%s: longer than %zu MiB", call->what, LIST_MOST >> 20);
        return false;
    }
    buf_add(to, bytes, size);
    if (!buf_ok(to)) call->status = err_nomem(&call->error, call->what, to->size);
    return buf_ok(to);
}

static bool begin(struct net_call *call, uint64_t at) {
    if (!at) buf_clear(call->user);
    return true;
}

/* A name in a model: parts between slashes that are no way out, and nothing that hides in a
 * terminal. */
static bool is_inside(const char *name) {
    const char *end = name + strlen(name);
    if (end - name > NAME_MOST || strchr(name, '\\')) return false;
    for (const char *p = name; p < end;) {
        uint32_t c = utf8_next(&p, end);
        if (c == UTF8_BROKEN || c < 0x20 || (c >= 0x7F && c < 0xA0)) return false;
    }
    for (const char *part = name;; part++) {
        size_t n = strcspn(part, "/");
        bool dots = (n == 1 || n == 2) && strspn(part, ".") >= n;
        if (!n || n > PART_MOST || dots) return false;
        part += n;
        if (!*part) return true;
    }
}

static kadr_status read_listing(struct remote *r, const json_t *json, const char *what,
                                struct listing *l, kadr_error *err) {
    const char *commit = json_string_value(json_object_get(json, "sha"));
    const json_t *files = json_object_get(json, "siblings");
    size_t count = json_array_size(files);
    if (!commit || !cache_is_commit(commit) || !json_is_array(files) || count > FILES_MOST)
        return err_set(err, KADR_EIO,
                       "%s: expected \"sha\", a commit of 40 digits, and \"siblings\", at most %d "
                       "files; is %s a hub?",
                       what, FILES_MOST, r->endpoint);
    l->commit = arena_strdup(r->arena, commit);
    l->name = arena_array(r->arena, count, sizeof *l->name);
    if (!l->commit || !l->name) return err_nomem(err, what, count);
    for (l->count = 0; l->count < count; l->count++) {
        const json_t *each = json_array_get(files, l->count);
        const char *name = json_string_value(json_object_get(each, "rfilename"));
        if (!name || !is_inside(name))
            return err_set(err, KADR_EIO,
                           "%s: file \"%.200s\": expected a name inside the model; nothing was "
                           "downloaded",
                           what, name ? name : "");
        l->name[l->count] = arena_strdup(r->arena, name);
        if (!l->name[l->count]) return err_nomem(err, what, count);
    }
    return KADR_OK;
}

kadr_status remote_list(struct remote *r, struct listing *l, kadr_error *err) {
    struct arena *a = r->arena;
    struct buf body;
    json_t *json = NULL;
    const char *revision = net_escape(a, r->revision, false);
    const char *url = revision ? arena_printf(a, "%s/api/models/%s/revision/%s", r->endpoint,
                                              r->rq->name, revision)
                               : NULL;
    if (!url) return err_nomem(err, "an address", 0);
    buf_init(&body, a->mem);
    struct net_call call = {.url = url,
                            .what = arena_printf(a, "the list of files of %s", r->rq->name),
                            .begin = begin,
                            .body = take,
                            .user = &body};
    r->seen = (struct pull_progress){.stage = "asking", .seconds_left = -1};
    kadr_status st = call.what ? net_start(r->net, &call, err) : err_nomem(err, "text", 0);
    bool started = !st, done = false;
    while (started && !done && !remote_tell(r)) done = net_next(r->net, 0.2) == &call;
    if (started && !done) {
        net_close(r->net); /* before the call goes */
        r->net = NULL;
        st = remote_interrupted(err);
    }
    if (!st && call.status) st = explain(r, &call, err);
    if (!st) st = json_parse(body.data, body.size, call.what, KADR_EIO, &json, err);
    if (!st) st = read_listing(r, json, call.what, l, err);
    json_decref(json);
    buf_free(&body);
    return st;
}

/* ---- One file -------------------------------------------------------------------------------- */
const char *remote_url(struct remote *r, const char *commit, const char *file) {
    const char *name = net_escape(r->arena, file, true);
    return name ? arena_printf(r->arena, "%s/%s/resolve/%s/%s", r->endpoint, r->rq->name, commit,
                               name)
                : NULL;
}

/* W/"abc" -> abc */
static char *bare_tag(struct arena *a, const char *tag) {
    if (!strncmp(tag, "W/", 2)) tag += 2;
    tag += strspn(tag, "\"");
    return arena_strndup(a, tag, strcspn(tag, "\""));
}

kadr_status remote_read_answer(struct remote *r, const struct net_call *call, const char *commit,
                               const char **sum, kadr_error *err) {
    const struct net_answer *n = &call->answer;
    if (call->status) return explain(r, call, err);
    *sum = bare_tag(r->arena, *n->linked_etag ? n->linked_etag : n->etag);
    if (!*sum) return err_nomem(err, call->what, 0);
    if (!hash_is_sum(*sum))
        return err_set(
            err, KADR_EIO,
            "%s: the hub names no sum; expected an ETag that is a SHA-256 or git's SHA-1",
            call->what);
    if (!n->has_size || n->size > SIZE_MOST)
        return err_set(err, KADR_EIO, "%s: the hub tells no size, or more than 1 TiB", call->what);
    if (*n->commit && strcmp(n->commit, commit) != 0)
        return err_set(err, KADR_EIO, "%s: the hub answers for commit %s; expected %s", call->what,
                       n->commit, commit);
    return KADR_OK;
}
