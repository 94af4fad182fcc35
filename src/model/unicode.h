/* unicode.h: what CLIP's tokenizer needs to know of Unicode: classes of characters, lower case and
 * normalization form C, each in the version that the reference tokenizer uses (they differ).
 */
#ifndef KADR_MODEL_UNICODE_H
#define KADR_MODEL_UNICODE_H

#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum unicode_flag {
    UNICODE_SPACE = 1,      /* \s */
    UNICODE_LETTER = 2,     /* \p{L} */
    UNICODE_NUMBER = 4,     /* \p{N} */
    UNICODE_WORD = 8,       /* \w, as added tokens with "single_word" see it */
    UNICODE_DECOMPOSES = 16 /* has a canonical decomposition (Hangul syllables apart) */
};

/* `c` below 0x110000. */
unsigned unicode_flags(uint32_t c);

/* Lower case of one character, without context; returns how many code points (1 or 2). */
size_t unicode_lower(uint32_t c, uint32_t to[2]);

/* A string of code points that grows. */
struct unicode_text {
    struct mem *mem;
    uint32_t *code;
    size_t count, room;
};

void unicode_text_init(struct unicode_text *t, struct mem *m);
void unicode_text_free(struct unicode_text *t);            /* idempotent */
bool unicode_text_add(struct unicode_text *t, uint32_t c); /* false: no memory */

/* Brings `t` into normalization form C; false: no memory, `t` still to be freed. */
bool unicode_nfc(struct unicode_text *t);

#endif
