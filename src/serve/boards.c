/* boards.c: boards as documents: made, told, changed, put away. See boards.h. */
#include "serve/boards.h"

#include "serve/routes.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define KIND "board"
#define DOCUMENT_MOST (BOARD_BYTES * 4)
#define EDIT_TRIES 8

static const char *const drawn_fields[] = {"versions", "url",   "pending",
                                           "jobs",     "error", "picture"};

/* ---- Together -------------------------------------------------------------------------------- */
static const char *name_of(int64_t id, char name[24]) {
    snprintf(name, 24, "%" PRId64, id);
    return name;
}

/* The name that the picture has in a folder, as `kadr board` calls it. */
static json_t *file_of(const char *number, size_t nth) {
    int digits = (int)strspn(number, "0123456789"), zeros = digits && digits < 3 ? 3 - digits : 0;
    return nth == 1 ? json_sprintf("panel-%.*s%s.png", zeros, "00", number)
                    : json_sprintf("panel-%.*s%s-v%zu.png", zeros, "00", number, nth);
}

static json_t *list_in(json_t *panel, const char *key) {
    json_t *list = json_object_get(panel, key);
    if (list) return list;
    list = json_array();
    json_object_set_new(panel, key, list);
    return list;
}

static void add_version(json_t *panel, const json_t *job) {
    char text[24];
    json_t *versions = list_in(panel, "versions"), *picture = json_object_get(job, "picture");
    json_t *one = json_copy(json_object_get(job, "about"));
    static const char *const told[] = {"picture", "seed", "width", "height"};
    size_t nth = json_array_size(versions) + 1;
    json_object_del(one, "panel");
    json_object_set(one, "version", picture);
    json_object_set_new(one, "url", file_of(document_number(panel, text), nth));
    for (size_t i = 0; i < 4; i++) json_object_set(one, told[i], json_object_get(job, told[i]));
    json_array_append_new(versions, one);
    json_object_del(panel, "error");
}

static void add_job(json_t *panel, const json_t *job) {
    const char *state = document_text(job, "state");
    if (json_object_get(job, "picture")) add_version(panel, job);
    else if (!strcmp(state, "failed"))
        json_object_set(panel, "error", json_object_get(job, "error"));
    else if (!strcmp(state, "queued") || !strcmp(state, "running"))
        json_array_append_new(list_in(panel, "jobs"),
                              json_pack("{s:O, s:s, s:O*}", "job", json_object_get(job, "job"),
                                        "state", state, "hash",
                                        json_object_get(json_object_get(job, "about"), "hash")));
}

static void tell_picture(json_t *panel) {
    const char *url = document_picture(panel);
    size_t i;
    json_t *one;
    if (!url) return;
    json_object_set_new(panel, "url", json_string(url));
    json_array_foreach(json_object_get(panel, "versions"), i,
                       one) if (!strcmp(document_text(one, "url"), url))
        json_object_set(panel, "picture", json_object_get(one, "picture"));
}

static kadr_status compose(struct serve *s, struct board_state *b, kadr_error *err) {
    json_t *jobs = NULL, *panels = json_object(), *job;
    size_t i;
    kadr_status st = store_board_jobs(s->store, b->id, &jobs, err);
    for (i = 0; i < document_count(b->doc); i++) {
        json_t *panel = document_panel(b->doc, i);
        json_object_set(panels, document_text(panel, "uid"), panel);
    }
    json_array_foreach(jobs, i, job) {
        const char *uid = document_text(json_object_get(job, "about"), "panel");
        json_t *panel = json_object_get(panels, uid);
        if (panel) add_job(panel, job);
    }
    json_decref(panels); /* before the panels are looked into again: they are the document's */
    json_decref(jobs);
    for (i = 0; i < document_count(b->doc); i++) tell_picture(document_panel(b->doc, i));
    return st;
}

/* The document alone. */
static kadr_status load(struct serve *s, int64_t id, struct board_state *b, kadr_error *err) {
    char name[24];
    json_t *kept = NULL;
    *b = (struct board_state){.id = id};
    kadr_status st = store_get(s->store, KIND, name_of(id, name), &kept, err);
    const json_t *body = json_object_get(kept, "body");
    if (!st && (!body || json_is_true(json_object_get(body, "archived"))))
        st = err_set(err, KADR_EMODEL, "there is no board %" PRId64, id);
    if (!st) {
        b->version = json_integer_value(json_object_get(kept, "version"));
        b->changed = json_integer_value(json_object_get(kept, "changed"));
        b->doc = json_incref(json_object_get(kept, "body"));
    }
    json_decref(kept);
    return st;
}

