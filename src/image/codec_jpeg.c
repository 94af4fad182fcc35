/* codec_jpeg.c: JPEG through libjpeg(-turbo).
 *
 * libjpeg reports errors by longjmp; see codec_png.c for how that is lived with. Its memory manager
 * cannot be replaced, so what it will take is weighed against the ledger before it starts. */
#include "image/codec.h"
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
/* after jpeglib.h, which it needs */
#include <jerror.h>

#define SCANS 200 /* of a progressive picture: real ones have about ten */
#define MARKER_BYTES 65533

struct reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf out;
    char problem[JMSG_LENGTH_MAX];
    int way;  /* EXIF's orientation */
    bool cut; /* the file ends before the picture does */
    const struct codec_input *in;
    struct mem *mem;
    struct image *im;
    struct codec_texts *texts;
    uint8_t *line; /* CMYK */
    kadr_status status;
    kadr_error *err;
};

static void reading_failed(j_common_ptr jpeg) {
    struct reader *r = jpeg->client_data;
    jpeg->err->format_message(jpeg, r->problem);
    longjmp(r->out, 1);
}

static void reading_warned(j_common_ptr jpeg, int level) {
    struct reader *r = jpeg->client_data;
    if (level < 0 && jpeg->err->msg_code == JWRN_JPEG_EOF) r->cut = true;
}

/* A picture of a thousand scans costs hours for a few bytes. */
static void watch_scans(j_common_ptr jpeg) {
    struct reader *r = jpeg->client_data;
    if (r->jpeg.input_scan_number <= SCANS) return;
    snprintf(r->problem, sizeof r->problem, "more than %d scans", SCANS);
    longjmp(r->out, 1);
}

/* What is wanted of the first EXIF block: its texts, or the orientation. */
static void read_exif(struct reader *r) {
    for (jpeg_saved_marker_ptr m = r->jpeg.marker_list; m; m = m->next) {
        if (m->marker != JPEG_APP0 + 1 || m->data_length < 6 || memcmp(m->data, "Exif\0\0", 6) != 0)
            continue;
        r->way = codec_exif_orientation(m->data, m->data_length);
        if (r->texts && !codec_exif_texts(m->data, m->data_length, r->texts))
            r->status = err_nomem(r->err, "a picture's texts", m->data_length);
        return;
    }
}

/* What libjpeg will hold: a progressive picture's coefficients all at once. */
static uint64_t library_bytes(const struct jpeg_decompress_struct *jpeg) {
    uint64_t pixels = (uint64_t)jpeg->image_width * jpeg->image_height;
    uint64_t lines = (uint64_t)jpeg->image_width * 64 * (uint64_t)jpeg->num_components;
    return lines + (jpeg->progressive_mode ? pixels * 2 * (uint64_t)jpeg->num_components : 0);
}

static bool prepare(struct reader *r) {
    r->status = codec_check_size(r->in, r->jpeg.image_width, r->jpeg.image_height, r->err);
    uint64_t pixels = (uint64_t)r->jpeg.image_width * r->jpeg.image_height;
    /* A picture that is turned is there twice for a moment. */
    uint64_t picture = pixels * (r->way == 1 ? 3 : 6);
    if (!r->status)
        r->status = codec_check_memory(r->in, r->mem, picture, library_bytes(&r->jpeg), r->err);
    if (!r->status)
        r->status = image_make(r->im, r->mem, (int)r->jpeg.image_width, (int)r->jpeg.image_height,
                               3, r->err);
    if (r->status) return false;
    r->jpeg.out_color_space = JCS_RGB;
    if (r->jpeg.num_components != 4) return true;
    r->jpeg.out_color_space = JCS_CMYK;
    r->line = mem_alloc(r->mem, (size_t)r->jpeg.image_width * 4);
    if (!r->line) r->status = err_nomem(r->err, "a line of a picture", r->jpeg.image_width * 4);
    return !r->status;
}

