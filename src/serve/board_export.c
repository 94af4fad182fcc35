/* board_export.c: a board as the files that `kadr board export` writes, to be downloaded. Each is
 * made in a folder of its own that has the board and its pictures, and is gone when it was sent.
 * "all" is an archive of what editors open, with the pictures. */
#include "serve/boards.h"

#include "base/file.h"
#include "export/export.h"
#include "serve/routes.h"
#include "serve/tar.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILM_WIDTH "1280"
#define SHEET_PANELS 60

typedef kadr_status make_text(struct timeline *, struct buf *, kadr_error *);
struct kind {
    const char *format, *ending, *type;
    make_text *text;       /* NULL: kadr-pages makes it, or make_archive */
    const char *option[2]; /* of the query: what kadr-pages is told, */
    const char *choices[2], *usual[2];
};
#define FILM                                                                                       \
    .option = {NULL, "captions"}, .choices = {NULL, "track|burnt|off"},                            \
    .usual = {FILM_WIDTH, "track"}
static const struct kind kinds[] = {
    {"pdf", "pdf", "application/pdf", .option = {"layout", "paper"},
     .choices = {"2x3|1x3|1x1", "a4|letter"}, .usual = {"2x3", "a4"}},
    {"sheet", "png", "image/png", .usual = {"0"}},
    {"webp", "webp", "image/webp", FILM},
    {"mp4", "mp4", "video/mp4", FILM},
    {"srt", "srt", "application/x-subrip", .text = export_srt},
    {"edl", "edl", "text/plain; charset=utf-8", .text = export_edl},
    {"fcpxml", "fcpxml", "application/xml", .text = export_fcpxml},
    {"otio", "otio", "application/json", .text = export_otio},
    {"storyboarder", "storyboarder", "application/json", .text = export_storyboarder},
    {"html", "html", "text/html; charset=utf-8", .text = export_html},
    {"all", "tar", "application/x-tar", .text = NULL}};
#define KINDS (sizeof kinds / sizeof *kinds)

struct exporting {
    struct serve *serve;
    struct arena arena;
    struct board_state board;
    const struct kind *kind;
    const char *said[2];
    bool all;
    json_t *doc; /* the board's, or for an archive one with its pictures in images/ */
    char *folder, *images, *file, *to;
};

/* ---- The folder ------------------------------------------------------------------------------ */
/* The document with its pictures in images/. */
static json_t *moved(const json_t *doc) {
    json_t *copy = json_deep_copy(doc), *one;
    for (size_t i = 0; i < document_count(copy); i++) {
        json_t *panel = document_panel(copy, i);
        size_t k;
        json_array_foreach(json_object_get(panel, "versions"), k, one)
            json_object_set_new(one, "url", json_sprintf("images/%s", document_text(one, "url")));
        if (*document_text(panel, "url"))
            json_object_set_new(panel, "url",
                                json_sprintf("images/%s", document_text(panel, "url")));
    }
    return copy;
}

static kadr_status make_folder(struct exporting *e, kadr_error *err) {
    struct arena *a = &e->arena;
    char *folder = store_file_path(e->serve->store, "exports");
    e->folder = folder ? file_join(a, folder, "XXXXXX") : NULL;
    mem_free(folder);
    if (!e->folder) return err_nomem(err, "a path", 0);
    if (!mkdtemp(e->folder)) {
        kadr_status st = err_errno(err, "making", e->folder);
        e->folder = NULL;
        return st;
    }
    e->all = !strcmp(e->kind->format, "all");
    e->doc = e->all ? moved(e->board.doc) : json_incref(e->board.doc);
    e->images = file_join(a, e->folder, e->all ? "images" : "");
    if (!e->doc || !e->images) return err_nomem(err, "a board", 0);
    kadr_status st = file_make_folders(e->images, err);
    if (st) return st;
    e->file = file_join(a, e->folder, "board.json");
    e->to = arena_printf(a, "%s/export.%s", e->folder, e->kind->ending);
    return e->file && e->to ? KADR_OK : err_nomem(err, "a path", 0);
}

static void empty_folder(struct arena *a, const char *folder) {
    char **names;
    size_t count = 0;
    if (!folder || file_list(a, folder, &names, &count, NULL)) return;
    for (size_t i = 0; i < count; i++) {
        const char *path = file_join(a, folder, names[i]);
        if (path) unlink(path);
    }
    rmdir(folder);
}

