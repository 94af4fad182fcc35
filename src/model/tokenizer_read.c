/* tokenizer_read.c: the files of a tokenizer, and the vocabulary that is built in. Which token is
 * special, and how, is put together from up to four files in the order in which transformers does
 * it. */
#include "base/json.h"
#include "model/tokenizer_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define MESSAGE_NAME 512 /* bytes of a name in messages */
#define ADDED_MOST 4096u

#define START_MARK "<|startoftext|>"
#define END_MARK "<|endoftext|>"

/* Made by the build from data/clip/merges.txt. */
extern const char clip_merges[];
extern const size_t clip_merges_size;

/* ---- Vocabulary and merges ------------------------------------------------------------------- */

static kadr_status read_vocabulary(struct bpe *b, json_t *vocab, const char *name,
                                   kadr_error *err) {
    const char *text;
    json_t *id;
    if (!json_is_object(vocab))
        return err_set(err, KADR_EMODEL, "%s: expected an object of tokens and their ids", name);
    json_object_foreach(vocab, text, id) {
        if (!json_is_integer(id))
            return err_set(err, KADR_EMODEL, "%s: token '%s': expected a whole number", name, text);
        kadr_status st = bpe_add_token(b, text, strlen(text), json_integer_value(id), name, err);
        if (st) return st;
    }
    return KADR_OK;
}

/* One merge written as "left right". */
static kadr_status read_merge(struct bpe *b, const char *line, size_t size, const char *name,
                              size_t place, kadr_error *err) {
    const char *blank = memchr(line, ' ', size);
    size_t left = blank ? (size_t)(blank - line) : size;
    if (!blank || memchr(blank + 1, ' ', size - left - 1))
        return err_set(err, KADR_EMODEL, "%s:%zu: expected two tokens and one blank between them",
                       name, place);
    return bpe_add_merge(b, line, left, blank + 1, size - left - 1, name, place, err);
}

/* Lines of merges; the vocabulary is complete. */
static kadr_status read_merge_lines(struct bpe *b, const char *text, size_t size, const char *name,
                                    kadr_error *err) {
    const char *end = text + size;
    for (size_t line = 1; text < end; line++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        const char *next = stop ? stop + 1 : end;
        size_t n = (size_t)((stop ? stop : end) - text);
        if (n > 0 && text[n - 1] == '\r') n--;
        bool version = n >= 8 && memcmp(text, "#version", 8) == 0;
        kadr_status st = n == 0 || version ? KADR_OK : read_merge(b, text, n, name, line, err);
        if (st) return st;
        text = next;
    }
    return KADR_OK;
}

/* tokenizer.json's merges: an array of "left right" or of ["left", "right"]. */
static kadr_status read_merge_array(struct bpe *b, json_t *merges, const char *name,
                                    kadr_error *err) {
    size_t i;
    json_t *m;
    if (!json_is_array(merges))
        return err_set(err, KADR_EMODEL, "%s: model.merges: expected an array", name);
    json_array_foreach(merges, i, m) {
        const char *left = json_string_value(json_array_get(m, 0));
        const char *right = json_string_value(json_array_get(m, 1));
        kadr_status st;
        if (json_is_string(m))
            st = read_merge(b, json_string_value(m), json_string_length(m), name, i, err);
        else if (left && right && json_array_size(m) == 2)
            st = bpe_add_merge(b, left, strlen(left), right, strlen(right), name, i, err);
        else st = err_set(err, KADR_EMODEL, "%s: model.merges[%zu]: expected two tokens", name, i);
        if (st) return st;
    }
    return KADR_OK;
}

/* Whether `like` has what is read from these texts, which then is the tokenizer's; else it gets an
 * empty one. */
