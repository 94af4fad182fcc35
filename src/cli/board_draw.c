/* board_draw.c: the panels of a board drawn: a request each, all in one go; only those whose
 * content is not drawn yet. board.json is saved after every picture, so that a run that was cut
 * off is continued by the next one with the same bytes. */
#include "cli/board.h"

#include "base/file.h"
#include "base/sys.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct panel_job {
    json_t *panel;
    const char *hash; /* of all that decides its pixels */
    const char *url;  /* the picture's name */
    json_int_t version;
};

struct board_run {
    struct story *story;
    kadr_request **requests; /* of those that are drawn */
    struct panel_job *jobs;
    size_t count;
    const json_t *revision; /* what the version says beside, or NULL */
};

/* ---- Requests -------------------------------------------------------------------------------- */
/* Panel 3 takes seed + 2, and 12A another than 12: by the number, so that a panel can be put in
 * without changing others. */
static uint64_t seed_of(uint64_t base, const char *number, size_t i) {
    char *end;
    unsigned long n = strtoul(number, &end, 10);
    if (end == number || !n || n > 1000000000) return base + i;
    return base + n - 1 + (*end ? XXH64(end, strlen(end), 0) % 900000 * 1000 + 100000 : 0);
}

/* The board's seed: as said, as it was, or one random number. */
static kadr_status base_seed(struct story *s, uint64_t *seed, kadr_error *err) {
    const kadr_request *rq = s->cli->rq;
    json_t *kept = json_object_get(s->doc, "seed");
    if (request_has(rq, OPTION_seed)) *seed = (uint64_t)rq->seed;
    else if (json_is_integer(kept)) *seed = (uint64_t)json_integer_value(kept);
    else {
        kadr_request *resolved = kadr_request_copy(rq);
        if (!resolved) return err_nomem(err, "a request", 0);
        kadr_status status = request_resolve(resolved, NULL, "balanced", err);
        *seed = (uint64_t)resolved->seed >> 2; /* leaves room for the panels' */
        kadr_request_free(resolved);
        if (status != KADR_OK) return status;
    }
    json_object_set_new(s->doc, "seed", json_integer((json_int_t)*seed));
    return KADR_OK;
}

static kadr_status set_text(struct story *s, kadr_request *rq, enum option_id id, const char *text,
                            enum request_source source, kadr_error *err) {
    const struct request_origin origin = {source, s->file, 0};
    if (!text) return err_nomem(err, "a request", 0);
    return *text ? request_set_from(rq, id, text, &origin, err) : KADR_OK;
}

static kadr_status set_casts(struct story *s, kadr_request *rq, const json_t *cast,
                             kadr_error *err) {
    kadr_status status = KADR_OK;
    if (json_is_string(cast))
        return set_text(s, rq, OPTION_cast, json_string_value(cast), SOURCE_SCRIPT, err);
    for (size_t i = 0; status == KADR_OK && i < json_array_size(cast); i++)
        status = set_text(s, rq, OPTION_cast, json_string_value(json_array_get(cast, i)),
                          SOURCE_SCRIPT, err);
    return status;
}

static const char *full_prompt(struct story *s, const json_t *panel) {
    const char *prompt = document_text(panel, "prompt"), *style = document_text(s->doc, "style");
    if (!*prompt) prompt = document_text(panel, "action");
    size_t n = strlen(prompt);
    while (*style && n && strchr(". ,\n", prompt[n - 1])) n--;
    return arena_printf(&s->cli->arena, "%.*s%s%s", (int)n, prompt, *style && n ? ", " : "", style);
}