kadr_status board_open(struct serve *s, int64_t id, struct board_state *b, kadr_error *err) {
    kadr_status st = load(s, id, b, err);
    if (!st) st = compose(s, b, err);
    if (st) board_close(b);
    return st;
}

void board_close(struct board_state *b) {
    json_decref(b->doc);
    b->doc = NULL;
}

bool board_panel(struct call *c, const struct board_state *b, size_t *at) {
    if (document_panel_of(b->doc, c->name, at)) return true;
    call_fail(c, 404, "board %" PRId64 " has no panel %s", b->id, c->name);
    return false;
}

/* ---- Kept ------------------------------------------------------------------------------------ */
static void strip(json_t *doc) {
    for (size_t i = 0; i < document_count(doc); i++)
        for (size_t k = 0; k < sizeof drawn_fields / sizeof *drawn_fields; k++)
            json_object_del(document_panel(doc, i), drawn_fields[k]);
}

/* Checks the document and writes it as it is to be kept. */
static kadr_status write_down(const json_t *doc, struct buf *text, kadr_error *err) {
    kadr_status st = document_check(doc, KIND, err);
    if (!st && !json_put(text, doc, REQUEST_JSON_FLAGS)) st = err_nomem(err, "a board", 0);
    if (!st && text->size > DOCUMENT_MOST)
        st = err_set(err, KADR_EUSAGE, "board: larger than %zu bytes", DOCUMENT_MOST);
    return st;
}

/* *version: what it was based on, then what it is. KADR_EUSAGE: another version is there. */
static kadr_status put(struct serve *s, int64_t id, const struct buf *text, int64_t *version,
                       kadr_error *err) {
    char name[24];
    kadr_status st =
        store_put(s->store, KIND, name_of(id, name), text->data, *version, version, err);
    if (st) return st;
    link_tell(s, KIND,
              json_pack("{s:I, s:I}", "id", (json_int_t)id, "version", (json_int_t)*version));
    return KADR_OK;
}

/* Somebody else's change may come between; then it is made again on theirs. */
kadr_status board_edit(struct board_edit *e, board_change *change, kadr_error *err) {
    struct serve *s = e->call->serve;
    for (int tries = 1;; tries++) {
        struct board_state b;
        struct buf text;
        buf_init(&text, s->mem);
        kadr_status st = load(s, e->call->number, &b, err);
        if (!st) st = change(e, b.doc, err);
        if (!st) st = write_down(b.doc, &text, err);
        bool ready = !st;
        if (!st) st = put(s, b.id, &text, &b.version, err);
        e->version = b.version;
        buf_free(&text);
        board_close(&b);
        if (!st) return KADR_OK;
        json_decref(e->panel);
        e->panel = NULL;
        if (!ready || st != KADR_EUSAGE || tries == EDIT_TRIES) return st;
    }
}

/* ---- Fields ---------------------------------------------------------------------------------- */
struct field {
    const char *key;
    json_type type; /* JSON_REAL: any number; JSON_NULL: src/board looks at it */
};
static const struct field board_fields[] = {
    {"title", JSON_STRING},           {"style", JSON_STRING},  {"negative", JSON_STRING},
    {"overrides", JSON_OBJECT},       {"seed", JSON_INTEGER},  {"fps", JSON_REAL},
    {"aspectRatio", JSON_REAL},       {"source", JSON_STRING}, {"glossary", JSON_OBJECT},
    {"defaultBoardTiming", JSON_REAL}};
static const struct field panel_fields[] = {
    {"prompt", JSON_NULL}, {"negative", JSON_NULL}, {"action", JSON_NULL}, {"dialogue", JSON_NULL},
    {"notes", JSON_NULL},  {"shot", JSON_NULL},     {"camera", JSON_NULL}, {"duration", JSON_NULL},
    {"seed", JSON_NULL},   {"cast", JSON_NULL},     {"number", JSON_NULL}, {"overrides", JSON_NULL},
    {"scene", JSON_STRING}};