static void drop_folder(struct exporting *e) {
    if (!e->folder) return;
    if (e->all) empty_folder(&e->arena, e->images);
    empty_folder(&e->arena, e->folder);
    json_decref(e->doc);
}

/* A second name for the picture's file, or a copy where the file system knows no such. */
static kadr_status put_picture(struct exporting *e, const json_t *panel, kadr_error *err) {
    struct mem *m = e->serve->mem;
    const char *to = file_join(&e->arena, e->folder, document_text(panel, "url"));
    int64_t id = json_integer_value(json_object_get(panel, "picture"));
    char *from = NULL, *data = NULL;
    size_t size;
    if (!id) return KADR_OK;
    kadr_status st =
        to ? store_picture_file(e->serve->store, id, &from, err) : err_nomem(err, "a path", 0);
    if (!st && !from) st = err_set(err, KADR_EIO, "picture %" PRId64 " was deleted", id);
    if (!st && link(from, to)) {
        st = file_read_all(m, from, (size_t)1 << 30, KADR_EIO, &data, &size, err);
        if (!st) st = file_write_atomic(m, to, data, size, err);
    }
    mem_free(data);
    mem_free(from);
    return st;
}

static kadr_status fill_folder(struct exporting *e, kadr_error *err) {
    json_t *doc = e->doc;
    kadr_status st = KADR_OK;
    for (size_t i = 0; !st && i < document_count(doc); i++)
        st = put_picture(e, document_panel(doc, i), err);
    return st ? st : document_save(doc, e->serve->mem, e->file, false, err);
}

/* ---- The file -------------------------------------------------------------------------------- */
/* A text about the document `doc`. */
static kadr_status write_text(struct exporting *e, json_t *doc, make_text *make, struct buf *text,
                              kadr_error *err) {
    struct timeline t;
    kadr_status st = timeline_of(&t, e->serve->mem, doc, e->file, err);
    if (st) return st;
    t.travels = true;
    st = make(&t, text, err);
    timeline_close(&t);
    return st;
}

static kadr_status make_one(struct exporting *e, kadr_error *err) {
    struct buf text;
    buf_init(&text, e->serve->mem);
    kadr_status st = write_text(e, e->doc, e->kind->text, &text, err);
    if (!st) st = file_write_atomic(e->serve->mem, e->to, text.data, text.size, err);
    buf_free(&text);
    return st;
}

static kadr_status make_pages(struct exporting *e, const char *kind, const char *to,
                              const char *const said[2], kadr_error *err) {
    const struct serve_config *config = &e->serve->config;
    return config->pages(config->user, kind, e->file, to, said[0], said[1], err);
}

/* ---- All of them: pictures in images/, what editors open beside it --------------------------- */
static const char *inside(struct exporting *e, const char *name) {
    if (!name) return NULL;
    return arena_printf(&e->arena, "board-%" PRId64 "/%s", e->board.id, name);
}

static kadr_status add_pictures(struct exporting *e, struct file_writer *w, kadr_error *err) {
    kadr_status st = KADR_OK;
    for (size_t i = 0; !st && i < document_count(e->doc); i++) {
        const char *url = document_text(document_panel(e->doc, i), "url");
        const char *path = file_join(&e->arena, e->folder, url);
        if (!*url) continue;
        st = path ? tar_add_file(w, e->serve->mem, inside(e, url), path, err)
                  : err_nomem(err, "a path", 0);
    }
    return st;
}

static kadr_status add_texts(struct exporting *e, struct file_writer *w, kadr_error *err) {
    struct buf text;
    buf_init(&text, e->serve->mem);
    kadr_status st = tar_add_file(w, e->serve->mem, inside(e, "board.json"), e->file, err);
    for (size_t i = 0; !st && i < KINDS; i++) {
        const struct kind *k = &kinds[i];
        if (!k->text || k->text == export_html) continue;
        buf_clear(&text);
        /* Storyboarder looks into images/ by itself. */
        st = write_text(e, k->text == export_storyboarder ? e->board.doc : e->doc, k->text, &text,
                        err);
        const char *name = inside(e, arena_printf(&e->arena, "board.%s", k->ending));
        if (!st) st = tar_add(w, name, text.data, text.size, err);
    }
    buf_free(&text);
    return st;
}