static kadr_status share(struct tokenizer *t, const struct tokenizer *like,
                         const struct bpe_token *texts, size_t count, bool *shared,
                         kadr_error *err) {
    XXH3_state_t h;
    XXH3_128bits_reset(&h);
    for (size_t i = 0; i < count; i++) {
        const uint64_t size = texts[i].size;
        XXH3_128bits_update(&h, &size, sizeof size);
        XXH3_128bits_update(&h, texts[i].text, texts[i].size);
    }
    const XXH128_hash_t source = XXH3_128bits_digest(&h);
    *shared = like && count && like->bpe->source[0] == source.low64 &&
              like->bpe->source[1] == source.high64;
    t->bpe = *shared ? like->bpe : bpe_open(t->mem);
    if (!t->bpe) return err_nomem(err, "vocabulary", sizeof *t->bpe);
    if (*shared) t->bpe->users++;
    else if (count) memcpy(t->bpe->source, &source, sizeof t->bpe->source);
    return KADR_OK;
}

/* A file's JSON and its name in messages; NULL: there is no such file. */
static kadr_status read_json(struct mem *m, const struct tokenizer_files *files, const char *file,
                             char name[MESSAGE_NAME], json_t **out, kadr_error *err) {
    char *text = NULL;
    size_t size;
    snprintf(name, MESSAGE_NAME, "%s/%s", files->where, file);
    kadr_status st = files->read(files->user, m, file, &text, &size, err);
    if (!st && text) st = json_parse(text, size, name, KADR_EMODEL, out, err);
    mem_free(text);
    return st;
}

static kadr_status read_two_texts(struct bpe *b, const struct bpe_token file[2],
                                  const char name[2][MESSAGE_NAME], kadr_error *err) {
    json_t *vocab = NULL;
    kadr_status st = json_parse(file[0].text, file[0].size, name[0], KADR_EMODEL, &vocab, err);
    if (!st) st = read_vocabulary(b, vocab, name[0], err);
    json_decref(vocab);
    return st ? st : read_merge_lines(b, file[1].text, file[1].size, name[1], err);
}

static kadr_status read_two_files(struct tokenizer *t, const struct tokenizer_files *files,
                                  const struct tokenizer *like, const char *unknown,
                                  kadr_error *err) {
    static const char *const names[2] = {"vocab.json", "merges.txt"};
    char name[2][MESSAGE_NAME], *text[2] = {NULL, NULL};
    struct bpe_token of[3] = {[2] = {unknown, strlen(unknown)}};
    kadr_status st = KADR_OK;
    bool shared = false;
    for (int i = 0; i < 2 && !st; i++) {
        snprintf(name[i], MESSAGE_NAME, "%s/%s", files->where, names[i]);
        st = files->read(files->user, t->mem, names[i], &text[i], &of[i].size, err);
        if (!st && !text[i]) st = err_set(err, KADR_EMODEL, "%s: is not there", name[i]);
        of[i].text = text[i];
    }
    if (!st) st = share(t, like, of, 3, &shared, err);
    if (!st && !shared) st = read_two_texts(t->bpe, of, name, err);
    for (int i = 0; i < 2; i++) mem_free(text[i]);
    return st;
}

/* tokenizer.json. What it says about normalizing and splitting is CLIP's and not read. */
static kadr_status read_one_file(struct tokenizer *t, const json_t *whole, const char *path,
                                 kadr_error *err) {
    const json_t *model = json_object_get(whole, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type && strcmp(type, "BPE") != 0)
        return err_set(err, KADR_EMODEL, "%s: model.type is '%s', expected BPE", path, type);
    bool shared;
    kadr_status st = share(t, NULL, NULL, 0, &shared, err);
    if (!st) st = read_vocabulary(t->bpe, json_object_get(model, "vocab"), path, err);
    return st ? st : read_merge_array(t->bpe, json_object_get(model, "merges"), path, err);
}

/* ---- Special and added tokens ---------------------------------------------------------------- */

enum special { BOS, EOS, UNK, SEP, PAD, CLS, MASK, SPECIALS };

static const char *const special_keys[SPECIALS] = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

/* What the files say, while they are read. */
struct added_files {
    struct tokenizer *t;
    struct added_token special[SPECIALS]; /* text NULL: none */
    struct added_token *list;             /* [ADDED_MOST]; `id` is the one that the file states */
    size_t count, numbered;               /* the first `numbered` came with an id */
};

