/* mem.h: the ledger. The only place that calls malloc and mmap; everything else in kadr takes its
 * memory from a `struct mem`, so that one place knows what is in use, refuses what goes over the
 * limit, and can be made to fail on purpose.
 *
 * A ledger belongs to one context; its functions may be called from several threads.
 * Blocks remember their ledger: mem_free needs no ledger argument.
 */
#ifndef KADR_BASE_MEM_H
#define KADR_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mem;

struct mem_stats {
    size_t now;     /* bytes held at this moment, blocks and maps */
    size_t peak;    /* the most that `now` ever was */
    size_t limit;   /* 0: none */
    uint64_t calls; /* allocations asked for so far, including refused ones */
};

/* Makes a ledger; NULL when the system has no memory. `limit` in bytes, 0 for none. */
struct mem *mem_open(size_t limit);

/* Ends a ledger. Blocks that are still held are a bug: the number of bytes is returned. */
size_t mem_close(struct mem *m);

/* Zeroed block of at least 1 byte, aligned to 16 bytes; NULL when refused. */
void *mem_alloc(struct mem *m, size_t size);

/* As mem_alloc for count * size, NULL too when the product overflows. */
void *mem_array(struct mem *m, size_t count, size_t size);

/* Grows or shrinks; NULL (and `p` unharmed) when refused. `p` may be NULL. New bytes are not
 * zeroed. */
void *mem_resize(struct mem *m, void *p, size_t size);

/* `p` may be NULL. */
void mem_free(void *p);

/* Copy of a string; NULL when refused. */
char *mem_strdup(struct mem *m, const char *text);

/* Page-aligned zeroed memory straight from the system, for arenas; booked at full size. NULL when
 * refused. mem_unmap must be given the same size. */
void *mem_map(struct mem *m, size_t size);
void mem_unmap(struct mem *m, void *p, size_t size);

/* Gives the pages wholly inside [p, p + size) of a map back to the system; they read as zero
 * afterwards. Stays booked. */
void mem_release(void *p, size_t size);

void mem_get_stats(struct mem *m, struct mem_stats *out);

/* Tests: the nth request from now (1 = the next) is refused, once; 0 turns that off. */
void mem_fail_at(struct mem *m, uint64_t nth);

#endif
