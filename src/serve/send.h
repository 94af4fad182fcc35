/* send.h: pictures of the gallery on their way to clients. */
#ifndef KADR_SERVE_SEND_H
#define KADR_SERVE_SEND_H

#include "serve/inside.h"

/* The file of picture `id`, to be freed with mem_free; KADR_EIO when it was deleted. */
kadr_status send_read(struct serve *s, int64_t id, char **data, size_t *size, kadr_error *err);
/* A picture of ours written anew as another kind, with what its file says of its settings; `change`
 * (may be NULL) is handed the pixels first. */
kadr_status send_convert(struct mem *m, struct image_style style, const char *data, size_t size,
                         kadr_status (*change)(void *user, struct image *im, kadr_error *err),
                         void *user, struct buf *to, kadr_error *err);

#endif