/* A token given as text or as an object with its flags; `special`: what it is when that is not
 * said. */
static kadr_status read_token(struct added_files *f, const json_t *json, bool special,
                              const char *name, struct added_token *out, kadr_error *err) {
    struct added_token a = {0};
    const json_t *content = json_is_string(json) ? json : json_object_get(json, "content");
    if (!json_is_string(content) || json_string_length(content) == 0)
        return err_set(err, KADR_EMODEL, "%s: an added token has no text", name);
    special |= json_is_string(json);
    kadr_status st = json_get_bool(json, name, "special", &special, err);
    a.normalized = !special;
    if (!st) st = json_get_bool(json, name, "normalized", &a.normalized, err);
    if (!st) st = json_get_bool(json, name, "single_word", &a.single_word, err);
    if (!st) st = json_get_bool(json, name, "lstrip", &a.lstrip, err);
    if (!st) st = json_get_bool(json, name, "rstrip", &a.rstrip, err);
    if (st) return st;
    a.text = arena_strdup(&f->t->arena, json_string_value(content));
    if (!a.text) return err_nomem(err, name, json_string_length(content));
    *out = a;
    return KADR_OK;
}

static kadr_status append(struct added_files *f, const struct added_token *a, const char *name,
                          kadr_error *err) {
    if (f->count == ADDED_MOST)
        return err_set(err, KADR_EMODEL, "%s: expected at most %u added tokens", name, ADDED_MOST);
    f->list[f->count++] = *a;
    return KADR_OK;
}

/* tokenizer_config.json's added_tokens_decoder: {"id": token}. */
static kadr_status read_decoder(struct added_files *f, json_t *decoder, const char *name,
                                kadr_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach(decoder, key, value) {
        struct added_token a;
        char *end;
        long id = strtol(key, &end, 10);
        if (end == key || *end || id < 0 || id >= (long)BPE_MOST_IDS)
            return err_set(err, KADR_EMODEL,
                           "%s: added_tokens_decoder: '%s' is not an id from 0 to %u", name, key,
                           BPE_MOST_IDS - 1);
        kadr_status st = read_token(f, value, false, name, &a, err);
        a.id = (int32_t)id;
        if (!st) st = append(f, &a, name, err);
        if (st) return st;
    }
    return KADR_OK;
}

/* added_tokens.json: {"text": id}. */
static kadr_status read_added_file(struct added_files *f, json_t *added, const char *name,
                                   kadr_error *err) {
    const char *text;
    json_t *id;
    json_object_foreach(added, text, id) {
        struct added_token a = {.text = arena_strdup(&f->t->arena, text), .normalized = true};
        if (!a.text) return err_nomem(err, name, strlen(text));
        if (!json_is_integer(id) || !*text || json_integer_value(id) < 0 ||
            json_integer_value(id) >= BPE_MOST_IDS)
            return err_set(err, KADR_EMODEL, "%s: token '%s': expected an id from 0 to %u", name,
                           text, BPE_MOST_IDS - 1);
        a.id = (int32_t)json_integer_value(id);
        for (int i = 0; i < SPECIALS; i++)
            if (f->special[i].text && strcmp(f->special[i].text, text) == 0) a.normalized = false;
        kadr_status st = append(f, &a, name, err);
        if (st) return st;
    }
    return KADR_OK;
}

/* tokenizer.json's added_tokens: [{"id": id, "content": text, ...}]. */
static kadr_status read_added_array(struct added_files *f, const json_t *added, const char *name,
                                    kadr_error *err) {
    size_t i;
    json_t *value;
    json_array_foreach(added, i, value) {
        struct added_token a;
        int64_t id = 0;
        kadr_status st = read_token(f, value, false, name, &a, err);
        if (!st) st = json_get_int(value, name, "id", 0, BPE_MOST_IDS - 1, &id, err);
        a.id = (int32_t)id;
        if (!st) st = append(f, &a, name, err);
        if (st) return st;
    }
    return KADR_OK;
}

