/* arena.c: see arena.h. */
#include "base/arena.h"
#include "base/chk.h"

#include <stdio.h>
#include <string.h>

#define CHUNK ((size_t)16 * 1024)

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size; /* of the bytes that follow */
};

void arena_init(struct arena *a, struct mem *m) {
    a->mem = m;
    a->chunks = NULL;
}

void arena_free(struct arena *a) {
    while (a->chunks) {
        struct arena_chunk *next = a->chunks->next;
        mem_free(a->chunks);
        a->chunks = next;
    }
}

void *arena_alloc(struct arena *a, size_t size) {
    if (size > SIZE_MAX / 2) return NULL;
    size = chk_align(size ? size : 1, 16);
    struct arena_chunk *c = a->chunks;
    if (!c || c->size - c->used < size) {
        size_t head = chk_align(sizeof *c, 16);
        size_t room = size > CHUNK ? size : CHUNK;
        c = mem_alloc(a->mem, head + room);
        if (!c) return NULL;
        c->size = head + room;
        c->used = head;
        c->next = a->chunks;
        a->chunks = c;
    }
    void *p = (char *)c + c->used;
    c->used += size;
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size) {
    size_t bytes;
    return chk_mul(count, size, &bytes) ? arena_alloc(a, bytes) : NULL;
}

char *arena_strndup(struct arena *a, const char *text, size_t length) {
    char *p = length < SIZE_MAX ? arena_alloc(a, length + 1) : NULL;
    if (p) memcpy(p, text, length);
    return p;
}

char *arena_strdup(struct arena *a, const char *text) {
    return arena_strndup(a, text, strlen(text));
}

char *arena_printf(struct arena *a, const char *format, ...) {
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p) vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    return p;
}
