/* prompt.c: the words for the model out of what a script tells: "wide shot of a fox waves, harbour,
 * day". And the taking apart of scene headings, INT. and EXT., ИНТ. and НАТ. */
#include "base/utf8.h"
#include "board/script.h"
#include <string.h>

/* ---- Headings ------------------------------------------------------------------------------- */
/* In capitals; a blank or a full stop (which may stand between the two words as well) follows. */
static const char *const openings[] = {
    "INT./EXT", "INT/EXT",  "EXT./INT", "EXT/INT",  "I./E",    "I/E", "INT", "EXT",
    "EST",      "ИНТ./НАТ", "ИНТ/НАТ",  "НАТ./ИНТ", "НАТ/ИНТ", "ИНТ", "НАТ", "ЭКСТ",
};

/* The text behind `opening`, whatever the case of its letters; NULL when it does not begin so. */
static const char *behind(const char *text, const char *end, const char *opening) {
    const char *opening_end = opening + strlen(opening);
    while (opening < opening_end) {
        if (text == end) return NULL;
        uint32_t want = utf8_next(&opening, opening_end);
        if (letter_to_lower(utf8_next(&text, end)) != letter_to_lower(want)) return NULL;
    }
    return text;
}

static const char *skip_opening(const char *text) {
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
        const char *rest = behind(text, text + strlen(text), openings[i]);
        if (rest && (*rest == '.' || *rest == ' ')) return rest + 1;
    }
    return NULL;
}

/* The last " - " (or with a dash); NULL: none. *size: its bytes. */
static const char *last_dash(const char *text, size_t *size) {
    static const char *const dashes[] = {" - ", " \xE2\x80\x93 ", " \xE2\x80\x94 ", " -- "};
    const char *last = NULL;
    for (size_t i = 0; i < sizeof dashes / sizeof *dashes; i++)
        for (const char *p = text; (p = strstr(p, dashes[i])); p++)
            if (!last || p > last) {
                last = p;
                *size = strlen(dashes[i]);
            }
    return last;
}

bool heading_read(const char *text, bool forced, struct heading *h) {
    const char *rest = skip_opening(text);
    if (!rest && !forced) return false;
    if (!rest) rest = text;
    while (*rest == ' ' || *rest == '.') rest++;
    size_t size = 0;
    const char *dash = last_dash(rest, &size);
    h->place = rest;
    h->place_size = dash ? (size_t)(dash - rest) : strlen(rest);
    h->time = dash ? dash + size : NULL;
    h->time_size = h->time ? strlen(h->time) : 0;
    return true;
}

/* ---- Prompts -------------------------------------------------------------------------------- */
/* Appends in small letters, line breaks and dashes between the parts of a place as commas. */
static void add_low(struct buf *b, const char *text, size_t size) {
    const char *end = text + size;
    while (text < end) {
        if (end - text >= 3 && !memcmp(text, " - ", 3)) {
            buf_puts(b, ", ");
            text += 3;
            continue;
        }
        uint32_t c = utf8_next(&text, end);
        char bytes[4];
        buf_add(b, bytes, utf8_put(letter_to_lower(c), bytes));
    }
}

/* Begins the next part: a comma in place of a full stop. */
static void separate(struct buf *b) {
    while (b->size && strchr(". ,;:", b->data[b->size - 1])) b->data[--b->size] = 0;
    if (b->size) buf_puts(b, ", ");
}

static void add_one_line(struct buf *b, const char *text) {
    for (bool gap = false; *text; text++) {
        if (*text == '\n' || *text == ' ' || *text == '\t' || *text == '\f') {
            gap = true;
            continue;
        }
        if (gap && b->size) buf_putc(b, ' ');
        gap = false;
        buf_putc(b, *text);
    }
}

/* Times of a heading that show nothing. */
static bool is_seen(const char *time, size_t size) {
    static const char *const unseen[] = {"continuous",    "later",   "moments later", "same",
                                         "same time",     "позже",   "спустя время",  "непрерывно",
                                         "в то же время", "тогда же"};
    if (!size) return false;
    for (size_t i = 0; i < sizeof unseen / sizeof *unseen; i++)
        if (behind(time, time + size, unseen[i]) == time + size) return false;
    return true;
}

/* "wide" -> "wide shot of "; "close-up" and what says "shot" itself -> "... of ". */
static void add_shot(struct buf *b, const char *shot) {
    add_low(b, shot, strlen(shot));
    bool said = strstr(b->data, "shot") || strstr(b->data, "close-up") ||
                strstr(b->data, "close up") || strstr(b->data, "portrait") ||
                strstr(b->data, "view");
    buf_puts(b, said ? " of " : " shot of ");
}

/* Whether a sentence begins with an article, which is written small behind "shot of". */
static bool begins_with_article(const char *text) {
    return !strncmp(text, "A ", 2) || !strncmp(text, "An ", 3) || !strncmp(text, "The ", 4);
}

void script_write_prompt(struct script *s, struct board_panel *p) {
    struct buf b;
    struct heading h = {0};
    buf_init(&b, s->mem);
    if (p->shot) add_shot(&b, p->shot);
    size_t start = b.size;
    add_one_line(&b, p->action);
    if (start && b.size > start && begins_with_article(b.data + start))
        b.data[start] = (char)(b.data[start] - 'A' + 'a');
    for (size_t i = 0; !*p->action && i < p->speech_count; i++) {
        const char *who = p->speeches[i].character;
        if (!who || (i && p->speeches[0].character && !strcmp(who, p->speeches[0].character)))
            continue;
        if (b.size > start) buf_puts(&b, " and ");
        add_low(&b, who, strlen(who));
        if (i) break; /* two faces are enough for a picture */
    }
    if (p->scene) heading_read(p->scene, true, &h);
    if (h.place_size) {
        if (b.size > start) separate(&b);
        add_low(&b, h.place, h.place_size);
    }
    if (is_seen(h.time, h.time_size)) {
        if (b.size > start) separate(&b);
        add_low(&b, h.time, h.time_size);
    }
    if (!buf_ok(&b)) script_nomem(s);
    else if (b.size == start)
        script_fail_at(s, p->place,
                       "nothing to draw; expected an action, a place or [[prompt: ...]]");
    else p->prompt = script_keep(s, b.data, b.size);
    buf_free(&b);
}
