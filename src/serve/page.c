/* page.c: the page's files, which are part of the program. */
#include "serve/routes.h"

#include <string.h>

#define SCRIPTS(X)                                                                                 \
    X(api)                                                                                         \
    X(board)                                                                                       \
    X(card)                                                                                        \
    X(casts)                                                                                       \
    X(chips)                                                                                       \
    X(dom) X(gallery) X(main) X(mask) X(models) X(panel) X(plan) X(player) X(queue) X(words)
#define X(name) extern const char web_js_##name[];
SCRIPTS(X)
#undef X
#define X(name) extern const size_t web_js_##name##_size;
SCRIPTS(X)
#undef X
extern const char web_html[], web_css[];
extern const size_t web_html_size, web_css_size;

static const struct file {
    const char *path, *type, *data;
    const size_t *size;
} files[] = {{"/", "text/html; charset=utf-8", web_html, &web_html_size},
             {"/kadr.css", "text/css; charset=utf-8", web_css, &web_css_size},
#define X(name)                                                                                    \
    {"/js/" #name ".js", "text/javascript; charset=utf-8", web_js_##name, &web_js_##name##_size},
             SCRIPTS(X)
#undef X
};

void page_file(struct call *c) {
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (strcmp(files[i].path, c->path) != 0) continue;
        c->code = 200;
        c->type = files[i].type;
        return buf_add(&c->reply, files[i].data, *files[i].size);
    }
    call_fail(c, 404, "there is nothing at this address");
}
