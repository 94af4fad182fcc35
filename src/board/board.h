/* board.h: a storyboard read from a script: a row of panels, each with what to draw and what to
 * say about it.
 *
 *     struct board b;
 *     status = board_read(&b, mem, "story.fountain", err);
 *     for (size_t i = 0; i < b.count; i++) draw(b.panels[i].prompt, b.panels[i].overrides, ...);
 *     board_free(&b);
 *
 * Two forms of script are understood:
 *   plain text  one paragraph is one panel; a line that begins with # is a comment
 *   Fountain    (fountain.io/syntax) each paragraph of action is a panel of its scene; a scene
 *               without action is one panel; dialogue belongs to the panel before it in its scene
 * In both, a note [[shot: wide; duration: 2.5; seed: 7; prompt: a fox]] sets fields of a panel: of
 * the one before it in its scene, or, where it stands right above or inside a paragraph, of that
 * one. A note whose first word names no field is only a note.
 *
 * Errors are KADR_EUSAGE (KADR_EIO for a file that cannot be read) and say FILE:LINE:COLUMN.
 */
#ifndef KADR_BOARD_BOARD_H
#define KADR_BOARD_BOARD_H

#include "base/arena.h"
#include "base/err.h"

#define BOARD_BYTES ((size_t)4 << 20)
#define BOARD_PANELS 10000
#define BOARD_SECONDS 3600.0 /* the longest panel */

/* Where something stands in the script, both from 1. Columns count letters, not bytes. */
struct board_place {
    int line, column;
};

/* A value for an option of the request (see kadr_options), checked against its type and range. */
struct board_override {
    const char *name, *value;
    struct board_place place;
};

/* A speech. Lyrics outside of dialogue have no character. */
struct board_speech {
    const char *character;     /* "ANNA", or NULL */
    const char *extension;     /* "V.O.", or NULL */
    const char *parenthetical; /* "whispering", or NULL */
    const char *text;          /* lines joined by newlines */
    bool dual;                 /* spoken at the same time as the one before */
};

struct board_panel {
    const char *number; /* unlike any other panel's: 1, 2, ... or as the script says: "12A" */
    const char *prompt; /* what to draw, never empty */
    const char
        *action;       /* as the script tells it, emphasis marks taken off; "" when there is none */
    const char *scene; /* the heading, "EXT. HARBOUR - DAY"; NULL outside of scenes */
    const char *scene_number; /* the heading's #1A#, or NULL */
    const char *section;      /* the last section's title, or NULL */
    const char *synopsis;     /* of the scene, or NULL */
    const char *transition;   /* that leads to the next panel, or NULL */
    const char *shot;         /* "wide", or NULL */
    const char *cast;         /* as the script says it, or NULL */
    const char *camera;       /* "pan left", or NULL */
    double duration;          /* seconds; 0: the script does not say */
    struct board_speech *speeches;
    size_t speech_count;
    struct board_override *overrides;
    size_t override_count;
    const char **notes; /* the notes that set no field */
    size_t note_count;
    struct board_place place;
};

struct board_title { /* a line of Fountain's title page */
    const char *key, *value;
};

struct board {
    struct arena arena; /* owns everything below */
    struct board_panel *panels;
    size_t count;
    struct board_title *titles;
    size_t title_count;
};

kadr_status board_read(struct board *b, struct mem *m, const char *path, kadr_error *err);
/* The same from memory; `name` stands in messages, and its ending tells the form as board_read's
 * does: .fountain and .spmd are Fountain, anything else is looked at. */
kadr_status board_parse(struct board *b, struct mem *m, const void *text, size_t size,
                        const char *name, kadr_error *err);
void board_free(struct board *b); /* idempotent */

/* The value of the override of that option, or NULL. */
const char *board_override_of(const struct board_panel *p, const char *name);

#endif