/* Half the size and half the steps of what would be drawn. */
static kadr_status set_draft(struct story *s, kadr_request *rq, kadr_error *err) {
    struct arena *a = &s->cli->arena;
    json_t *defaults = NULL;
    kadr_request *full = kadr_request_copy(rq);
    if (!full) return err_nomem(err, "a request", 0);
    kadr_status status = request_model_defaults(request_model_path(rq), &defaults, err);
    if (status == KADR_OK) status = request_resolve(full, defaults, "balanced", err);
    int64_t wide = full->width / 16 * 8, high = full->height / 16 * 8;
    const struct {
        enum option_id id;
        int64_t value;
    } values[] = {{OPTION_width, wide < 64 ? full->width : wide},
                  {OPTION_height, high < 64 ? full->height : high},
                  {OPTION_steps, (full->steps + 1) / 2}};
    for (size_t i = 0; status == KADR_OK && i < 3; i++)
        status = set_text(s, rq, values[i].id, arena_printf(a, "%" PRId64, values[i].value),
                          SOURCE_SCRIPT, err);
    json_decref(defaults);
    kadr_request_free(full);
    return status;
}

static kadr_status make_request(struct story *s, size_t i, uint64_t base, kadr_request **out,
                                kadr_error *err) {
    char text[24];
    struct arena *a = &s->cli->arena;
    const json_t *panel = document_panel(s->doc, i), *own = json_object_get(panel, "seed");
    const json_t *overrides = json_object_get(panel, "overrides");
    const struct request_origin origin = {SOURCE_SCRIPT, s->file, 0};
    uint64_t seed = json_is_integer(own) ? (uint64_t)json_integer_value(own)
                                         : seed_of(base, document_number(panel, text), i);
    kadr_request *rq = *out = kadr_request_copy(s->cli->rq);
    if (!rq) return err_nomem(err, "a request", 0);
    kadr_status status = set_text(s, rq, OPTION_prompt, full_prompt(s, panel), SOURCE_SCRIPT, err);
    if (status == KADR_OK && !rq->prompt)
        status = err_set(err, KADR_EUSAGE, "nothing to draw; expected a prompt or an action");
    if (status == KADR_OK)
        status = set_text(s, rq, OPTION_negative, document_text(s->doc, "negative"), SOURCE_PICTURE,
                          err);
    if (status == KADR_OK)
        status =
            set_text(s, rq, OPTION_negative, document_text(panel, "negative"), SOURCE_SCRIPT, err);
    if (status == KADR_OK)
        status =
            set_text(s, rq, OPTION_seed, arena_printf(a, "%" PRIu64, seed), SOURCE_SCRIPT, err);
    if (status == KADR_OK) status = set_casts(s, rq, json_object_get(panel, "cast"), err);
    if (status == KADR_OK && json_is_object(overrides))
        status = request_from_json(rq, overrides, &origin, KADR_EUSAGE, err);
    if (status == KADR_OK) status = cli_find_model(s->cli, rq, err);
    if (status == KADR_OK && rq->draft) status = set_draft(s, rq, err);
    if (status != KADR_OK) err_context(err, "%s: panel %s", s->file, document_number(panel, text));
    return status;
}

/* Of the settings, and of what decides some of them later. What a picture began from when it was
 * revised or finished is not asked: the panel's content is the same. */
static const char *content_hash(struct story *s, const kadr_request *rq) {
    struct buf text;
    json_t *settings = request_to_json(rq);
    const char *hash = NULL;
    buf_init(&text, s->cli->mem);
    if (!rq->init) json_object_del(settings, "strength");
    json_put(&text, settings, REQUEST_JSON_FLAGS);
    buf_printf(&text, "|%s|%s", rq->preset ? rq->preset : "", rq->aspect ? rq->aspect : "");
    if (settings && buf_ok(&text)) {
        XXH128_hash_t h = XXH3_128bits(text.data, text.size);
        hash = arena_printf(&s->cli->arena, "%016" PRIx64 "%016" PRIx64, h.high64, h.low64);
    }
    json_decref(settings);
    buf_free(&text);
    return hash;
}

