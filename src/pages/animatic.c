/* animatic.c: the board in time, as animated WebP or, by ffmpeg, as MP4. A frame is the panel's
 * picture in the middle of the screen, with the captions below where they are burnt in. */
#include "base/child.h"
#include "base/file.h"
#include "export/export.h"
#include "pages/ink.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <webp/encode.h>
#include <webp/mux.h>

#define LEAST 480  /* pixels of width, so that captions can be read */
#define CAPTION 18 /* lines of a caption's letters in the screen's height */
#define QUALITY 82 /* of WebP */
#define DEPTH 0.45 /* most of the screen that a caption takes */

struct film {
    struct pages *p;
    struct animatic_style style;
    const char *path;
    int width, height;
    cairo_surface_t *screen;
    cairo_t *cr;
};

/* ---- Frames ---------------------------------------------------------------------------------- */
/* A screen on which every picture fits, its sides even as video wants them. */
static kadr_status measure(struct film *f, kadr_error *err) {
    const struct timeline *t = f->p->t;
    double width = 0, height = 0;
    kadr_status status = timeline_measure(f->p->t, err);
    if (status != KADR_OK) return status;
    for (size_t i = 0; i < t->count; i++) {
        width = fmax(width, t->shots[i].width);
        height = fmax(height, t->shots[i].height);
    }
    if (!width)
        return err_set(err, KADR_EUSAGE,
                       "no panel has a picture yet; `kadr board draw` makes them");
    double scale = width > f->style.width ? f->style.width / width
                   : width < LEAST        ? LEAST / width
                                          : 1;
    f->width = (int)round(width * scale / 2) * 2;
    f->height = (int)round(height * scale / 2) * 2;
    return KADR_OK;
}

/* White on a dark band, smaller until it fits. */
static void put_caption(struct film *f, const char *text) {
    struct ink_font font = {(double)f->height / CAPTION, false, false};
    double side = font.size * 1.2, width = f->width - 2 * side;
    PangoLayout *layout = NULL;
    int high = 0;
    for (int k = 0; k < 4; k++, font.size *= 0.85) {
        if (layout) g_object_unref(layout);
        layout = ink_text(f->p, f->cr, font, text, width);
        pango_layout_get_size(layout, NULL, &high);
        if (high <= DEPTH * f->height * PANGO_SCALE) break;
    }
    pango_layout_set_alignment(layout, PANGO_ALIGN_CENTER);
    pango_layout_set_height(layout, (int)(DEPTH * f->height * PANGO_SCALE));
    pango_layout_set_ellipsize(layout, PANGO_ELLIPSIZE_END);
    pango_layout_get_size(layout, NULL, &high);
    double tall = (double)high / PANGO_SCALE, top = f->height - tall - font.size;
    cairo_set_source_rgba(f->cr, 0, 0, 0, 0.62);
    ink_fill(f->cr, (struct ink_box){0, top, f->width, f->height - top});
    ink_grey(f->cr, 1);
    cairo_move_to(f->cr, side, top + font.size * 0.45);
    pango_cairo_show_layout(f->cr, layout);
    g_object_unref(layout);
}

static kadr_status draw_frame(struct film *f, const struct shot *s, bool burnt, kadr_error *err) {
    cairo_surface_t *picture = NULL;
    kadr_status status = KADR_OK;
    ink_grey(f->cr, 0);
    cairo_paint(f->cr);
    if (s->picture)
        status = ink_picture(f->p, s->picture, f->width, f->height, false, &picture, err);
    if (status != KADR_OK) return err_context(err, "panel %s", s->number);
    struct ink_box all = {0, 0, f->width, f->height};
    if (picture) ink_lay(f->cr, picture, all);
    else { /* a card in its place */
        const struct ink_font font = {(double)f->height / CAPTION, false, false};
        const struct ink_box box = {font.size, font.size, f->width - 2 * font.size, f->height};
        ink_grey(f->cr, INK_FAINT);
        ink_put_short(f->p, f->cr, font, s->action, box, CAPTION / 2);
    }
    cairo_surface_destroy(picture);
    if (burnt && *s->dialogue) put_caption(f, s->dialogue);
    cairo_surface_flush(f->screen);
    return ink_check(cairo_status(f->cr), f->path, err);
}

