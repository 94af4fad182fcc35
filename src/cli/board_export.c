/* board_export.c: kadr board export: what a board becomes outside of kadr. */
#include "cli/board.h"

#include "base/file.h"
#include "export/export.h"
#include "image/image.h"
#include <string.h>

#define FILM_WIDTH "1280"

struct exporting {
    struct story *story;
    struct timeline timeline;
    const char *board;         /* the file that it is read from */
    const char *folder, *stem; /* where files go, and their path up to the ending */
    json_t *files;             /* what was written */
};

static kadr_status add_file(struct exporting *e, const char *path, kadr_error *err) {
    return json_array_append_new(e->files, json_string(path)) ? err_nomem(err, "the report", 0)
                                                              : KADR_OK;
}

static kadr_status make_text(struct exporting *e, const char *path,
                             kadr_status (*make)(struct timeline *, struct buf *, kadr_error *),
                             kadr_error *err) {
    struct mem *m = e->story->cli->mem;
    struct buf text;
    buf_init(&text, m);
    kadr_status status = make(&e->timeline, &text, err);
    if (status == KADR_OK) status = file_write_atomic(m, path, text.data, text.size, err);
    buf_free(&text);
    return status == KADR_OK ? add_file(e, path, err) : status;
}

/* What was said of an option, or what holds otherwise. */
static const char *setting(const char *said, enum option_id id) {
    return said ? said : request_option_at(id)->fallback;
}

/* Storyboarder looks for pictures in "images" beside its file. */
static kadr_status make_storyboarder(struct exporting *e, const char *path, kadr_error *err) {
    struct arena *a = &e->story->cli->arena;
    struct mem *m = e->story->cli->mem;
    const char *folder = file_join(a, e->folder, "images");
    kadr_status status = folder ? file_make_folders(folder, err) : err_nomem(err, "a path", 0);
    for (size_t i = 0; status == KADR_OK && i < e->timeline.count; i++) {
        const struct shot *s = &e->timeline.shots[i];
        const char *to = s->url ? file_join(a, folder, s->url) : NULL;
        char *data = NULL;
        size_t size = 0;
        if (!s->url) continue;
        if (!to) return err_nomem(err, "a path", 0);
        status = file_read_all(m, s->picture, IMAGE_LIMITS.bytes, KADR_EIO, &data, &size, err);
        if (status == KADR_OK) status = file_write_atomic(m, to, data, size, err);
        mem_free(data);
        if (status != KADR_OK) err_context(err, "panel %s", s->number);
    }
    return status == KADR_OK ? make_text(e, path, export_storyboarder, err) : status;
}

static kadr_status make_pdf(struct exporting *e, const char *path, kadr_error *err) {
    const kadr_request *rq = e->story->cli->rq;
    kadr_status status =
        cli_pages(e->story->cli, "pdf", e->board, path, setting(rq->layout, OPTION_layout),
                  setting(rq->paper, OPTION_paper), err);
    return status == KADR_OK ? add_file(e, path, err) : status;
}

/* The WebP, and an MP4 where ffmpeg is there. */
static kadr_status make_animatic(struct exporting *e, const char *path, kadr_error *err) {
    struct cli *cli = e->story->cli;
    const char *mp4 = arena_printf(&cli->arena, "%s.mp4", e->stem),
               *captions = setting(cli->rq->captions, OPTION_captions);
    if (!mp4) return err_nomem(err, "a path", 0);
    kadr_status status = cli_pages(cli, "webp", e->board, path, FILM_WIDTH, captions, err);
    if (status == KADR_OK) status = add_file(e, path, err);
    if (status != KADR_OK) return status;
    status = cli_pages(cli, "mp4", e->board, mp4, FILM_WIDTH, captions, err);
    if (status == KADR_OK) return add_file(e, mp4, err);
    if (status != KADR_EUSAGE) return status;
    console_say(&cli->console, "%s", err->message); /* without ffmpeg */
    return KADR_OK;
}

