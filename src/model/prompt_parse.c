/* prompt_parse.c: the weight syntax and the letters of a prompt. See prompt.h. */
#include "base/utf8.h"
#include "model/prompt.h"
#include "model/unicode.h"

#include <math.h>
#include <string.h>

#define ROUND 1.1
#define SQUARE (1 / 1.1)
#define WEIGHT_MOST 1e6 /* beyond it there is no picture, only numbers that overflow */

struct parser {
    struct prompt_piece *piece; /* [room]: at most two for each byte, and one */
    size_t count;
    size_t *round, *square; /* stacks: number of pieces when the bracket opened */
    size_t rounds, squares;
};

static void add_piece(struct parser *p, const char *text, size_t size, bool is_break) {
    p->piece[p->count++] =
        (struct prompt_piece){.text = text, .size = size, .weight = 1, .is_break = is_break};
}

static void multiply_from(struct parser *p, size_t first, double by) {
    for (size_t i = first; i < p->count; i++) p->piece[i].weight *= by;
}

/* A broken byte is neither. */
static bool is_space(uint32_t c) {
    return c < 0x110000 && (unicode_flags(c) & UNICODE_SPACE || (c >= 0x1C && c <= 0x1F));
}

static bool is_word(uint32_t c) {
    return c == '_' || (c < 0x110000 && unicode_flags(c) & (UNICODE_LETTER | UNICODE_NUMBER));
}

static const char *skip_space(const char *p, const char *end) {
    for (const char *next = p; p < end; p = next)
        if (!is_space(utf8_next(&next, end))) break;
    return p;
}

/* Reads digits and dots as a number; false: they are none. `*p` is moved behind them. */
static bool read_number(const char **p, const char *end, double *out) {
    double value = 0, scale = 1, sign = 1;
    int digits = 0, dots = 0;
    if (*p < end && (**p == '+' || **p == '-')) sign = *(*p)++ == '-' ? -1 : 1;
    for (; *p < end && (**p == '.' || (**p >= '0' && **p <= '9')); (*p)++) {
        if (**p == '.') {
            dots++;
            continue;
        }
        value = value * 10 + (**p - '0');
        if (dots) scale *= 10;
        digits++;
    }
    *out = sign * (value / scale);
    return digits > 0 && dots <= 1 && isfinite(*out);
}

/* At a colon: ":1.2)" ends a round bracket. Returns its size, 0: it is plain text. */
static size_t closing_weight(const char *p, const char *end, double *weight) {
    const char *q = skip_space(p + 1, end);
    if (!read_number(&q, end, weight)) return 0;
    q = skip_space(q, end);
    return q < end && *q == ')' ? (size_t)(q + 1 - p) : 0;
}

/* Plain text: pieces between each BREAK that stands as a word, with the blanks around it. */
static void add_text(struct parser *p, const char *text, const char *end) {
    const char *begin = text, *blank = text; /* blank: where the white space before `q` begins */
    bool after_word = false;
    for (const char *q = text; q < end;) {
        const char *next = q + 5;
        if (!after_word && end - q >= 5 && memcmp(q, "BREAK", 5) == 0 &&
            (next == end || !is_word(utf8_next(&(const char *){next}, end)))) {
            add_piece(p, begin, (size_t)(blank - begin), false);
            add_piece(p, q, 0, true);
            begin = blank = q = skip_space(next, end);
            continue;
        }
        uint32_t c = utf8_next(&q, end);
        after_word = is_word(c);
        if (!is_space(c)) blank = q;
    }
    add_piece(p, begin, (size_t)(end - begin), false);
}

/* Reads one element of the syntax at `p`; returns where the next one is. */
static const char *step(struct parser *s, const char *p, const char *end) {
    double weight;
    size_t n;
    if (*p == '\\') {
        bool escape = p + 1 < end && strchr("()[]\\", p[1]);
        add_piece(s, p + 1, escape, false); /* alone it vanishes */
        return p + 1 + escape;
    }
    if (*p == '(') s->round[s->rounds++] = s->count;
    else if (*p == '[') s->square[s->squares++] = s->count;
    else if (*p == ')' && s->rounds) multiply_from(s, s->round[--s->rounds], ROUND);
    else if (*p == ']' && s->squares) multiply_from(s, s->square[--s->squares], SQUARE);
    else if (*p == ':' && (n = closing_weight(p, end, &weight)) > 0) {
        if (s->rounds) multiply_from(s, s->round[--s->rounds], weight);
        else add_text(s, p, p + n);
        return p + n;
    } else {
        n = strchr(":)]", *p) ? 1 : strcspn(p, "\\()[]:");
        add_text(s, p, p + n);
        return p + n;
    }
    return p + 1;
}

/* Joins neighbours of the same weight. Texts lie in order in the prompt, but not always side by
 * side. */
