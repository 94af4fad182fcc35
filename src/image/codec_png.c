/* codec_png.c: PNG through libpng, whose memory comes from the ledger.
 *
 * libpng reports errors by longjmp. So everything that must survive one lives in a struct that the
 * caller owns, and the functions that call setjmp change no local variable after it. */
#include "base/utf8.h"
#include "image/codec.h"
#include <png.h>
#include <stdio.h>
#include <string.h>

/* A text chunk may take this much unpacked, and so many are kept. */
#define CHUNK_BYTES ((png_alloc_size_t)8 << 20)
#define CHUNKS 256

struct session {
    png_structp png;
    png_infop info, end;
    struct mem *mem;
    bool refused; /* the ledger refused something */
    char problem[128];
    const struct codec_input *in;
    size_t at; /* next byte of `in` */
    struct image *im;
    struct codec_texts *texts;
    kadr_status status;
    kadr_error *err;
    const struct image *from;
    struct buf *out;
    png_textp chunks;
    size_t chunk_count;
};

/* libpng believes a chunk's length before it has seen its bytes, limits or not; nothing else that
 * it takes is nearly as large as a chunk may be. */
static png_voidp take(png_structp png, png_alloc_size_t size) {
    struct session *s = png_get_mem_ptr(png);
    if (size > 2 * CHUNK_BYTES) return NULL;
    void *p = mem_alloc(s->mem, size);
    if (!p) s->refused = true;
    return p;
}

static void give(png_structp png, png_voidp p) {
    (void)png;
    mem_free(p);
}

static void failed(png_structp png, png_const_charp text) {
    struct session *s = png_get_error_ptr(png);
    snprintf(s->problem, sizeof s->problem, "%s", text);
    png_longjmp(png, 1);
}

static void ignored(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

static kadr_status session_status(const struct session *s, const char *name, kadr_error *err) {
    if (s->status) return s->status;
    if (s->refused) return err_set(err, KADR_EMEMORY, "%s: no memory for a PNG picture", name);
    return err_set(err, KADR_EIO, "%s: damaged PNG: %s", name, s->problem);
}

/* ---- Reading -------------------------------------------------------------------------------- */
static void read_bytes(png_structp png, png_bytep to, size_t size) {
    struct session *s = png_get_io_ptr(png);
    /* libpng passes over texts that it has no memory for; a thousand of them take long. */
    if (s->refused) png_error(png, "no memory");
    if (size > s->in->size - s->at) png_error(png, "it ends too early");
    memcpy(to, s->in->data + s->at, size);
    s->at += size;
}

/* False: s->status says why. */
static bool check_size(struct session *s) {
    s->status = codec_check_size(s->in, png_get_image_width(s->png, s->info),
                                 png_get_image_height(s->png, s->info), s->err);
    return !s->status;
}

static bool prepare(struct session *s) {
    int width = (int)png_get_image_width(s->png, s->info);
    int height = (int)png_get_image_height(s->png, s->info);
    png_set_expand(s->png);
    png_set_strip_16(s->png);
    png_set_gray_to_rgb(s->png);
    bool alpha = (png_get_color_type(s->png, s->info) & PNG_COLOR_MASK_ALPHA) ||
                 png_get_valid(s->png, s->info, PNG_INFO_tRNS);
    uint64_t pixels = (uint64_t)width * (uint64_t)height;
    s->status = codec_check_memory(s->in, s->mem, pixels * (alpha ? 4 : 3), 0, s->err);
    if (!s->status) s->status = image_make(s->im, s->mem, width, height, alpha ? 4 : 3, s->err);
    return !s->status;
}

static bool read_pixels(struct session *s) {
    static const png_byte unread[] = "tEXt\0zTXt\0iTXt\0iCCP\0eXIf"; /* nor unpacked */
    if (setjmp(png_jmpbuf(s->png))) return false;
    png_set_keep_unknown_chunks(s->png, PNG_HANDLE_CHUNK_NEVER, unread, 5);
    png_read_info(s->png, s->info);
    if (!check_size(s) || !prepare(s)) return false;
    size_t row = (size_t)s->im->width * (size_t)s->im->channels;
    int passes = png_set_interlace_handling(s->png);
    png_read_update_info(s->png, s->info);
    if (png_get_rowbytes(s->png, s->info) != row) png_error(s->png, "rows of unexpected size");
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < (size_t)s->im->height; y++)
            png_read_row(s->png, s->im->data + y * row, NULL);
    png_read_end(s->png, NULL);
    return true;
}

static void keep_texts(struct session *s, png_infop info) {
    png_textp t = NULL;
    int count = 0;
    png_get_text(s->png, info, &t, &count);
    for (int i = 0; i < count; i++) {
        bool wide = t[i].compression >= PNG_ITXT_COMPRESSION_NONE;
        const char *text = t[i].text ? t[i].text : "";
        bool kept = wide ? codec_add_text(s->texts, t[i].key, text, strlen(text))
                         : codec_add_latin1(s->texts, t[i].key, text, strlen(text));
        if (!kept) {
            s->refused = true;
            png_error(s->png, "no memory");
        }
    }
}

