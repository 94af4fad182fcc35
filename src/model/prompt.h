/* prompt.h: a prompt as people write it -> chunks of 77 ids with weights for both text encoders.
 *
 * Weights, in the syntax and with the results of AUTOMATIC1111's web UI:
 *     (word)          times 1.1              ((word))   times 1.21, and so on
 *     [word]          divided by 1.1
 *     (word:1.3)      times 1.3; brackets nest and multiply
 *     \( \) \[ \] \\  the character itself
 *     BREAK           a new chunk begins here
 * A bracket that is never closed counts to the end; one that was never opened is itself. A number
 * that is none, as in (word:1.2.3), makes the colon and what follows plain text. BREAK counts
 * inside brackets too (there the web UI reads it as a word). The web UI's prompt editing
 * ([from:to:when], [a|b]), AND and <lora:...> are not read: they are text.
 *
 * A chunk holds a start mark, 75 tokens, an end mark. Each run of text with one weight is tokenized
 * by itself. Where the 76th token would begin a new chunk and a comma stands among the last 20,
 * what follows the comma moves on with it, so that phrases stay whole. What is left of a chunk is
 * filled with the end mark and then the tokenizer's pad token. Both encoders get the same number of
 * chunks: the shorter one empty ones.
 *
 * Plain: no syntax, one chunk, the rest is cut, as diffusers does without help.
 *
 * How weights are applied (by who runs the encoders; the web UI's "Original"): for each encoder and
 * chunk, every token's hidden state is multiplied by its weight, then the whole chunk by
 * (mean before) / (mean after). A chunk whose weights are all 1 stays as it is, bit for bit. The
 * pooled vector is the first chunk's and takes no weights.
 */
#ifndef KADR_MODEL_PROMPT_H
#define KADR_MODEL_PROMPT_H

#include "base/arena.h"
#include "model/tokenizer.h"

#define PROMPT_TOKENS 77
#define PROMPT_ROOM 75            /* tokens of text in a chunk */
#define PROMPT_COMMA_BACKTRACK 20 /* how far back a comma may be at which a chunk ends early */
#define PROMPT_MOST_BYTES 65536
#define PROMPT_ENCODERS 2

/* A textual inversion: wherever the tokens of `name` stand, its vectors stand instead, under ids of
 * their own that the caller has put behind the encoder's table. The longest name wins. */
struct prompt_embedding {
    const char *name;
    int32_t vectors;                /* 1..75 */
    int32_t first[PROMPT_ENCODERS]; /* id of the first vector */
};

struct prompt_chunk {
    int32_t id[PROMPT_TOKENS];
    float weight[PROMPT_TOKENS]; /* 1 at marks and padding */
    int32_t used;                /* tokens of text: those at 1..used */
};

struct prompt {
    size_t chunks; /* at least 1, for each encoder */
    struct prompt_chunk *chunk[PROMPT_ENCODERS];
    size_t tokens[PROMPT_ENCODERS]; /* tokens of text in all, those that are cut included */
    const char
        *cut[PROMPT_ENCODERS]; /* what one chunk of 75 tokens has no room for; NULL: nothing */
    bool weighted;             /* some weight is not 1 */
};

/* Everything in `out` lives in `a`. Text that is too long, a weight beyond 1e6 or an embedding with
 * too many vectors is KADR_EUSAGE. */
kadr_status prompt_read(struct arena *a, struct tokenizer *const tokenizer[PROMPT_ENCODERS],
                        const char *text, bool plain, const struct prompt_embedding *embedding,
                        size_t embeddings, struct prompt *out, kadr_error *err);

/* A run of text with one weight, as the syntax is read. For tests and tools. */
struct prompt_piece {
    const char *text;
    size_t size;
    double weight;
    bool is_break; /* no text: a chunk ends */
};
kadr_status prompt_parse(struct arena *a, const char *text, struct prompt_piece **pieces,
                         size_t *count, kadr_error *err);

/* The name of the script of the first letter that CLIP, which learnt on English, cannot read well
 * ("Cyrillic", "Arabic", ...); NULL: all is Latin. */
const char *prompt_unreadable(const char *text);

#endif