static kadr_status film_open(struct film *f, struct pages *p, const char *path,
                             struct animatic_style style, kadr_error *err) {
    *f = (struct film){.p = p, .style = style, .path = path};
    kadr_status status = measure(f, err);
    if (status != KADR_OK) return status;
    f->screen = cairo_image_surface_create(CAIRO_FORMAT_RGB24, f->width, f->height);
    f->cr = cairo_create(f->screen);
    return ink_check(cairo_status(f->cr), path, err);
}

static void film_close(struct film *f) {
    if (!f->screen) return;
    cairo_destroy(f->cr);
    cairo_surface_destroy(f->screen);
    f->screen = NULL;
}

/* ---- WebP ------------------------------------------------------------------------------------ */
static int milliseconds(const struct timeline *t, int64_t frame) {
    return (int)lround(timeline_seconds(t, frame) * 1000);
}

static bool add_frame(WebPAnimEncoder *encoder, struct film *f, int ms) {
    WebPConfig config;
    WebPPicture picture;
    if (!WebPConfigInit(&config) || !WebPPictureInit(&picture)) return false;
    config.quality = QUALITY;
    picture.use_argb = 1;
    picture.width = f->width;
    picture.height = f->height;
    bool added = WebPPictureImportBGRX(&picture, cairo_image_surface_get_data(f->screen),
                                       cairo_image_surface_get_stride(f->screen)) &&
                 WebPAnimEncoderAdd(encoder, &picture, ms, &config);
    WebPPictureFree(&picture);
    return added;
}

static kadr_status write_webp(struct film *f, WebPAnimEncoder *encoder, kadr_error *err) {
    const struct timeline *t = f->p->t;
    WebPData file = {0};
    kadr_status status = KADR_OK;
    bool ok = true;
    for (size_t i = 0; status == KADR_OK && ok && i < t->count; i++) {
        status = draw_frame(f, &t->shots[i], f->style.captions != CAPTIONS_OFF, err);
        ok = status != KADR_OK || add_frame(encoder, f, milliseconds(t, t->shots[i].first));
    }
    if (status != KADR_OK) return status;
    ok = ok &&
         WebPAnimEncoderAdd(encoder, NULL, milliseconds(t, t->shots[t->count - 1].end), NULL) &&
         WebPAnimEncoderAssemble(encoder, &file);
    if (!ok)
        status =
            err_set(err, KADR_EIO, "%s: libwebp: %s", f->path, WebPAnimEncoderGetError(encoder));
    else status = file_write_atomic(f->p->mem, f->path, file.bytes, file.size, err);
    WebPDataClear(&file);
    return status;
}

kadr_status pages_webp(struct pages *p, const char *path, struct animatic_style style,
                       kadr_error *err) {
    struct film f;
    WebPAnimEncoderOptions options;
    WebPAnimEncoder *encoder = NULL;
    kadr_status status = film_open(&f, p, path, style, err);
    if (status == KADR_OK && WebPAnimEncoderOptionsInit(&options))
        encoder = WebPAnimEncoderNew(f.width, f.height, &options);
    if (status == KADR_OK && !encoder) status = err_nomem(err, "an animation", 0);
    if (status == KADR_OK) status = write_webp(&f, encoder, err);
    WebPAnimEncoderDelete(encoder);
    film_close(&f);
    return status;
}

/* ---- MP4 ------------------------------------------------------------------------------------- */
static kadr_status feed_frames(struct film *f, struct child *ffmpeg, kadr_error *err) {
    const struct timeline *t = f->p->t;
    kadr_status status = KADR_OK;
    size_t size = (size_t)cairo_image_surface_get_stride(f->screen) * (size_t)f->height;
    for (size_t i = 0; status == KADR_OK && i < t->count; i++) {
        const struct shot *s = &t->shots[i];
        status = draw_frame(f, s, f->style.captions == CAPTIONS_BURNT, err);
        for (int64_t frame = s->first; status == KADR_OK && frame < s->end; frame++)
            status = child_feed(ffmpeg, cairo_image_surface_get_data(f->screen), size, err);
    }
    return status;
}

