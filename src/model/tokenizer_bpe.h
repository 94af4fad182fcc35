/* tokenizer_bpe.h: the vocabulary and byte-pair merges inside a tokenizer. Tokens are texts in
 * which every byte of UTF-8 is written as one printable character (tokenizer_bpe.c says which).
 */
#ifndef KADR_MODEL_TOKENIZER_BPE_H
#define KADR_MODEL_TOKENIZER_BPE_H

#include "base/arena.h"
#include "model/tokenizer.h"

#define BPE_SUFFIX "</w>"       /* written behind the last byte of a word */
#define BPE_MOST_IDS (1u << 20) /* ids and numbers of tokens and merges are below this */

struct bpe_token {
    const char *text; /* NULL: no such id */
    size_t size;
};

struct bpe_merge {
    int32_t left, right; /* left -1: free place in the table */
    int32_t result;
    uint32_t rank; /* low is done first */
};

struct bpe {
    struct mem *mem;
    size_t users;       /* tokenizers that hold it */
    uint64_t source[2]; /* hash of what it was read from; zeros: never the same as another */
    struct arena texts;
    struct bpe_token *token; /* [room], by id */
    size_t room, size;       /* size: highest id + 1 */
    size_t count;            /* tokens */
    int32_t *slot;           /* hash table of ids by text, -1: free */
    size_t slots;            /* a power of two */
    struct bpe_merge *merge; /* hash table by (left, right) */
    size_t merges, merge_slots;
    int32_t byte_id[2][256]; /* [is the last of its word] */
};

struct bpe *bpe_open(struct mem *m); /* for one user; NULL: no memory */
void bpe_drop(struct bpe *b);        /* by one user: the last one frees it; NULL is nothing */

/* -1: not in the vocabulary. */
int32_t bpe_find(const struct bpe *b, const char *text, size_t size);

/* Adds a token. An id or text that is there already, or an id that is too large, is KADR_EMODEL;
 * `name` is the file for the message. */
kadr_status bpe_add_token(struct bpe *b, const char *text, size_t size, int64_t id,
                          const char *name, kadr_error *err);

/* Adds the next merge in order; both parts and the whole must be tokens. A pair that is there
 * already gets the later rank. `place` (a line or index) is for messages. */
kadr_status bpe_add_merge(struct bpe *b, const char *left, size_t left_size, const char *right,
                          size_t right_size, const char *name, size_t place, kadr_error *err);

/* Adds the 512 tokens of single bytes with ids 0..511, in CLIP's order. */
kadr_status bpe_add_bytes(struct bpe *b, kadr_error *err);

/* The byte that a character of a token stands for, -1: none. */
int bpe_byte(uint32_t letter);

/* To be called when the vocabulary is complete: finds the tokens of single bytes. A byte that has
 * none becomes `unknown`; with unknown -1 that is an error. */
kadr_status bpe_finish(struct bpe *b, int32_t unknown, const char *name, kadr_error *err);

/* Appends the ids of one word (its bytes). false: no memory. `work` is scratch memory that may be
 * used for many words; start with zeros, end with bpe_work_free. */
struct bpe_work {
    void *symbols, *heap;
    size_t symbol_room, heap_room;
};
bool bpe_encode(const struct bpe *b, const char *word, size_t size, struct tokens *ids,
                struct bpe_work *work);
void bpe_work_free(struct bpe_work *work);

#endif
