/* tokenizer_bpe.c: see tokenizer_bpe.h.
 *
 * Merging keeps the reference implementation's order in every case: candidates lie in a heap by
 * (rank, position); one that is taken out counts if the pair at its position still merges into the
 * same token. */
#include "model/tokenizer_bpe.h"

#include "base/chk.h"
#include "base/utf8.h"

#include <string.h>

#define NONE SIZE_MAX

void tokens_init(struct tokens *ids, struct mem *m) {
    *ids = (struct tokens){.mem = m};
}

void tokens_free(struct tokens *ids) {
    mem_free(ids->id);
    tokens_init(ids, ids->mem);
}

/* Makes room for one more item of `size` bytes in the array *p of *room items. */
static bool grow(struct mem *m, void *p, size_t *room, size_t need, size_t size) {
    if (need <= *room) return true;
    size_t more = *room < 32 ? 64 : *room * 2, bytes;
    if (more < need) more = need;
    if (!chk_mul(more, size, &bytes)) return false;
    void *old;
    memcpy(&old, p, sizeof old);
    void *grown = mem_resize(m, old, bytes);
    if (!grown) return false;
    memcpy(p, &grown, sizeof grown);
    *room = more;
    return true;
}

bool tokens_add(struct tokens *ids, int32_t id) {
    if (!grow(ids->mem, &ids->id, &ids->room, ids->count + 1, sizeof *ids->id)) return false;
    ids->id[ids->count++] = id;
    return true;
}

struct bpe *bpe_open(struct mem *m) {
    struct bpe *b = mem_alloc(m, sizeof *b);
    if (!b) return NULL;
    b->mem = m;
    b->users = 1;
    arena_init(&b->texts, m);
    return b;
}

void bpe_drop(struct bpe *b) {
    if (!b || --b->users) return;
    arena_free(&b->texts);
    mem_free(b->token);
    mem_free(b->slot);
    mem_free(b->merge);
    mem_free(b);
}

static size_t hash_text(const char *text, size_t size) {
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < size; i++) h = (h ^ (unsigned char)text[i]) * 1099511628211u;
    return (size_t)(h ^ h >> 32);
}

static size_t hash_pair(int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return (size_t)(h >> 32);
}

/* Where `text` is, or the free place where it would be. The table has a free place. */
static size_t find_slot(const struct bpe *b, const char *text, size_t size) {
    size_t i = hash_text(text, size) & (b->slots - 1);
    while (b->slot[i] >= 0) {
        const struct bpe_token *t = &b->token[b->slot[i]];
        if (t->size == size && memcmp(t->text, text, size) == 0) break;
        i = (i + 1) & (b->slots - 1);
    }
    return i;
}

int32_t bpe_find(const struct bpe *b, const char *text, size_t size) {
    return b->slots ? b->slot[find_slot(b, text, size)] : -1;
}

/* Keeps the table at most half full. */
static bool grow_slots(struct bpe *b) {
    if (b->slots > 2 * b->count) return true;
    size_t slots = b->slots ? 2 * b->slots : 1024;
    int32_t *slot = mem_array(b->mem, slots, sizeof *slot);
    if (!slot) return false;
    memset(slot, 0xFF, slots * sizeof *slot);
    mem_free(b->slot);
    b->slot = slot;
    b->slots = slots;
    for (size_t id = 0; id < b->size; id++)
        if (b->token[id].text)
            b->slot[find_slot(b, b->token[id].text, b->token[id].size)] = (int32_t)id;
    return true;
}

static bool grow_ids(struct bpe *b, size_t need) {
    size_t old = b->room;
    if (!grow(b->mem, &b->token, &b->room, need, sizeof *b->token)) return false;
    if (b->room > old) memset(b->token + old, 0, (b->room - old) * sizeof *b->token);
    return true;
}

