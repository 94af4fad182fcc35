/* script.h: what the two forms of script share while they are read: the text with its notes and
 * comments masked out, lines, panels under construction. Seen by this room only.
 *
 * The mask is a copy of the text of the same length in which every byte of a comment is MASK_GONE
 * and every byte of a note MASK_NOTE, newlines included. So a place in the mask is a place in the
 * text, and a note across lines does not break its paragraph. The text itself has no such bytes.
 */
#ifndef KADR_BOARD_SCRIPT_H
#define KADR_BOARD_SCRIPT_H

#include "base/buf.h"
#include "board/board.h"
#include "request/request.h"

#define MASK_GONE '\1'
#define MASK_NOTE '\2'

struct script {
    struct board *board;
    struct mem *mem;
    const char *name; /* of the file, for messages */
    kadr_error *err;
    kadr_status status; /* the first failure; everything is skipped after it */

    char *text, *mask; /* of `size` bytes, newlines as \n, UTF-8 */
    size_t size;
    size_t counted; /* the place that was looked up last, and where that is */
    struct board_place counted_place;

    size_t panel_room;
    struct board_panel *panel; /* the scene's present one (the board's last), or NULL */
    size_t speech_room, override_room, words_room; /* of that panel's lists */
    struct note {
        size_t at, end; /* inside the brackets */
    } * notes;
    size_t note_count, note_room;
    /* How many were come upon; are known to be for this scene or panel; were given to a panel. */
    size_t note_seen, note_settled, note_given;
    kadr_request *check; /* takes overrides to see whether they are right */
};

struct script_line {
    size_t at, end; /* in the mask, without the newline */
};

/* The text is taken over as it is in memory; what is wrong with its form goes to s->status. */
void script_open(struct script *s, struct board *b, struct mem *m, const void *text, size_t size,
                 const char *name, kadr_error *err);
void script_close(struct script *s);

/* Masks comments, then notes. */
void script_mask_boneyard(struct script *s);
void script_mask_comments(struct script *s); /* lines that begin with # */
void script_mask_notes(struct script *s);

/* Lines: the next one from *at, which moves; false at the end. */
bool script_next_line(const struct script *s, size_t *at, struct script_line *line);
/* What a reader sees of it, without blanks at the ends, in `to` (emptied first). */
void script_line_text(const struct script *s, struct script_line line, struct buf *to);
bool script_line_has_note(const struct script *s, struct script_line line);

/* Begins a panel for what stands at `at`, numbered next. NULL: failed. */
struct board_panel *script_add_panel(struct script *s, size_t at);
/* Notes: come upon those of a line; settle that all so far are for the present scene or panel
 * (those right above something are for what comes); give the settled ones to s->panel, if there is
 * one. */
void script_see_notes(struct script *s, struct script_line line);
void script_settle_notes(struct script *s);
void script_give_notes(struct script *s);
/* To s->panel. NULL: failed. */
struct board_speech *script_add_speech(struct script *s, struct board_panel *p);

/* Store the first failure: of the script at a place, or of memory. */
void script_fail(struct script *s, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void script_fail_at(struct script *s, struct board_place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void script_nomem(struct script *s);
struct board_place script_place(struct script *s, size_t at);

/* `text` copied into the board; NULL (and failed) when memory is refused. */
const char *script_keep(struct script *s, const char *text, size_t size);
/* As script_keep, with Fountain's *emphasis* marks and backslashes taken off. */
const char *script_keep_plain(struct script *s, const char *text, size_t size);

/* Reads the fields of a note into the panel, or adds it to the panel's notes. */
void script_apply_note(struct script *s, struct board_panel *p, struct note note);

/* The two forms: panels out of a masked text. */
void script_read_plain(struct script *s);
void script_read_fountain(struct script *s);
bool script_is_fountain(const struct script *s);

/* The prompt of a panel that has none of its own. */
void script_write_prompt(struct script *s, struct board_panel *p);

/* Fountain's scene headings. */
struct heading {
    const char *place, *time; /* slices of the heading; time NULL when it tells none */
    size_t place_size, time_size;
};
/* "INT. HOUSE - DAY": false when it is no heading. `forced`: anything is one. */
bool heading_read(const char *text, bool forced, struct heading *h);

/* Letters' case, for the alphabets that have one (Latin, Greek, Cyrillic). */
bool letter_is_upper(uint32_t c);
bool letter_is_lower(uint32_t c);
uint32_t letter_to_lower(uint32_t c);

/* The elements of a growing list in an arena; NULL when refused. */
void *script_grow(struct script *s, void *list, size_t count, size_t *room, size_t size);

#endif
