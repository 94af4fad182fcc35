/* board_draw.c: what of a board is to be drawn, what that would take, and the jobs for it: one a
 * panel, for those whose content no picture has yet. */
#include "serve/boards.h"

#include "serve/routes.h"
#include <inttypes.h>
#include <string.h>

struct order {
    json_t *panel;   /* the document's */
    json_t *request; /* as POST /api/v1/jobs takes it */
    json_t *about;   /* for the board: panel, hash, ... */
    kadr_request *rq;
    char hash[PANEL_HASH];
};
struct orders {
    struct serve *serve;
    struct board_state board;
    bool draft, final;
    struct order *list;
    size_t count;
    json_t *notes; /* texts for who ordered */
};

static void drop_order(struct order *o) {
    json_decref(o->request);
    json_decref(o->about);
    kadr_request_free(o->rq);
    *o = (struct order){0};
}

/* Idempotent. */
static void close_orders(struct orders *all) {
    for (size_t i = 0; i < all->count; i++) drop_order(&all->list[i]);
    mem_free(all->list);
    json_decref(all->notes);
    all->list = NULL;
    all->notes = NULL;
    all->count = 0;
    board_close(&all->board);
}

static kadr_status open_orders(struct orders *all, struct serve *s, int64_t board,
                               kadr_error *err) {
    *all = (struct orders){.serve = s};
    kadr_status st = board_open(s, board, &all->board, err);
    if (st) return st;
    size_t count = document_count(all->board.doc);
    all->list = mem_array(s->mem, count, sizeof *all->list);
    all->notes = json_array();
    if (!all->list || !all->notes) st = err_nomem(err, "a board", count);
    if (st) close_orders(all);
    return st;
}

/* ---- One panel ------------------------------------------------------------------------------- */
static bool says_something(const json_t *doc, const json_t *panel) {
    return *document_text(panel, "prompt") || *document_text(panel, "action") ||
           *document_text(panel, "scene") || *document_text(doc, "style");
}

/* A panel's own shape at the board's width and height: the area stays. */
static kadr_status shape_anew(json_t *settings, const json_t *own, kadr_error *err) {
    static const char *const sides[] = {"width", "height"};
    const struct request_origin board = {.source = SOURCE_PICTURE}, panel = {SOURCE_SCRIPT, 0, 0};
    const json_t *shape = json_object_get(own, "aspect");
    if (!shape || json_object_get(own, "width") || json_object_get(own, "height") ||
        !json_object_get(settings, "width") || !json_object_get(settings, "height"))
        return KADR_OK;
    kadr_request *rq = kadr_request_new();
    json_t *size = json_object(), *told = NULL;
    for (size_t i = 0; i < 2; i++)
        json_object_set(size, sides[i], json_object_get(settings, sides[i]));
    kadr_status st = rq && size ? panel_set(rq, size, &board, err) : err_nomem(err, "a size", 0);
    if (!st) st = request_set_json(rq, OPTION_aspect, shape, &panel, err);
    if (!st) st = request_resolve(rq, NULL, "balanced", err);
    if (!st && !(told = json_pack("{s:I, s:I}", "width", (json_int_t)rq->width, "height",
                                  (json_int_t)rq->height)))
        st = err_nomem(err, "a size", 0);
    if (!st) json_object_update(settings, told);
    json_decref(told);
    json_decref(size);
    kadr_request_free(rq);
    return st;
}

static kadr_status make_settings(const struct orders *all, size_t i, json_t **out,
                                 kadr_error *err) {
    json_t *own = NULL, *settings = document_settings(all->board.doc);
    uint64_t base = 0;
    *out = NULL;
    kadr_status st = document_seed(all->board.doc, &base, err);
    if (!st) st = panel_settings(all->serve->mem, all->board.doc, i, base, &own, err);
    if (!st && (!settings || json_object_update(settings, own)))
        st = err_nomem(err, "a request", 0);
    if (!st) st = shape_anew(settings, own, err);
    json_decref(own);
    if (st) json_decref(settings);
    else *out = settings;
    return st;
}

