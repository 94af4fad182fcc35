/* board_draw.c: the panels of a board drawn: a request each, all in one go; only those whose
 * content is not drawn yet. board.json is saved after every picture, so that a run that was cut
 * off is continued by the next one with the same bytes. */
#include "cli/board.h"

#include "base/file.h"
#include "base/sys.h"
#include "board/panel.h"
#include <inttypes.h>
#include <string.h>

#define DRIFT_SEED 1000003 /* between the seeds of tries, so that no panel's is met */

struct panel_job {
    json_t *panel;
    kadr_request *request;
    char hash[PANEL_HASH]; /* of all that decides its pixels */
    const char *url;       /* the picture's name */
    const char *from;      /* the draft that it finishes, or NULL */
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
/* The board's seed: as said, as it was, or one random number. */
static kadr_status base_seed(struct story *s, uint64_t *seed, kadr_error *err) {
    const kadr_request *rq = s->cli->rq;
    if (request_has(rq, OPTION_seed)) {
        json_object_del(s->doc, "seed");
        *seed = (uint64_t)rq->seed;
    } else if (!json_is_integer(json_object_get(s->doc, "seed"))) {
        kadr_request *resolved = kadr_request_copy(rq);
        if (!resolved) return err_nomem(err, "a request", 0);
        kadr_status status = request_resolve(resolved, NULL, "balanced", err);
        *seed = (uint64_t)resolved->seed >> 2; /* leaves room for the panels' */
        kadr_request_free(resolved);
        if (status != KADR_OK) return status;
    }
    return document_seed(s->doc, seed, err);
}

static kadr_status set_settings(struct story *s, kadr_request *rq, const json_t *settings,
                                enum request_source source, kadr_error *err) {
    const struct request_origin origin = {source, s->file, 0};
    return panel_set(rq, settings, &origin, err);
}

static kadr_status make_request(struct story *s, size_t i, uint64_t base, kadr_request **out,
                                kadr_error *err) {
    char text[24];
    json_t *shared = document_settings(s->doc), *own = NULL;
    kadr_request *rq = *out = kadr_request_copy(s->cli->rq);
    kadr_status status = rq && shared ? panel_settings(s->cli->mem, s->doc, i, base, &own, err)
                                      : err_nomem(err, "a request", 0);
    if (status == KADR_OK) status = set_settings(s, rq, shared, SOURCE_PICTURE, err);
    if (status == KADR_OK) status = set_settings(s, rq, own, SOURCE_SCRIPT, err);
    if (status == KADR_OK) status = cli_find_model(s->cli, rq, err);
    if (status == KADR_OK && rq->draft) status = panel_draft(rq, err);
    if (status != KADR_OK)
        err_context(err, "%s: panel %s", s->file, document_number(document_panel(s->doc, i), text));
    json_decref(shared);
    json_decref(own);
    return status;
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
    const char *stem =
        story_file(s, arena_strndup(&s->cli->arena, job->url, strlen(job->url) - strlen(".png")));
    const char *state = stem ? arena_printf(&s->cli->arena, "%s.checkpoint", stem) : NULL;
    const char *latents = stem ? arena_printf(&s->cli->arena, "%s.safetensors", stem) : NULL;
    if (!state || !latents) return err_nomem(err, "a path", 0);
    kadr_status status = kadr_request_set(job->request, "checkpoint", state, err);
    if (status == KADR_OK && job->request->draft)
        status = kadr_request_set(job->request, "save-latents", latents, err);
    return status;
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
    const kadr_request *rq = r->requests[p->request];
    if (rq->draft) json_object_set_new(one, "draft", json_true());
    if (rq->save_latents)
        json_object_set_new(one, "latents", json_string(file_name(rq->save_latents)));
    if (job->from) json_object_set_new(one, "from", json_string(job->from));
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
    job->request = r->requests[r->count++] = rq;
    char text[24];
    kadr_status status = panel_hash(s->cli->mem, rq, job->hash, err);
    if (status != KADR_OK)
        err_context(err, "%s: panel %s", s->file, document_number(job->panel, text));
    return status;
}

static void drop_job(struct board_run *r) {
    kadr_request_free(r->requests[--r->count]);
    r->requests[r->count] = NULL;
}

/* A draft's latents, or where those are gone its picture, are what its final picture begins from;
 * false: the panel's picture is none. */
static bool begin_from_draft(struct board_run *r, struct panel_job *job, kadr_status *status,
                             kadr_error *err) {
    const char *picture = document_picture(job->panel);
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(job->panel, "versions"), i, one) {
        if (!picture || strcmp(document_text(one, "url"), picture) != 0) continue;
        if (!json_is_true(json_object_get(one, "draft"))) return false;
        const char *latents = document_text(one, "latents");
        const char *path = *latents ? story_file(r->story, latents) : NULL;
        if (!path || !file_exists(path)) path = story_file(r->story, picture);
        job->from = picture;
        *status =
            path ? kadr_request_set(job->request, "init", path, err) : err_nomem(err, "a path", 0);
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
    if (wanted && s->cli->rq->final) wanted = begin_from_draft(r, job, &status, err);
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
    size_t count = document_count(s->doc);
    *r = (struct board_run){.story = s};
    r->requests = arena_array(&s->cli->arena, count, sizeof *r->requests);
    r->jobs = arena_array(&s->cli->arena, count, sizeof *r->jobs);
    if (!r->requests || !r->jobs) return err_nomem(err, "a board", count);
    return panel_usual(s->cli->rq, err);
}

/* The version's likeness to its casts, into the board. */
static kadr_status measure_version(struct board_run *r, const struct panel_job *job,
                                   struct likeness *like, kadr_error *err) {
    struct story *s = r->story;
    const char *path = story_file(s, job->url);
    json_t *versions = json_object_get(job->panel, "versions");
    json_t *one = json_array_get(versions, json_array_size(versions) - 1);
    kadr_status status =
        path ? cli_measure(s->cli, job->request, path, like, err) : err_nomem(err, "a path", 0);
    if (status != KADR_OK) return status;
    json_object_set_new(one, "likeness", json_real(like->likeness));
    if (like->margin < 0) json_object_set_new(one, "drifted", json_true());
    return story_save(s, err);
}

/* The panel once more with another seed, as another version of the same content. */
static kadr_status draw_once_more(struct board_run *r, struct panel_job *job, uint64_t seed,
                                  json_t *pictures, kadr_error *err) {
    struct story *s = r->story;
    kadr_request *rq = kadr_request_copy(job->request);
    const char *number = arena_printf(&s->cli->arena, "%" PRIu64, seed);
    struct board_run one = {.story = s, .requests = &rq, .jobs = job, .count = 1};
    struct drawing d = {.cli = s->cli, .pictures = pictures, .deliver = deliver, .user = &one};
    const struct request_origin origin = {SOURCE_SCRIPT, s->file, 0};
    kadr_status status = rq && number ? request_set_from(rq, OPTION_seed, number, &origin, err)
                                      : err_nomem(err, "a request", 0);
    kadr_request *first = job->request;
    job->request = rq;
    if (status == KADR_OK) status = next_version(s, job, err);
    if (status == KADR_OK) status = drawing_run(&d, &rq, 1, err);
    job->request = first;
    kadr_request_free(rq);
    return status;
}

/* Panels in which a character has drifted, again up to --retry-drift times; the nearest version is
 * the one that counts, unless the user has picked one. */
static kadr_status retry_drift(struct board_run *r, struct panel_job *job, json_t *pictures,
                               kadr_error *err) {
    struct cli *cli = r->story->cli;
    struct likeness like, best;
    char text[24];
    json_int_t nearest = job->version;
    bool picked = json_object_get(job->panel, "approved") != NULL;
    kadr_status status = measure_version(r, job, &like, err);
    best = like;
    for (int64_t n = 1; n <= cli->rq->retry_drift && best.margin < 0 && status == KADR_OK; n++) {
        status = draw_once_more(r, job, (uint64_t)job->request->seed + (uint64_t)n * DRIFT_SEED,
                                pictures, err);
        if (status == KADR_OK) status = measure_version(r, job, &like, err);
        if (status != KADR_OK || like.margin <= best.margin) continue;
        best = like;
        nearest = job->version;
    }
    if (status != KADR_OK) return status;
    if (nearest != job->version && !picked)
        json_object_set_new(job->panel, "approved", json_integer(nearest));
    json_object_set_new(job->panel, "url", json_string(document_picture(job->panel)));
    console_say(&cli->console, "panel %s: likeness %.2f%s", document_number(job->panel, text),
                best.likeness, best.margin < 0 ? ": the character has drifted" : "");
    return story_save(r->story, err);
}

static kadr_status retry_drifts(struct board_run *r, json_t *pictures, kadr_error *err) {
    kadr_status status = KADR_OK;
    for (size_t i = 0; i < r->count && status == KADR_OK; i++) {
        const char *lock = r->requests[i]->identity_lock;
        bool locked = r->requests[i]->cast.count && (!lock || strcmp(lock, "off") != 0);
        if (r->story->cli->rq->retry_drift && locked)
            status = retry_drift(r, &r->jobs[i], pictures, err);
    }
    return status;
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
    if (status == KADR_OK) status = retry_drifts(r, d.pictures, err);
    if (status == KADR_OK)
        status = story_sheets(s, s->path, s->folder, json_object_get(result, "sheets"), err);
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
