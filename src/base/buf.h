/* buf.h: a growing byte string. Failure to grow is sticky: append freely, ask buf_ok once.
 *
 *     struct buf b; buf_init(&b, mem);
 *     buf_printf(&b, "Steps: %d", steps);
 *     if (!buf_ok(&b)) ...
 *     buf_free(&b);
 */
#ifndef KADR_BASE_BUF_H
#define KADR_BASE_BUF_H

#include "base/mem.h"

struct buf {
    struct mem *mem;
    char *data; /* always followed by a NUL that is not counted; "" before the first append */
    size_t size, room;
    bool failed;
};

void buf_init(struct buf *b, struct mem *m);
void buf_free(struct buf *b); /* idempotent */
void buf_clear(struct buf *b);
bool buf_ok(const struct buf *b);
void buf_add(struct buf *b, const void *bytes, size_t size);
void buf_puts(struct buf *b, const char *text);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_base64(struct buf *b, const void *bytes, size_t size); /* RFC 4648, padded */
/* The reverse: into `to`, which has room for 3/4 of `size`; blanks and line ends are skipped. The
 * number of bytes, or SIZE_MAX when it is no base64. */
size_t buf_unbase64(const char *text, size_t size, void *to);
/* Hands the bytes (NUL-terminated, to be freed with mem_free) to the caller; NULL when failed. */
char *buf_take(struct buf *b);

#endif
