/* prompt.c: see prompt.h. From pieces of text to chunks of tokens. */
#include "model/prompt.h"

#include "base/buf.h"

#include <string.h>

/* One encoder's prompt while it is being laid out. */
struct layout {
    struct arena *arena;
    const struct tokenizer *t;
    struct tokens all;          /* every token of text */
    struct prompt_chunk *chunk; /* [room] */
    size_t count, room;
    int32_t id[PROMPT_ROOM]; /* the chunk that is being filled */
    float weight[PROMPT_ROOM];
    int used, comma;      /* comma: where in it the last one is, -1: none */
    struct tokens *names; /* tokens of each embedding's name */
    const struct prompt_embedding *embedding;
    size_t embeddings;
    int encoder;
};

static void empty_chunk(struct prompt_chunk *c, const struct tokenizer *t) {
    for (int i = 0; i < PROMPT_TOKENS; i++) {
        c->id[i] = i == 0 ? tokenizer_bos(t) : i == 1 ? tokenizer_eos(t) : tokenizer_pad(t);
        c->weight[i] = 1;
    }
    c->used = 0;
}

/* Ends the chunk that is being filled. */
static bool next_chunk(struct layout *l) {
    if (l->count == l->room) {
        struct prompt_chunk *more = arena_array(l->arena, 2 * l->room + 1, sizeof *more);
        if (!more) return false;
        if (l->count) memcpy(more, l->chunk, l->count * sizeof *more);
        l->chunk = more;
        l->room = 2 * l->room + 1;
    }
    struct prompt_chunk *c = &l->chunk[l->count++];
    empty_chunk(c, l->t);
    memcpy(c->id + 1, l->id, (size_t)l->used * sizeof *l->id);
    memcpy(c->weight + 1, l->weight, (size_t)l->used * sizeof *l->weight);
    c->id[l->used + 1] = tokenizer_eos(l->t);
    c->used = l->used;
    l->used = 0;
    l->comma = -1;
    return true;
}

static void put(struct layout *l, int32_t id, double weight) {
    l->id[l->used] = id;
    l->weight[l->used++] = (float)weight;
}

/* Ends a full chunk behind its last comma; what follows opens the next one. */
static bool break_at_comma(struct layout *l) {
    int first = l->comma + 1, rest = l->used - first;
    l->used = first;
    if (!next_chunk(l)) return false;
    memmove(l->id, l->id + first, (size_t)rest * sizeof *l->id);
    memmove(l->weight, l->weight + first, (size_t)rest * sizeof *l->weight);
    l->used = rest;
    return true;
}

/* The embedding whose name stands at `ids`, the longest; NULL: none. */
static const struct prompt_embedding *embedding_at(const struct layout *l, const int32_t *ids,
                                                   size_t left, size_t *size) {
    const struct prompt_embedding *best = NULL;
    *size = 0;
    for (size_t i = 0; i < l->embeddings; i++) {
        const struct tokens *name = &l->names[i];
        if (name->count > *size && name->count <= left &&
            memcmp(name->id, ids, name->count * sizeof *ids) == 0) {
            best = &l->embedding[i];
            *size = name->count;
        }
    }
    return best;
}

/* Lays out the tokens of one piece. */
static bool put_tokens(struct layout *l, const int32_t *ids, size_t count, double weight,
                       int32_t comma) {
    for (size_t i = 0; i < count;) {
        bool ok = true;
        if (ids[i] == comma) l->comma = l->used;
        else if (l->used == PROMPT_ROOM && l->comma >= 0 &&
                 l->used - l->comma <= PROMPT_COMMA_BACKTRACK)
            ok = break_at_comma(l);
        if (ok && l->used == PROMPT_ROOM) ok = next_chunk(l);
        size_t size;
        const struct prompt_embedding *e = embedding_at(l, ids + i, count - i, &size);
        if (ok && e && l->used + e->vectors > PROMPT_ROOM) ok = next_chunk(l);
        if (!ok) return false;
        if (!e) put(l, ids[i++], weight);
        else {
            for (int32_t v = 0; v < e->vectors; v++) put(l, e->first[l->encoder] + v, weight);
            i += size;
        }
    }
    return true;
}

static kadr_status lay_out(struct layout *l, const struct prompt_piece *piece, size_t count,
                           kadr_error *err) {
    int32_t comma = tokenizer_find(l->t, ",</w>");
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        if (piece[i].is_break) {
            ok = next_chunk(l);
            continue;
        }
        size_t before = l->all.count;
        kadr_status st = tokenizer_encode(l->t, piece[i].text, piece[i].size, &l->all, err);
        if (st) return st;
        if (l->all.count > before)
            ok = put_tokens(l, l->all.id + before, l->all.count - before, piece[i].weight, comma);
    }
    if (ok && (l->used || !l->count)) ok = next_chunk(l);
    return ok ? KADR_OK : err_nomem(err, "prompt", l->room * sizeof *l->chunk);
}

