/* tokenizer.c: see tokenizer.h. Opening, added tokens, and the way of a text from bytes to words;
 * reading the files is tokenizer_read.c, merging is tokenizer_bpe.c. */
#include "model/tokenizer.h"
#include "base/file.h"
#include "base/utf8.h"
#include "model/tokenizer_parts.h"
#include "model/unicode.h"

#include <string.h>

/* ---- Characters ------------------------------------------------------------------------------ */

/* Flags of the character at *p, which is moved behind it. Valid UTF-8. */
static unsigned next_flags(const char **p, const char *end) {
    return unicode_flags(utf8_next(p, end));
}

/* Start of the character that ends at `end`. */
static const char *back(const char *begin, const char *end) {
    do end--;
    while (end > begin && ((unsigned char)*end & 0xC0) == 0x80);
    return end;
}

static bool ends_with(const char *begin, const char *end, unsigned flag) {
    if (end == begin) return false;
    const char *p = back(begin, end);
    return next_flags(&p, end) & flag;
}

static bool starts_with(const char *begin, const char *end, unsigned flag) {
    return begin < end && next_flags(&begin, end) & flag;
}

bool tokenizer_normalize(struct mem *m, const char *text, size_t size, struct buf *out) {
    struct unicode_text t;
    unicode_text_init(&t, m);
    bool ok = true;
    for (const char *p = text, *end = text + size; ok && p < end;)
        ok = unicode_text_add(&t, utf8_next(&p, end));
    ok = ok && unicode_nfc(&t);
    bool blank = false;
    for (size_t i = 0; ok && i < t.count; i++) {
        bool space = unicode_flags(t.code[i]) & UNICODE_SPACE;
        if (space && !blank) buf_putc(out, ' ');
        blank = space;
        if (space) continue;
        uint32_t low[2];
        size_t n = unicode_lower(t.code[i], low);
        for (size_t k = 0; k < n; k++) {
            char bytes[4];
            buf_add(out, bytes, utf8_put(low[k], bytes));
        }
    }
    unicode_text_free(&t);
    return ok && buf_ok(out);
}

/* ---- Words ----------------------------------------------------------------------------------- */

struct reading {
    const struct tokenizer *t;
    struct tokens *ids;
    struct bpe_work work;
};

static bool begins(const char *p, const char *end, const char *with) {
    size_t n = strlen(with);
    return (size_t)(end - p) >= n && memcmp(p, with, n) == 0;
}