/* Its last line, which tells most. */
static const char *last_words(struct child *c) {
    struct buf *b = &c->said;
    while (b->size && b->data[b->size - 1] == '\n') b->data[--b->size] = 0;
    const char *line = buf_ok(b) ? strrchr(b->data, '\n') : NULL;
    return line ? line + 1 : buf_ok(b) ? b->data : "";
}

static kadr_status run_ffmpeg(struct film *f, const char *const *argv, kadr_error *err) {
    struct child ffmpeg;
    int code = 0;
    kadr_status status = child_start(&ffmpeg, f->p->mem, argv, true, err);
    if (status != KADR_OK && errno == ENOENT)
        return err_set(err, KADR_EUSAGE,
                       "MP4 is made by the program ffmpeg, which is not installed; the animated "
                       "WebP needs nothing");
    if (status != KADR_OK) return status;
    status = feed_frames(f, &ffmpeg, err);
    if (status == KADR_OK || status == KADR_EIO) { /* it may have ended for a reason of its own */
        kadr_status end = child_end(&ffmpeg, &code, err);
        if (end != KADR_OK) status = end;
        else if (code)
            status = err_set(err, KADR_EIO, "%s: ffmpeg failed (%d): %.300s", f->path, code,
                             last_words(&ffmpeg));
    }
    child_close(&ffmpeg);
    return status;
}

/* Beside the film, for as long as ffmpeg needs it. */
static kadr_status write_track(struct film *f, const char *path, kadr_error *err) {
    struct buf text;
    buf_init(&text, f->p->mem);
    kadr_status status = export_srt(f->p->t, &text, err);
    if (status == KADR_OK) status = file_write_atomic(f->p->mem, path, text.data, text.size, err);
    buf_free(&text);
    return status;
}

static bool is_spoken(const struct timeline *t) {
    for (size_t i = 0; i < t->count; i++)
        if (*t->shots[i].dialogue) return true;
    return false;
}

static kadr_status write_mp4(struct film *f, struct arena *a, kadr_error *err) {
    const struct frame_rate rate = f->p->t->rate;
    bool track = f->style.captions == CAPTIONS_TRACK && is_spoken(f->p->t);
    const char *part = arena_printf(a, "%s.%ld.part", f->path, (long)getpid());
    const char *srt = arena_printf(a, "%s.%ld.srt", f->path, (long)getpid());
    const char *size = arena_printf(a, "%dx%d", f->width, f->height);
    const char *fps = arena_printf(a, "%" PRId64 "/%" PRId64, rate.number, rate.divisor);
    const char *argv[48] = {"ffmpeg", "-v",         "error",    "-nostdin", "-y",
                            "-f",     "rawvideo",   "-pix_fmt", "bgr0",     "-video_size",
                            size,     "-framerate", fps,        "-i",       "pipe:0"};
    static const char *const with_track[] = {"-map", "0:v", "-map", "1:s", "-c:s", "mov_text"};
    static const char *const to[] = {"-pix_fmt",      "yuv420p", "-movflags", "+faststart",
                                     "-map_metadata", "-1",      "-f",        "mp4"};
    size_t n = 15;
    if (!part || !srt || !size || !fps) return err_nomem(err, "a path", 0);
    if (track) {
        argv[n++] = "-i";
        argv[n++] = srt;
        for (size_t i = 0; i < sizeof with_track / sizeof *with_track; i++)
            argv[n++] = with_track[i];
    }
    for (size_t i = 0; i < sizeof to / sizeof *to; i++) argv[n++] = to[i];
    argv[n++] = part;
    kadr_status status = track ? write_track(f, srt, err) : KADR_OK;
    if (status == KADR_OK) status = run_ffmpeg(f, argv, err);
    if (status == KADR_OK && rename(part, f->path))
        status = err_errno(err, "cannot write", f->path);
    if (status != KADR_OK) unlink(part);
    if (track) unlink(srt);
    return status;
}

kadr_status pages_mp4(struct pages *p, const char *path, struct animatic_style style,
                      kadr_error *err) {
    struct film f;
    struct arena a;
    arena_init(&a, p->mem);
    kadr_status status = film_open(&f, p, path, style, err);
    if (status == KADR_OK) status = write_mp4(&f, &a, err);
    film_close(&f);
    arena_free(&a);
    return status;
}