/* Takes what `from` says into `to`, a null takes away. What is drawn with is looked at now. */
static kadr_status take_fields(struct serve *s, const struct field *fields, size_t count,
                               json_t *to, const json_t *from, kadr_error *err) {
    const char *key;
    json_t *value, *cast = json_object_get(from, "cast");
    kadr_status st = jobs_check(s, json_object_get(from, "overrides"), err);
    if (!st && json_is_array(cast)) {
        json_t *played = json_pack("{s:O}", "cast", cast);
        st = jobs_check(s, played, err);
        json_decref(played);
    }
    if (st) return st;
    json_object_foreach((json_t *)from, key, value) {
        size_t i = 0;
        while (i < count && strcmp(fields[i].key, key) != 0) i++;
        if (i == count)
            return err_set(err, KADR_EUSAGE, "unknown or not allowed field \"%.100s\"", key);
        json_type want = fields[i].type, is = json_typeof(value);
        if (is == JSON_NULL) {
            json_object_del(to, key);
            continue;
        }
        bool number = want == JSON_REAL && json_is_number(value) && json_number_value(value) > 0;
        if (want != JSON_NULL && want != is && !number)
            return err_set(err, KADR_EUSAGE, "%s: expected another kind of value", key);
        if (json_object_set(to, key, value)) return err_nomem(err, "a board", 0);
    }
    return KADR_OK;
}

#define TAKE(s, fields, to, from, err)                                                             \
    take_fields(s, fields, sizeof fields / sizeof *fields, to, from, err)

/* ---- New ones -------------------------------------------------------------------------------- */
static kadr_status random_seed(json_t *doc, kadr_error *err) {
    uint64_t seed;
    if (getentropy(&seed, sizeof seed)) return err_errno(err, "a seed", "getentropy");
    seed &= 0xFFFFFFFF;
    return document_seed(doc, &seed, err);
}

static json_t *blank(void) {
    return json_pack("{s:i, s:f, s:i, s:i, s:[{s:s}]}", "kadr_board", DOCUMENT_FORM, "aspectRatio",
                     16.0 / 9, "fps", 24, "defaultBoardTiming", DOCUMENT_TIMING, "boards", "number",
                     "1");
}

/* A document of a script's text, which stays in it. */
static kadr_status of_script(struct serve *s, const json_t *body, json_t **doc, kadr_error *err) {
    const json_t *script = json_object_get(body, "script");
    const char *name = document_text(body, "name");
    if (!json_is_string(script)) return err_set(err, KADR_EUSAGE, "script: expected a text");
    kadr_status st = document_parse(doc, s->mem, json_string_value(script),
                                    json_string_length(script), *name ? name : "script", err);
    if (!st) st = document_free_prompts(s->mem, *doc, err);
    if (!st && json_object_set(*doc, "source", (json_t *)script)) st = err_nomem(err, "a board", 0);
    return st;
}

static kadr_status make_document(struct serve *s, const json_t *body, json_t **doc,
                                 kadr_error *err) {
    json_t *theirs = json_object_get(body, "board");
    const char *title = document_text(body, "title");
    kadr_status st = KADR_OK;
    if (json_object_get(body, "script")) st = of_script(s, body, doc, err);
    else if (theirs) *doc = json_deep_copy(theirs);
    else *doc = blank();
    if (!st && !*doc) st = err_nomem(err, "a board", 0);
    if (!st) st = document_check(*doc, KIND, err);
    if (!st) strip(*doc);
    for (size_t i = 0; !st && i < document_count(*doc); i++)
        json_object_del(document_panel(*doc, i), "approved"); /* a picture elsewhere */
    if (!st) st = document_identify(*doc, err);
    if (!st) st = random_seed(*doc, err);
    if (!st && *title && json_object_set_new(*doc, "title", json_string(title)))
        st = err_nomem(err, "a board", 0);
    return st;
}

static kadr_status keep_new(struct serve *s, const json_t *doc, int64_t *id, kadr_error *err) {
    struct buf text;
    buf_init(&text, s->mem);
    kadr_status st = write_down(doc, &text, err);
    bool ready = !st;
    for (int tries = 0; ready && tries < EDIT_TRIES; tries++) {
        int64_t version = 0;
        st = store_next_number(s->store, KIND, id, err);
        if (!st) st = put(s, *id, &text, &version, err);
        if (st != KADR_EUSAGE) break; /* else another was made meanwhile */
    }
    buf_free(&text);
    return st;
}

