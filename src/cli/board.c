/* board.c: kadr board: a script becomes one request a panel, drawn in one go; then the contact
 * sheet and board.json. */
#include "board/board.h"
#include "cli/cli.h"

#include "base/file.h"
#include "base/sys.h"
#include "image/scale.h"
#include "image/sheet.h"
#include <inttypes.h>
#include <string.h>

#define SHEET_PANELS 60 /* on one contact sheet */
#define SHEET_WIDTH 480 /* most pixels of a panel there */

struct story {
    struct cli *cli;
    const char *script; /* path */
    const char *folder;
    struct board board;
    kadr_request **requests; /* one a panel */
    const char **picture;    /* a panel's file, NULL: not drawn */
    json_t *panels;          /* board.json's */
};

/* ---- Requests -------------------------------------------------------------------------------- */
static kadr_status set_said(kadr_request *rq, const struct board_panel *panel, const char *script,
                            kadr_error *err) {
    struct request_origin origin = {SOURCE_SCRIPT, script, panel->place.line};
    kadr_status status = request_set_from(rq, OPTION_prompt, panel->prompt, &origin, err);
    for (size_t i = 0; status == KADR_OK && i < panel->override_count; i++) {
        const struct board_override *o = &panel->overrides[i];
        int id = request_option(o->name);
        origin.line = o->place.line;
        if (id < 0 || !(request_option_at(id)->use & KADR_IN_SETTINGS))
            status = err_set(err, KADR_EUSAGE, "%s decides nothing about a picture", o->name);
        else status = request_set_from(rq, id, o->value, &origin, err);
        if (status != KADR_OK) err_context(err, "%s:%d:%d", script, o->place.line, o->place.column);
    }
    return status;
}

/* Panel n, from 0, takes seed + n: known before anything is drawn, the same when others change. */
static kadr_status set_seed(struct cli *cli, kadr_request *rq, int64_t base, size_t n,
                            kadr_error *err) {
    const char *seed = arena_printf(&cli->arena, "%" PRIu64, (uint64_t)base + n);
    return seed ? kadr_request_set(rq, "seed", seed, err) : err_nomem(err, "a seed", 0);
}

/* The seed of panel 1: as said, or one random number for the whole board. */
static kadr_status base_seed(const kadr_request *rq, int64_t *seed, kadr_error *err) {
    kadr_request *resolved = kadr_request_copy(rq);
    if (!resolved) return err_nomem(err, "a request", 0);
    kadr_status status = request_resolve(resolved, NULL, "balanced", err);
    *seed = resolved->seed;
    kadr_request_free(resolved);
    return status;
}

static kadr_status make_requests(struct story *s, kadr_error *err) {
    static const struct request_origin usual = {.source = SOURCE_BOARD};
    struct cli *cli = s->cli;
    int64_t seed = 0;
    s->requests = arena_array(&cli->arena, s->board.count + 1, sizeof *s->requests);
    s->picture = arena_array(&cli->arena, s->board.count + 1, sizeof *s->picture);
    if (!s->requests || !s->picture) return err_nomem(err, "a board", s->board.count);
    kadr_status status = request_set_from(cli->rq, OPTION_aspect, "16:9", &usual, err);
    if (status == KADR_OK) status = base_seed(cli->rq, &seed, err);
    for (size_t i = 0; status == KADR_OK && i < s->board.count; i++) {
        kadr_request *rq = s->requests[i] = kadr_request_copy(cli->rq);
        if (!rq) return err_nomem(err, "a request", 0);
        status = set_seed(cli, rq, seed, i, err);
        if (status == KADR_OK) status = set_said(rq, &s->board.panels[i], s->script, err);
        /* A panel may name another model. */
        if (status == KADR_OK) status = cli_find_model(cli, rq, err);
    }
    return status;
}

/* ---- Folder ---------------------------------------------------------------------------------- */
/* -o, or a folder called after the script that is not there yet. */
static kadr_status make_folder(struct story *s, kadr_error *err) {
    struct arena *a = &s->cli->arena;
    s->folder = s->cli->rq->output;
    if (!s->folder) {
        const char *name = file_name(s->script), *extension = file_extension(name);
        int n = (int)(strlen(name) - strlen(extension) - (*extension != 0));
        s->folder = arena_printf(a, "%.*s-board", n, name);
        for (int k = 2; s->folder && (file_is_folder(s->folder) || file_exists(s->folder)); k++)
            s->folder = arena_printf(a, "%.*s-board-%d", n, name, k);
    }
    return s->folder ? file_make_folders(s->folder, err) : err_nomem(err, "a path", 0);
}

static kadr_status write_json(struct story *s, const char *name, const json_t *json,
                              kadr_error *err) {
    struct buf text;
    kadr_status status;
    const char *path = file_join(&s->cli->arena, s->folder, name);
    buf_init(&text, s->cli->mem);
    cli_dump_json(&text, json);
    if (!path || !buf_ok(&text)) status = err_nomem(err, name, text.size);
    else status = file_write_atomic(s->cli->mem, path, text.data, text.size, err);
    buf_free(&text);
    return status;
}

/* What the script says, and the picture when there is one. */
static json_t *describe_panel(const struct story *s, size_t i) {
    const struct board_panel *p = &s->board.panels[i];
    return json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:f, s:s?}", "number", p->number, "prompt",
                     p->prompt, "action", p->action, "scene", p->scene, "shot", p->shot, "duration",
                     p->duration, "picture",
                     s->picture[i] ? file_name(s->picture[i]) : (const char *)NULL);
}

