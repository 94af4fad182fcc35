/* script.c: see script.h: text taken over and checked, masks, lines, places, panels begun. */
#include "board/script.h"
#include "base/utf8.h"
#include <stdio.h>
#include <string.h>

/* ---- Failing -------------------------------------------------------------------------------- */
/* Places are asked for nearly in order, so the last one is a good place to start from. */
struct board_place script_place(struct script *s, size_t at) {
    struct board_place *place = &s->counted_place;
    if (at < s->counted) {
        for (size_t i = at; i < s->counted; i++) place->line -= s->text[i] == '\n';
        for (s->counted = at; s->counted && s->text[s->counted - 1] != '\n';) s->counted--;
        place->column = 1;
    }
    for (; s->counted < at && s->counted < s->size; s->counted++) {
        if (s->text[s->counted] == '\n') {
            place->line++;
            place->column = 1;
        } else if (((unsigned char)s->text[s->counted + 1] & 0xC0) != 0x80) {
            place->column++;
        }
    }
    return *place;
}

static void fail(struct script *s, struct board_place place, const char *format, va_list list) {
    char what[768];
    vsnprintf(what, sizeof what, format, list);
    s->status =
        err_set(s->err, KADR_EUSAGE, "%s:%d:%d: %s", s->name, place.line, place.column, what);
}

void script_fail_at(struct script *s, struct board_place place, const char *format, ...) {
    if (s->status) return;
    va_list list;
    va_start(list, format);
    fail(s, place, format, list);
    va_end(list);
}

void script_fail(struct script *s, size_t at, const char *format, ...) {
    if (s->status) return;
    va_list list;
    va_start(list, format);
    fail(s, script_place(s, at), format, list);
    va_end(list);
}

void script_nomem(struct script *s) {
    if (!s->status) s->status = err_nomem(s->err, s->name, s->size);
}

/* ---- The text ------------------------------------------------------------------------------- */
/* Newlines of all kinds become \n; a byte order mark goes. */
static void normalise(struct script *s, const char *from, size_t size) {
    const char *end = from + size;
    if (size >= 3 && !memcmp(from, "\xEF\xBB\xBF", 3)) from += 3;
    while (from < end) {
        char c = *from++;
        if (c == '\r') {
            if (from < end && *from == '\n') from++;
            c = '\n';
        }
        s->text[s->size++] = c;
    }
}

static void check_letters(struct script *s) {
    const char *p = s->text, *end = s->text + s->size;
    while (p < end && !s->status) {
        size_t at = (size_t)(p - s->text);
        uint32_t c = utf8_next(&p, end);
        if (c == UTF8_BROKEN)
            script_fail(s, at, "byte 0x%02X is no UTF-8; expected text in UTF-8",
                        (unsigned char)s->text[at]);
        else if ((c < ' ' && c != '\n' && c != '\t' && c != '\f') || c == 0x7F)
            script_fail(s, at, "control character 0x%02X; expected text", c);
    }
}

void script_open(struct script *s, struct board *b, struct mem *m, const void *text, size_t size,
                 const char *name, kadr_error *err) {
    memset(s, 0, sizeof *s);
    s->board = b;
    s->mem = m;
    s->name = name;
    s->err = err;
    s->counted_place = (struct board_place){1, 1};
    if (size > BOARD_BYTES) {
        s->status = err_set(err, KADR_EUSAGE, "%s: %zu bytes, expected a script of at most %zu",
                            name, size, BOARD_BYTES);
        return;
    }
    s->text = mem_alloc(m, size + 1);
    s->mask = mem_alloc(m, size + 1);
    s->check = kadr_request_new();
    if (!s->text || !s->mask || !s->check) {
        script_nomem(s);
        return;
    }
    normalise(s, text, size);
    check_letters(s);
    memcpy(s->mask, s->text, s->size);
}

void script_close(struct script *s) {
    mem_free(s->text);
    mem_free(s->mask);
    kadr_request_free(s->check);
    s->text = s->mask = NULL;
    s->check = NULL;
}

void *script_grow(struct script *s, void *list, size_t count, size_t *room, size_t size) {
    if (count < *room) return list;
    size_t more = *room ? 2 * *room : 4;
    void *grown = arena_array(&s->board->arena, more, size);
    if (!grown) {
        script_nomem(s);
        return NULL;
    }
    if (count) memcpy(grown, list, count * size);
    *room = more;
    return grown;
}

const char *script_keep(struct script *s, const char *text, size_t size) {
    const char *kept = arena_strndup(&s->board->arena, text, size);
    if (!kept) script_nomem(s);
    return kept;
}