/* Half of everything, into the request and its JSON. */
static kadr_status make_draft(struct order *o, kadr_error *err) {
    kadr_status st = panel_draft(o->rq, err);
    if (st) return st;
    json_object_del(o->request, "aspect");
    bool bad = json_object_set_new(o->request, "width", json_integer(o->rq->width)) ||
               json_object_set_new(o->request, "height", json_integer(o->rq->height)) ||
               json_object_set_new(o->request, "steps", json_integer(o->rq->steps)) ||
               json_object_set_new(o->about, "draft", json_true());
    return bad ? err_nomem(err, "a request", 0) : KADR_OK;
}

/* Panel i's request and content; on failure the error names the panel. */
static kadr_status make_order(struct orders *all, size_t i, kadr_error *err) {
    struct serve *s = all->serve;
    struct order *o = &all->list[all->count++];
    char text[24];
    o->panel = document_panel(all->board.doc, i);
    kadr_status st = make_settings(all, i, &o->request, err);
    if (!st) st = jobs_request(s, o->request, true, &o->rq, err);
    if (!st) st = s->config.prepare(s->config.user, true, o->rq, err);
    o->about = json_pack("{s:s}", "panel", document_text(o->panel, "uid"));
    if (!st && !o->about) st = err_nomem(err, "a request", 0);
    if (!st && all->draft) st = make_draft(o, err);
    if (!st) st = panel_hash(s->mem, o->rq, o->hash, err);
    if (!st && json_object_set_new(o->about, "hash", json_string(o->hash)))
        st = err_nomem(err, "a request", 0);
    if (st) err_context(err, "panel %s", document_number(o->panel, text));
    return st;
}

static bool has_hash(const json_t *list, const char *hash) {
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)list, i,
                       one) if (!strcmp(document_text(one, "hash"), hash)) return true;
    return false;
}

/* The version that counts. */
static const json_t *shown_version(const json_t *panel) {
    const json_t *picture = json_object_get(panel, "picture");
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(panel, "versions"), i,
                       one) if (json_equal(json_object_get(one, "picture"), picture)) return one;
    return NULL;
}

static kadr_status begin_from(struct order *o, const json_t *picture, kadr_error *err) {
    return json_object_set(o->request, "init", (json_t *)picture) ||
                   json_object_set(o->about, "from", (json_t *)picture)
               ? err_nomem(err, "a request", 0)
               : KADR_OK;
}

/* A draft's latents, or where those are gone its picture, are what its final picture begins from.
 */
static kadr_status begin_from_draft(struct orders *all, struct order *o, const json_t *picture,
                                    kadr_error *err) {
    char *path = NULL, text[24];
    int64_t id = (int64_t)json_integer_value(picture);
    kadr_status st = begin_from(o, picture, err);
    if (!st) st = store_latents_file(all->serve->store, id, &path, err);
    if (st) return st;
    json_t *init = path ? json_sprintf(UPLOAD_LATENTS "%" PRId64, id) : NULL;
    bool bad = path ? json_object_set_new(o->request, "init", init)
                    : json_array_append_new(
                          all->notes,
                          json_sprintf("panel %s: its draft's latents are gone, it begins from the "
                                       "draft's picture",
                                       document_number(o->panel, text)));
    mem_free(path);
    return bad ? err_nomem(err, "a request", 0) : KADR_OK;
}

/* ---- All that is wanted ---------------------------------------------------------------------- */
/* What is drawn or waits already is not ordered. */
static kadr_status add_order(struct orders *all, size_t i, kadr_error *err) {
    kadr_status st = make_order(all, i, err);
    struct order *o = &all->list[all->count - 1];
    bool wanted = !st && !has_hash(json_object_get(o->panel, "versions"), o->hash) &&
                  !has_hash(json_object_get(o->panel, "jobs"), o->hash);
    const json_t *shown = wanted && all->final ? shown_version(o->panel) : NULL;
    if (all->final) wanted = wanted && json_is_true(json_object_get(shown, "draft"));
    if (wanted && shown) st = begin_from_draft(all, o, json_object_get(shown, "picture"), err);
    if (!wanted && !st) {
        drop_order(o);
        all->count--;
    }
    return st;
}

static kadr_status read_truth(const json_t *body, const char *key, bool *out, kadr_error *err) {
    const json_t *value = json_object_get(body, key);
    *out = json_is_true(value);
    if (!value || json_is_null(value) || json_is_boolean(value)) return KADR_OK;
    return err_set(err, KADR_EUSAGE, "%s: expected true or false", key);
}