kadr_status bpe_add_token(struct bpe *b, const char *text, size_t size, int64_t id,
                          const char *name, kadr_error *err) {
    if (id < 0 || id >= BPE_MOST_IDS)
        return err_set(err, KADR_EMODEL, "%s: token '%s' has id %lld, expected 0 to %u", name, text,
                       (long long)id, BPE_MOST_IDS - 1);
    if (!grow_ids(b, (size_t)id + 1) || !grow_slots(b))
        return err_nomem(err, "vocabulary", b->size * sizeof *b->token);
    if (b->token[id].text)
        return err_set(err, KADR_EMODEL, "%s: tokens '%s' and '%s' have the same id %lld", name,
                       b->token[id].text, text, (long long)id);
    size_t slot = find_slot(b, text, size);
    if (b->slot[slot] >= 0)
        return err_set(err, KADR_EMODEL, "%s: token '%s' has two ids, %d and %lld", name, text,
                       b->slot[slot], (long long)id);
    char *copy = arena_strndup(&b->texts, text, size);
    if (!copy) return err_nomem(err, "vocabulary", size);
    b->token[id] = (struct bpe_token){copy, size};
    b->slot[slot] = (int32_t)id;
    b->count++;
    if ((size_t)id >= b->size) b->size = (size_t)id + 1;
    return KADR_OK;
}

static struct bpe_merge *find_merge(const struct bpe *b, int32_t left, int32_t right) {
    size_t i = hash_pair(left, right) & (b->merge_slots - 1);
    while (b->merge[i].left >= 0 && (b->merge[i].left != left || b->merge[i].right != right))
        i = (i + 1) & (b->merge_slots - 1);
    return &b->merge[i];
}

static bool grow_merges(struct bpe *b) {
    if (b->merge_slots > 2 * b->merges) return true;
    struct bpe old = *b;
    b->merge_slots = old.merge_slots ? 2 * old.merge_slots : 1024;
    b->merge = mem_array(b->mem, b->merge_slots, sizeof *b->merge);
    if (!b->merge) {
        *b = old;
        return false;
    }
    for (size_t i = 0; i < b->merge_slots; i++) b->merge[i].left = -1;
    for (size_t i = 0; i < old.merge_slots; i++)
        if (old.merge[i].left >= 0)
            *find_merge(b, old.merge[i].left, old.merge[i].right) = old.merge[i];
    mem_free(old.merge);
    return true;
}

kadr_status bpe_add_merge(struct bpe *b, const char *left, size_t left_size, const char *right,
                          size_t right_size, const char *name, size_t place, kadr_error *err) {
    int32_t l = bpe_find(b, left, left_size), r = bpe_find(b, right, right_size), whole = -1;
    char joined[512];
    if (left_size + right_size < sizeof joined) {
        memcpy(joined, left, left_size);
        memcpy(joined + left_size, right, right_size);
        whole = bpe_find(b, joined, left_size + right_size);
    }
    if (l < 0 || r < 0 || whole < 0)
        return err_set(err, KADR_EMODEL, "%s:%zu: merge '%.*s %.*s': %s is not in the vocabulary",
                       name, place, (int)(left_size < 99 ? left_size : 99), left,
                       (int)(right_size < 99 ? right_size : 99), right,
                       l < 0   ? "the first"
                       : r < 0 ? "the second"
                               : "what they make");
    if (b->merges >= BPE_MOST_IDS)
        return err_set(err, KADR_EMODEL, "%s:%zu: expected at most %u merges", name, place,
                       BPE_MOST_IDS);
    if (!grow_merges(b)) return err_nomem(err, "merges", b->merge_slots * sizeof *b->merge);
    *find_merge(b, l, r) = (struct bpe_merge){l, r, whole, (uint32_t)b->merges++};
    return KADR_OK;
}

/* The character that stands for a byte: printable ones for themselves, the other 68 as U+0100 and
 * up, in order. */
