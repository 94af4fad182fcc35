/* term.c: see term.h. */
#include "image/term.h"
#include <chafa.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

extern char **environ;

static const char *variable(const char *const *environment, const char *name) {
    size_t length = strlen(name);
    for (; *environment; environment++)
        if (!strncmp(*environment, name, length) && (*environment)[length] == '=')
            return *environment + length + 1;
    return "";
}

/* The best that the terminal can show. */
static ChafaPixelMode pixel_mode(const ChafaTermInfo *info) {
    if (chafa_term_info_have_seq(info, CHAFA_TERM_SEQ_BEGIN_KITTY_IMMEDIATE_IMAGE_V1))
        return CHAFA_PIXEL_MODE_KITTY;
    if (chafa_term_info_have_seq(info, CHAFA_TERM_SEQ_BEGIN_ITERM2_IMAGE))
        return CHAFA_PIXEL_MODE_ITERM2;
    if (chafa_term_info_have_seq(info, CHAFA_TERM_SEQ_BEGIN_SIXELS)) return CHAFA_PIXEL_MODE_SIXELS;
    return CHAFA_PIXEL_MODE_SYMBOLS;
}

static ChafaCanvasMode colours(const ChafaTermInfo *info) {
    if (chafa_term_info_have_seq(info, CHAFA_TERM_SEQ_SET_COLOR_FGBG_DIRECT))
        return CHAFA_CANVAS_MODE_TRUECOLOR;
    if (chafa_term_info_have_seq(info, CHAFA_TERM_SEQ_SET_COLOR_FGBG_256))
        return CHAFA_CANVAS_MODE_INDEXED_240;
    if (chafa_term_info_have_seq(info, CHAFA_TERM_SEQ_SET_COLOR_FGBG_16))
        return CHAFA_CANVAS_MODE_INDEXED_16;
    return CHAFA_CANVAS_MODE_FGBG;
}

static ChafaCanvasConfig *configure(const struct image *im, const ChafaTermInfo *info, bool plain,
                                    int columns, int rows) {
    ChafaCanvasConfig *config = chafa_canvas_config_new();
    chafa_canvas_config_set_pixel_mode(config, plain ? CHAFA_PIXEL_MODE_SYMBOLS : pixel_mode(info));
    chafa_canvas_config_set_canvas_mode(config, plain ? CHAFA_CANVAS_MODE_FGBG : colours(info));
    ChafaSymbolMap *symbols = chafa_symbol_map_new();
    chafa_symbol_map_add_by_tags(symbols, plain ? CHAFA_SYMBOL_TAG_ASCII
                                                : CHAFA_SYMBOL_TAG_BLOCK | CHAFA_SYMBOL_TAG_SPACE);
    chafa_canvas_config_set_symbol_map(config, symbols);
    chafa_symbol_map_unref(symbols);
    gint width = columns, height = rows;
    chafa_calc_canvas_geometry(im->width, im->height, &width, &height, 0.5f, FALSE, FALSE);
    chafa_canvas_config_set_geometry(config, width, height);
    return config;
}

void term_render(const struct image *im, const char *const *environment, int columns, int rows,
                 struct buf *out) {
    bool plain = *variable(environment, "NO_COLOR") != 0;
    ChafaTermDb *terminals = chafa_term_db_new();
    ChafaTermInfo *info = chafa_term_db_detect(terminals, (gchar **)environment);
    ChafaCanvasConfig *config = configure(im, info, plain, columns, rows);
    ChafaCanvas *canvas = chafa_canvas_new(config);
    chafa_canvas_draw_all_pixels(
        canvas, im->channels == 4 ? CHAFA_PIXEL_RGBA8_UNASSOCIATED : CHAFA_PIXEL_RGB8, im->data,
        im->width, im->height, im->width * im->channels);
    GString *text = chafa_canvas_print(canvas, info);
    buf_add(out, text->str, text->len);
    buf_putc(out, '\n');
    g_string_free(text, TRUE);
    chafa_canvas_unref(canvas);
    chafa_canvas_config_unref(config);
    chafa_term_info_unref(info);
    chafa_term_db_unref(terminals);
}

kadr_status term_show(const struct image *im, struct mem *m, int fd, kadr_error *err) {
    if (!isatty(fd) || !strcmp(variable((const char *const *)environ, "TERM"), "dumb"))
        return KADR_OK;
    struct winsize size = {0};
    if (ioctl(fd, TIOCGWINSZ, &size) || size.ws_col < 2 || size.ws_row < 3)
        size = (struct winsize){.ws_col = 80, .ws_row = 24};
    struct buf text;
    buf_init(&text, m);
    /* Half of the height: what was printed before stays in sight. */
    term_render(im, (const char *const *)environ, size.ws_col, size.ws_row / 2 + 1, &text);
    kadr_status status = buf_ok(&text) ? KADR_OK : err_nomem(err, "the terminal's picture", 0);
    for (size_t at = 0; !status && at < text.size;) {
        ssize_t written = write(fd, text.data + at, text.size - at);
        if (written <= 0) status = err_errno(err, "write", "the terminal");
        at += written > 0 ? (size_t)written : 0;
    }
    buf_free(&text);
    return status;
}
