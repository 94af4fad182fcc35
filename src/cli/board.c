/* board.c: kadr board: its folder, init and pick, and the contact sheet. */
#include "cli/board.h"

#include "base/file.h"
#include <stdlib.h>
#include <string.h>

#define SHEET_PANELS 60 /* on one contact sheet */
#define BOARD_NAME "board.json"

/* ---- Story ----------------------------------------------------------------------------------- */
kadr_status story_open(struct story *s, struct cli *cli, const char *file, kadr_error *err) {
    *s = (struct story){.cli = cli, .file = file};
    if (file_is_folder(file)) {
        s->folder = file;
        file = s->path = file_join(&cli->arena, file, BOARD_NAME);
        if (!file) return err_nomem(err, "a path", 0);
    }
    return document_read(&s->doc, cli->mem, file, err);
}

void story_close(struct story *s) {
    json_decref(s->doc);
    s->doc = NULL;
}

const char *story_file(const struct story *s, const char *name) {
    return file_join(&s->cli->arena, s->folder, name);
}

/* A folder that is not there yet, or has this board. */
static bool is_ours(const struct story *s, const char *folder) {
    const char *path = file_join(&s->cli->arena, folder, BOARD_NAME);
    json_t *old = NULL;
    if (!file_is_there(folder)) return true;
    if (!path || !file_exists(path)) return false;
    if (document_read(&old, s->cli->mem, path, NULL) != KADR_OK) return false;
    bool same = !strcmp(document_text(old, "script"), document_text(s->doc, "script"));
    json_decref(old);
    return same;
}

static const char *name_folder(const struct story *s) {
    struct arena *a = &s->cli->arena;
    const char *name = file_name(s->file), *extension = file_extension(name);
    int n = (int)(strlen(name) - strlen(extension) - (*extension != 0));
    if (!strcmp(name, BOARD_NAME)) /* a board that was drawn lies where its pictures lie */
        return name == s->file
                   ? "."
                   : arena_strndup(a, s->file, (size_t)(name - s->file - (name - s->file > 1)));
    const char *folder = arena_printf(a, "%.*s-board", n, name);
    for (int k = 2; folder && !is_ours(s, folder); k++)
        folder = arena_printf(a, "%.*s-board-%d", n, name, k);
    return folder;
}

kadr_status story_folder(struct story *s, kadr_error *err) {
    json_t *old = NULL;
    if (s->folder) return KADR_OK;
    if (!*document_text(s->doc, "script"))
        json_object_set_new(s->doc, "script", json_string(file_name(s->file)));
    s->folder = s->cli->rq->output ? s->cli->rq->output : name_folder(s);
    s->path = s->folder ? story_file(s, BOARD_NAME) : NULL;
    if (!s->path) return err_nomem(err, "a path", 0);
    if (!file_is_there(s->path)) return KADR_OK;
    kadr_status status = document_read(&old, s->cli->mem, s->path, err);
    if (status == KADR_OK) status = document_inherit(s->doc, old, err);
    json_decref(old);
    return status;
}

kadr_status story_save(struct story *s, kadr_error *err) {
    kadr_status status = document_save(s->doc, s->cli->mem, s->path, !s->saved, err);
    s->saved = true;
    return status;
}

kadr_status story_panel(const struct story *s, const char *number, size_t *at, kadr_error *err) {
    if (document_find(s->doc, number, at)) return KADR_OK;
    return err_set(err, KADR_EUSAGE, "%s: no panel of number \"%.100s\"", s->file, number);
}

/* ---- Contact sheet --------------------------------------------------------------------------- */
kadr_status story_sheets(const struct story *s, const char *board, const char *folder,
                         json_t *sheets, kadr_error *err) {
    struct arena *a = &s->cli->arena;
    kadr_status status = KADR_OK;
    size_t all = document_count(s->doc);
    for (size_t at = 0; status == KADR_OK && at < all; at += SHEET_PANELS) {
        const char *name =
            at ? arena_printf(a, "sheet-%zu.png", at / SHEET_PANELS + 1) : "sheet.png";
        const char *path = name ? file_join(a, folder, name) : NULL;
        const char *first = arena_printf(a, "%zu", at);
        const char *count =
            arena_printf(a, "%zu", all - at < SHEET_PANELS ? all - at : SHEET_PANELS);
        if (!path || !first || !count || json_array_append_new(sheets, json_string(path)))
            return err_nomem(err, "a contact sheet", 0);
        status = cli_pages(s->cli, "sheet", board, path, first, count, err);
    }
    return status;
}