/* ---- Masks ---------------------------------------------------------------------------------- */
/* The place of two letters in the mask from `at` on, or s->size. */
static size_t find(const struct script *s, size_t at, const char *pair) {
    while (at < s->size) {
        const char *first = memchr(s->mask + at, pair[0], s->size - at);
        if (!first) break;
        if (first[1] == pair[1]) return (size_t)(first - s->mask);
        at = (size_t)(first - s->mask) + 1;
    }
    return s->size;
}

void script_mask_boneyard(struct script *s) {
    for (size_t at = 0; !s->status && (at = find(s, at, "/*")) < s->size;) {
        size_t end = find(s, at + 2, "*/");
        if (end == s->size) {
            script_fail(s, at, "a comment begins with /* and never ends; expected */");
            return;
        }
        memset(s->mask + at, MASK_GONE, end + 2 - at);
        at = end + 2;
    }
}

void script_mask_comments(struct script *s) {
    struct script_line line;
    for (size_t at = 0; !s->status && script_next_line(s, &at, &line);) {
        size_t first = line.at;
        while (first < line.end && (s->mask[first] == ' ' || s->mask[first] == '\t')) first++;
        if (first == line.end || s->mask[first] != '#') continue;
        /* Its newline goes too: a comment inside a paragraph does not end it. */
        size_t end = line.end < s->size ? line.end + 1 : line.end;
        memset(s->mask + line.at, MASK_GONE, end - line.at);
    }
}

/* Where the note that begins at `at` ends; s->size: nowhere before an empty line. */
static size_t note_end(const struct script *s, size_t at) {
    size_t end = find(s, at + 2, "]]");
    if (end == s->size || memmem(s->mask + at, end - at, "\n\n", 2)) return s->size;
    return end;
}

void script_mask_notes(struct script *s) {
    for (size_t at = 0; !s->status && (at = find(s, at, "[[")) < s->size;) {
        size_t end = note_end(s, at);
        if (end == s->size) {
            script_fail(s, at,
                        "a note begins with [[ and does not end before the next empty "
                        "line; expected ]]");
            return;
        }
        s->notes = script_grow(s, s->notes, s->note_count, &s->note_room, sizeof *s->notes);
        if (!s->notes) return;
        s->notes[s->note_count++] = (struct note){at + 2, end};
        memset(s->mask + at, MASK_NOTE, end + 2 - at);
        at = end + 2;
    }
}

/* ---- Lines ---------------------------------------------------------------------------------- */
bool script_next_line(const struct script *s, size_t *at, struct script_line *line) {
    if (*at >= s->size) return false;
    const char *end = memchr(s->mask + *at, '\n', s->size - *at);
    *line = (struct script_line){*at, end ? (size_t)(end - s->mask) : s->size};
    *at = line->end + 1;
    return true;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\f' || c == MASK_GONE || c == MASK_NOTE;
}

void script_line_text(const struct script *s, struct script_line line, struct buf *to) {
    buf_clear(to);
    while (line.at < line.end && is_blank(s->mask[line.at])) line.at++;
    while (line.at < line.end && is_blank(s->mask[line.end - 1])) line.end--;
    for (size_t i = line.at; i < line.end; i++)
        if (s->mask[i] != MASK_GONE && s->mask[i] != MASK_NOTE) buf_putc(to, s->mask[i]);
}

bool script_line_has_note(const struct script *s, struct script_line line) {
    return memchr(s->mask + line.at, MASK_NOTE, line.end - line.at) != NULL;
}

/* ---- Panels --------------------------------------------------------------------------------- */
struct board_panel *script_add_panel(struct script *s, size_t at) {
    struct board *b = s->board;
    if (b->count == BOARD_PANELS) {
        script_fail(s, at, "more than %d panels", BOARD_PANELS);
        return NULL;
    }
    b->panels = script_grow(s, b->panels, b->count, &s->panel_room, sizeof *b->panels);
    if (!b->panels) {
        b->count = 0;
        return NULL;
    }
    s->panel = &b->panels[b->count++];
    s->panel->action = "";
    while (at < s->size && is_blank(s->mask[at])) at++;
    s->panel->place = script_place(s, at);
    s->speech_room = s->override_room = s->words_room = 0;
    return s->panel;
}

void script_see_notes(struct script *s, struct script_line line) {
    while (s->note_seen < s->note_count && s->notes[s->note_seen].at < line.end) s->note_seen++;
}

void script_give_notes(struct script *s) {
    while (s->panel && !s->status && s->note_given < s->note_settled)
        script_apply_note(s, s->panel, s->notes[s->note_given++]);
}

void script_settle_notes(struct script *s) {
    s->note_settled = s->note_seen;
    script_give_notes(s);
}

struct board_speech *script_add_speech(struct script *s, struct board_panel *p) {
    p->speeches =
        script_grow(s, p->speeches, p->speech_count, &s->speech_room, sizeof *p->speeches);
    if (!p->speeches) p->speech_count = 0;
    return p->speeches ? &p->speeches[p->speech_count++] : NULL;
}