/* ---- Versions -------------------------------------------------------------------------------- */
static bool is_drawn(const struct story *s, const json_t *panel, const char *hash) {
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(panel, "versions"), i, one) {
        if (strcmp(document_text(one, "hash"), hash) != 0) continue;
        const char *path = story_file(s, document_text(one, "url"));
        if (path && file_exists(path)) return true;
    }
    return false;
}

static const char *version_name(struct arena *a, const char *number, json_int_t version) {
    int digits = (int)strspn(number, "0123456789");
    int zeros = digits && digits < 3 ? 3 - digits : 0;
    return version == 1 ? arena_printf(a, "panel-%.*s%s.png", zeros, "00", number)
                        : arena_printf(a, "panel-%.*s%s-v%" JSON_INTEGER_FORMAT ".png", zeros, "00",
                                       number, version);
}

/* The next version's number and name: the one that an interrupted run began, or one whose file is
 * not there. */
static kadr_status next_version(struct story *s, struct panel_job *job, kadr_error *err) {
    char text[24];
    const json_t *begun = json_object_get(job->panel, "pending");
    const char *number = document_number(job->panel, text);
    json_int_t version = 0;
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(job->panel, "versions"), i, one) {
        json_int_t n = json_integer_value(json_object_get(one, "version"));
        if (n > version) version = n;
    }
    for (;;) {
        job->version = ++version;
        job->url = version_name(&s->cli->arena, number, version);
        const char *path = job->url ? story_file(s, job->url) : NULL;
        if (!path) return err_nomem(err, "a path", 0);
        if (!file_is_there(path)) break;
        if (!strcmp(document_text(begun, "hash"), job->hash) &&
            !strcmp(document_text(begun, "url"), job->url))
            break;
    }
    json_object_set_new(job->panel, "pending",
                        json_pack("{s:s, s:s}", "hash", job->hash, "url", job->url));
    return KADR_OK;
}

static kadr_status add_version(struct board_run *r, const struct panel_job *job,
                               const kadr_picture *p, kadr_error *err) {
    json_t *one = json_pack("{s:I, s:s, s:s, s:I, s:i, s:i}", "version", job->version, "url",
                            job->url, "hash", job->hash, "seed", (json_int_t)p->seed, "width",
                            p->width, "height", p->height);
    json_t *versions = json_object_get(job->panel, "versions");
    if (!json_is_array(versions)) {
        versions = json_array();
        json_object_set_new(job->panel, "versions", versions);
    }
    if (r->requests[p->request]->draft) json_object_set_new(one, "draft", json_true());
    if (r->revision) json_object_update(one, (json_t *)r->revision);
    if (!one || json_array_append_new(versions, one)) return err_nomem(err, "a version", 0);
    json_object_del(job->panel, "pending");
    const char *shown = document_picture(job->panel);
    json_object_set_new(job->panel, "url", json_string(shown));
    return KADR_OK;
}

/* ---- Drawing --------------------------------------------------------------------------------- */
static kadr_status deliver(struct drawing *d, const kadr_picture *p) {
    struct board_run *r = d->user;
    struct story *s = r->story;
    const struct panel_job *job = &r->jobs[p->request];
    const char *path = story_file(s, job->url);
    if (!path) return err_nomem(&d->error, "a path", 0);
    kadr_status status = result_write(d->cli, p, path, d->pictures, &d->error);
    if (status == KADR_OK) status = add_version(r, job, p, &d->error);
    return status == KADR_OK ? story_save(s, &d->error) : status;
}

static kadr_status add_job(struct board_run *r, size_t i, kadr_request *rq, kadr_error *err) {
    struct story *s = r->story;
    struct panel_job *job = &r->jobs[r->count];
    job->panel = document_panel(s->doc, i);
    r->requests[r->count++] = rq;
    job->hash = content_hash(s, rq);
    return job->hash ? KADR_OK : err_nomem(err, "a hash", 0);
}