/* ---- The commands ---------------------------------------------------------------------------- */
static kadr_status draw(struct story *s, char **word, kadr_error *err) {
    (void)word;
    kadr_status status = story_folder(s, err);
    return status == KADR_OK ? board_draw(s, err) : status;
}

static kadr_status init(struct story *s, char **word, kadr_error *err) {
    (void)word;
    struct arena *a = &s->cli->arena;
    const char *to = s->cli->rq->output, *name = file_name(s->file);
    size_t n = strlen(name) - strlen(file_extension(name));
    if (!to) to = arena_printf(a, "%.*s.json", (int)(n && name[n - 1] == '.' ? n - 1 : n), name);
    if (!to) return err_nomem(err, "a path", 0);
    if (file_is_there(to))
        return err_set(err, KADR_EUSAGE, "%s is there; say another name with -o", to);
    bool theirs = !strcmp(file_extension(to), "storyboarder");
    json_t *out = theirs ? document_to_storyboarder(s->doc) : json_incref(s->doc);
    kadr_status status =
        out ? document_save(out, s->cli->mem, to, false, err) : err_nomem(err, "a board", 0);
    json_decref(out);
    const char *line = arena_printf(a, "%s\n", to);
    return status == KADR_OK && line ? cli_print(line, err) : status;
}

static kadr_status pick(struct story *s, char **word, kadr_error *err) {
    size_t at, i;
    json_t *one;
    const char *text = word[1] + (*word[1] == 'v');
    long version = strtol(text, NULL, 10);
    kadr_status status = story_panel(s, word[0], &at, err);
    if (status == KADR_OK) status = story_folder(s, err);
    if (status != KADR_OK) return status;
    json_t *panel = document_panel(s->doc, at);
    json_array_foreach(json_object_get(panel, "versions"), i, one) {
        if (json_integer_value(json_object_get(one, "version")) != version) continue;
        json_object_set_new(panel, "approved", json_integer(version));
        json_object_set(panel, "url", json_object_get(one, "url"));
        return story_save(s, err);
    }
    return err_set(err, KADR_EUSAGE, "panel %.20s has no version \"%.20s\"; it has %zu", word[0],
                   word[1], json_array_size(json_object_get(panel, "versions")));
}

static kadr_status revise(struct story *s, char **word, kadr_error *err) {
    kadr_status status = story_folder(s, err);
    return status == KADR_OK ? board_revise(s, word[0], err) : status;
}

static kadr_status export(struct story *s, char **word, kadr_error *err) {
    (void)word;
    return board_export(s, err);
}

kadr_status command_board(struct cli *cli, kadr_error *err) {
    static const struct {
        const char *name, *takes;
        int words; /* with itself */
        kadr_status (*run)(struct story *, char **word, kadr_error *);
    } ways[] = {{"draw", "FILE", 2, draw},
                {"export", "FOLDER", 2, export},
                {"init", "FILE", 2, init},
                {"pick", "FOLDER PANEL VERSION", 4, pick},
                {"revise", "FOLDER PANEL", 3, revise}};
    struct story s = {0};
    kadr_status status = cli_prepare(cli, err);
    if (status != KADR_OK) return status;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(cli->word[0], ways[i].name) != 0) continue;
        if (cli->words != ways[i].words)
            return err_set(err, KADR_EUSAGE, "expected %s after `kadr board %s`", ways[i].takes,
                           ways[i].name);
        status = story_open(&s, cli, cli->word[1], err);
        if (status == KADR_OK) status = ways[i].run(&s, cli->word + 2, err);
        story_close(&s);
        return status;
    }
    if (cli->words != 1)
        return err_set(err, KADR_EUSAGE,
                       "board %.100s: expected draw, export, init, revise, pick, or one FILE",
                       cli->word[0]);
    status = story_open(&s, cli, cli->word[0], err);
    if (status == KADR_OK) status = draw(&s, NULL, err);
    story_close(&s);
    return status;
}