/* The named special tokens of a configuration or special_tokens_map.json. */
static kadr_status read_specials(struct added_files *f, const json_t *from, bool special,
                                 const char *name, kadr_error *err) {
    for (int i = 0; i < SPECIALS; i++) {
        const json_t *value = json_object_get(from, special_keys[i]);
        if (!value || json_is_null(value)) continue;
        kadr_status st = read_token(f, value, special, name, &f->special[i], err);
        if (st) return st;
    }
    return KADR_OK;
}

static bool has_number(const struct added_files *f, const char *text) {
    size_t k = 0;
    while (k < f->numbered && strcmp(f->list[k].text, text) != 0) k++;
    return k < f->numbered;
}

/* Further special tokens without a name of their own. */
static kadr_status read_extra(struct added_files *f, const json_t *from, const char *name,
                              kadr_error *err) {
    const json_t *list = json_object_get(from, "extra_special_tokens");
    if (!json_array_size(list)) list = json_object_get(from, "additional_special_tokens");
    size_t i;
    json_t *value;
    json_array_foreach(list, i, value) {
        struct added_token a;
        kadr_status st = read_token(f, value, false, name, &a, err);
        if (!st && !has_number(f, a.text)) st = append(f, &a, name, err);
        if (st) return st;
    }
    return KADR_OK;
}

static int by_id(const void *a, const void *b) {
    int32_t x = ((const struct added_token *)a)->id, y = ((const struct added_token *)b)->id;
    return (x > y) - (x < y);
}

/* Named special tokens follow those with ids. One that has an id already is left out: it takes part
 * as the file with the ids describes it. */
static kadr_status append_specials(struct added_files *f, kadr_error *err) {
    qsort(f->list, f->count, sizeof *f->list, by_id);
    f->numbered = f->count;
    for (int i = 0; i < SPECIALS; i++) {
        const struct added_token *a = &f->special[i];
        if (!a->text || has_number(f, a->text)) continue;
        kadr_status st = append(f, a, special_keys[i], err);
        if (st) return st;
    }
    return KADR_OK;
}

/* The files beside the vocabulary. */
struct side_files {
    char path[4][MESSAGE_NAME];
    json_t *json[4]; /* NULL: not there */
};
enum { CONFIG, SPECIAL_MAP, ADDED, WHOLE };

static kadr_status open_side_files(struct side_files *s, struct mem *m,
                                   const struct tokenizer_files *files, kadr_error *err) {
    static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json",
                                        "added_tokens.json", "tokenizer.json"};
    for (int i = 0; i < 4; i++) {
        kadr_status st = read_json(m, files, names[i], s->path[i], &s->json[i], err);
        if (st) return st;
        if (s->json[i] && !json_is_object(s->json[i]))
            return err_set(err, KADR_EMODEL, "%s: expected an object", s->path[i]);
    }
    return KADR_OK;
}

static kadr_status read_added(struct added_files *f, struct side_files *s, kadr_error *err) {
    json_t *decoder = json_object_get(s->json[CONFIG], "added_tokens_decoder");
    kadr_status st = read_specials(f, s->json[CONFIG], false, s->path[CONFIG], err);
    if (!st && decoder) st = read_decoder(f, decoder, s->path[CONFIG], err);
    if (!st && !decoder) { /* files of older versions count only then */
        st = read_specials(f, s->json[SPECIAL_MAP], true, s->path[SPECIAL_MAP], err);
        if (!st) st = read_added_file(f, s->json[ADDED], s->path[ADDED], err);
        const json_t *array = json_object_get(s->json[WHOLE], "added_tokens");
        if (!st) st = read_added_array(f, array, s->path[WHOLE], err);
    }
    if (!st) st = append_specials(f, err);
    if (!st) st = read_extra(f, s->json[CONFIG], s->path[CONFIG], err);
    if (!st && !decoder) st = read_extra(f, s->json[SPECIAL_MAP], s->path[SPECIAL_MAP], err);
    return st;
}