/* {"panels": [UID, ...] (all without it), "draft": bool, "final": bool} */
static kadr_status add_orders(struct orders *all, const json_t *body, kadr_error *err) {
    const json_t *panels = json_object_get(body, "panels"), *one;
    const json_t *doc = all->board.doc;
    size_t i, at;
    kadr_status st = read_truth(body, "draft", &all->draft, err);
    if (!st) st = read_truth(body, "final", &all->final, err);
    if (!st && all->draft && all->final)
        st = err_set(err, KADR_EUSAGE, "draft and final do not go together");
    if (!st && panels && !json_is_array(panels))
        st = err_set(err, KADR_EUSAGE, "panels: expected an array of uids");
    json_array_foreach((json_t *)panels, i, one) {
        const char *uid = json_string_value(one);
        if (st) break;
        if (!uid || !document_panel_of(doc, uid, &at))
            st = err_set(err, KADR_EUSAGE, "panels: expected uids of this board's panels");
        else if (all->count == document_count(doc))
            st = err_set(err, KADR_EUSAGE, "panels: more than the board has");
        else st = add_order(all, at, err);
    }
    for (i = 0; !panels && !st && i < document_count(doc); i++)
        if (says_something(doc, document_panel(doc, i))) st = add_order(all, i, err);
    return st;
}

/* Jobs that wait to draw what the panel does not say any more. */
static void cancel_outdated(struct serve *s, const struct order *o) {
    size_t i;
    json_t *job;
    json_array_foreach(json_object_get(o->panel, "jobs"), i, job) {
        bool was;
        if (!strcmp(document_text(job, "state"), "queued"))
            jobs_cancel(s, json_integer_value(json_object_get(job, "job")), &was, NULL);
    }
}

/* False: they could not be put into the queue, which has been answered. */
static bool submit(struct call *c, struct orders *all, json_t *jobs) {
    struct mem *m = all->serve->mem;
    size_t count = all->count;
    struct job_order *orders = mem_array(m, count ? count : 1, sizeof *orders);
    int64_t *ids = mem_array(m, count ? count : 1, sizeof *ids);
    bool good = orders && ids;
    if (!good) call_fail(c, 500, "no memory");
    for (size_t i = 0; i < count && good; i++) {
        const struct order *o = &all->list[i];
        orders[i] =
            (struct job_order){.request = o->request, .board = all->board.id, .about = o->about};
        if (!json_object_get(o->about, "from")) cancel_outdated(all->serve, o);
    }
    good = good && call_add(c, orders, count, ids);
    for (size_t i = 0; i < count && good; i++)
        json_array_append_new(jobs, json_integer((json_int_t)ids[i]));
    mem_free(orders);
    mem_free(ids);
    return good;
}

/* Submits and answers, unless there was a failure. */
static void finish(struct call *c, struct orders *all, kadr_status st, const kadr_error *err) {
    json_t *jobs = json_array();
    if (st) call_error(c, st, err);
    else if (submit(c, all, jobs))
        call_json(c, 201, json_pack("{s:O, s:O}", "jobs", jobs, "notes", all->notes));
    json_decref(jobs);
}

/* ---- What it would take ---------------------------------------------------------------------- */
/* Panels whose requests differ in words, seed and start take the same; the longest prompt is what
 * stands for them. */
static kadr_status shape_key(struct serve *s, const struct order *o, struct buf *key,
                             kadr_error *err) {
    static const char *const unlike[] = {"prompt", "negative", "seed", "init", "mask"};
    json_t *settings = json_copy(o->request);
    bool masked = json_object_get(settings, "mask"), begun = json_object_get(settings, "init");
    for (size_t i = 0; i < sizeof unlike / sizeof *unlike; i++)
        json_object_del(settings, unlike[i]);
    buf_init(key, s->mem);
    bool good = json_put(key, settings, REQUEST_JSON_FLAGS | JSON_SORT_KEYS);
    buf_printf(key, "|%d%d", masked, begun);
    json_decref(settings);
    return good && buf_ok(key) ? KADR_OK : err_nomem(err, "a plan", 0);
}

