/* casts.c: characters. A cast is made by the thread that draws, as a job among the others; its file
 * lies in the store's folder of casts, and a document of kind "cast" tells that it is there. */
#include "serve/routes.h"

#include "base/file.h"
#include "base/utf8.h"
#include "draw/cast.h"
#include "image/image.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define KIND "cast"
#define MAKE "make-cast" /* the key of a job's request that makes one: its name */
#define REFERENCES 32
#define ENTRY_MOST 400

/* ---- Names ----------------------------------------------------------------------------------- */
/* Letters of any kind, digits, - and _: what also stands in a path of ours, and is no file's path.
 */
static bool good_name(const char *name) {
    size_t n = strlen(name);
    const char *end = name + n;
    if (!n || n >= ROUTE_NAME) return false;
    for (const char *p = name; p < end;) {
        uint32_t u = utf8_next(&p, end);
        bool plain = (u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') || (u >= 'a' && u <= 'z') ||
                     u == '-' || u == '_' || (u >= 0xA0 && u != UTF8_BROKEN);
        if (!plain) return false;
    }
    return true;
}

static bool good_region(const char *region) {
    static const char *const known[] = {"left", "right", "center", "centre", "top", "bottom"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(region, known[i])) return true;
    /* Four numbers: what has three commas is never taken for a file. */
    size_t commas = 0;
    for (const char *p = region; *p; p++) commas += *p == ',';
    return commas == 3 && strspn(region, "0123456789.,") == strlen(region);
}

/* "casts/NAME.cast"; `name` is a good one. */
static const char *file_of(const char *name, char file[ROUTE_NAME + 16]) {
    snprintf(file, ROUTE_NAME + 16, "casts/%s." CAST_EXTENSION, name);
    return file;
}

/* Whether there is one of that name: made here, or in the folder. */
static kadr_status is_there(struct serve *s, const char *name, bool *there, kadr_error *err) {
    char file[ROUTE_NAME + 16], *path = NULL;
    json_t *kept = NULL;
    kadr_status st = store_get(s->store, KIND, name, &kept, err);
    if (!st && !kept) st = store_file(s->store, file_of(name, file), &path, err);
    *there = kept || (path && file_exists(path));
    json_decref(kept);
    mem_free(path);
    return st;
}

/* So that the file lies where it is looked for: by that name, or in small letters. */
static kadr_status fetch(struct serve *s, char *name, kadr_error *err) {
    char file[ROUTE_NAME + 16], *path = NULL;
    kadr_status st = store_file(s->store, file_of(name, file), &path, err);
    bool there = path && file_exists(path);
    mem_free(path);
    if (st || there) return st;
    for (char *p = name; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + 32);
    st = store_file(s->store, file_of(name, file), &path, err);
    mem_free(path);
    return st;
}

static kadr_status take_one(struct serve *s, const json_t *one, kadr_error *err) {
    char entry[ENTRY_MOST];
    size_t n = json_string_length(one);
    if (!json_is_string(one) || n >= sizeof entry || strlen(json_string_value(one)) != n)
        return err_set(err, KADR_EUSAGE, "cast: expected texts as NAME:SCALE@REGION");
    memcpy(entry, json_string_value(one), n + 1);
    const struct cast_entry e = cast_split(entry);
    if (!good_name(e.name))
        return err_set(err, KADR_EUSAGE, "cast: \"%s\": expected a cast's name", e.name);
    if (e.region && !good_region(e.region))
        return err_set(err, KADR_EUSAGE,
                       "cast: region %s: expected left, right, center, top, bottom or X0,Y0,X1,Y1",
                       e.region);
    return fetch(s, e.name, err);
}

kadr_status casts_take(struct serve *s, kadr_request *rq, const json_t *entries, kadr_error *err) {
    size_t i;
    json_t *one;
    if (json_is_null(entries)) return KADR_OK;
    if (!json_is_array(entries)) return err_set(err, KADR_EUSAGE, "cast: expected an array");
    char *folder = store_file_path(s->store, "casts");
    kadr_status st =
        folder ? kadr_request_set(rq, "cast-folder", folder, err) : err_nomem(err, "a path", 0);
    mem_free(folder);
    json_array_foreach((json_t *)entries, i, one) if (!st) st = take_one(s, one, err);
    return st;
}

/* ---- Making ---------------------------------------------------------------------------------- */
bool casts_is_job(const char *request) {
    json_t *json = json_loads(request, 0, NULL);
    bool is = json_object_get(json, MAKE) != NULL;
    json_decref(json);
    return is;
}

/* The request: the model, and which part of the references shows the character. */
static kadr_status make_request(struct serve *s, const json_t *job, kadr_request **out,
                                kadr_error *err) {
    static const char *const options[] = {"model", "crop"};
    kadr_request *rq = *out = kadr_request_new();
    kadr_status st = rq ? KADR_OK : err_nomem(err, "a request", 0);
    for (size_t i = 0; !st && i < 2; i++) {
        const char *value = json_string_value(json_object_get(job, options[i]));
        if (value) st = kadr_request_set(rq, options[i], value, err);
    }
    return st ? st : s->config.prepare(s->config.user, false, rq, err);
}

static kadr_status make(struct serve *s, const json_t *job, const char *path,
                        const kadr_observer *observer, kadr_error *err) {
    const json_t *references = json_object_get(job, "references");
    const char *pictures[REFERENCES];
    char *owned[REFERENCES];
    size_t count = json_array_size(references), n = 0;
    kadr_request *rq = NULL;
    kadr_status st = make_request(s, job, &rq, err);
    while (!st && n < count && n < REFERENCES) {
        st = upload_path(s, json_array_get(references, n), "references", &owned[n], err);
        if (st) break;
        pictures[n] = owned[n];
        n++;
    }
    const char *name = json_string_value(json_object_get(job, MAKE));
    if (!st) st = kadr_cast_make(s->ctx, rq, name, pictures, n, path, observer, err);
    while (n) mem_free(owned[--n]);
    kadr_request_free(rq);
    return st;
}

kadr_status casts_make(struct serve *s, const char *request, const kadr_observer *observer,
                       kadr_error *err) {
    json_t *job = json_loads(request, 0, NULL), *there = NULL;
    const char *name = json_string_value(json_object_get(job, MAKE));
    char file[ROUTE_NAME + 16],
        *path = name ? store_file_path(s->store, file_of(name, file)) : NULL;
    int64_t version;
    kadr_status st =
        path ? store_get(s->store, KIND, name, &there, err) : err_nomem(err, "a cast", 0);
    /* Made already, by this very job, whose end was not told. */
    bool made = there && json_equal(json_object_get(there, "body"), job);
    if (!st && there && !made) st = err_set(err, KADR_EUSAGE, "there is a cast %s already", name);
    if (!st && !made) st = make(s, job, path, observer, err);
    if (!st && !made) st = store_add_file(s->store, file, err);
    if (!st && !made) st = store_put(s->store, KIND, name, request, 0, &version, err);
    if (!st) link_tell(s, KIND, json_pack("{s:s}", "name", name));
    mem_free(path);
    json_decref(there);
    json_decref(job);
    return st;
}

/* ---- Routes ---------------------------------------------------------------------------------- */
/* {"name", "references": [an upload's id or a picture's number, ...], "crop", "model"} */
static kadr_status check_wish(struct serve *s, const json_t *body, json_t *job, kadr_error *err) {
    const char *name = json_string_value(json_object_get(body, "name"));
    const json_t *references = json_object_get(body, "references");
    size_t count = json_array_size(references);
    bool there = false;
    kadr_request *rq = NULL;
    if (!name || !good_name(name))
        return err_set(err, KADR_EUSAGE, "name: expected up to %d letters, digits, - and _",
                       ROUTE_NAME - 1);
    if (!count || count > REFERENCES)
        return err_set(err, KADR_EUSAGE, "references: expected 1 to %d pictures", REFERENCES);
    kadr_status st = is_there(s, name, &there, err);
    if (!st && there) st = err_set(err, KADR_EUSAGE, "there is a cast %s already", name);
    for (size_t i = 0; !st && i < count; i++) {
        char *path;
        st = upload_path(s, json_array_get(references, i), "references", &path, err);
        if (!st) mem_free(path);
    }
    json_object_set_new(job, MAKE, json_string(name));
    json_object_set_new(job, "count", json_integer(1)); /* as a job has it; no picture comes */
    json_object_set(job, "references", (json_t *)references);
    json_object_set(job, "crop", json_object_get(body, "crop"));
    json_object_set(job, "model", json_object_get(body, "model"));
    if (!json_object_get(job, "crop")) json_object_set_new(job, "crop", json_string("auto"));
    if (!st) st = models_choose(s, job, err);
    if (!st) st = make_request(s, job, &rq, err);
    kadr_request_free(rq);
    return st;
}

void casts_post(struct call *c) {
    kadr_error err;
    json_t *body = call_body(c), *job = json_object(), *told = NULL;
    int64_t id = 0;
    if (!body) return json_decref(job);
    kadr_status st = check_wish(c->serve, body, job, &err);
    bool added = !st && call_add(c, &(struct job_order){.request = job}, 1, &id);
    if (added) st = store_job(c->serve->store, id, &told, &err);
    json_decref(job);
    json_decref(body);
    if (st) call_error(c, st, &err);
    else if (added) call_json(c, 201, told);
}

/* What is wrong with the file, without where it lies; NULL: nothing. */
static json_t *damage_of(struct serve *s, const char *path) {
    struct cast cast;
    kadr_error err;
    const char *why = err.message;
    size_t n = strlen(path);
    if (!cast_open(&cast, s->mem, path, &err)) {
        cast_close(&cast);
        return NULL;
    }
    if (!strncmp(why, path, n) && why[n] == ':') why += n + 2;
    json_t *told = json_string(why);
    return told ? told : json_string("damaged");
}

/* Those that the store knows: made here. */
static kadr_status list_made(struct serve *s, json_t *list, json_t *names, kadr_error *err) {
    json_t *kept = NULL, *one;
    size_t i;
    kadr_status st = store_list(s->store, KIND, &kept, err);
    json_array_foreach(kept, i, one) {
        json_t *body = json_object_get(one, "body"), *name = json_object_get(one, "name");
        char file[ROUTE_NAME + 16], *path = NULL;
        if (!store_is_shared(s->store)) /* else it may be far away */
            path = store_file_path(s->store, file_of(json_string_value(name), file));
        json_array_append_new(list, json_pack("{s:O, s:O, s:O*, s:O*, s:O*, s:o*}", "name", name,
                                              "changed", json_object_get(one, "changed"),
                                              "references", json_object_get(body, "references"),
                                              "crop", json_object_get(body, "crop"), "model",
                                              json_object_get(body, "model"), "error",
                                              path ? damage_of(s, path) : NULL));
        json_object_set_new(names, json_string_value(name), json_true());
        mem_free(path);
    }
    json_decref(kept);
    return st;
}

/* Those that lie in the folder beside them, as `kadr cast add` puts them there. */
static kadr_status list_found(struct serve *s, json_t *list, const json_t *names, kadr_error *err) {
    struct arena a;
    char **files = NULL;
    size_t count;
    const size_t suffix = sizeof "." CAST_EXTENSION - 1;
    arena_init(&a, s->mem);
    kadr_status st = store_list_files(s->store, &a, "casts", &files, &count, err);
    for (size_t i = 0; !st && i < count; i++) {
        struct stat about;
        size_t n = strlen(files[i]);
        if (n <= suffix || strcmp(files[i] + n - suffix, "." CAST_EXTENSION) != 0) continue;
        const char *name = arena_strndup(&a, files[i], n - suffix);
        char file[ROUTE_NAME + 16], *path;
        if (!name || !good_name(name) || json_object_get(names, name)) continue;
        path = store_file_path(s->store, file_of(name, file));
        if (path && !stat(path, &about))
            json_array_append_new(list, json_pack("{s:s, s:I, s:o*}", "name", name, "changed",
                                                  (json_int_t)about.st_mtime * 1000, "error",
                                                  damage_of(s, path)));
        mem_free(path);
    }
    arena_free(&a);
    return st;
}

void casts_list(struct call *c) {
    kadr_error err;
    json_t *list = json_array(), *names = json_object();
    kadr_status st = list_made(c->serve, list, names, &err);
    if (!st) st = list_found(c->serve, list, names, &err);
    json_decref(names);
    if (st) json_decref(list), call_error(c, st, &err);
    else call_json(c, 200, json_pack("{s:o}", "casts", list));
}

void casts_thumbnail(struct call *c) {
    kadr_error err;
    struct cast cast;
    struct image im = {0};
    struct serve *s = c->serve;
    char file[ROUTE_NAME + 16], *path = NULL;
    kadr_status st = store_file(s->store, file_of(c->name, file), &path, &err);
    if (!st && !file_exists(path)) st = err_set(&err, KADR_EMODEL, "there is no cast %s", c->name);
    if (!st) st = cast_open(&cast, s->mem, path, &err);
    if (!st) {
        st = cast_thumbnail(&cast, s->mem, &im, &err);
        cast_close(&cast);
    }
    if (!st)
        st =
            image_encode(&im, s->mem, (struct image_style){IMAGE_PNG, 0}, NULL, 0, &c->reply, &err);
    image_free(&im);
    mem_free(path);
    if (st) return call_error(c, st, &err);
    c->code = 200;
    c->type = "image/png";
}

/* The document goes first: a file without one is made anew, one without its file would be a lie. */
void casts_delete(struct call *c) {
    kadr_error err;
    bool was = false, made;
    struct serve *s = c->serve;
    char file[ROUTE_NAME + 16];
    kadr_status st = good_name(c->name) ? is_there(s, c->name, &was, &err) : KADR_OK;
    if (!st && was) st = store_delete(s->store, KIND, c->name, &made, &err);
    if (!st && was) st = store_delete_file(s->store, file_of(c->name, file), &err);
    if (was) link_tell(s, KIND, json_pack("{s:s}", "name", c->name));
    if (st) call_error(c, st, &err);
    else if (!was) call_fail(c, 404, "there is no cast %s", c->name);
    else call_json(c, 200, json_pack("{s:b}", "deleted", 1));
}