static void join_pieces(struct parser *s, char *to) {
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct prompt_piece piece = s->piece[i];
        memcpy(to, piece.text, piece.size);
        piece.text = to;
        to += piece.size;
        struct prompt_piece *last = n ? &s->piece[n - 1] : NULL;
        if (last && !last->is_break && !piece.is_break && last->weight == piece.weight)
            last->size += piece.size;
        else s->piece[n++] = piece;
    }
    s->count = n;
}

kadr_status prompt_parse(struct arena *a, const char *text, struct prompt_piece **pieces,
                         size_t *count, kadr_error *err) {
    size_t size = strlen(text);
    if (size > PROMPT_MOST_BYTES)
        return err_set(err, KADR_EUSAGE, "a prompt of %zu bytes, expected at most %d", size,
                       PROMPT_MOST_BYTES);
    struct parser s = {
        .piece = arena_array(a, 2 * size + 1, sizeof *s.piece),
        .round = arena_array(a, size + 1, sizeof *s.round),
        .square = arena_array(a, size + 1, sizeof *s.square),
    };
    char *texts = arena_alloc(a, size + 1);
    if (!s.piece || !s.round || !s.square || !texts) return err_nomem(err, "prompt", size);
    for (const char *p = text, *end = text + size; p < end;) p = step(&s, p, end);
    for (size_t i = 0; i < s.rounds; i++) multiply_from(&s, s.round[i], ROUND);
    for (size_t i = 0; i < s.squares; i++) multiply_from(&s, s.square[i], SQUARE);
    if (s.count == 0) add_piece(&s, text, 0, false);
    for (size_t i = 0; i < s.count; i++)
        if (!(fabs(s.piece[i].weight) <= WEIGHT_MOST))
            return err_set(err, KADR_EUSAGE, "a weight of %g in the prompt, expected at most %g",
                           s.piece[i].weight, WEIGHT_MOST);
    join_pieces(&s, texts);
    *pieces = s.piece;
    *count = s.count;
    return KADR_OK;
}

/* ---- Letters --------------------------------------------------------------------------------- */

static const struct script {
    uint32_t first, last;
    const char *name; /* NULL: Latin */
} scripts[] = {
    {0x0, 0x36F, NULL},           {0x370, 0x3FF, "Greek"},      {0x400, 0x52F, "Cyrillic"},
    {0x530, 0x58F, "Armenian"},   {0x590, 0x5FF, "Hebrew"},     {0x600, 0x6FF, "Arabic"},
    {0x750, 0x77F, "Arabic"},     {0x8A0, 0x8FF, "Arabic"},     {0x900, 0x97F, "Devanagari"},
    {0x980, 0x9FF, "Bengali"},    {0xB80, 0xBFF, "Tamil"},      {0xE00, 0xE7F, "Thai"},
    {0x10A0, 0x10FF, "Georgian"}, {0x1100, 0x11FF, "Hangul"},   {0x1C80, 0x1C8F, "Cyrillic"},
    {0x1C90, 0x1CBF, "Georgian"}, {0x1D00, 0x1D25, NULL},       {0x1D2C, 0x1D5C, NULL},
    {0x1D62, 0x1D65, NULL},       {0x1D6B, 0x1DBE, NULL},       {0x1E00, 0x1EFF, NULL},
    {0x1F00, 0x1FFF, "Greek"},    {0x2071, 0x209C, NULL},       {0x2100, 0x214F, NULL},
    {0x2C60, 0x2C7F, NULL},       {0x2DE0, 0x2DFF, "Cyrillic"}, {0x3040, 0x309F, "Hiragana"},
    {0x30A0, 0x30FF, "Katakana"}, {0x3130, 0x318F, "Hangul"},   {0x31F0, 0x31FF, "Katakana"},
    {0x3400, 0x9FFF, "Han"},      {0xA640, 0xA69F, "Cyrillic"}, {0xA720, 0xA7FF, NULL},
    {0xAB30, 0xAB6F, NULL},       {0xAC00, 0xD7FF, "Hangul"},   {0xF900, 0xFAFF, "Han"},
    {0xFB00, 0xFB06, NULL},       {0xFB1D, 0xFB4F, "Hebrew"},   {0xFB50, 0xFDFF, "Arabic"},
    {0xFE70, 0xFEFE, "Arabic"},   {0xFF21, 0xFF5A, NULL},       {0xFF66, 0xFF9D, "Katakana"},
    {0x20000, 0x3FFFF, "Han"},
};

const char *prompt_unreadable(const char *text) {
    for (const char *p = text, *end = text + strlen(text); p < end;) {
        uint32_t c = utf8_next(&p, end);
        if (c >= 0x110000 || !(unicode_flags(c) & UNICODE_LETTER)) continue;
        const char *name = "non-Latin";
        for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
            if (c >= scripts[i].first && c <= scripts[i].last) name = scripts[i].name;
        if (name) return name;
    }
    return NULL;
}
