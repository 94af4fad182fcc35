/* notes.c: what stands in a script's [[notes]]: "key: value; key: value" for a panel's fields, or
 * anything else, which is kept as a note.
 *
 * Whether a note is one of fields is decided by its first key, so that [[check: is he
 * left-handed?]] stays a note and a mistyped key behind a right one is an error. A semicolon inside
 * of a value is written \; . */
#include "board/script.h"
#include <stdio.h>
#include <string.h>

#define KEY 32

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\f';
}

static void strip(const struct script *s, size_t *at, size_t *end) {
    while (*at < *end && is_space(s->text[*at])) (*at)++;
    while (*at < *end && is_space(s->text[*end - 1])) (*end)--;
}

/* One "key: value" of a note. */
struct field {
    char key[KEY + 1]; /* small letters; "_" and blanks are "-" */
    size_t key_at;
    size_t at, end; /* of the value */
};

/* The field between `at` and `end`; false when there is no key. */
static bool split(const struct script *s, size_t at, size_t end, struct field *f) {
    strip(s, &at, &end);
    const char *colon = memchr(s->text + at, ':', end - at);
    if (!colon) return false;
    size_t key_end = (size_t)(colon - s->text);
    f->key_at = at;
    f->at = key_end + 1;
    f->end = end;
    strip(s, &at, &key_end);
    strip(s, &f->at, &f->end);
    if (at == key_end || key_end - at > KEY) return false;
    for (size_t i = at; i < key_end; i++) {
        char c = s->text[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        f->key[i - at] = c == '_' || c == ' ' ? '-' : c;
    }
    f->key[key_end - at] = 0;
    return true;
}

/* Fields of a panel that are no options of a request. */
static const char *const own[] = {"number", "shot", "duration", "cast", "prompt", "camera"};
#define OWN (sizeof own / sizeof *own)

static bool is_own(const char *key) {
    for (size_t i = 0; i < OWN; i++)
        if (!strcmp(own[i], key)) return true;
    return false;
}

static void unknown_key(struct script *s, const struct field *f) {
    const char *near = request_nearest(f->key, own, OWN);
    if (!near) near = request_nearest_option(f->key, KADR_IN_SETTINGS);
    script_fail(s, f->key_at, "\"%s\" is no field of a panel%s%s%s", f->key,
                near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* A value with \; as ; and line breaks as blanks. */
static const char *keep_value(struct script *s, const struct field *f) {
    struct buf b;
    buf_init(&b, s->mem);
    for (size_t i = f->at; i < f->end; i++) {
        if (s->text[i] == '\\' && i + 1 < f->end && s->text[i + 1] == ';') i++;
        buf_putc(&b, s->text[i] == '\n' ? ' ' : s->text[i]);
    }
    const char *kept = buf_ok(&b) ? script_keep(s, b.data, b.size) : NULL;
    if (!kept) script_nomem(s);
    buf_free(&b);
    return kept;
}

static void set_duration(struct script *s, struct board_panel *p, const struct field *f,
                         const char *value) {
    double seconds;
    if (!request_parse_real(value, &seconds) || !(seconds > 0 && seconds <= BOARD_SECONDS))
        script_fail(s, f->at, "a duration of \"%s\"; expected seconds, more than 0 and at most %g",
                    value, BOARD_SECONDS);
    else p->duration = seconds;
}

/* Panels' numbers become names of files. */
static void set_number(struct script *s, struct board_panel *p, const struct field *f,
                       const char *value) {
    size_t size = strlen(value);
    size_t good = strspn(value, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-");
    if (good != size || size > 16)
        script_fail(s, f->at, "a panel's number \"%s\"; expected 1 to 16 of A-Z, a-z, 0-9 and -",
                    value);
    else p->number = value;
}

static void add_override(struct script *s, struct board_panel *p, const struct field *f,
                         const char *value) {
    int id = request_option(f->key);
    if (id < 0 || !(request_option_at((enum option_id)id)->use & KADR_IN_SETTINGS)) {
        unknown_key(s, f);
        return;
    }
    kadr_error why;
    if (kadr_request_set(s->check, f->key, value, &why)) {
        script_fail(s, f->at, "%s", why.message);
        return;
    }
    p->overrides =
        script_grow(s, p->overrides, p->override_count, &s->override_room, sizeof *p->overrides);
    if (!p->overrides) {
        p->override_count = 0;
        return;
    }
    p->overrides[p->override_count++] = (struct board_override){
        request_option_at((enum option_id)id)->name, value, script_place(s, f->key_at)};
}

/* "ANNA@left, BO:0.7@right": each is an entry of the option `cast`. */
static void add_casts(struct script *s, struct board_panel *p, const struct field *f,
                      const char *value) {
    p->cast = value;
    for (const char *at = value, *end; *at && !s->status; at = *end ? end + 2 : end) {
        end = strstr(at, ", ");
        if (!end) end = at + strlen(at);
        const char *entry = script_keep(s, at, (size_t)(end - at));
        if (entry) add_override(s, p, f, entry);
    }
}

static void set_field(struct script *s, struct board_panel *p, const struct field *f) {
    if (f->at == f->end) {
        script_fail(s, f->key_at, "\"%s\" without a value", f->key);
        return;
    }
    const char *value = keep_value(s, f);
    if (!value) return;
    if (!strcmp(f->key, "prompt")) p->prompt = value;
    else if (!strcmp(f->key, "shot")) p->shot = value;
    else if (!strcmp(f->key, "cast")) add_casts(s, p, f, value);
    else if (!strcmp(f->key, "camera")) p->camera = value;
    else if (!strcmp(f->key, "duration")) set_duration(s, p, f, value);
    else if (!strcmp(f->key, "number")) set_number(s, p, f, value);
    else add_override(s, p, f, value);
}

/* Where the field that begins at `at` ends: at a semicolon without a backslash, or at `end`. */
static size_t field_end(const struct script *s, size_t at, size_t end) {
    for (; at < end; at++) {
        if (s->text[at] == '\\' && at + 1 < end) at++;
        else if (s->text[at] == ';') break;
    }
    return at < end ? at : end;
}

static bool has_fields(const struct script *s, struct note note) {
    struct field f;
    if (!split(s, note.at, field_end(s, note.at, note.end), &f)) return false;
    if (is_own(f.key)) return true;
    int id = request_option(f.key);
    return id >= 0 && (request_option_at((enum option_id)id)->use & KADR_IN_SETTINGS);
}

static void add_words(struct script *s, struct board_panel *p, struct note note) {
    strip(s, &note.at, &note.end);
    if (note.at == note.end) return;
    p->notes = script_grow(s, p->notes, p->note_count, &s->words_room, sizeof *p->notes);
    const char *words = p->notes ? script_keep(s, s->text + note.at, note.end - note.at) : NULL;
    if (!words) p->note_count = 0;
    else p->notes[p->note_count++] = words;
}

void script_apply_note(struct script *s, struct board_panel *p, struct note note) {
    if (!has_fields(s, note)) {
        add_words(s, p, note);
        return;
    }
    for (size_t at = note.at; at < note.end && !s->status;) {
        size_t end = field_end(s, at, note.end), from = at, to = end;
        at = end + 1;
        struct field f;
        strip(s, &from, &to);
        if (from == to) continue; /* nothing behind the last semicolon */
        if (split(s, from, to, &f)) set_field(s, p, &f);
        else script_fail(s, from, "expected \"key: value\" in a note that has fields");
    }
}