static uint32_t byte_letter(unsigned byte) {
    if ((byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE) return byte;
    if (byte <= ' ') return 0x100 + byte;
    return byte == 0xAD ? 0x100 + 67 : 0x100 + 33 + (byte - 0x7F);
}

int bpe_byte(uint32_t letter) {
    if (letter < 0x100) return byte_letter(letter) == letter ? (int)letter : -1;
    if (letter <= 0x100 + ' ') return (int)(letter - 0x100);
    if (letter < 0x100 + 67) return (int)(letter - 0x100 - 33 + 0x7F);
    return letter == 0x100 + 67 ? 0xAD : -1;
}

/* Its text, with or without the mark of a last byte; returns the size. */
static size_t byte_text(unsigned byte, bool last, char text[12]) {
    size_t n = utf8_put(byte_letter(byte), text);
    if (last) memcpy(text + n, BPE_SUFFIX, sizeof BPE_SUFFIX - 1);
    n += last ? sizeof BPE_SUFFIX - 1 : 0;
    text[n] = '\0';
    return n;
}

kadr_status bpe_add_bytes(struct bpe *b, kadr_error *err) {
    int32_t id = 0;
    for (int last = 0; last < 2; last++)
        for (int own = 1; own >= 0; own--) /* first those that stand for themselves */
            for (unsigned byte = 0; byte < 256; byte++) {
                if ((byte_letter(byte) == byte) != own) continue;
                char text[12];
                size_t n = byte_text(byte, last, text);
                kadr_status st = bpe_add_token(b, text, n, id++, "bytes", err);
                if (st) return st;
            }
    return KADR_OK;
}

kadr_status bpe_finish(struct bpe *b, int32_t unknown, const char *name, kadr_error *err) {
    for (int last = 0; last < 2; last++)
        for (unsigned byte = 0; byte < 256; byte++) {
            char text[12];
            size_t n = byte_text(byte, last, text);
            int32_t id = bpe_find(b, text, n);
            if (id < 0) id = unknown;
            if (id < 0)
                return err_set(err, KADR_EMODEL,
                               "%s: no token '%s' for byte 0x%02X and none for unknown text", name,
                               text, byte);
            b->byte_id[last][byte] = id;
        }
    return KADR_OK;
}

/* ---- One word -------------------------------------------------------------------------------- */

struct symbol {
    int32_t id; /* -1: merged into the one before */
    size_t before, after;
};

struct candidate {
    uint32_t rank;
    int32_t result;
    size_t at; /* the left one of the pair */
};

static bool earlier(const struct candidate *a, const struct candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct candidate *heap, size_t *count, struct candidate c) {
    size_t i = (*count)++;
    while (i > 0 && earlier(&c, &heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = c;
}

static struct candidate heap_pop(struct candidate *heap, size_t *count) {
    struct candidate top = heap[0], last = heap[--*count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= *count) break;
        if (child + 1 < *count && earlier(&heap[child + 1], &heap[child])) child++;
        if (!earlier(&heap[child], &last)) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

static const struct bpe_merge *merge_of(const struct bpe *b, int32_t left, int32_t right) {
    if (!b->merge_slots) return NULL;
    const struct bpe_merge *m = find_merge(b, left, right);
    return m->left >= 0 ? m : NULL;
}

static void propose(const struct bpe *b, const struct symbol *s, size_t left, size_t right,
                    struct candidate *heap, size_t *count) {
    if (left == NONE || right == NONE) return;
    const struct bpe_merge *m = merge_of(b, s[left].id, s[right].id);
    if (m) heap_push(heap, count, (struct candidate){m->rank, m->result, left});
}

/* `heap` has room for three candidates a symbol: one at first, two for each merge. */
static void merge_all(const struct bpe *b, struct symbol *s, size_t n, struct candidate *heap) {
    size_t count = 0;
    for (size_t i = 0; i + 1 < n; i++) propose(b, s, i, i + 1, heap, &count);
    while (count > 0) {
        struct candidate top = heap_pop(heap, &count);
        struct symbol *left = &s[top.at];
        if (left->id < 0 || left->after == NONE) continue;
        struct symbol *right = &s[left->after];
        const struct bpe_merge *m = merge_of(b, left->id, right->id);
        if (!m || m->result != top.result) continue;
        left->id = top.result;
        left->after = right->after;
        right->id = -1;
        if (left->after != NONE) s[left->after].before = top.at;
        propose(b, s, left->before, top.at, heap, &count);
        propose(b, s, top.at, left->after, heap, &count);
    }
}

bool bpe_encode(const struct bpe *b, const char *word, size_t size, struct tokens *ids,
                struct bpe_work *work) {
    size_t most;
    if (!size) return true;
    if (!chk_mul(size, 3, &most) ||
        !grow(b->mem, &work->symbols, &work->symbol_room, size, sizeof(struct symbol)) ||
        !grow(b->mem, &work->heap, &work->heap_room, most, sizeof(struct candidate)))
        return false;
    struct symbol *s = work->symbols;
    for (size_t i = 0; i < size; i++)
        s[i] = (struct symbol){
            .id = b->byte_id[i + 1 == size][(unsigned char)word[i]],
            .before = i ? i - 1 : NONE,
            .after = i + 1 < size ? i + 1 : NONE,
        };
    merge_all(b, s, size, work->heap);
    for (size_t i = 0; i != NONE; i = s[i].after)
        if (!tokens_add(ids, s[i].id)) return false;
    return true;
}

void bpe_work_free(struct bpe_work *work) {
    mem_free(work->symbols);
    mem_free(work->heap);
    *work = (struct bpe_work){0};
}