/* Inverted CMYK, as Photoshop writes it and everybody expects it. */
static void cmyk_to_rgb(const uint8_t *from, size_t pixels, uint8_t *to) {
    for (size_t i = 0; i < pixels; i++, from += 4, to += 3)
        for (int c = 0; c < 3; c++) {
            unsigned t = (255u - from[c]) * from[3] + 128;
            int v = (int)from[3] - (int)(((t >> 8) + t) >> 8);
            to[c] = (uint8_t)(v < 0 ? 0 : v);
        }
}

static bool run_reader(struct reader *r) {
    if (setjmp(r->out)) return false;
    jpeg_create_decompress(&r->jpeg);
    r->progress.progress_monitor = watch_scans;
    r->jpeg.progress = &r->progress;
    jpeg_mem_src(&r->jpeg, r->in->data, (unsigned long)r->in->size);
    jpeg_save_markers(&r->jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&r->jpeg, TRUE);
    read_exif(r);
    if (r->texts) return !r->status;
    if (!prepare(r)) return false;
    jpeg_start_decompress(&r->jpeg);
    size_t width = (size_t)r->im->width;
    while (r->jpeg.output_scanline < r->jpeg.output_height && !r->cut) {
        uint8_t *row = r->im->data + r->jpeg.output_scanline * width * 3;
        JSAMPROW to = r->line ? r->line : row;
        jpeg_read_scanlines(&r->jpeg, &to, 1);
        if (r->line) cmyk_to_rgb(r->line, width, row);
    }
    if (!r->cut) jpeg_finish_decompress(&r->jpeg);
    if (r->cut) snprintf(r->problem, sizeof r->problem, "it ends too early");
    return !r->cut;
}

/* Turns the picture as the camera was held (EXIF's orientation, 1..8). */
static kadr_status turn(struct image *im, struct mem *m, int way, kadr_error *err) {
    /* Rows and columns swapped, then columns mirrored, then rows. */
    static const struct {
        bool transpose, columns, rows;
    } ways[9] = {[2] = {0, 1, 0}, [3] = {0, 1, 1}, [4] = {0, 0, 1}, [5] = {1, 0, 0},
                 [6] = {1, 1, 0}, [7] = {1, 1, 1}, [8] = {1, 0, 1}};
    if (way == 1) return KADR_OK;
    bool swap = ways[way].transpose;
    struct image to;
    kadr_status status =
        image_make(&to, m, swap ? im->height : im->width, swap ? im->width : im->height, 3, err);
    if (status) return status;
    for (int y = 0; y < to.height; y++)
        for (int x = 0; x < to.width; x++) {
            int i = ways[way].columns ? to.width - 1 - x : x;
            int j = ways[way].rows ? to.height - 1 - y : y;
            size_t from = swap ? (size_t)i * (size_t)im->width + (size_t)j
                               : (size_t)j * (size_t)im->width + (size_t)i;
            memcpy(to.data + ((size_t)y * (size_t)to.width + (size_t)x) * 3, im->data + from * 3,
                   3);
        }
    image_free(im);
    *im = to;
    return KADR_OK;
}

kadr_status codec_jpeg_read(const struct codec_input *in, struct mem *m, struct image *im,
                            struct codec_texts *texts, kadr_error *err) {
    struct reader *r = mem_alloc(m, sizeof *r);
    if (!r) return err_nomem(err, "a JPEG reader", sizeof *r);
    r->in = in;
    r->mem = m;
    r->im = im;
    r->texts = texts;
    r->err = err;
    r->way = 1;
    r->jpeg.err = jpeg_std_error(&r->errors);
    r->jpeg.client_data = r;
    r->errors.error_exit = reading_failed;
    r->errors.emit_message = reading_warned;
    kadr_status status = KADR_OK;
    if (!run_reader(r))
        status = r->status ? r->status
                           : err_set(err, KADR_EIO, "%s: damaged JPEG: %s", in->name, r->problem);
    if (!status && im) status = turn(im, m, r->way, err);
    jpeg_destroy_decompress(&r->jpeg);
    mem_free(r->line);
    mem_free(r);
    if (status && im) image_free(im);
    return status;
}