/* ---- Routes ---------------------------------------------------------------------------------- */
static void give_board(struct call *c, unsigned code, int64_t id) {
    kadr_error err;
    struct board_state b;
    kadr_status st = board_open(c->serve, id, &b, &err);
    if (st) return call_error(c, st, &err);
    call_json(c, code,
              json_pack("{s:I, s:I, s:I, s:O}", "id", (json_int_t)b.id, "version",
                        (json_int_t)b.version, "changed", (json_int_t)b.changed, "board", b.doc));
    board_close(&b);
}

void boards_get(struct call *c) {
    give_board(c, 200, c->number);
}

void boards_post(struct call *c) {
    kadr_error err;
    json_t *body = call_body(c), *doc = NULL;
    int64_t id = 0;
    if (!body) return;
    kadr_status st = make_document(c->serve, body, &doc, &err);
    if (!st) st = keep_new(c->serve, doc, &id, &err);
    json_decref(doc);
    json_decref(body);
    if (st) call_error(c, st, &err);
    else give_board(c, 201, id);
}

void boards_list(struct call *c) {
    kadr_error err;
    json_t *kept = NULL, *list = json_array(), *one;
    size_t i;
    kadr_status st = store_list(c->serve->store, KIND, &kept, &err);
    json_array_foreach(kept, i, one) {
        const json_t *doc = json_object_get(one, "body");
        if (json_is_true(json_object_get(doc, "archived"))) continue;
        int64_t id = (int64_t)strtoll(document_text(one, "name"), NULL, 10);
        json_array_append_new(list, json_pack("{s:I, s:s, s:I, s:O, s:O}", "id", (json_int_t)id,
                                              "title", document_text(doc, "title"), "panels",
                                              (json_int_t)document_count(doc), "version",
                                              json_object_get(one, "version"), "changed",
                                              json_object_get(one, "changed")));
    }
    json_decref(kept);
    if (st) json_decref(list), call_error(c, st, &err);
    else call_json(c, 200, json_pack("{s:o}", "boards", list));
}

static void edit(struct call *c, unsigned code, board_change *change) {
    kadr_error err;
    struct board_edit e = {.call = c};
    if (c->route->body != BODY_NONE && !(e.body = call_body(c))) return;
    kadr_status st = board_edit(&e, change, &err);
    if (c->code) return json_decref(e.body); /* the change has answered */
    if (st) call_error(c, st, &err);
    else
        call_json(c, code,
                  json_pack("{s:I, s:I, s:O*}", "id", (json_int_t)c->number, "version",
                            (json_int_t)e.version, "panel", e.panel));
    json_decref(e.panel);
    json_decref(e.body);
}

static kadr_status change_board(struct board_edit *e, json_t *doc, kadr_error *err) {
    return TAKE(e->call->serve, board_fields, doc, e->body, err);
}

void boards_patch(struct call *c) {
    edit(c, 200, change_board);
}

static kadr_status archive(struct board_edit *e, json_t *doc, kadr_error *err) {
    (void)e;
    return json_object_set_new(doc, "archived", json_true()) ? err_nomem(err, "a board", 0)
                                                             : KADR_OK;
}

void boards_delete(struct call *c) {
    edit(c, 200, archive);
}

/* Another script for it: what panels of the same number have stays with them. */
static kadr_status rewrite(struct board_edit *e, json_t *doc, kadr_error *err) {
    static const char *const keep_of[] = {"title", "style", "negative", "overrides", "glossary"};
    json_t *new = NULL, *value;
    struct board_state b;
    char text[24];
    kadr_status st = of_script(e->call->serve, e->body, &new, err);
    if (st) return st;
    for (size_t i = 0; i < sizeof keep_of / sizeof *keep_of; i++)
        if (!json_object_get(new, keep_of[i]) && (value = json_object_get(doc, keep_of[i])))
            json_object_set(new, keep_of[i], value);
    for (size_t i = 0; i < document_count(new); i++) {
        json_t *panel = document_panel(new, i);
        json_t *old = document_find(doc, document_number(panel, text), NULL);
        value = json_object_get(old, "uid");
        if (value) json_object_set(panel, "uid", value);
    }
    /* With what is drawn, so that drawn panels that are gone are kept. */
    st = board_open(e->call->serve, e->call->number, &b, err);
    if (!st) st = document_inherit(new, b.doc, err);
    if (!st) st = document_identify(new, err);
    strip(new);
    if (!st && json_object_update(doc, new)) st = err_nomem(err, "a board", 0);
    board_close(&b);
    json_decref(new);
    return st;
}

