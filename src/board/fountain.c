/* fountain.c: screenplays in Fountain (fountain.io/syntax).
 *
 * Every line is told by its first character (forced elements), by whether it is in a speech, by its
 * capitals and by the empty lines around it, in that order. What it becomes for a storyboard stands
 * in board.h. Beyond the official syntax: headings in Russian, and FADE IN, FADE OUT and the like
 * as transitions without being forced. */
#include "base/utf8.h"
#include "board/script.h"
#include <string.h>

struct fountain {
    struct script *s;
    struct buf line;   /* the present one as a reader sees it */
    struct buf action; /* the open paragraph; empty: none */
    struct buf speech; /* the open speech */
    bool speaking;
    bool gap; /* an empty line, or nothing, stands before the present line */
    const char *scene, *scene_number, *section, *synopsis;
    bool scene_waits; /* the scene has no panel yet */
    size_t scene_at;
    size_t title_room;
};

#define NEAR 512 /* emphasis ends within so many bytes, or it is none */

/* ---- Emphasis ------------------------------------------------------------------------------- */
/* How many of the same mark stand at `p`, up to three stars or one underscore. */
static size_t mark_size(const char *p, const char *end) {
    size_t n = 0;
    while (p + n < end && p[n] == '*' && n < 3) n++;
    return n ? n : p < end && *p == '_';
}

/* The closing mark for the one of `n` signs before `p`, on the same line and not far; or NULL. */
static const char *closing(const char *p, const char *end, char sign, size_t n) {
    if (p == end || *p == ' ') return NULL;
    if (end - p > NEAR) end = p + NEAR;
    while (p < end && *p != '\n') {
        size_t size = *p == sign ? mark_size(p, end) : 1;
        if (*p == sign && size == n && p[-1] != ' ') return p;
        p += *p == '\\' && p + 1 < end ? 2 : size;
    }
    return NULL;
}

const char *script_keep_plain(struct script *s, const char *text, size_t size) {
    const char *end = text + size;
    const char *close[4] = {NULL}; /* of the open stars (by number, 1..3) and the underscore (0) */
    struct buf b;
    buf_init(&b, s->mem);
    for (const char *p = text; p < end;) {
        size_t n = mark_size(p, end), kind = *p == '_' ? 0 : n;
        if (n && close[kind]) {
            if (p != close[kind]) buf_add(&b, p, n);
            else close[kind] = NULL;
        } else if (n) {
            close[kind] = closing(p + n, end, *p, n);
            if (!close[kind]) buf_add(&b, p, n);
        } else {
            if (*p == '\\' && p + 1 < end && strchr("*_\\", p[1])) p++;
            buf_putc(&b, *p);
        }
        p += n ? n : 1;
    }
    const char *kept = buf_ok(&b) ? script_keep(s, b.data, b.size) : NULL;
    if (!kept) script_nomem(s);
    buf_free(&b);
    return kept;
}

/* ---- Small questions about a line ----------------------------------------------------------- */
/* Letters, and none of them small. */
static bool is_capitals(const char *text, size_t size) {
    const char *end = text + size;
    bool some = false;
    while (text < end) {
        uint32_t c = utf8_next(&text, end);
        if (letter_is_lower(c)) return false;
        some |= letter_is_upper(c);
    }
    return some;
}

/* Whether the line at `at` is empty or there is none; lines of nothing but notes do not count. */
static bool gap_follows(const struct script *s, size_t at) {
    struct script_line line;
    while (script_next_line(s, &at, &line)) {
        size_t i = line.at;
        while (i < line.end && strchr(" \t\f\1\2", s->mask[i])) i++;
        if (i < line.end) return false;
        if (!script_line_has_note(s, line)) return true;
    }
    return true;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !memcmp(text + n - m, end, m);
}

static bool is_transition(const char *text) {
    static const char *const known[] = {"FADE IN", "FADE OUT", "FADE TO", "CUT TO", "DISSOLVE TO"};
    if (!is_capitals(text, strlen(text))) return false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strncmp(text, known[i], strlen(known[i]))) return true;
    return ends_with(text, "TO:");
}

/* A name in capitals, with or without "(V.O.)" behind it and "^" behind that. */
static bool is_character(const char *text) {
    const char *bracket = strchr(text, '(');
    return is_capitals(text, bracket ? (size_t)(bracket - text) : strlen(text));
}

static const char *trimmed(const char *text, size_t *size) {
    while (*size && (*text == ' ' || *text == '\t')) {
        text++;
        (*size)--;
    }
    while (*size && (text[*size - 1] == ' ' || text[*size - 1] == '\t')) (*size)--;
    return text;
}

static const char *keep_trimmed(struct fountain *f, const char *text, size_t size) {
    text = trimmed(text, &size);
    return script_keep_plain(f->s, text, size);
}

/* ---- Blocks --------------------------------------------------------------------------------- */
/* Ends the open paragraph and the open speech. */
static void end_block(struct fountain *f) {
    struct board_panel *p = f->s->panel;
    if (f->action.size && p) p->action = script_keep_plain(f->s, f->action.data, f->action.size);
    if (f->speaking && p && p->speech_count)
        p->speeches[p->speech_count - 1].text =
            script_keep_plain(f->s, f->speech.data, f->speech.size);
    if (!buf_ok(&f->action) || !buf_ok(&f->speech)) script_nomem(f->s);
    buf_clear(&f->action);
    buf_clear(&f->speech);
    f->speaking = false;
}