static bool read_texts(struct session *s) {
    if (setjmp(png_jmpbuf(s->png))) return false;
    png_read_info(s->png, s->info);
    if (!check_size(s)) return false; /* libpng makes room for a row */
    keep_texts(s, s->info);
    png_start_read_image(s->png); /* libpng steps over pixels only when it was about to read them */
    png_read_end(s->png, s->end);
    keep_texts(s, s->end);
    return true;
}

kadr_status codec_png_read(const struct codec_input *in, struct mem *m, struct image *im,
                           struct codec_texts *texts, kadr_error *err) {
    struct session s = {.mem = m, .in = in, .im = im, .texts = texts, .err = err};
    bool done = false;
    s.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &s, failed, ignored, &s, take, give);
    if (!s.png) return err_nomem(err, "a PNG reader", 0);
    s.info = png_create_info_struct(s.png);
    s.end = png_create_info_struct(s.png);
    if (s.info && s.end) {
        png_set_read_fn(s.png, &s, read_bytes);
        png_set_user_limits(s.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* ours come later */
        png_set_chunk_malloc_max(s.png, CHUNK_BYTES);
        png_set_chunk_cache_max(s.png, CHUNKS);
        done = texts ? read_texts(&s) : read_pixels(&s);
    }
    png_destroy_read_struct(&s.png, &s.info, &s.end);
    if (done) return KADR_OK;
    if (im) image_free(im);
    return session_status(&s, in->name, err);
}

/* ---- Writing -------------------------------------------------------------------------------- */
static void write_bytes(png_structp png, png_bytep bytes, size_t size) {
    struct session *s = png_get_io_ptr(png);
    buf_add(s->out, bytes, size);
    if (buf_ok(s->out)) return;
    s->refused = true;
    png_error(png, "no memory");
}

static void flush(png_structp png) {
    (void)png;
}

/* Latin-1 in place of UTF-8, where every letter has one; false (and `to` half written) where not.
 */
static bool to_latin1(const char *text, char *to) {
    const char *end = text + strlen(text);
    while (text < end) {
        uint32_t c = utf8_next(&text, end);
        if (c > 0xFF) return false;
        *to++ = (char)c;
    }
    *to = 0;
    return true;
}

/* tEXt where Latin-1 can say it, else iTXt: the choice that PIL makes. */
static kadr_status make_chunks(struct session *s, const struct image_text *texts, size_t count,
                               kadr_error *err) {
    s->chunks = mem_array(s->mem, count, sizeof *s->chunks);
    if (!s->chunks) return err_nomem(err, "a PNG's texts", count * sizeof *s->chunks);
    for (size_t i = 0; i < count; i++) {
        size_t key = strlen(texts[i].key), size = strlen(texts[i].value);
        if (key < 1 || key > 79)
            return err_set(err, KADR_EUSAGE, "a PNG text's key has 1 to 79 letters, not %zu", key);
        png_textp t = &s->chunks[i];
        t->key = mem_strdup(s->mem, texts[i].key);
        t->text = mem_alloc(s->mem, size + 1);
        s->chunk_count = i + 1;
        if (!t->key || !t->text) return err_nomem(err, "a PNG's texts", size);
        t->compression = PNG_TEXT_COMPRESSION_NONE;
        if (to_latin1(texts[i].value, t->text)) continue;
        memcpy(t->text, texts[i].value, size + 1);
        t->compression = PNG_ITXT_COMPRESSION_NONE;
    }
    return KADR_OK;
}

static bool write_picture(struct session *s) {
    if (setjmp(png_jmpbuf(s->png))) return false;
    const struct image *im = s->from;
    png_set_IHDR(s->png, s->info, (png_uint_32)im->width, (png_uint_32)im->height, 8,
                 im->channels == 4 ? PNG_COLOR_TYPE_RGB_ALPHA : PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    /* Said outright: the same bytes whatever the library's defaults become. */
    png_set_compression_level(s->png, 6);
    png_set_filter(s->png, PNG_FILTER_TYPE_BASE, PNG_ALL_FILTERS);
    if (s->chunk_count) png_set_text(s->png, s->info, s->chunks, (int)s->chunk_count);
    png_write_info(s->png, s->info);
    size_t row = (size_t)im->width * (size_t)im->channels;
    for (size_t y = 0; y < (size_t)im->height; y++) png_write_row(s->png, im->data + y * row);
    png_write_end(s->png, NULL);
    return true;
}

kadr_status codec_png_write(const struct image *im, struct mem *m, const struct image_text *texts,
                            size_t count, struct buf *out, kadr_error *err) {
    struct session s = {.mem = m, .from = im, .out = out, .err = err};
    kadr_status status = make_chunks(&s, texts, count, err);
    if (status) goto fail;
    status = KADR_EMEMORY;
    s.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &s, failed, ignored, &s, take, give);
    if (s.png) s.info = png_create_info_struct(s.png);
    if (!s.info) {
        err_nomem(err, "a PNG writer", 0);
        goto fail;
    }
    png_set_write_fn(s.png, &s, write_bytes, flush);
    status = write_picture(&s) ? KADR_OK : session_status(&s, "a picture to be written", err);
fail:
    png_destroy_write_struct(&s.png, &s.info);
    for (size_t i = 0; i < s.chunk_count; i++) {
        mem_free(s.chunks[i].key);
        mem_free(s.chunks[i].text);
    }
    mem_free(s.chunks);
    return status;
}