struct shape {
    const struct order *order; /* the one with the longest prompt */
    json_int_t count;
};

static kadr_status find_shapes(struct orders *all, struct shape *shapes, size_t *count,
                               kadr_error *err) {
    json_t *seen = json_object();
    kadr_status st = seen ? KADR_OK : err_nomem(err, "a plan", 0);
    *count = 0;
    for (size_t i = 0; !st && i < all->count; i++) {
        const struct order *o = &all->list[i];
        struct buf key;
        st = shape_key(all->serve, o, &key, err);
        const json_t *known = st ? NULL : json_object_get(seen, key.data);
        size_t at = known ? (size_t)json_integer_value(known) : *count;
        if (!st && !known) {
            shapes[(*count)++] = (struct shape){o, 0};
            if (json_object_set_new(seen, key.data, json_integer((json_int_t)at)))
                st = err_nomem(err, "a plan", 0);
        }
        if (!st) {
            shapes[at].count++;
            if (strlen(o->rq->prompt) > strlen(shapes[at].order->rq->prompt)) shapes[at].order = o;
        }
        buf_free(&key);
    }
    json_decref(seen);
    return st;
}

static kadr_status plan_shape(kadr_context *ctx, const struct shape *shape, json_t **out,
                              kadr_error *err) {
    char *text = NULL;
    kadr_request *rq = shape->order->rq;
    kadr_status st = kadr_plan(ctx, &rq, 1, &text, err);
    if (!st) st = json_parse(text, strlen(text), "plan", KADR_EOTHER, out, err);
    kadr_free(text);
    return st;
}

/* The worst peak, all seconds, what would fit instead of the first that does not. */
static void add_plan(json_t *report, const json_t *plan, json_int_t count) {
    const json_t *one = json_array_get(json_object_get(plan, "requests"), 0);
    const json_t *time = json_object_get(one, "time");
    json_int_t peak = json_integer_value(json_object_get(one, "peak_bytes"));
    double seconds = json_number_value(json_object_get(report, "seconds")) +
                     (double)count * json_number_value(json_object_get(time, "seconds"));
    bool fits = json_is_true(json_object_get(one, "fits"));
    json_object_set_new(report, "seconds", json_real(seconds));
    if (peak > json_integer_value(json_object_get(report, "peak_bytes")))
        json_object_set_new(report, "peak_bytes", json_integer(peak));
    json_object_set(report, "budget_bytes", json_object_get(plan, "budget_bytes"));
    json_object_set(report, "budget_from", json_object_get(plan, "budget_from"));
    json_object_set(report, "measured", json_object_get(time, "measured"));
    if (fits || !json_is_true(json_object_get(report, "fits"))) return;
    json_object_set_new(report, "fits", json_false());
    json_object_set(report, "alternatives", json_object_get(one, "alternatives"));
}

static kadr_status plan_all(struct orders *all, json_t *report, kadr_error *err) {
    struct serve *s = all->serve;
    kadr_config config = s->config.draw;
    kadr_context *ctx = NULL;
    size_t count = 0;
    struct shape *shapes = mem_array(s->mem, all->count ? all->count : 1, sizeof *shapes);
    config.threads = 1;
    kadr_status st = shapes ? find_shapes(all, shapes, &count, err) : err_nomem(err, "a plan", 0);
    if (!st && count) st = kadr_open(&config, &ctx, err);
    for (size_t i = 0; !st && i < count; i++) {
        json_t *plan = NULL;
        st = plan_shape(ctx, &shapes[i], &plan, err);
        if (!st) add_plan(report, plan, shapes[i].count);
        json_decref(plan);
    }
    kadr_close(ctx);
    mem_free(shapes);
    return st;
}

static json_t *uids_of(const struct orders *all) {
    json_t *list = json_array();
    for (size_t i = 0; i < all->count; i++)
        json_array_append(list, json_object_get(all->list[i].about, "panel"));
    return list;
}