/* board.json as far as the drawing is. */
static kadr_status write_board(struct story *s, kadr_error *err) {
    json_t *panels = json_array();
    for (size_t i = 0; panels && i < s->board.count; i++)
        json_array_append_new(panels, describe_panel(s, i));
    json_t *board = json_pack("{s:s, s:o}", "script", file_name(s->script), "panels", panels);
    if (!board) return err_nomem(err, "board.json", 0);
    kadr_status status = write_json(s, "board.json", board, err);
    json_decref(board);
    return status;
}

static kadr_status deliver(struct drawing *d, const kadr_picture *p) {
    struct story *s = d->user;
    struct arena *a = &d->cli->arena;
    char *name = arena_printf(a, "panel-%03zu.png", p->request + 1);
    const char *path = name ? file_join(a, s->folder, name) : NULL;
    if (!path) return err_nomem(&d->error, "a path", 0);
    kadr_status status = result_write(d->cli, p, path, d->pictures, &d->error);
    if (status != KADR_OK) return status;
    s->picture[p->request] = path;
    return write_board(s, &d->error);
}

/* ---- Contact sheet --------------------------------------------------------------------------- */
/* A panel as small as the sheet shows it. */
static kadr_status read_small(struct mem *m, const char *path, struct image *small,
                              kadr_error *err) {
    struct image im = {0};
    kadr_status status = image_read(&im, m, path, IMAGE_OVER_WHITE, NULL, err);
    if (status == KADR_OK && im.width > SHEET_WIDTH) {
        int height = (int)((int64_t)im.height * SHEET_WIDTH / im.width);
        status =
            image_scale(&im, m, SHEET_WIDTH, height > 0 ? height : 1, SCALE_LANCZOS, small, err);
        image_free(&im);
    } else *small = im;
    return status;
}

static kadr_status write_sheet(struct story *s, size_t first, size_t count, const char *path,
                               kadr_error *err) {
    struct mem *m = s->cli->mem;
    struct image images[SHEET_PANELS] = {{0}}, sheet = {0};
    struct sheet_panel panels[SHEET_PANELS] = {{0}};
    kadr_status status = KADR_OK;
    for (size_t i = 0; status == KADR_OK && i < count; i++) {
        const struct board_panel *p = &s->board.panels[first + i];
        panels[i] = (struct sheet_panel){&images[i], p->number, *p->action ? p->action : p->prompt};
        status = read_small(m, s->picture[first + i], &images[i], err);
    }
    const struct sheet_style style = {.width = SHEET_WIDTH};
    if (status == KADR_OK) status = sheet_make(panels, count, style, m, &sheet, err);
    if (status == KADR_OK) status = image_write_png(&sheet, m, path, NULL, 0, err);
    image_free(&sheet);
    for (size_t i = 0; i < count; i++) image_free(&images[i]);
    return status;
}

/* sheet.png, and sheet-2.png and so on for more panels than one holds. */
static kadr_status write_sheets(struct story *s, json_t *sheets, kadr_error *err) {
    struct arena *a = &s->cli->arena;
    kadr_status status = KADR_OK;
    for (size_t first = 0; status == KADR_OK && first < s->board.count; first += SHEET_PANELS) {
        size_t count =
            s->board.count - first < SHEET_PANELS ? s->board.count - first : SHEET_PANELS;
        const char *name =
            first ? arena_printf(a, "sheet-%zu.png", first / SHEET_PANELS + 1) : "sheet.png";
        const char *path = name ? file_join(a, s->folder, name) : NULL;
        if (!path || json_array_append_new(sheets, json_string(path)))
            return err_nomem(err, "a contact sheet", 0);
        status = write_sheet(s, first, count, path, err);
    }
    return status;
}

/* ---- The command ----------------------------------------------------------------------------- */
static kadr_status draw_story(struct story *s, json_t *result, kadr_error *err) {
    double began = sys_seconds();
    json_t *pictures = json_object_get(result, "pictures");
    struct drawing d = {.cli = s->cli, .pictures = pictures, .deliver = deliver, .user = s};
    kadr_status status = make_folder(s, err);
    if (status == KADR_OK) status = drawing_run(&d, s->requests, s->board.count, err);
    if (status == KADR_OK) status = write_sheets(s, json_object_get(result, "sheets"), err);
    if (status == KADR_OK) status = result_finish(s->cli, result, sys_seconds() - began, err);
    if (status == KADR_OK)
        console_say(&s->cli->console, "%s: panels, sheet.png, board.json", s->folder);
    return status;
}

kadr_status command_board(struct cli *cli, kadr_error *err) {
    struct story s = {.cli = cli, .script = cli->word[0]};
    json_t *result = json_pack("{s:[], s:[]}", "pictures", "sheets");
    kadr_status status = cli_prepare(cli, err);
    if (status == KADR_OK) status = board_read(&s.board, cli->mem, s.script, err);
    if (status == KADR_OK) status = make_requests(&s, err);
    if (status == KADR_OK && !result) status = err_nomem(err, "the report", 0);
    if (status == KADR_OK) status = draw_story(&s, result, err);
    for (size_t i = 0; s.requests && i < s.board.count; i++) kadr_request_free(s.requests[i]);
    board_free(&s.board);
    json_decref(result);
    return status;
}