static kadr_status make_sheet(struct exporting *e, const char *path, kadr_error *err) {
    (void)path;
    return story_sheets(e->story, e->board, e->folder, e->files, err);
}

/* "harbour" for a board of harbour.txt. */
static kadr_status open_places(struct exporting *e, kadr_error *err) {
    struct story *s = e->story;
    struct arena *a = &s->cli->arena;
    const char *script = file_name(document_text(s->doc, "script"));
    e->board = s->path ? s->path : s->file;
    if (!*script) script = file_name(e->board);
    size_t n = strlen(script) - strlen(file_extension(script));
    const char *file = file_name(e->board);
    e->folder = s->cli->rq->output ? s->cli->rq->output
                : file == e->board ? "."
                                   : arena_strndup(a, e->board, (size_t)(file - e->board));
    if (!e->folder) return err_nomem(err, "a path", 0);
    e->stem =
        file_join(a, e->folder,
                  arena_printf(a, "%.*s", (int)(n && script[n - 1] == '.' ? n - 1 : n), script));
    return e->stem ? file_make_folders(e->folder, err) : err_nomem(err, "a path", 0);
}

static kadr_status make_files(struct exporting *e, kadr_error *err) {
    const kadr_request *rq = e->story->cli->rq;
    const struct {
        bool wanted;
        const char *ending;
        kadr_status (*make)(struct exporting *, const char *path, kadr_error *);
        kadr_status (*text)(struct timeline *, struct buf *, kadr_error *);
    } kinds[] = {{rq->pdf, "pdf", make_pdf, NULL},
                 {rq->sheet, "png", make_sheet, NULL},
                 {rq->animatic, "webp", make_animatic, NULL},
                 {rq->srt, "srt", NULL, export_srt},
                 {rq->edl, "edl", NULL, export_edl},
                 {rq->fcpxml, "fcpxml", NULL, export_fcpxml},
                 {rq->otio, "otio", NULL, export_otio},
                 {rq->storyboarder, "storyboarder", make_storyboarder, NULL},
                 {rq->html, "html", NULL, export_html}};
    const size_t count = sizeof kinds / sizeof *kinds;
    bool all = true;
    kadr_status status = KADR_OK;
    for (size_t i = 0; i < count; i++) all = all && !kinds[i].wanted;
    for (size_t i = 0; status == KADR_OK && i < count; i++) {
        if (!all && !kinds[i].wanted) continue;
        const char *path = arena_printf(&e->story->cli->arena, "%s.%s", e->stem, kinds[i].ending);
        if (!path) status = err_nomem(err, "a path", 0);
        else if (kinds[i].make) status = kinds[i].make(e, path, err);
        else status = make_text(e, path, kinds[i].text, err);
    }
    return status;
}

static kadr_status report(struct exporting *e, kadr_error *err) {
    struct cli *cli = e->story->cli;
    struct buf lines;
    size_t i;
    json_t *one;
    if (cli->rq->json) {
        json_t *all = json_pack("{s:O}", "files", e->files);
        kadr_status status = all ? cli_print_json(cli, all, err) : err_nomem(err, "the report", 0);
        json_decref(all);
        return status;
    }
    buf_init(&lines, cli->mem);
    json_array_foreach(e->files, i, one) buf_printf(&lines, "%s\n", json_string_value(one));
    return cli_print_buf(&lines, err);
}

kadr_status board_export(struct story *s, kadr_error *err) {
    struct exporting e = {.story = s, .files = json_array()};
    kadr_status status = e.files ? open_places(&e, err) : err_nomem(err, "the report", 0);
    if (status == KADR_OK) status = timeline_of(&e.timeline, s->cli->mem, s->doc, e.board, err);
    if (status == KADR_OK) {
        status = make_files(&e, err);
        timeline_close(&e.timeline);
    }
    if (status == KADR_OK) status = report(&e, err);
    json_decref(e.files);
    return status;
}
