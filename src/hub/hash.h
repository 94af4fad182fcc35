/* hash.h: the two sums by which hubs name contents: SHA-256, and for small files git's, the SHA-1
 * of "blob SIZE" and the bytes. Through GnuTLS. */
#ifndef KADR_HUB_HASH_H
#define KADR_HUB_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_TEXT 65 /* bytes of a sum as small hexadecimal digits, with the NUL */

/* Whether a text is a sum of either kind: 64 or 40 small hexadecimal digits. */
bool hash_is_sum(const char *text);

struct hash {
    void *state; /* NULL: closed */
    bool git;
};
/* For a content of `size` bytes whose sum is to be `sum`. False: no memory. */
bool hash_open(struct hash *h, const char *sum, uint64_t size);
void hash_add(struct hash *h, const void *bytes, size_t size);
/* Ends it; `text` is the sum. */
void hash_end(struct hash *h, char text[HASH_TEXT]);
void hash_close(struct hash *h); /* idempotent */

#endif