/* Special tokens when no file says otherwise. */
static kadr_status init_added(struct added_files *f, struct tokenizer *t, kadr_error *err) {
    *f = (struct added_files){.t = t};
    f->special[BOS].text = START_MARK;
    f->special[EOS].text = f->special[UNK].text = f->special[PAD].text = END_MARK;
    f->list = mem_array(t->mem, ADDED_MOST, sizeof *f->list);
    return f->list ? KADR_OK : err_nomem(err, "added tokens", ADDED_MOST * sizeof *f->list);
}

static kadr_status finish(struct tokenizer *t, const struct added_files *f, const char *name,
                          kadr_error *err) {
    const char *unknown = f->special[UNK].text;
    kadr_status st = bpe_finish(t->bpe, bpe_find(t->bpe, unknown, strlen(unknown)), name, err);
    if (!st) st = tokenizer_add(t, f->list, f->count, name, err);
    if (st) return st;
    t->bos = tokenizer_find(t, f->special[BOS].text);
    t->eos = tokenizer_find(t, f->special[EOS].text);
    t->pad = tokenizer_find(t, f->special[PAD].text);
    return KADR_OK;
}

kadr_status tokenizer_read_files(struct tokenizer *t, const struct tokenizer_files *files,
                                 const struct tokenizer *like, kadr_error *err) {
    struct side_files side = {0};
    struct added_files added = {0};
    kadr_status st = open_side_files(&side, t->mem, files, err);
    if (!st) st = init_added(&added, t, err);
    if (!st) st = read_added(&added, &side, err);
    if (!st && side.json[WHOLE]) st = read_one_file(t, side.json[WHOLE], side.path[WHOLE], err);
    else if (!st) st = read_two_files(t, files, like, added.special[UNK].text, err);
    if (!st) st = finish(t, &added, files->where, err);
    mem_free(added.list);
    for (int i = 0; i < 4; i++) json_decref(side.json[i]);
    return st;
}

/* ---- The vocabulary that is built in --------------------------------------------------------- */

/* Bytes, what the merges make, and the two marks, in that order. */
static kadr_status build_clip(struct bpe *b, kadr_error *err) {
    static const char name[] = "built-in vocabulary";
    kadr_status st = bpe_add_bytes(b, err);
    const char *p = clip_merges, *end = p + clip_merges_size;
    for (size_t line = 1; !st && p < end; line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        const char *blank = memchr(p, ' ', (size_t)(stop - p));
        char whole[256];
        size_t left = (size_t)(blank - p), right = (size_t)(stop - blank) - 1;
        if (line > 1) { /* the first says which version it is */
            memcpy(whole, p, left);
            memcpy(whole + left, blank + 1, right);
            st = bpe_add_token(b, whole, left + right, (int64_t)b->count, name, err);
        }
        p = stop + 1;
    }
    if (!st) st = bpe_add_token(b, START_MARK, sizeof START_MARK - 1, (int64_t)b->count, name, err);
    if (!st) st = bpe_add_token(b, END_MARK, sizeof END_MARK - 1, (int64_t)b->count, name, err);
    return st ? st : read_merge_lines(b, clip_merges, clip_merges_size, name, err);
}

kadr_status tokenizer_read_shipped(struct tokenizer *t, enum tokenizer_shipped which,
                                   const struct tokenizer *like, kadr_error *err) {
    static const struct added_token list[] = {
        {.text = START_MARK, .normalized = true}, {.text = END_MARK}, {.text = "!"}};
    const struct bpe_token of = {clip_merges, clip_merges_size};
    bool shared = false;
    kadr_status st = share(t, like, &of, 1, &shared, err);
    if (!st && !shared) st = build_clip(t->bpe, err);
    if (!st && !shared) st = bpe_finish(t->bpe, -1, "built-in vocabulary", err);
    if (!st)
        st = tokenizer_add(t, list, which == TOKENIZER_SDXL_2 ? 3 : 2, "built-in vocabulary", err);
    if (st) return st;
    t->bos = tokenizer_find(t, START_MARK);
    t->eos = tokenizer_find(t, END_MARK);
    t->pad = which == TOKENIZER_SDXL_2 ? tokenizer_find(t, "!") : t->eos;
    return KADR_OK;
}