static kadr_status make_archive(struct exporting *e, kadr_error *err) {
    static const char *const usual[2] = {"2x3", "a4"};
    struct file_writer w = {.fd = -1};
    const char *pdf = arena_printf(&e->arena, "%s/board.pdf", e->folder);
    kadr_status st = pdf ? make_pages(e, "pdf", pdf, usual, err) : err_nomem(err, "a path", 0);
    if (!st) st = file_writer_begin(&w, e->serve->mem, e->to, err);
    if (st) return st;
    st = tar_add_file(&w, e->serve->mem, inside(e, "board.pdf"), pdf, err);
    if (!st) st = add_texts(e, &w, err);
    if (!st) st = add_pictures(e, &w, err);
    if (!st) st = tar_end(&w, err);
    file_writer_abort(&w);
    return st;
}

static kadr_status make_file(struct exporting *e, kadr_error *err) {
    kadr_status st = make_folder(e, err);
    if (!st) st = fill_folder(e, err);
    if (st) return st;
    if (e->kind->text) return make_one(e, err);
    if (e->all) return make_archive(e, err);
    return make_pages(e, e->kind->format, e->to, e->said, err);
}

/* Which kind, and what is said of it. */
static kadr_status read_query(struct exporting *e, struct call *c, kadr_error *err) {
    const char *format = call_query(c, "format");
    size_t count = document_count(e->board.doc);
    for (size_t i = 0; format && i < KINDS; i++)
        if (!strcmp(kinds[i].format, format)) e->kind = &kinds[i];
    if (!e->kind)
        return err_set(err, KADR_EUSAGE,
                       "format: expected pdf, sheet, webp, mp4, srt, edl, fcpxml, otio, "
                       "storyboarder, html or all");
    for (int i = 0; i < 2; i++) {
        const char *option = e->kind->option[i], *said = option ? call_query(c, option) : NULL;
        e->said[i] = e->kind->usual[i];
        if (!e->said[i] && i) /* a sheet: how many panels */
            e->said[i] =
                arena_printf(&e->arena, "%zu", count < SHEET_PANELS ? count : SHEET_PANELS);
        if (!said) continue;
        const char *at = strstr(e->kind->choices[i], said);
        size_t n = strlen(said);
        if (!n || !at || (at != e->kind->choices[i] && at[-1] != '|') || (at[n] && at[n] != '|'))
            return err_set(err, KADR_EUSAGE, "%s: expected one of %s", option, e->kind->choices[i]);
        e->said[i] = said;
    }
    return KADR_OK;
}

/* The board's title, as RFC 6266 has names that are not ASCII. */
static char *saved_as(const struct exporting *e) {
    const char *title = document_text(e->board.doc, "title");
    struct buf b;
    buf_init(&b, e->serve->mem);
    buf_puts(&b, "attachment; filename*=UTF-8''");
    if (!*title) buf_printf(&b, "board-%" PRId64, e->board.id);
    for (const unsigned char *p = (const unsigned char *)title; *p; p++) {
        bool plain = (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= 'a' && *p <= 'z') || *p == '-' || *p == '_';
        buf_printf(&b, plain ? "%c" : "%%%02X", *p < 0x20 || *p == '/' ? ' ' : *p);
    }
    buf_printf(&b, ".%s", e->kind->ending);
    char *name = buf_take(&b);
    buf_free(&b);
    return name;
}

void boards_export(struct call *c) {
    kadr_error err;
    struct exporting e = {.serve = c->serve};
    arena_init(&e.arena, c->serve->mem);
    kadr_status st = board_open(c->serve, c->number, &e.board, &err);
    if (!st) st = read_query(&e, c, &err);
    if (!st) st = make_file(&e, &err);
    if (!st) c->file = open(e.to, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (!st && c->file < 0) st = err_errno(&err, "opening", e.to);
    if (st) call_error(c, st, &err);
    else {
        c->code = 200;
        c->type = e.kind->type;
        c->saved_as = saved_as(&e);
    }
    drop_folder(&e);
    board_close(&e.board);
    arena_free(&e.arena);
}
