/* chk.h: checked arithmetic for sizes that come from outside. Each returns false on overflow and
 * leaves *out alone. */
#ifndef KADR_BASE_CHK_H
#define KADR_BASE_CHK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool chk_add(size_t a, size_t b, size_t *out) {
    size_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

static inline bool chk_mul(size_t a, size_t b, size_t *out) {
    size_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

/* Product of `n` non-negative dimensions; false when one is negative or it overflows. */
static inline bool chk_product(const int64_t *dim, int n, size_t *out) {
    size_t r = 1;
    for (int i = 0; i < n; i++)
        if (dim[i] < 0 || !chk_mul(r, (size_t)dim[i], &r)) return false;
    *out = r;
    return true;
}

/* Rounds up to a multiple of a power of two; the caller knows that it cannot overflow. */
static inline size_t chk_align(size_t n, size_t to) {
    return (n + to - 1) & ~(to - 1);
}

#endif