static void drop_job(struct board_run *r) {
    kadr_request_free(r->requests[--r->count]);
    r->requests[r->count] = NULL;
}

/* A draft becomes the beginning of its final picture; false: it is none. */
static bool begin_from_draft(struct board_run *r, kadr_request *rq, const json_t *panel,
                             kadr_status *status, kadr_error *err) {
    const char *picture = document_picture(panel);
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(panel, "versions"), i, one) {
        if (!picture || strcmp(document_text(one, "url"), picture) != 0) continue;
        if (!json_is_true(json_object_get(one, "draft"))) return false;
        const char *path = story_file(r->story, picture);
        *status = path ? kadr_request_set(rq, "init", path, err) : err_nomem(err, "a path", 0);
        return true;
    }
    return false;
}

/* A request for the panel, unless it is drawn already. */
static kadr_status make_job(struct board_run *r, size_t i, uint64_t base, kadr_error *err) {
    struct story *s = r->story;
    kadr_request *rq = NULL;
    struct panel_job *job = &r->jobs[r->count];
    kadr_status status = make_request(s, i, base, &rq, err);
    if (status != KADR_OK) {
        kadr_request_free(rq);
        return status;
    }
    status = add_job(r, i, rq, err);
    if (status != KADR_OK) return status;
    bool wanted = !is_drawn(s, job->panel, job->hash);
    if (wanted && s->cli->rq->final) wanted = begin_from_draft(r, rq, job->panel, &status, err);
    if (!wanted) drop_job(r);
    else if (status == KADR_OK) status = next_version(s, job, err);
    return status;
}

static kadr_status make_jobs(struct board_run *r, const bool *chosen, kadr_error *err) {
    struct story *s = r->story;
    uint64_t base;
    kadr_status status = base_seed(s, &base, err);
    for (size_t i = 0; status == KADR_OK && i < document_count(s->doc); i++)
        if (chosen[i]) status = make_job(r, i, base, err);
    return status;
}

static kadr_status open_run(struct board_run *r, struct story *s, kadr_error *err) {
    static const struct request_origin usual = {.source = SOURCE_BOARD};
    size_t count = document_count(s->doc);
    *r = (struct board_run){.story = s};
    r->requests = arena_array(&s->cli->arena, count, sizeof *r->requests);
    r->jobs = arena_array(&s->cli->arena, count, sizeof *r->jobs);
    if (!r->requests || !r->jobs) return err_nomem(err, "a board", count);
    return request_set_from(s->cli->rq, OPTION_aspect, "16:9", &usual, err);
}

static kadr_status draw_jobs(struct board_run *r, kadr_error *err) {
    struct story *s = r->story;
    double began = sys_seconds();
    json_t *result = json_pack("{s:[], s:[]}", "pictures", "sheets");
    struct drawing d = {.cli = s->cli, .deliver = deliver, .user = r};
    kadr_status status = result ? KADR_OK : err_nomem(err, "the report", 0);
    d.pictures = json_object_get(result, "pictures");
    if (status == KADR_OK) status = file_make_folders(s->folder, err);
    if (status == KADR_OK) status = story_save(s, err);
    if (status == KADR_OK && r->count) status = drawing_run(&d, r->requests, r->count, err);
    if (status == KADR_OK) status = story_sheets(s, json_object_get(result, "sheets"), err);
    if (status == KADR_OK && !r->count && !s->cli->rq->json)
        console_say(&s->cli->console, "%s: nothing changed, nothing drawn", s->folder);
    else if (status == KADR_OK) status = result_finish(s->cli, result, sys_seconds() - began, err);
    if (status == KADR_OK && r->count)
        console_say(&s->cli->console, "%s: panels, sheet.png, board.json", s->folder);
    json_decref(result);
    return status;
}

static void close_run(struct board_run *r) {
    while (r->count) drop_job(r);
}