/* ---- Routes ---------------------------------------------------------------------------------- */
void boards_plan(struct call *c) {
    kadr_error err;
    struct orders all;
    json_t *body = call_body(c), *report = NULL;
    if (!body) return;
    kadr_status st = open_orders(&all, c->serve, c->number, &err);
    if (!st) st = add_orders(&all, body, &err);
    if (!st)
        report = json_pack("{s:o, s:b, s:i, s:f, s:[]}", "panels", uids_of(&all), "fits", 1,
                           "peak_bytes", 0, "seconds", 0.0, "alternatives");
    if (!st) st = report ? plan_all(&all, report, &err) : err_nomem(&err, "a plan", 0);
    close_orders(&all);
    if (st) json_decref(report), call_error(c, st, &err);
    else call_json(c, 200, report);
    json_decref(body);
}

void boards_draw(struct call *c) {
    kadr_error err;
    struct orders all = {0};
    json_t *body = call_body(c);
    if (!body) return;
    kadr_status st = open_orders(&all, c->serve, c->number, &err);
    if (!st) st = add_orders(&all, body, &err);
    finish(c, &all, st, &err);
    close_orders(&all);
    json_decref(body);
}

/* ---- Revising -------------------------------------------------------------------------------- */
/* Prompt and seed become the panel's; the newest picture is what was asked for. */
static kadr_status take_wishes(struct board_edit *e, json_t *doc, kadr_error *err) {
    static const char *const keys[] = {"prompt", "seed"};
    json_t *panel = document_panel_of(doc, e->call->name, NULL);
    if (!panel)
        return err_set(err, KADR_EMODEL, "board %" PRId64 " has no panel %s", e->call->number,
                       e->call->name);
    for (size_t i = 0; i < 2; i++) {
        json_t *value = json_object_get(e->body, keys[i]);
        if (value && json_object_set(panel, keys[i], value)) return err_nomem(err, "a panel", 0);
    }
    json_object_del(panel, "approved");
    return KADR_OK;
}

/* {"prompt", "seed", "strength", "mask": an upload, "from": one of the panel's pictures}; with
 * strength or mask it begins from that picture, without "from" from the one that counts. */
static kadr_status begin_again(struct order *o, const json_t *body, const json_t *picture,
                               kadr_error *err) {
    json_t *strength = json_object_get(body, "strength"), *mask = json_object_get(body, "mask");
    const json_t *from = json_object_get(body, "from");
    if (!strength && !mask && !from) return KADR_OK;
    if (!from) from = picture;
    if (!from) return err_set(err, KADR_EUSAGE, "the panel has no picture yet to begin from");
    kadr_status st = begin_from(o, from, err);
    bool bad = (strength && (json_object_set(o->request, "strength", strength) ||
                             json_object_set(o->about, "strength", strength))) ||
               (mask && (json_object_set(o->request, "mask", mask) ||
                         json_object_set(o->about, "mask", mask)));
    return bad ? err_nomem(err, "a request", 0) : st;
}

static kadr_status add_revision(struct orders *all, struct call *c, const json_t *body,
                                const json_t *picture, kadr_error *err) {
    size_t at;
    if (!document_panel_of(all->board.doc, c->name, &at))
        return err_set(err, KADR_EMODEL, "board %" PRId64 " has no panel %s", c->number, c->name);
    kadr_status st = make_order(all, at, err);
    struct order *o = &all->list[0];
    kadr_request *whole = NULL;
    if (!st) st = begin_again(o, body, picture, err);
    if (!st)
        st = jobs_request(all->serve, o->request, true, &whole, err); /* its pictures are there? */
    kadr_request_free(whole);
    return st;
}

void panels_revise(struct call *c) {
    kadr_error err;
    struct orders all = {0};
    struct board_edit e = {.call = c, .body = call_body(c)};
    struct board_state before;
    json_t *picture = NULL;
    if (!e.body) return;
    kadr_status st = board_open(c->serve, c->number, &before, &err);
    if (!st) {
        const json_t *panel = document_panel_of(before.doc, c->name, NULL);
        picture = json_incref(json_object_get(panel, "picture"));
        board_close(&before);
    }
    if (!st) st = board_edit(&e, take_wishes, &err);
    if (!st) st = open_orders(&all, c->serve, c->number, &err);
    if (!st) st = add_revision(&all, c, e.body, picture, &err);
    finish(c, &all, st, &err);
    close_orders(&all);
    json_decref(picture);
    json_decref(e.body);
}