/* ---- Writing -------------------------------------------------------------------------------- */
struct writer {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_destination_mgr destination;
    jmp_buf out;
    char problem[JMSG_LENGTH_MAX];
    const struct image *im;
    int quality;
    struct buf exif, *to;
    JOCTET block[16384];
};

static void writing_failed(j_common_ptr jpeg) {
    struct writer *w = jpeg->client_data;
    jpeg->err->format_message(jpeg, w->problem);
    longjmp(w->out, 1);
}

static void writing_warned(j_common_ptr jpeg, int level) {
    (void)jpeg;
    (void)level;
}

static void begin_block(j_compress_ptr jpeg) {
    struct writer *w = jpeg->client_data;
    w->destination.next_output_byte = w->block;
    w->destination.free_in_buffer = sizeof w->block;
}

static boolean full_block(j_compress_ptr jpeg) {
    struct writer *w = jpeg->client_data;
    buf_add(w->to, w->block, sizeof w->block);
    begin_block(jpeg);
    return TRUE;
}

static void last_block(j_compress_ptr jpeg) {
    struct writer *w = jpeg->client_data;
    buf_add(w->to, w->block, sizeof w->block - w->destination.free_in_buffer);
}

static bool run_writer(struct writer *w) {
    if (setjmp(w->out)) return false;
    jpeg_create_compress(&w->jpeg);
    w->destination = (struct jpeg_destination_mgr){.init_destination = begin_block,
                                                   .empty_output_buffer = full_block,
                                                   .term_destination = last_block};
    w->jpeg.dest = &w->destination;
    w->jpeg.image_width = (JDIMENSION)w->im->width;
    w->jpeg.image_height = (JDIMENSION)w->im->height;
    w->jpeg.input_components = 3;
    w->jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&w->jpeg);
    jpeg_set_quality(&w->jpeg, w->quality, TRUE);
    w->jpeg.optimize_coding = TRUE;
    jpeg_start_compress(&w->jpeg, TRUE);
    if (w->exif.size)
        jpeg_write_marker(&w->jpeg, JPEG_APP0 + 1, (const JOCTET *)w->exif.data,
                          (unsigned)w->exif.size);
    size_t row = (size_t)w->im->width * 3;
    while (w->jpeg.next_scanline < w->jpeg.image_height) {
        JSAMPROW from = w->im->data + w->jpeg.next_scanline * row;
        jpeg_write_scanlines(&w->jpeg, &from, 1);
    }
    jpeg_finish_compress(&w->jpeg);
    return true;
}

kadr_status codec_jpeg_write(const struct image *im, struct mem *m, int quality,
                             const struct image_text *texts, size_t count, struct buf *out,
                             kadr_error *err) {
    struct writer *w = mem_alloc(m, sizeof *w);
    if (!w) return err_nomem(err, "a JPEG writer", sizeof *w);
    kadr_status status = KADR_OK;
    w->im = im;
    w->quality = quality;
    w->to = out;
    w->jpeg.err = jpeg_std_error(&w->errors);
    w->jpeg.client_data = w;
    w->errors.error_exit = writing_failed;
    w->errors.emit_message = writing_warned;
    buf_init(&w->exif, m);
    buf_add(&w->exif, "Exif\0\0", 6);
    codec_exif_write(texts, count, &w->exif);
    if (w->exif.size == 6) buf_clear(&w->exif);
    if (w->exif.size > MARKER_BYTES)
        status = err_set(err, KADR_EUSAGE,
                         "%zu bytes of settings for a JPEG, which has room for %d; expected a "
                         "shorter prompt or a PNG",
                         w->exif.size, MARKER_BYTES);
    else if (!run_writer(w))
        status = err_set(err, KADR_EOTHER, "a JPEG could not be written: %s", w->problem);
    if (!status && (!buf_ok(out) || !buf_ok(&w->exif)))
        status = err_nomem(err, "a JPEG picture", out->size);
    jpeg_destroy_compress(&w->jpeg);
    buf_free(&w->exif);
    mem_free(w);
    return status;
}