/* One chunk, and no more. */
static kadr_status lay_out_plain(struct layout *l, const char *text, kadr_error *err) {
    kadr_status st = tokenizer_encode(l->t, text, strlen(text), &l->all, err);
    if (st) return st;
    for (size_t i = 0; i < l->all.count && i < PROMPT_ROOM; i++) put(l, l->all.id[i], 1);
    return next_chunk(l) ? KADR_OK : err_nomem(err, "prompt", sizeof *l->chunk);
}

static kadr_status read_names(struct layout *l, kadr_error *err) {
    struct mem *m = l->arena->mem;
    l->names = arena_array(l->arena, l->embeddings, sizeof *l->names);
    if (!l->names) return err_nomem(err, "embeddings", l->embeddings);
    for (size_t i = 0; i < l->embeddings; i++) tokens_init(&l->names[i], m);
    for (size_t i = 0; i < l->embeddings; i++) {
        const struct prompt_embedding *e = &l->embedding[i];
        if (e->vectors < 1 || e->vectors > PROMPT_ROOM)
            return err_set(err, KADR_EUSAGE, "embedding '%s' has %d vectors, expected 1 to %d",
                           e->name, e->vectors, PROMPT_ROOM);
        kadr_status st = tokenizer_encode(l->t, e->name, strlen(e->name), &l->names[i], err);
        if (st) return st;
    }
    return KADR_OK;
}

/* What the tokens behind the first 75 say. */
static kadr_status find_cut(struct layout *l, const char **out, kadr_error *err) {
    struct buf b;
    if (l->all.count <= PROMPT_ROOM) return KADR_OK;
    buf_init(&b, l->arena->mem);
    tokenizer_decode(l->t, l->all.id + PROMPT_ROOM, l->all.count - PROMPT_ROOM, &b);
    *out = buf_ok(&b) ? arena_strdup(l->arena, b.data) : NULL;
    buf_free(&b);
    return *out ? KADR_OK : err_nomem(err, "prompt", l->all.count);
}

static void free_layout(struct layout *l) {
    tokens_free(&l->all);
    for (size_t i = 0; l->names && i < l->embeddings; i++) tokens_free(&l->names[i]);
}

/* Gives both encoders the same number of chunks. */
static kadr_status equalize(struct layout *l, struct prompt *out, kadr_error *err) {
    for (int e = 0; e < PROMPT_ENCODERS; e++)
        if (l[e].count > out->chunks) out->chunks = l[e].count;
    for (int e = 0; e < PROMPT_ENCODERS; e++) {
        while (l[e].count < out->chunks)
            if (!next_chunk(&l[e])) return err_nomem(err, "prompt", out->chunks);
        out->chunk[e] = l[e].chunk;
        for (size_t c = 0; c < out->chunks; c++)
            for (int i = 0; i < PROMPT_TOKENS; i++)
                out->weighted |= out->chunk[e][c].weight[i] != 1;
    }
    return KADR_OK;
}

kadr_status prompt_read(struct arena *a, struct tokenizer *const tokenizer[PROMPT_ENCODERS],
                        const char *text, bool plain, const struct prompt_embedding *embedding,
                        size_t embeddings, struct prompt *out, kadr_error *err) {
    struct prompt_piece *piece = NULL;
    size_t count = 0;
    struct layout l[PROMPT_ENCODERS];
    *out = (struct prompt){0};
    kadr_status st = prompt_parse(a, text, &piece, &count, err);
    for (int e = 0; e < PROMPT_ENCODERS; e++) {
        l[e] = (struct layout){.arena = a,
                               .t = tokenizer[e],
                               .comma = -1,
                               .embedding = embedding,
                               .embeddings = embeddings,
                               .encoder = e};
        tokens_init(&l[e].all, a->mem);
        if (!st && plain) st = lay_out_plain(&l[e], text, err);
        if (!st && !plain) st = read_names(&l[e], err);
        if (!st && !plain) st = lay_out(&l[e], piece, count, err);
        if (!st) st = find_cut(&l[e], &out->cut[e], err);
        out->tokens[e] = l[e].all.count;
    }
    if (!st) st = equalize(l, out, err);
    for (int e = 0; e < PROMPT_ENCODERS; e++) free_layout(&l[e]);
    return st;
}
