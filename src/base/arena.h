/* arena.h: many small things with one lifetime. Takes chunks from a ledger, frees them all at once.
 * Not thread-safe. */
#ifndef KADR_BASE_ARENA_H
#define KADR_BASE_ARENA_H

#include "base/mem.h"
#include <stdarg.h>

struct arena_chunk;

struct arena {
    struct mem *mem;
    struct arena_chunk *chunks;
};

void arena_init(struct arena *a, struct mem *m);
void arena_free(struct arena *a); /* idempotent */

/* Zeroed, aligned to 16 bytes; NULL when refused. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_array(struct arena *a, size_t count, size_t size);
char *arena_strdup(struct arena *a, const char *text);
char *arena_strndup(struct arena *a, const char *text, size_t length);
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
