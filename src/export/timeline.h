/* timeline.h: a board as a row of shots in time: what every export begins with.
 *
 *     struct timeline t;
 *     status = timeline_open(&t, mem, "out/board.json", err);
 *     for (size_t i = 0; i < t.count; i++) put(t.shots[i].number, t.shots[i].first, ...);
 *     timeline_close(&t);
 *
 * Times are whole frames. A shot begins at the frame nearest to the sum of all durations before it,
 * so that roundings do not add up; it lasts one frame at least.
 */
#ifndef KADR_EXPORT_TIMELINE_H
#define KADR_EXPORT_TIMELINE_H

#include "base/arena.h"
#include "board/document.h"

/* Frames a second as a fraction: 24 is 24/1, 23.976 is 24000/1001. */
struct frame_rate {
    int64_t number, divisor;
};

struct shot { /* texts are "" when absent */
    const json_t *panel;
    char number[24];
    const char *size, *camera, *scene, *action, *dialogue, *notes;
    const char *url;     /* the picture as the board names it, from its folder; NULL: not drawn */
    const char *picture; /* the same as a path */
    int width, height;   /* of the picture, once measured */
    int64_t first, end;  /* frames: seen from `first`, no more at `end` */
};

struct timeline {
    struct arena arena;
    json_t *doc;
    const char *title;
    const char *folder; /* of the board's file */
    bool travels;       /* files name pictures from where they lie themselves, not from the root */
    struct frame_rate rate;
    struct shot *shots;
    size_t count;
};

/* `path`: a board (or a script). Errors as document_read's. */
kadr_status timeline_open(struct timeline *t, struct mem *m, const char *path, kadr_error *err);
/* The same of a document that is there, of which a reference is kept. */
kadr_status timeline_of(struct timeline *t, struct mem *m, json_t *doc, const char *path,
                        kadr_error *err);
void timeline_close(struct timeline *t); /* idempotent */

/* The pictures' sizes. A picture that cannot be read is an error that names its panel. */
kadr_status timeline_measure(struct timeline *t, kadr_error *err);

double timeline_seconds(const struct timeline *t, int64_t frame);
/* The whole number of frames that a second shows: 24 for 23.976. */
int64_t timeline_fps(const struct timeline *t);

#endif