static struct board_panel *begin_panel(struct fountain *f, size_t at) {
    struct board_panel *p = script_add_panel(f->s, at);
    if (!p) return NULL;
    p->scene = f->scene;
    p->scene_number = f->scene_number;
    p->section = f->section;
    p->synopsis = f->synopsis;
    f->scene_waits = false;
    return p;
}

static void end_scene(struct fountain *f) {
    end_block(f);
    if (f->scene_waits) begin_panel(f, f->scene_at);
    script_give_notes(f->s);
}

static void begin_scene(struct fountain *f, const char *text, size_t at) {
    size_t size = strlen(text);
    end_scene(f);
    f->s->panel = NULL;
    f->scene_number = NULL;
    f->synopsis = NULL;
    if (size > 2 && text[size - 1] == '#') {
        size_t open = size - 1;
        while (open && text[open - 1] != '#') open--;
        if (open > 1 && open < size - 1) {
            f->scene_number = script_keep(f->s, text + open, size - 1 - open);
            size = open - 1;
        }
    }
    f->scene = keep_trimmed(f, text, size);
    f->scene_waits = true;
    f->scene_at = at;
}

static void add_action(struct fountain *f, const char *text, size_t at) {
    if (f->speaking) end_block(f);
    if (!f->action.size && !begin_panel(f, at)) return;
    if (f->action.size) buf_putc(&f->action, '\n');
    buf_puts(&f->action, text);
}

static void begin_speech(struct fountain *f, const char *name, size_t at) {
    end_block(f);
    if ((f->scene_waits || !f->s->panel) && !begin_panel(f, at)) return;
    struct board_speech *speech = script_add_speech(f->s, f->s->panel);
    if (!speech) return;
    f->speaking = true;
    speech->text = "";
    if (!name) return;
    size_t size = strlen(name);
    if (size && name[size - 1] == '^') {
        speech->dual = true;
        size--;
    }
    const char *open = memchr(name, '(', size);
    if (open) {
        const char *close = memchr(open, ')', size - (size_t)(open - name));
        const char *end = close ? close : name + size;
        speech->extension = keep_trimmed(f, open + 1, (size_t)(end - open - 1));
        size = (size_t)(open - name);
    }
    speech->character = keep_trimmed(f, name, size);
}

static void add_speech(struct fountain *f, const char *text) {
    struct board_panel *p = f->s->panel;
    struct board_speech *speech = &p->speeches[p->speech_count - 1];
    size_t size = strlen(text);
    bool bracket = size > 1 && text[0] == '(' && text[size - 1] == ')';
    if (bracket && !f->speech.size && !speech->parenthetical) {
        speech->parenthetical = keep_trimmed(f, text + 1, size - 2);
        return;
    }
    if (f->speech.size) buf_putc(&f->speech, '\n');
    buf_puts(&f->speech, text);
}

static void add_transition(struct fountain *f, const char *text) {
    struct board *b = f->s->board;
    end_scene(f);
    if (b->count) b->panels[b->count - 1].transition = keep_trimmed(f, text, strlen(text));
}

/* ---- Lines ---------------------------------------------------------------------------------- */
/* Elements that their first character tells; false: it is none of these. */
static bool take_forced(struct fountain *f, char *text, size_t at) {
    size_t size = strlen(text);
    switch (*text) {
    case '!': add_action(f, text + 1, at); return true;
    case '~':
        if (!f->speaking) begin_speech(f, NULL, at);
        if (f->speaking) add_speech(f, text + 1);
        return true;
    case '#':
        end_block(f);
        while (*text == '#') text++;
        f->section = keep_trimmed(f, text, strlen(text));
        return true;
    case '=':
        end_block(f);
        if (strspn(text, "=") == size && size >= 3) return true; /* a page break */
        f->synopsis = keep_trimmed(f, text + 1, size - 1);
        if (f->s->panel && !f->scene_waits) f->s->panel->synopsis = f->synopsis;
        return true;
    case '>':
        if (size > 1 && text[size - 1] == '<') {
            text[size - 1] = 0;
            size -= 2;
            const char *inside = trimmed(text + 1, &size);
            text[(size_t)(inside - text) + size] = 0;
            if (size) add_action(f, inside, at);
        } else {
            add_transition(f, text + 1);
        }
        return true;
    case '.':
        if (size < 2 || text[1] == '.' || f->speaking) return false;
        begin_scene(f, text + 1, at);
        return true;
    case '@':
        if (!f->gap || size < 2) return false;
        begin_speech(f, text + 1, at);
        return true;
    default: return false;
    }
}

