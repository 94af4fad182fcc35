/* html.c: the board as a web page that needs nothing beside itself: pictures are in it, as JPEG. */
#include "export/export.h"
#include "export/text.h"
#include "image/scale.h"
#include <string.h>

#define WIDTH 1024 /* most pixels of a picture's width */
#define QUALITY 88

static const char head[] =
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<style>\n"
    ":root { color-scheme: light dark; }\n"
    "body { font: 16px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 "
    "1rem; }\n"
    "main { display: grid; gap: 2rem 1.5rem; grid-template-columns: repeat(auto-fill, "
    "minmax(min(22rem, 100%), 1fr)); }\n"
    "figure { margin: 0; break-inside: avoid; }\n"
    "img, .empty { width: 100%; height: auto; display: block; border-radius: 4px; }\n"
    ".empty { aspect-ratio: 16 / 9; background: #8884; }\n"
    ".line { display: flex; gap: .75rem; align-items: baseline; margin-top: .4rem; }\n"
    ".line b { font-size: 1.1rem; } .line span { opacity: .7; } .line .time { margin-inline-start: "
    "auto; }\n"
    "p { margin: .3rem 0 0; white-space: pre-line; overflow-wrap: anywhere; }\n"
    ".scene { font-weight: 600; opacity: .7; font-size: .85rem; }\n"
    ".dialogue { border-inline-start: 3px solid #8886; padding-inline-start: .6rem; }\n"
    ".notes { font-style: italic; opacity: .7; }\n"
    "@media print { body { margin: 0; } main { grid-template-columns: 1fr 1fr; } }\n"
    "</style>\n";

static void put_paragraph(struct buf *out, const char *kind, const char *text) {
    if (!*text) return;
    buf_printf(out, "<p class=\"%s\" dir=\"auto\">", kind);
    text_xml(out, text);
    buf_puts(out, "</p>\n");
}

static kadr_status put_picture(struct buf *out, struct shot *s, kadr_error *err) {
    struct mem *m = out->mem;
    struct image im = {0}, small = {0};
    struct buf jpeg;
    kadr_status status = image_read(&im, m, s->picture, IMAGE_OVER_WHITE, NULL, err);
    if (status != KADR_OK) return err_context(err, "panel %s", s->number);
    buf_init(&jpeg, m);
    if (im.width > WIDTH)
        status = image_scale(&im, m, WIDTH, (int)((int64_t)im.height * WIDTH / im.width),
                             SCALE_LANCZOS, &small, err);
    const struct image *shown = small.data ? &small : &im;
    if (status == KADR_OK)
        status =
            image_encode(shown, m, (struct image_style){IMAGE_JPEG, QUALITY}, NULL, 0, &jpeg, err);
    if (status == KADR_OK) {
        buf_printf(out, "<img width=\"%d\" height=\"%d\" alt=\"", shown->width, shown->height);
        text_xml(out, *s->action ? s->action : s->number);
        buf_puts(out, "\" src=\"data:image/jpeg;base64,");
        buf_base64(out, jpeg.data, jpeg.size);
        buf_puts(out, "\">\n");
    }
    buf_free(&jpeg);
    image_free(&small);
    image_free(&im);
    return status;
}

static kadr_status put_shot(struct buf *out, const struct timeline *t, struct shot *s,
                            const char *scene, kadr_error *err) {
    kadr_status status = KADR_OK;
    buf_puts(out, "<figure>\n");
    if (s->picture) status = put_picture(out, s, err);
    else buf_puts(out, "<div class=\"empty\"></div>\n");
    buf_printf(out, "<figcaption>\n<div class=\"line\"><b>%s</b> <span>", s->number);
    text_xml(out, s->size);
    if (*s->size && *s->camera) buf_puts(out, ", ");
    text_xml(out, s->camera);
    buf_printf(out, "</span> <span class=\"time\">%.3g s</span></div>\n",
               timeline_seconds(t, s->end - s->first));
    put_paragraph(out, "scene", strcmp(s->scene, scene) != 0 ? s->scene : "");
    put_paragraph(out, "action", s->action);
    put_paragraph(out, "dialogue", s->dialogue);
    put_paragraph(out, "notes", s->notes);
    buf_puts(out, "</figcaption>\n</figure>\n");
    return status;
}

kadr_status export_html(struct timeline *t, struct buf *out, kadr_error *err) {
    kadr_status status = KADR_OK;
    buf_puts(out, "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>");
    text_xml(out, t->title);
    buf_printf(out, "</title>\n%s</head>\n<body>\n<h1 dir=\"auto\">", head);
    text_xml(out, t->title);
    buf_puts(out, "</h1>\n<main>\n");
    for (size_t i = 0; status == KADR_OK && i < t->count; i++)
        status = put_shot(out, t, &t->shots[i], i ? t->shots[i - 1].scene : "", err);
    buf_puts(out, "</main>\n</body>\n</html>\n");
    if (status != KADR_OK) return status;
    return buf_ok(out) ? KADR_OK : err_nomem(err, "a page", out->size);
}
