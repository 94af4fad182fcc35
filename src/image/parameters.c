/* parameters.c: see parameters.h. The reader accepts what A1111's regular expression accepts,
 *     \s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)
 * in one walk over the text, so that no text can make it slow. */
#include "image/parameters.h"
#include <jansson.h>
#include <string.h>

struct span {
    const char *at, *end;
};

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct span strip(struct span s) {
    while (s.at < s.end && is_space(*s.at)) s.at++;
    while (s.at < s.end && is_space(s.end[-1])) s.end--;
    return s;
}

/* Letters beyond ASCII count as letters. */
static bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static bool is_key(char c) {
    return is_word(c) || c == ' ' || c == '-' || c == '/';
}

/* ---- One setting after the other ------------------------------------------------------------ */
/* Quotes that never close are looked for at most so often: each time is a walk to the end. */
#define UNCLOSED 8

struct scan {
    struct span left;
    int unclosed;
};

/* The quoted string at s->left.at, quotes included; false: it is not one that ends a value. */
static bool take_quoted(struct scan *s, struct span *value) {
    const char *p = s->left.at, *end = s->left.end;
    if (p == end || *p != '"' || s->unclosed >= UNCLOSED) return false;
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\' && p + 1 < end) p++;
    if (p >= end) {
        s->unclosed++;
        return false;
    }
    p++;
    if (p - s->left.at < 3 || (p < end && *p != ',')) return false;
    *value = (struct span){s->left.at, p};
    s->left.at = p;
    return true;
}

/* The next "key: value" of a line; false at its end. */
static bool next_setting(struct scan *s, struct span *key, struct span *value) {
    struct span *l = &s->left;
    for (;;) {
        while (l->at < l->end && !is_word(*l->at)) l->at++;
        if (l->at == l->end) return false;
        key->at = l->at;
        while (l->at < l->end && is_key(*l->at)) l->at++;
        key->end = l->at;
        if (l->at < l->end && *l->at == ':' && key->end - key->at >= 2) break;
    }
    l->at++;
    while (l->at < l->end && is_space(*l->at)) l->at++;
    if (!take_quoted(s, value)) {
        value->at = l->at;
        while (l->at < l->end && *l->at != ',') l->at++;
        value->end = l->at;
    }
    if (l->at < l->end) l->at++; /* the comma */
    return true;
}

static size_t count_settings(struct span line) {
    struct scan s = {line, 0};
    struct span key, value;
    size_t count = 0;
    while (next_setting(&s, &key, &value)) count++;
    return count;
}

/* A quoted value without its quotes; as it stands when it is not JSON. */
static char *unquoted(struct arena *a, struct span v) {
    size_t size = (size_t)(v.end - v.at);
    char *text = NULL;
    if (*v.at == '"' && v.end[-1] == '"') {
        json_t *json = json_loadb(v.at, size, JSON_DECODE_ANY, NULL);
        if (json_is_string(json)) text = arena_strdup(a, json_string_value(json));
        json_decref(json);
    }
    return text ? text : arena_strndup(a, v.at, size);
}

static bool read_settings(struct arena *a, struct span line, struct parameters *out) {
    out->list = arena_array(a, count_settings(line), sizeof *out->list);
    if (!out->list) return false;
    struct scan s = {line, 0};
    struct span key, value;
    while (next_setting(&s, &key, &value)) {
        if (value.at == value.end) continue;
        struct image_text *t = &out->list[out->count];
        t->key = arena_strndup(a, key.at, (size_t)(key.end - key.at));
        t->value = unquoted(a, value);
        if (!t->key || !t->value) return false;
        out->count++;
    }
    return true;
}

/* ---- The whole text ------------------------------------------------------------------------- */
static void add_line(struct buf *b, struct span line) {
    if (b->size) buf_putc(b, '\n');
    buf_add(b, line.at, (size_t)(line.end - line.at));
}

static void read_prompts(struct span text, struct buf *prompt, struct buf *negative) {
    static const char mark[] = "Negative prompt:";
    const size_t length = sizeof mark - 1;
    struct buf *to = prompt;
    while (text.at < text.end) {
        const char *stop = memchr(text.at, '\n', (size_t)(text.end - text.at));
        if (!stop) stop = text.end;
        struct span line = strip((struct span){text.at, stop});
        if ((size_t)(line.end - line.at) >= length && !memcmp(line.at, mark, length)) {
            to = negative;
            line = strip((struct span){line.at + length, line.end});
        }
        add_line(to, line);
        text.at = stop < text.end ? stop + 1 : stop;
    }
}

kadr_status parameters_read(struct arena *a, const char *text, struct parameters *out,
                            kadr_error *err) {
    memset(out, 0, sizeof *out);
    size_t size = strlen(text);
    struct span all = strip((struct span){text, text + size});
    struct span last = all;
    for (const char *p = all.end; p > all.at && p[-1] != '\n'; p--) last.at = p - 1;
    /* Fewer than three settings are a line of a prompt that happens to have colons. */
    bool settings = count_settings(last) >= 3;
    struct buf prompt, negative;
    buf_init(&prompt, a->mem);
    buf_init(&negative, a->mem);
    read_prompts(settings ? (struct span){all.at, last.at} : all, &prompt, &negative);
    bool kept = buf_ok(&prompt) && buf_ok(&negative);
    if (kept) {
        out->prompt = arena_strndup(a, prompt.data, prompt.size);
        out->negative = arena_strndup(a, negative.data, negative.size);
        kept = out->prompt && out->negative && (!settings || read_settings(a, last, out));
    }
    buf_free(&prompt);
    buf_free(&negative);
    return kept ? KADR_OK : err_nomem(err, "a picture's settings", size);
}

const char *parameters_get(const struct parameters *p, const char *key) {
    return image_text_find(p->list, p->count, key);
}

static int add_json(const char *bytes, size_t size, void *to) {
    buf_add(to, bytes, size);
    return 0;
}

static void write_value(const char *value, struct buf *out) {
    json_t *json = strpbrk(value, ",:\n") ? json_string(value) : NULL;
    if (!json) buf_puts(out, value);
    else if (json_dump_callback(json, add_json, out, JSON_ENCODE_ANY)) out->failed = true;
    json_decref(json);
}

void parameters_write(const struct parameters *p, struct buf *out) {
    size_t start = out->size;
    buf_puts(out, p->prompt);
    if (*p->negative)
        buf_printf(out, "%sNegative prompt: %s", out->size > start ? "\n" : "", p->negative);
    for (size_t i = 0; i < p->count; i++) {
        const char *before = i ? ", " : out->size > start ? "\n" : "";
        buf_printf(out, "%s%s: ", before, p->list[i].key);
        write_value(p->list[i].value, out);
    }
}
