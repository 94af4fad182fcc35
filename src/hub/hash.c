/* hash.c: see hash.h. */
#include "hub/hash.h"

#include <gnutls/crypto.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SHA1_TEXT 40
#define SHA256_TEXT 64

bool hash_is_sum(const char *text) {
    size_t n = strlen(text);
    return (n == SHA1_TEXT || n == SHA256_TEXT) && strspn(text, "0123456789abcdef") == n;
}

bool hash_open(struct hash *h, const char *sum, uint64_t size) {
    gnutls_hash_hd_t state;
    *h = (struct hash){.git = strlen(sum) == SHA1_TEXT};
    if (gnutls_hash_init(&state, h->git ? GNUTLS_DIG_SHA1 : GNUTLS_DIG_SHA256) < 0) return false;
    h->state = state;
    if (h->git) {
        char head[32];
        int n = snprintf(head, sizeof head, "blob %" PRIu64, size);
        hash_add(h, head, (size_t)n + 1); /* with its NUL */
    }
    return true;
}

void hash_add(struct hash *h, const void *bytes, size_t size) {
    gnutls_hash(h->state, bytes, size);
}

void hash_end(struct hash *h, char text[HASH_TEXT]) {
    uint8_t sum[SHA256_TEXT / 2];
    size_t n = h->git ? SHA1_TEXT / 2 : SHA256_TEXT / 2;
    gnutls_hash_deinit(h->state, sum);
    h->state = NULL;
    for (size_t i = 0; i < n; i++) snprintf(text + 2 * i, 3, "%02x", sum[i]);
}

void hash_close(struct hash *h) {
    if (h->state) gnutls_hash_deinit(h->state, NULL);
    h->state = NULL;
}
