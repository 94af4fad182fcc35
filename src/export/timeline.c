/* timeline.c: see timeline.h. */
#include "export/timeline.h"
#include "base/file.h"
#include "image/image.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FPS_LEAST 1.0
#define FPS_MOST 240.0

/* 23.976, 29.97 and 59.94 mean multiples of 1000/1001; others are taken to three places. */
static struct frame_rate rate_of(double fps) {
    if (!(fps >= FPS_LEAST && fps <= FPS_MOST)) return (struct frame_rate){24, 1};
    double whole = round(fps);
    if (fps == whole) return (struct frame_rate){(int64_t)whole, 1};
    if (fabs(fps * 1.001 - ceil(fps)) < 0.01)
        return (struct frame_rate){(int64_t)ceil(fps) * 1000, 1001};
    return (struct frame_rate){llround(fps * 1000), 1000};
}

double timeline_seconds(const struct timeline *t, int64_t frame) {
    return (double)frame * (double)t->rate.divisor / (double)t->rate.number;
}

int64_t timeline_fps(const struct timeline *t) {
    return (t->rate.number + t->rate.divisor - 1) / t->rate.divisor;
}

static int64_t frame_at(const struct timeline *t, double seconds) {
    return llround(seconds * (double)t->rate.number / (double)t->rate.divisor);
}

static bool read_shot(struct timeline *t, struct shot *s, const json_t *panel) {
    char text[24];
    s->panel = panel;
    snprintf(s->number, sizeof s->number, "%s", document_number(panel, text));
    s->size = document_text(panel, "shot");
    s->camera = document_text(panel, "camera");
    s->scene = document_text(panel, "scene");
    s->action = document_text(panel, "action");
    if (!*s->action) s->action = document_text(panel, "prompt");
    s->dialogue = document_text(panel, "dialogue");
    s->notes = document_text(panel, "notes");
    s->url = document_picture(panel);
    if (s->url) s->picture = file_join(&t->arena, t->folder, s->url);
    return !s->url || s->picture;
}

kadr_status timeline_of(struct timeline *t, struct mem *m, json_t *doc, const char *path,
                        kadr_error *err) {
    double seconds = 0;
    int64_t end = 0;
    const char *name = file_name(path);
    *t = (struct timeline){.doc = json_incref(doc), .count = document_count(doc)};
    arena_init(&t->arena, m);
    t->rate = rate_of(json_number_value(json_object_get(doc, "fps")));
    t->folder = name == path ? "." : arena_strndup(&t->arena, path, (size_t)(name - path));
    t->title = document_text(doc, "title");
    if (!*t->title) t->title = document_text(doc, "script");
    if (!*t->title) t->title = name;
    t->shots = arena_array(&t->arena, t->count, sizeof *t->shots);
    bool ok = t->folder && t->shots;
    for (size_t i = 0; ok && i < t->count; i++) {
        struct shot *s = &t->shots[i];
        ok = read_shot(t, s, document_panel(doc, i));
        seconds += document_seconds(doc, s->panel);
        s->first = end;
        end = frame_at(t, seconds);
        s->end = end = end > s->first ? end : s->first + 1;
    }
    if (ok) return KADR_OK;
    timeline_close(t);
    return err_nomem(err, "a board", t->count);
}

kadr_status timeline_measure(struct timeline *t, kadr_error *err) {
    for (size_t i = 0; i < t->count; i++) {
        struct shot *s = &t->shots[i];
        struct image im = {0};
        if (!s->picture || s->width) continue;
        kadr_status status = image_read(&im, t->arena.mem, s->picture, IMAGE_OVER_WHITE, NULL, err);
        if (status != KADR_OK) return err_context(err, "panel %s", s->number);
        s->width = im.width;
        s->height = im.height;
        image_free(&im);
    }
    return KADR_OK;
}

kadr_status timeline_open(struct timeline *t, struct mem *m, const char *path, kadr_error *err) {
    json_t *doc = NULL;
    *t = (struct timeline){0};
    kadr_status status = document_read(&doc, m, path, err);
    if (status == KADR_OK) status = timeline_of(t, m, doc, path, err);
    json_decref(doc);
    return status;
}

void timeline_close(struct timeline *t) {
    json_decref(t->doc);
    t->doc = NULL;
    arena_free(&t->arena);
}
