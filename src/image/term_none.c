/* term_none.c: in place of term.c where libchafa is not installed: no pictures in the terminal. */
#include "image/term.h"

void term_render(const struct image *im, const char *const *environment, int columns, int rows,
                 struct buf *out) {
    (void)im;
    (void)environment;
    (void)columns;
    (void)rows;
    (void)out;
}

kadr_status term_show(const struct image *im, struct mem *m, int fd, kadr_error *err) {
    (void)im;
    (void)m;
    (void)fd;
    (void)err;
    return KADR_OK;
}
