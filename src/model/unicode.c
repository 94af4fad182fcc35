/* unicode.c: see unicode.h. Normalization follows Unicode Standard Annex 15: decompose, put marks
 * into canonical order, compose. */
#include "model/unicode.h"
#include "model/unicode_tables.h"

#include "base/chk.h"

#include <string.h>

/* Below this no character has or needs a canonical change when only its like surround it. */
#define FIRST_MARK 0x300u

/* Hangul syllables are computed: leading consonant, vowel, trailing consonant. */
enum {
    HANGUL_S = 0xAC00,
    HANGUL_L = 0x1100,
    HANGUL_V = 0x1161,
    HANGUL_T = 0x11A7,
    HANGUL_L_COUNT = 19,
    HANGUL_V_COUNT = 21,
    HANGUL_T_COUNT = 28,
    HANGUL_S_COUNT = HANGUL_L_COUNT * HANGUL_V_COUNT * HANGUL_T_COUNT
};

static const struct unicode_record *record(uint32_t c) {
    uint32_t block = unicode_blocks[c / UNICODE_BLOCK];
    return &unicode_records[unicode_index[block * UNICODE_BLOCK + c % UNICODE_BLOCK]];
}

unsigned unicode_flags(uint32_t c) {
    return record(c)->flags;
}

size_t unicode_lower(uint32_t c, uint32_t to[2]) {
    to[0] = (uint32_t)((int32_t)c + record(c)->to_lower);
    to[1] = 0x307; /* capital I with dot above keeps its dot; no other letter becomes two */
    return c == 0x130 ? 2 : 1;
}

void unicode_text_init(struct unicode_text *t, struct mem *m) {
    *t = (struct unicode_text){.mem = m};
}

void unicode_text_free(struct unicode_text *t) {
    mem_free(t->code);
    unicode_text_init(t, t->mem);
}

bool unicode_text_add(struct unicode_text *t, uint32_t c) {
    if (t->count == t->room) {
        size_t room = t->room ? t->room : 64, size;
        if (!chk_mul(room, 2 * sizeof *t->code, &size)) return false;
        uint32_t *code = mem_resize(t->mem, t->code, size);
        if (!code) return false;
        t->code = code;
        t->room = 2 * room;
    }
    t->code[t->count++] = c;
    return true;
}

static const struct unicode_decomposition *decomposition(uint32_t c) {
    size_t low = 0, high = unicode_decomposition_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (unicode_decompositions[middle].from <= c) low = middle;
        else high = middle;
    }
    return &unicode_decompositions[low];
}

/* Only the first of a pair decomposes further, so the rest waits on a small stack. */
static bool add_decomposed(struct unicode_text *to, uint32_t c) {
    if (c >= HANGUL_S && c < HANGUL_S + HANGUL_S_COUNT) {
        uint32_t s = c - HANGUL_S, t = s % HANGUL_T_COUNT;
        return unicode_text_add(to, HANGUL_L + s / (HANGUL_V_COUNT * HANGUL_T_COUNT)) &&
               unicode_text_add(to, HANGUL_V + s / HANGUL_T_COUNT % HANGUL_V_COUNT) &&
               (t == 0 || unicode_text_add(to, HANGUL_T + t));
    }
    uint32_t rest[8];
    size_t n = 0;
    while (unicode_flags(c) & UNICODE_DECOMPOSES) {
        const struct unicode_decomposition *d = decomposition(c);
        if (d->second && n < sizeof rest / sizeof *rest) rest[n++] = d->second;
        c = d->first;
    }
    bool ok = unicode_text_add(to, c);
    while (ok && n > 0) ok = unicode_text_add(to, rest[--n]);
    return ok;
}

/* Sorts a run of marks by combining class, keeping equals in order; `spare` is as long. */
static void sort_run(uint32_t *run, size_t count, uint32_t *spare) {
    size_t start[256] = {0}, sum = 0;
    for (size_t i = 0; i < count; i++) start[record(run[i])->ccc]++;
    for (size_t i = 0; i < 256; i++) {
        size_t here = start[i];
        start[i] = sum;
        sum += here;
    }
    for (size_t i = 0; i < count; i++) spare[start[record(run[i])->ccc]++] = run[i];
    memcpy(run, spare, count * sizeof *run);
}

/* `spare` has at least `count` places. */
static void order_marks(uint32_t *code, size_t count, uint32_t *spare) {
    for (size_t i = 0; i < count;) {
        size_t end = i;
        while (end < count && record(code[end])->ccc) end++;
        if (end - i > 1) sort_run(code + i, end - i, spare);
        i = end + 1;
    }
}

/* The composite of a pair, or 0. */
static uint32_t composed(uint32_t a, uint32_t b) {
    if (a - HANGUL_L < HANGUL_L_COUNT && b - HANGUL_V < HANGUL_V_COUNT)
        return HANGUL_S + ((a - HANGUL_L) * HANGUL_V_COUNT + (b - HANGUL_V)) * HANGUL_T_COUNT;
    if (a - HANGUL_S < HANGUL_S_COUNT && (a - HANGUL_S) % HANGUL_T_COUNT == 0 &&
        b - HANGUL_T - 1 < HANGUL_T_COUNT - 1)
        return a + (b - HANGUL_T);
    size_t low = 0, high = unicode_composition_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct unicode_decomposition *d =
            &unicode_decompositions[unicode_compositions[middle]];
        if (d->first == a && d->second == b) return d->from;
        if (d->first < a || (d->first == a && d->second < b)) low = middle + 1;
        else high = middle;
    }
    return 0;
}

/* Composes in place; returns the new count. */
static size_t compose(uint32_t *code, size_t count) {
    size_t starter = SIZE_MAX, n = 0;
    int last = -1; /* class of the character before this one and after the starter, -1: none */
    for (size_t i = 0; i < count; i++) {
        uint32_t c = code[i], whole = 0;
        int ccc = record(c)->ccc;
        if (starter != SIZE_MAX && last < ccc) whole = composed(code[starter], c);
        if (whole) {
            code[starter] = whole;
            continue;
        }
        if (ccc == 0) {
            starter = n;
            last = -1;
        } else last = ccc;
        code[n++] = c;
    }
    return n;
}

bool unicode_nfc(struct unicode_text *t) {
    size_t plain = 0;
    while (plain < t->count && t->code[plain] < FIRST_MARK) plain++;
    if (plain == t->count) return true;

    struct unicode_text d;
    unicode_text_init(&d, t->mem);
    bool ok = true;
    for (size_t i = 0; ok && i < t->count; i++) ok = add_decomposed(&d, t->code[i]);
    uint32_t *spare = ok ? mem_array(t->mem, d.count, sizeof *spare) : NULL;
    if (spare) {
        order_marks(d.code, d.count, spare);
        d.count = compose(d.code, d.count);
        mem_free(spare);
        unicode_text_free(t);
        *t = d;
        return true;
    }
    unicode_text_free(&d);
    return false;
}
