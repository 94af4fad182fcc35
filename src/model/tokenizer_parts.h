/* tokenizer_parts.h: what a tokenizer consists of, for the files tokenizer*.c alone. */
#ifndef KADR_MODEL_TOKENIZER_PARTS_H
#define KADR_MODEL_TOKENIZER_PARTS_H

#include "base/buf.h"
#include "model/tokenizer_bpe.h"

/* A text that is one token wherever it stands. */
struct added_token {
    const char *text;    /* as the files write it */
    const char *pattern; /* what is searched for: `text`, normalized where that is asked for */
    size_t pattern_size;
    int32_t id;
    bool normalized;     /* searched for in normalized text */
    bool single_word;    /* counts only where no word character touches it */
    bool lstrip, rstrip; /* takes white space on that side with it */
};

struct tokenizer {
    struct mem *mem;
    struct arena arena;
    struct bpe *bpe; /* complete; may be another tokenizer's, too */
    struct added_token *added;
    size_t added_count;
    bool begins[2][256]; /* [normalized]: bytes with which a pattern begins */
    int32_t bos, eos, pad, size;
};

/* NFC, runs of white space -> one blank, lower case. `text` is valid UTF-8. False: no memory. */
bool tokenizer_normalize(struct mem *m, const char *text, size_t size, struct buf *out);

/* Adds tokens on top of the complete vocabulary: text and the flags of each entry of `list` count.
 * A text that is there already keeps its id; others get the next free one. To be called once. */
kadr_status tokenizer_add(struct tokenizer *t, const struct added_token *list, size_t count,
                          const char *name, kadr_error *err);

/* Fills an empty tokenizer, whose vocabulary is that of `like` (which may be NULL) where both are
 * read from the same. */
kadr_status tokenizer_read_files(struct tokenizer *t, const struct tokenizer_files *files,
                                 const struct tokenizer *like, kadr_error *err);
kadr_status tokenizer_read_shipped(struct tokenizer *t, enum tokenizer_shipped which,
                                   const struct tokenizer *like, kadr_error *err);

#endif