static kadr_status refuse(const kadr_request *rq, kadr_error *err) {
    if (rq->prompt || rq->mask)
        return err_set(err, KADR_EUSAGE, "--%s belongs to `kadr board revise`",
                       rq->prompt ? "prompt" : "mask");
    if (rq->draft && rq->final)
        return err_set(err, KADR_EUSAGE, "--draft and --final do not go together");
    return KADR_OK;
}

kadr_status board_draw(struct story *s, kadr_error *err) {
    struct board_run r;
    const char *panels = s->cli->rq->panels;
    size_t count = document_count(s->doc);
    bool *chosen = arena_array(&s->cli->arena, count, sizeof *chosen);
    kadr_status status = refuse(s->cli->rq, err);
    if (status != KADR_OK) return status;
    if (!chosen) return err_nomem(err, "a board", count);
    for (size_t i = 0; i < count; i++) chosen[i] = !panels;
    if (panels) status = document_select(s->doc, panels, chosen, err);
    if (status == KADR_OK) status = open_run(&r, s, err);
    if (status != KADR_OK) return status;
    status = make_jobs(&r, chosen, err);
    if (status == KADR_OK) status = draw_jobs(&r, err);
    close_run(&r);
    return status;
}

/* ---- Revising -------------------------------------------------------------------------------- */
/* Prompt and seed become the panel's. What the picture began from is the version's alone: so the
 * panel's content is what was drawn, and `draw` leaves it. */
kadr_status board_revise(struct story *s, const char *number, kadr_error *err) {
    struct board_run r;
    struct cli *cli = s->cli;
    kadr_request *rq = NULL;
    size_t at = 0;
    uint64_t base;
    char *prompt = cli->rq->prompt ? arena_strdup(&cli->arena, cli->rq->prompt) : NULL;
    const char *mask = cli->rq->mask ? arena_strdup(&cli->arena, cli->rq->mask) : NULL;
    bool again = cli->rq->origin[OPTION_strength].source == SOURCE_FLAG || mask;
    bool seeded = cli->rq->origin[OPTION_seed].source == SOURCE_FLAG;
    json_int_t seed = cli->rq->seed;
    kadr_status status = story_panel(s, number, &at, err);
    if (status != KADR_OK) return status;
    json_t *panel = document_panel(s->doc, at), *revision = NULL;
    const char *picture = document_picture(panel);
    if (!prompt && !again && !seeded)
        return err_set(err, KADR_EUSAGE,
                       "expected --prompt, --seed, --strength or --mask: what is to change");
    if (again && !picture)
        return err_set(err, KADR_EUSAGE, "panel %s has no picture yet to begin from", number);
    if (prompt) json_object_set_new(panel, "prompt", json_string(prompt));
    if (seeded) json_object_set_new(panel, "seed", json_integer(seed));
    kadr_request_set(cli->rq, "mask", NULL, NULL);
    kadr_request_set(cli->rq, "prompt", NULL, NULL);
    if (seeded) kadr_request_set(cli->rq, "seed", NULL, NULL);
    status = open_run(&r, s, err);
    if (status == KADR_OK) status = base_seed(s, &base, err);
    if (status == KADR_OK) status = make_request(s, at, base, &rq, err);
    if (status == KADR_OK) status = add_job(&r, at, rq, err);
    if (status == KADR_OK) status = next_version(s, &r.jobs[0], err);
    if (status == KADR_OK && again) {
        const char *path = story_file(s, picture);
        r.revision = revision = json_pack("{s:s, s:s*}", "from", picture, "mask", mask);
        status = path ? kadr_request_set(rq, "init", path, err) : err_nomem(err, "a path", 0);
        if (status == KADR_OK && mask) status = kadr_request_set(rq, "mask", mask, err);
    }
    if (status == KADR_OK)
        json_object_del(panel, "approved"); /* the newest is what was asked for */
    if (status == KADR_OK) status = draw_jobs(&r, err);
    close_run(&r);
    json_decref(revision);
    return status;
}