/* Bytes of the contraction at `p`, 0: none. */
static size_t contraction(const char *p, const char *end) {
    static const char *const all[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (begins(p, end, all[i])) return strlen(all[i]);
    return 0;
}

/* The end of the word at `p`, which is no white space. */
static const char *word_end(const char *p, const char *end) {
    size_t n = *p == '\'' ? contraction(p, end) : 0;
    if (n) return p + n;
    const unsigned classes = UNICODE_SPACE | UNICODE_LETTER | UNICODE_NUMBER;
    unsigned class = next_flags(&p, end) & classes;
    if (class == UNICODE_NUMBER) return p;
    for (const char *next = p; p < end; p = next)
        if ((next_flags(&next, end) & classes) != class) break;
    return p;
}

static bool read_word(struct reading *r, const char *word, size_t size) {
    return bpe_encode(r->t->bpe, word, size, r->ids, &r->work);
}

/* The marks that are no added tokens here: the reference cuts them out whole, then takes them apart
 * into "<|", the name and "|>". Returns their size, 0: none at `p`. */
static size_t read_mark(struct reading *r, const char *p, const char *end, bool *ok) {
    static const char *const marks[] = {"<|startoftext|>", "<|endoftext|>"};
    for (size_t i = 0; i < 2; i++)
        if (begins(p, end, marks[i])) {
            size_t n = strlen(marks[i]);
            *ok = read_word(r, p, 2) && read_word(r, p + 2, n - 4) && read_word(r, p + n - 2, 2);
            return n;
        }
    return 0;
}

static bool read_words(struct reading *r, const char *p, size_t size) {
    bool ok = true;
    for (const char *end = p + size; ok && p < end;) {
        const char *next = p;
        size_t mark = *p == '<' ? read_mark(r, p, end, &ok) : 0;
        if (mark) p += mark;
        else if (next_flags(&next, end) & UNICODE_SPACE) p = next;
        else {
            next = word_end(p, end);
            ok = read_word(r, p, (size_t)(next - p));
            p = next;
        }
    }
    return ok;
}

/* ---- Added tokens ---------------------------------------------------------------------------- */

/* The longest added token at `p`, or NULL. */
static const struct added_token *added_at(const struct tokenizer *t, bool normalized, const char *p,
                                          size_t left) {
    const struct added_token *best = NULL;
    if (!t->begins[normalized][(unsigned char)*p]) return NULL;
    for (size_t i = 0; i < t->added_count; i++) {
        const struct added_token *a = &t->added[i];
        if (a->normalized == normalized && a->pattern_size <= left &&
            (!best || a->pattern_size > best->pattern_size) &&
            memcmp(a->pattern, p, a->pattern_size) == 0)
            best = a;
    }
    return best;
}

static bool read_text(struct reading *r, const char *text, size_t size, bool normalized);

/* Text between added tokens: is normalized and searched again, or read. */
static bool read_gap(struct reading *r, const char *text, size_t size, bool normalized) {
    if (normalized) return read_words(r, text, size);
    struct buf b;
    buf_init(&b, r->t->mem);
    bool ok = tokenizer_normalize(r->t->mem, text, size, &b) && read_text(r, b.data, b.size, true);
    buf_free(&b);
    return ok;
}

/* Matches do not overlap, also those that are then dropped because they are not single words. */
static bool read_text(struct reading *r, const char *text, size_t size, bool normalized) {
    const char *end = text + size, *done = text;
    bool ok = true;
    for (const char *p = text; ok && p < end;) {
        const struct added_token *a = added_at(r->t, normalized, p, (size_t)(end - p));
        if (!a) {
            p++;
            continue;
        }
        const char *start = p, *stop = p + a->pattern_size;
        p = stop;
        if (a->single_word &&
            (ends_with(text, start, UNICODE_WORD) || starts_with(stop, end, UNICODE_WORD)))
            continue;
        while (a->lstrip && start > done && ends_with(text, start, UNICODE_SPACE))
            start = back(text, start);
        while (a->rstrip && starts_with(stop, end, UNICODE_SPACE)) utf8_next(&stop, end);
        if (done < start) ok = read_gap(r, done, (size_t)(start - done), normalized);
        ok = ok && tokens_add(r->ids, a->id);
        done = stop;
    }
    if (ok && done < end) ok = read_gap(r, done, (size_t)(end - done), normalized);
    return ok;
}

/* Where `text` is already known as an added token, or where it goes. */
static struct added_token *added_place(struct tokenizer *t, const char *text) {
    size_t i = 0;
    while (i < t->added_count && strcmp(t->added[i].text, text) != 0) i++;
    return &t->added[i];
}

static kadr_status set_pattern(struct tokenizer *t, struct added_token *a, kadr_error *err) {
    size_t n = strlen(a->text);
    a->pattern = a->text;
    a->pattern_size = n;
    if (!a->normalized) return KADR_OK;
    struct buf b;
    buf_init(&b, t->mem);
    bool ok = tokenizer_normalize(t->mem, a->text, n, &b);
    if (ok) {
        a->pattern_size = b.size;
        a->pattern = arena_strndup(&t->arena, b.data, b.size);
    }
    buf_free(&b);
    return ok && a->pattern ? KADR_OK : err_nomem(err, "added token", n);
}

kadr_status tokenizer_add(struct tokenizer *t, const struct added_token *list, size_t count,
                          const char *name, kadr_error *err) {
    size_t next = t->bpe->count;
    t->added = arena_array(&t->arena, count, sizeof *t->added);
    if (!t->added) return err_nomem(err, "added tokens", count * sizeof *t->added);
    for (size_t i = 0; i < count; i++) {
        struct added_token *a = added_place(t, list[i].text);
        int32_t id = tokenizer_find(t, list[i].text);
        if (id < 0) id = (int32_t)next++;
        t->added_count += a == &t->added[t->added_count];
        *a = list[i];
        a->id = id;
    }
    t->size = (int32_t)(next > t->bpe->size ? next : t->bpe->size);
    for (size_t i = 0; i < t->added_count; i++) {
        struct added_token *a = &t->added[i];
        kadr_status st = set_pattern(t, a, err);
        if (st) return st;
        for (size_t k = 0; k < i; k++)
            if (t->added[k].normalized == a->normalized &&
                t->added[k].pattern_size == a->pattern_size &&
                memcmp(t->added[k].pattern, a->pattern, a->pattern_size) == 0)
                return err_set(err, KADR_EMODEL,
                               "%s: added tokens '%s' and '%s' cannot be told apart", name,
                               t->added[k].text, a->text);
        t->begins[a->normalized][(unsigned char)a->pattern[0]] = true;
    }
    return KADR_OK;
}

/* ---- Interface ------------------------------------------------------------------------------- */

static struct tokenizer *new_tokenizer(struct mem *m) {
    struct tokenizer *t = mem_alloc(m, sizeof *t);
    if (!t) return NULL;
    t->mem = m;
    arena_init(&t->arena, m);
    return t;
}

static kadr_status read_in_folder(void *user, struct mem *m, const char *name, char **text,
                                  size_t *size, kadr_error *err) {
    struct arena a;
    arena_init(&a, m);
    char *path = file_join(&a, user, name);
    kadr_status st = path ? KADR_OK : err_nomem(err, name, 0);
    *text = NULL;
    if (!st && file_exists(path))
        st = file_read_all(m, path, TOKENIZER_FILE_MOST, KADR_EMODEL, text, size, err);
    arena_free(&a);
    return st;
}

kadr_status tokenizer_open(struct mem *m, const char *folder, const struct tokenizer *like,
                           struct tokenizer **out, kadr_error *err) {
    if (!folder) return tokenizer_open_shipped(m, TOKENIZER_SDXL_1, like, out, err);
    const struct tokenizer_files files = {folder, read_in_folder, (void *)(uintptr_t)folder};
    return tokenizer_open_files(m, &files, like, out, err);
}

kadr_status tokenizer_open_files(struct mem *m, const struct tokenizer_files *files,
                                 const struct tokenizer *like, struct tokenizer **out,
                                 kadr_error *err) {
    struct tokenizer *t = new_tokenizer(m);
    if (!t) return err_nomem(err, "tokenizer", sizeof *t);
    kadr_status st = tokenizer_read_files(t, files, like, err);
    if (st) tokenizer_close(t);
    else *out = t;
    return st;
}

kadr_status tokenizer_open_shipped(struct mem *m, enum tokenizer_shipped which,
                                   const struct tokenizer *like, struct tokenizer **out,
                                   kadr_error *err) {
    struct tokenizer *t = new_tokenizer(m);
    if (!t) return err_nomem(err, "tokenizer", sizeof *t);
    kadr_status st = tokenizer_read_shipped(t, which, like, err);
    if (st) tokenizer_close(t);
    else *out = t;
    return st;
}

void tokenizer_close(struct tokenizer *t) {
    if (!t) return;
    bpe_drop(t->bpe);
    arena_free(&t->arena);
    mem_free(t);
}

/* A copy in which every byte that is not valid UTF-8 is U+FFFD; nothing when all is valid. */
static bool repair(const char *text, size_t size, struct buf *out) {
    const char *p = text, *end = text + size;
    bool valid = true;
    while (valid && p < end) valid = utf8_next(&p, end) != UTF8_BROKEN;
    if (valid) return true;
    for (p = text; p < end;) {
        char bytes[4];
        uint32_t c = utf8_next(&p, end);
        buf_add(out, bytes, utf8_put(c == UTF8_BROKEN ? UTF8_REPLACEMENT : c, bytes));
    }
    return buf_ok(out);
}

kadr_status tokenizer_encode(const struct tokenizer *t, const char *text, size_t size,
                             struct tokens *ids, kadr_error *err) {
    struct reading r = {.t = t, .ids = ids};
    struct buf valid;
    buf_init(&valid, t->mem);
    bool ok = repair(text, size, &valid);
    if (ok && valid.size) ok = read_text(&r, valid.data, valid.size, false);
    else if (ok) ok = read_text(&r, text, size, false);
    buf_free(&valid);
    bpe_work_free(&r.work);
    return ok ? KADR_OK : err_nomem(err, "text to be tokenized", size);
}

int32_t tokenizer_bos(const struct tokenizer *t) {
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t) {
    return t->eos;
}

int32_t tokenizer_pad(const struct tokenizer *t) {
    return t->pad;
}

int32_t tokenizer_size(const struct tokenizer *t) {
    return t->size;
}

const char *tokenizer_text(const struct tokenizer *t, int32_t id) {
    for (size_t i = 0; i < t->added_count; i++)
        if (t->added[i].id == id) return t->added[i].text;
    return id >= 0 && (size_t)id < t->bpe->size ? t->bpe->token[id].text : NULL;
}

int32_t tokenizer_find(const struct tokenizer *t, const char *text) {
    for (size_t i = 0; i < t->added_count; i++)
        if (strcmp(t->added[i].text, text) == 0) return t->added[i].id;
    return bpe_find(t->bpe, text, strlen(text));
}

/* One token's bytes; a text with a letter that stands for no byte is taken as it is. */
static void add_token_bytes(const char *text, struct buf *out) {
    const char *p = text, *end = text + strlen(text);
    bool bytes = true;
    while (bytes && p < end) bytes = bpe_byte(utf8_next(&p, end)) >= 0;
    for (p = text; p < end;) {
        if (begins(p, end, BPE_SUFFIX)) {
            buf_putc(out, ' ');
            p += sizeof BPE_SUFFIX - 1;
        } else buf_putc(out, bytes ? (char)bpe_byte(utf8_next(&p, end)) : *p++);
    }
}

/* What Python's strip() takes from ASCII. */
static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F);
}

void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t count,
                      struct buf *out) {
    struct buf raw;
    buf_init(&raw, t->mem);
    for (size_t i = 0; i < count; i++) {
        const char *text = tokenizer_text(t, ids[i]);
        if (text) add_token_bytes(text, &raw);
    }
    const char *p = raw.data, *end = p + raw.size;
    while (p < end && is_blank(*p)) p++;
    while (end > p && is_blank(end[-1])) end--;
    while (p < end) {
        char bytes[4];
        uint32_t c = utf8_next(&p, end);
        buf_add(out, bytes, utf8_put(c == UTF8_BROKEN ? UTF8_REPLACEMENT : c, bytes));
    }
    if (!buf_ok(&raw)) out->failed = true;
    buf_free(&raw);
}
