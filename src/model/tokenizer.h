/* tokenizer.h: text -> CLIP token ids, the same ids as transformers' CLIPTokenizer gives.
 *
 *     struct tokenizer *t;
 *     struct tokens ids;
 *     st = tokenizer_open(mem, "model/tokenizer", NULL, &t, err);
 *     tokens_init(&ids, mem);
 *     st = tokenizer_encode(t, "a photo", 7, &ids, err);    // 320 1125: no start or end mark
 *     tokens_free(&ids);
 *     tokenizer_close(t);
 *
 * An open tokenizer does not change: several threads may encode with it at once.
 *
 * How text is read: added tokens that are not "normalized" are cut out of the text as it is; what
 * is left goes through Unicode NFC, white space -> one blank, lower case; then the normalized added
 * tokens are cut out; the rest is split into words, numbers (one digit each), contractions and runs
 * of anything else; each such piece is a string of bytes to which the merges are applied in order
 * of rank, its last byte carrying the mark "</w>".
 */
#ifndef KADR_MODEL_TOKENIZER_H
#define KADR_MODEL_TOKENIZER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;

/* A list of ids that grows. */
struct tokens {
    struct mem *mem;
    int32_t *id;
    size_t count, room;
};

void tokens_init(struct tokens *ids, struct mem *m);
void tokens_free(struct tokens *ids);            /* idempotent */
bool tokens_add(struct tokens *ids, int32_t id); /* false: no memory */

/* `like`, of all three that open: NULL, or a tokenizer that was opened before from the same ledger.
 * Where both would hold the same vocabulary, as SDXL's two do, it is read and held once; which of
 * the two is closed first does not matter, but not by two threads at once.
 *
 * Reads tokenizer.json, or vocab.json and merges.txt, and what says which tokens are special:
 * tokenizer_config.json, special_tokens_map.json, added_tokens.json (each may be missing).
 * `folder` NULL: as tokenizer_open_shipped with the first. */
kadr_status tokenizer_open(struct mem *m, const char *folder, const struct tokenizer *like,
                           struct tokenizer **out, kadr_error *err);

/* The same from files that lie anywhere: `read` gives one by its name, NUL-terminated and to be
 * freed with mem_free; *text NULL: there is none. `where` stands in messages. */
#define TOKENIZER_FILE_MOST ((size_t)64 << 20) /* bytes of one */
struct tokenizer_files {
    const char *where;
    kadr_status (*read)(void *user, struct mem *m, const char *name, char **text, size_t *size,
                        kadr_error *err);
    void *user;
};
kadr_status tokenizer_open_files(struct mem *m, const struct tokenizer_files *files,
                                 const struct tokenizer *like, struct tokenizer **out,
                                 kadr_error *err);

/* The two tokenizers of SDXL, with the vocabulary that is built in: the same but that the second
 * pads with "!" (id 0) instead of the end mark and reads every "!" as that token. */
enum tokenizer_shipped { TOKENIZER_SDXL_1, TOKENIZER_SDXL_2 };
kadr_status tokenizer_open_shipped(struct mem *m, enum tokenizer_shipped which,
                                   const struct tokenizer *like, struct tokenizer **out,
                                   kadr_error *err);

void tokenizer_close(struct tokenizer *t); /* idempotent on NULL */

/* Appends the ids of `size` bytes of UTF-8, without start and end marks. Every byte that is not
 * part of valid UTF-8 counts as U+FFFD. Fails only for want of memory. */
kadr_status tokenizer_encode(const struct tokenizer *t, const char *text, size_t size,
                             struct tokens *ids, kadr_error *err);

int32_t tokenizer_bos(const struct tokenizer *t); /* start mark */
int32_t tokenizer_eos(const struct tokenizer *t); /* end mark */
int32_t tokenizer_pad(
    const struct tokenizer *t); /* what fills up to 77; the end mark when no file states one */
int32_t tokenizer_size(const struct tokenizer *t); /* all ids are below this */

/* How the vocabulary writes a token ("photo</w>"; bytes that are not printable ASCII are written as
 * other letters); NULL: there is none. Valid while `t` is open. */
const char *tokenizer_text(const struct tokenizer *t, int32_t id);

/* The id of a token written in that way, or -1. */
int32_t tokenizer_find(const struct tokenizer *t, const char *text);

/* Appends the text that ids stand for: lower case, one blank between words. Ids of no token are
 * left out. */
void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t count, struct buf *out);

#endif