void boards_script(struct call *c) {
    edit(c, 200, rewrite);
}

static kadr_status renumber(struct board_edit *e, json_t *doc, kadr_error *err) {
    (void)e;
    return document_renumber(doc, err);
}

void boards_renumber(struct call *c) {
    edit(c, 200, renumber);
}

/* ---- Panels ---------------------------------------------------------------------------------- */
static kadr_status find(struct board_edit *e, const json_t *doc, size_t *at, kadr_error *err) {
    e->panel = json_incref(document_panel_of(doc, e->call->name, at));
    return e->panel ? KADR_OK
                    : err_set(err, KADR_EMODEL, "board %" PRId64 " has no panel %s",
                              e->call->number, e->call->name);
}

/* "before": the uid of a panel, or null or nothing for the end. */
static kadr_status place_before(const json_t *doc, const json_t *body, size_t *at,
                                kadr_error *err) {
    const json_t *before = json_object_get(body, "before");
    *at = document_count(doc);
    if (!before || json_is_null(before)) return KADR_OK;
    if (json_is_string(before) && document_panel_of(doc, json_string_value(before), at))
        return KADR_OK;
    return err_set(err, KADR_EUSAGE, "before: expected the uid of a panel, or null for the end");
}

static kadr_status insert(struct board_edit *e, json_t *doc, kadr_error *err) {
    size_t at;
    json_t *fields = json_object_get(e->body, "panel");
    kadr_status st = place_before(doc, e->body, &at, err);
    e->panel = json_object();
    if (!st && fields) st = TAKE(e->call->serve, panel_fields, e->panel, fields, err);
    return st ? st : document_insert(doc, at, e->panel, err);
}

static kadr_status change_panel(struct board_edit *e, json_t *doc, kadr_error *err) {
    kadr_status st = find(e, doc, NULL, err);
    return st ? st : TAKE(e->call->serve, panel_fields, e->panel, e->body, err);
}

static kadr_status move(struct board_edit *e, json_t *doc, kadr_error *err) {
    size_t from, to = 0;
    kadr_status st = find(e, doc, &from, err);
    if (!st) st = place_before(doc, e->body, &to, err);
    if (!st) document_move(doc, from, to > from ? to - 1 : to);
    return st;
}

static kadr_status take_out(struct board_edit *e, json_t *doc, kadr_error *err) {
    size_t at;
    kadr_status st = find(e, doc, &at, err);
    return st ? st : document_remove(doc, at, err);
}

/* {"picture": the id of one of the panel's, or null for the newest}. */
static kadr_status pick(struct board_edit *e, json_t *doc, kadr_error *err) {
    struct board_state b;
    json_t *wanted = json_object_get(e->body, "picture"), *one;
    size_t at, i;
    kadr_status st = find(e, doc, NULL, err);
    if (!st && (!wanted || json_is_null(wanted))) {
        json_object_del(e->panel, "approved");
        return KADR_OK;
    }
    if (!st) st = board_open(e->call->serve, e->call->number, &b, err);
    if (st) return st;
    const json_t *whole = document_panel_of(b.doc, e->call->name, &at);
    bool there = false;
    json_array_foreach(json_object_get(whole, "versions"), i, one) there |=
        json_equal(json_object_get(one, "picture"), wanted);
    board_close(&b);
    if (!there) return err_set(err, KADR_EUSAGE, "picture: expected one of this panel");
    return json_object_set(e->panel, "approved", wanted) ? err_nomem(err, "a board", 0) : KADR_OK;
}

void panels_get(struct call *c) {
    kadr_error err;
    struct board_state b;
    size_t at;
    kadr_status st = board_open(c->serve, c->number, &b, &err);
    if (st) return call_error(c, st, &err);
    if (board_panel(c, &b, &at))
        call_json(c, 200,
                  json_pack("{s:I, s:I, s:O}", "id", (json_int_t)b.id, "version",
                            (json_int_t)b.version, "panel", document_panel(b.doc, at)));
    board_close(&b);
}

void panels_post(struct call *c) {
    edit(c, 201, insert);
}

void panels_patch(struct call *c) {
    edit(c, 200, change_panel);
}

void panels_move(struct call *c) {
    edit(c, 200, move);
}

void panels_delete(struct call *c) {
    edit(c, 200, take_out);
}

void panels_pick(struct call *c) {
    edit(c, 200, pick);
}
