/* document.h: the board as a file that people and programs edit: JSON with Storyboarder's names
 * (boards with uid, url, number, shot, time, duration, dialogue, action, notes) and ours beside
 * them (prompt, seed, cast, overrides, camera, versions, approved). docs/board.md tells every
 * field.
 *
 *     json_t *doc = NULL;
 *     status = document_read(&doc, mem, "story.json", err);   // or a script
 *     json_t *panel = document_panel(doc, 0);
 *     status = document_save(doc, mem, "story.json", true, err);
 *     json_decref(doc);
 *
 * The JSON itself is what is worked on, so that fields unknown to us stay where they are. A
 * document that was read is checked: panels are objects, numbers are different, known fields have
 * their types. Durations and times are milliseconds, as Storyboarder has them.
 */
#ifndef KADR_BOARD_DOCUMENT_H
#define KADR_BOARD_DOCUMENT_H

#include "base/json.h"
#include "board/board.h"

#define DOCUMENT_FORM 1      /* the "kadr_board" that we write; a greater one is refused */
#define DOCUMENT_TIMING 2000 /* milliseconds of a panel that says nothing */

/* A script, kadr's JSON or a .storyboarder file, told by what is in it. */
kadr_status document_read(json_t **doc, struct mem *m, const char *path, kadr_error *err);
kadr_status document_parse(json_t **doc, struct mem *m, const char *text, size_t size,
                           const char *name, kadr_error *err);

/* Atomically; with `backup` what was there stays as PATH.bak. */
kadr_status document_save(const json_t *doc, struct mem *m, const char *path, bool backup,
                          kadr_error *err);

size_t document_count(const json_t *doc);
json_t *document_panel(const json_t *doc, size_t i);
/* The panel of that number, whose place goes to *at; NULL: none. */
json_t *document_find(const json_t *doc, const char *number, size_t *at);

/* Texts of a panel or document; "" when absent. */
const char *document_text(const json_t *object, const char *key);
/* A panel's number as text, within `text`. */
const char *document_number(const json_t *panel, char text[24]);
double document_seconds(const json_t *doc, const json_t *panel);

/* The picture that stands for the panel: of the approved version, or of the newest; NULL: none. */
const char *document_picture(const json_t *panel);

/* ---- Working on one: edit.c -------------------------------------------------------------------
 */
/* What document_parse looks at; `name` stands in messages. KADR_EUSAGE: what is wrong. */
kadr_status document_check(const json_t *doc, const char *name, kadr_error *err);

/* The panel of that uid, whose place goes to *at; NULL: none. */
json_t *document_panel_of(const json_t *doc, const char *uid, size_t *at);
/* Gives each panel without one, or with another's, a uid of its own. */
kadr_status document_identify(json_t *doc, kadr_error *err);
/* Puts `panel` before place `at` (the count: at the end). It gets a uid and a number unlike all
 * others: 2A behind 2, or the next one at the end. */
kadr_status document_insert(json_t *doc, size_t at, json_t *panel, kadr_error *err);
void document_move(json_t *doc, size_t from, size_t to);
/* The panel goes to "removed". The last one stays: KADR_EUSAGE. */
kadr_status document_remove(json_t *doc, size_t at, kadr_error *err);
/* Numbers 1, 2, ... in order. Panels without a seed keep the one that their old number gave. */
kadr_status document_renumber(json_t *doc, kadr_error *err);

/* Another document's panels have pictures: takes them over to panels of the same uid or number.
 * Panels of `old` that are gone are kept under "removed". */
kadr_status document_inherit(json_t *doc, const json_t *old, kadr_error *err);

/* "3,5-8": which panels; ranges go by their order. KADR_EUSAGE: no such panel. */
kadr_status document_select(const json_t *doc, const char *panels, bool *chosen, kadr_error *err);

/* What goes into a .storyboarder file: our own fields lie in "kadr" there. */
json_t *document_to_storyboarder(const json_t *doc);

/* ---- Parts of the above, seen by this room */
json_t *document_of_board(const struct board *b, const char *script);
json_t *document_from_storyboarder(json_t *file);
/* A uid for the panel of that number, unlike all keys of `taken`, among which it goes. */
json_t *document_make_uid(const char *number, json_t *taken);
/* Words that a glossary gives for `text`, appended to `out`; casts it names to `casts`. */
void glossary_apply(const json_t *glossary, const char *text, struct buf *out, json_t *casts);
/* {"Anna": {"cast": "anna", "text": "a girl"}} of lines "Anna = a girl; cast: anna". */
json_t *glossary_read(const char *lines);
/* The time of day that a Russian heading tells gets its English word, unless the glossary has one.
 * False: out of memory. */
bool glossary_add_time(json_t *glossary, const char *scene);

#endif