static void take_line(struct fountain *f, struct script_line line, size_t next) {
    char *text = f->line.data;
    struct heading h;
    if (take_forced(f, text, line.at)) return;
    if (f->speaking) {
        add_speech(f, text);
    } else if (f->gap && heading_read(text, false, &h)) {
        begin_scene(f, text, line.at);
    } else if (f->gap && is_transition(text) && gap_follows(f->s, next)) {
        add_transition(f, text);
    } else if (f->gap && is_character(text) && !gap_follows(f->s, next)) {
        begin_speech(f, text, line.at);
    } else {
        add_action(f, text, line.at);
    }
}

/* In a speech, a line of two blanks is an empty line that does not end it. */
static bool holds_speech(const struct fountain *f, struct script_line line) {
    return f->speaking && line.end - line.at >= 2 && f->s->mask[line.at] == ' ' &&
           f->s->mask[line.at + 1] == ' ';
}

static void read_lines(struct fountain *f, size_t at) {
    struct script *s = f->s;
    struct script_line line;
    while (!s->status && script_next_line(s, &at, &line)) {
        script_line_text(s, line, &f->line);
        if (!buf_ok(&f->line)) {
            script_nomem(s);
            return;
        }
        if (f->line.size) {
            take_line(f, line, at);
            f->gap = false;
            script_see_notes(s, line);
            script_settle_notes(s);
        } else if (script_line_has_note(s, line)) {
            script_see_notes(s, line);
            if (f->action.size || f->speaking) script_settle_notes(s);
        } else if (holds_speech(f, line)) {
            buf_putc(&f->speech, '\n');
        } else {
            end_block(f);
            f->gap = true;
            script_settle_notes(s);
        }
    }
}

/* ---- Title page ----------------------------------------------------------------------------- */
static bool is_indented(const struct script *s, struct script_line line) {
    return line.end > line.at &&
           (s->mask[line.at] == '\t' ||
            (line.end - line.at >= 3 && !memcmp(s->mask + line.at, "   ", 3)));
}

/* The colon behind a key at the line's beginning, or NULL. */
static char *key_colon(char *text) {
    char *colon = strchr(text, ':');
    return colon && colon > text && colon - text <= 40 ? colon : NULL;
}

/* Whether the script begins with "Key: value", or "Key:" and an indented line. */
static bool has_titles(struct fountain *f) {
    struct script_line line;
    struct heading h;
    size_t at = 0;
    if (!script_next_line(f->s, &at, &line)) return false;
    bool indented = is_indented(f->s, line);
    script_line_text(f->s, line, &f->line);
    if (!buf_ok(&f->line)) script_nomem(f->s);
    char *text = f->line.data, *colon = key_colon(text);
    if (!colon || indented || strchr("!@.>#=~", *text) || heading_read(text, false, &h) ||
        is_transition(text))
        return false;
    return colon[1] || (script_next_line(f->s, &at, &line) && is_indented(f->s, line));
}

static void add_title(struct fountain *f, const char *key, size_t size) {
    struct board *b = f->s->board;
    b->titles = script_grow(f->s, b->titles, b->title_count, &f->title_room, sizeof *b->titles);
    if (b->titles) b->titles[b->title_count++].key = script_keep(f->s, key, size);
    else b->title_count = 0;
}

/* The lines of a value are gathered in f->action. */
static void end_title(struct fountain *f) {
    struct board *b = f->s->board;
    if (b->title_count)
        b->titles[b->title_count - 1].value = keep_trimmed(f, f->action.data, f->action.size);
    buf_clear(&f->action);
}

/* Reads the title page; returns where the script goes on. */
static size_t read_titles(struct fountain *f) {
    struct script_line line;
    size_t at = 0;
    while (!f->s->status && script_next_line(f->s, &at, &line)) {
        script_line_text(f->s, line, &f->line);
        script_see_notes(f->s, line);
        if (!f->line.size) break;
        const char *value = f->line.data;
        const char *colon = is_indented(f->s, line) ? NULL : key_colon(f->line.data);
        if (colon) {
            end_title(f);
            add_title(f, value, (size_t)(colon - value));
            value = colon + 1;
        } else if (f->action.size) {
            buf_putc(&f->action, '\n');
        }
        buf_puts(&f->action, value);
    }
    end_title(f);
    return at;
}

void script_read_fountain(struct script *s) {
    struct fountain f = {.s = s, .gap = true};
    buf_init(&f.line, s->mem);
    buf_init(&f.action, s->mem);
    buf_init(&f.speech, s->mem);
    size_t at = has_titles(&f) ? read_titles(&f) : 0;
    read_lines(&f, at);
    if (!s->status) {
        end_block(&f);
        script_settle_notes(s);
        end_scene(&f);
    }
    buf_free(&f.line);
    buf_free(&f.action);
    buf_free(&f.speech);
}

bool script_is_fountain(const struct script *s) {
    struct script_line line;
    struct heading h;
    struct buf text;
    bool found = false, gap = true;
    buf_init(&text, s->mem);
    for (size_t at = 0; !found && script_next_line(s, &at, &line);) {
        script_line_text(s, line, &text);
        if (!buf_ok(&text)) break;
        found =
            gap && text.size &&
            (heading_read(text.data, false, &h) || (!line.at && !strncmp(text.data, "Title:", 6)));
        gap = !text.size;
    }
    buf_free(&text);
    return found;
}
