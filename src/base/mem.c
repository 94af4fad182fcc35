/* mem.c: the ledger; see mem.h. Each block has a header in front that names its ledger and size, so
 * freeing needs neither. The counters are atomic: several threads may allocate.
 */
#include "base/mem.h"
#include "base/chk.h"
#include "base/sys.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct mem {
    atomic_size_t now, peak;
    size_t limit;
    _Atomic uint64_t calls, fail_at; /* fail_at: the call that is refused; 0: none */
};

struct header {
    struct mem *mem;
    size_t size;
};
_Static_assert(sizeof(struct header) == 16, "blocks stay aligned to 16 bytes");

struct mem *mem_open(size_t limit) {
    struct mem *m = calloc(1, sizeof *m);
    if (m) m->limit = limit;
    return m;
}

size_t mem_close(struct mem *m) {
    size_t left = atomic_load(&m->now);
    free(m);
    return left;
}

/* Books `size` more bytes, or refuses. */
static bool book(struct mem *m, size_t size) {
    uint64_t call = atomic_fetch_add(&m->calls, 1) + 1;
    if (call == atomic_load(&m->fail_at)) return false;
    size_t now = atomic_load(&m->now);
    size_t then;
    do {
        if (!chk_add(now, size, &then) || (m->limit && then > m->limit)) return false;
    } while (!atomic_compare_exchange_weak(&m->now, &now, then));
    size_t peak = atomic_load(&m->peak);
    while (then > peak && !atomic_compare_exchange_weak(&m->peak, &peak, then)) {
    }
    return true;
}

static void unbook(struct mem *m, size_t size) {
    atomic_fetch_sub(&m->now, size);
}

void *mem_alloc(struct mem *m, size_t size) {
    size_t whole;
    if (!chk_add(size ? size : 1, sizeof(struct header), &whole) || !book(m, whole)) return NULL;
    struct header *h = calloc(1, whole);
    if (!h) {
        unbook(m, whole);
        return NULL;
    }
    *h = (struct header){m, whole};
    return h + 1;
}

void *mem_array(struct mem *m, size_t count, size_t size) {
    size_t bytes;
    return chk_mul(count, size, &bytes) ? mem_alloc(m, bytes) : NULL;
}

void *mem_resize(struct mem *m, void *p, size_t size) {
    if (!p) return mem_alloc(m, size);
    struct header *h = (struct header *)p - 1;
    size_t whole, old = h->size;
    if (!chk_add(size ? size : 1, sizeof *h, &whole)) return NULL;
    if (!book(m, whole > old ? whole - old : 0)) return NULL;
    struct header *moved = realloc(h, whole);
    if (!moved) {
        unbook(m, whole > old ? whole - old : 0);
        return NULL;
    }
    if (whole < old) unbook(m, old - whole);
    moved->size = whole;
    return moved + 1;
}

void mem_free(void *p) {
    if (!p) return;
    struct header *h = (struct header *)p - 1;
    unbook(h->mem, h->size);
    free(h);
}

char *mem_strdup(struct mem *m, const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = mem_alloc(m, n);
    if (copy) memcpy(copy, text, n);
    return copy;
}

void *mem_map(struct mem *m, size_t size) {
    if (size > SIZE_MAX - sys_page()) return NULL;
    size = chk_align(size ? size : 1, sys_page());
    if (!book(m, size)) return NULL;
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (p != MAP_FAILED) return p;
    unbook(m, size);
    return NULL;
}

void mem_unmap(struct mem *m, void *p, size_t size) {
    if (!p) return;
    size = chk_align(size ? size : 1, sys_page());
    munmap(p, size);
    unbook(m, size);
}

void mem_release(void *p, size_t size) {
    uintptr_t page = sys_page(), from = ((uintptr_t)p + page - 1) & ~(page - 1);
    uintptr_t to = ((uintptr_t)p + size) & ~(page - 1);
    if (to > from) sys_release((void *)from, to - from);
}

void mem_get_stats(struct mem *m, struct mem_stats *out) {
    *out = (struct mem_stats){atomic_load(&m->now), atomic_load(&m->peak), m->limit,
                              atomic_load(&m->calls)};
}

void mem_fail_at(struct mem *m, uint64_t nth) {
    atomic_store(&m->fail_at, nth ? atomic_load(&m->calls) + nth : 0);
}
