/* a1111_picture.c: pictures that a request of A1111's brings, made into what kadr draws from:
 * sized, masked, cut and filled as StableDiffusionProcessingImg2Img.init does it; and the way back.
 */
#include "serve/a1111.h"

#include "base/file.h"
#include "image/scale.h"
#include <string.h>
#include <strings.h>

kadr_status a1111_bytes(struct mem *m, const json_t *text, const char *what, uint8_t **data,
                        size_t *size, kadr_error *err) {
    const char *coded = json_string_value(text);
    size_t n = json_string_length(text);
    *data = NULL;
    if (!coded) return err_set(err, KADR_EUSAGE, "%s: expected a picture in base64", what);
    if (!strncasecmp(coded, "http:", 5) || !strncasecmp(coded, "https:", 6))
        return err_set(err, KADR_EUSAGE, "%s: addresses are not fetched; expected base64", what);
    const char *comma = strncmp(coded, "data:", 5) ? NULL : memchr(coded, ',', n < 100 ? n : 100);
    if (comma) n -= (size_t)(comma + 1 - coded), coded = comma + 1;
    *data = mem_alloc(m, n / 4 * 3 + 3);
    if (!*data) return err_nomem(err, what, n);
    *size = buf_unbase64(coded, n, *data);
    if (*size != SIZE_MAX) return KADR_OK;
    mem_free(*data);
    *data = NULL;
    return err_set(err, KADR_EUSAGE, "%s: expected a picture in base64", what);
}

static kadr_status decode(struct serve *s, const json_t *text, const char *what, struct image *im,
                          kadr_error *err) {
    uint8_t *data;
    size_t size;
    kadr_status st = a1111_bytes(s->mem, text, what, &data, &size, err);
    if (!st) st = upload_decode(s, data, size, what, im, err);
    mem_free(data);
    return st;
}

/* ---- Masks ----------------------------------------------------------------------------------- */
/* One grey: its alpha where there is any, else its lightness; either 0 or 255 with `round`. */
static kadr_status make_mask(struct image *im, struct mem *m, bool round, bool invert,
                             kadr_error *err) {
    struct image grey = {0};
    size_t pixels = (size_t)im->width * (size_t)im->height, n = (size_t)im->channels;
    bool alpha = false;
    for (size_t i = 0; n == 4 && i < pixels; i++) alpha |= im->data[4 * i + 3] != 255;
    kadr_status st = image_make(&grey, m, im->width, im->height, 3, err);
    for (size_t i = 0; i < pixels && !st; i++) {
        const uint8_t *p = im->data + i * n;
        unsigned v = alpha ? p[3] : (p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 32768) >> 16;
        if (round) v = v > 128 ? 255 : 0;
        memset(grey.data + 3 * i, (int)(invert ? 255 - v : v), 3);
    }
    if (st) return st;
    image_free(im);
    *im = grey;
    return KADR_OK;
}

/* What stays of a picture: transparent as far as the mask says, or `twice` as far. */
static kadr_status make_overlay(const struct image *im, const struct image *mask, struct mem *m,
                                bool twice, struct image *out, kadr_error *err) {
    size_t pixels = (size_t)im->width * (size_t)im->height;
    kadr_status st = image_make(out, m, im->width, im->height, 4, err);
    for (size_t i = 0; i < pixels && !st; i++) {
        unsigned redraw = mask->data[i * (size_t)mask->channels] * (twice ? 2u : 1u);
        memcpy(out->data + 4 * i, im->data + i * (size_t)im->channels, 3);
        out->data[4 * i + 3] = (uint8_t)(redraw > 255 ? 0 : 255 - redraw);
    }
    return st;
}

/* ---- Together -------------------------------------------------------------------------------- */
struct work {
    struct serve *s;
    struct image im, mask;
    int width, height; /* of the drawing */
    int mode, fill, padding;
    bool part; /* only what is masked is drawn, at full size */
};

static int number(const json_t *theirs, const char *key) {
    return (int)json_number_value(json_object_get(theirs, key));
}

static kadr_status resize(struct work *w, struct image *im, int mode, kadr_error *err) {
    struct image out = {0};
    if (im->width == w->width && im->height == w->height) return KADR_OK;
    kadr_status st = inpaint_resize(im, w->s->mem, mode, w->width, w->height, &out, err);
    if (st) return st;
    image_free(im);
    *im = out;
    return KADR_OK;
}

/* Sizes of the drawing and of nothing else. */
static kadr_status resize_both(struct work *w, int mode, kadr_error *err) {
    kadr_status st = resize(w, &w->im, mode, err);
    return st ? st : resize(w, &w->mask, mode, err);
}

static kadr_status cut_both(struct work *w, const struct inpaint_box *b, kadr_error *err) {
    struct mem *m = w->s->mem;
    struct image im = {0}, mask = {0};
    int width = b->x1 - b->x0, height = b->y1 - b->y0;
    kadr_status st = image_crop(&w->im, m, b->x0, b->y0, width, height, &im, err);
    if (!st) st = image_crop(&w->mask, m, b->x0, b->y0, width, height, &mask, err);
    if (st) return image_free(&im), st;
    image_free(&w->im);
    image_free(&w->mask);
    w->im = im, w->mask = mask;
    return KADR_OK;
}

/* Makes picture and mask what is to be drawn, and keeps the rest for the way back. Where only the
 * masked part is wanted and nothing is masked, the whole picture is drawn without a mask. */
static kadr_status cut(struct work *w, struct a1111_paste *paste, kadr_error *err) {
    struct inpaint_box box = {0, 0, w->width, w->height};
    struct image overlay = {0};
    if (w->part && !inpaint_box_of(&w->mask, w->padding, w->width, w->height, &box)) {
        image_free(&w->mask);
        return resize(w, &w->im, w->mode, err);
    }
    kadr_status st = w->part ? KADR_OK : resize_both(w, w->mode, err);
    if (!st) st = make_overlay(&w->im, &w->mask, w->s->mem, !w->part, &overlay, err);
    if (!st) st = upload_keep(w->s, &overlay, paste->overlay, err);
    image_free(&overlay);
    if (!st && w->part) st = cut_both(w, &box, err);
    if (!st && w->part) st = resize_both(w, 2, err);
    paste->x = box.x0, paste->y = box.y0;
    paste->width = box.x1 - box.x0, paste->height = box.y1 - box.y0;
    return st;
}

static kadr_status prepare_mask(struct work *w, const json_t *theirs, kadr_error *err) {
    struct mem *m = w->s->mem;
    double across = json_number_value(json_object_get(theirs, "mask_blur_x"));
    double down = json_number_value(json_object_get(theirs, "mask_blur_y"));
    const json_t *both = json_object_get(theirs, "mask_blur");
    if (json_is_number(both)) across = down = json_number_value(both);
    kadr_status st = decode(w->s, json_object_get(theirs, "mask"), "mask", &w->mask, err);
    if (!st)
        st = make_mask(&w->mask, m, a1111_truth(theirs, "mask_round"),
                       number(theirs, "inpainting_mask_invert") != 0, err);
    if (!st) st = inpaint_blur(&w->mask, m, across, down, err);
    if (!st && (w->mask.width != w->im.width || w->mask.height != w->im.height)) {
        struct work own = {.s = w->s, .width = w->im.width, .height = w->im.height};
        st = resize(&own, &w->mask, 0, err);
    }
    return st;
}

kadr_status a1111_pictures(struct serve *s, const json_t *theirs, struct a1111 *a, json_t *ours,
                           kadr_error *err) {
    struct work w = {.s = s,
                     .width = (int)json_integer_value(json_object_get(ours, "width")),
                     .height = (int)json_integer_value(json_object_get(ours, "height")),
                     .mode = number(theirs, "resize_mode"),
                     .fill = number(theirs, "inpainting_fill"),
                     .padding = number(theirs, "inpaint_full_res_padding"),
                     .part = a1111_truth(theirs, "inpaint_full_res")};
    const json_t *pictures = json_object_get(theirs, "init_images");
    bool masked = !json_is_null(json_object_get(theirs, "mask"));
    if (json_array_size(pictures) != 1)
        return err_set(err, KADR_EUSAGE, "init_images: expected one picture");
    if (w.mode == 3) w.mode = 0; /* pixels are stretched instead of latents */
    kadr_status st = decode(s, json_array_get(pictures, 0), "init_images", &w.im, err);
    if (!st && w.im.channels == 4) image_over_white(&w.im);
    if (!st && masked) st = prepare_mask(&w, theirs, err);
    if (!st && masked) st = cut(&w, &a->paste, err);
    else if (!st) st = resize(&w, &w.im, w.mode, err);
    masked = w.mask.data != NULL;
    if (!st && masked && w.fill == 0) st = inpaint_fill(&w.im, &w.mask, s->mem, err);
    if (!st) st = upload_name(s, &w.im, ours, "init", err);
    if (!st && masked) st = upload_name(s, &w.mask, ours, "mask", err);
    image_free(&w.im);
    image_free(&w.mask);
    return st;
}

/* ---- The way back ---------------------------------------------------------------------------- */
kadr_status a1111_put_back(struct serve *s, const struct a1111_paste *paste, struct image *im,
                           kadr_error *err) {
    struct image overlay = {0}, whole = {0}, part = {0};
    json_t *name = json_string(paste->overlay);
    char *path = NULL;
    kadr_status st = upload_path(s, name, "a picture", &path, err);
    json_decref(name);
    if (!st) st = image_read(&overlay, s->mem, path, IMAGE_KEEP_ALPHA, NULL, err);
    mem_free(path);
    if (!st) st = image_make(&whole, s->mem, overlay.width, overlay.height, 3, err);
    if (!st) st = inpaint_resize(im, s->mem, 1, paste->width, paste->height, &part, err);
    if (!st) image_lay(&whole, &part, paste->x, paste->y);
    if (!st) image_lay(&whole, &overlay, 0, 0);
    image_free(&overlay);
    image_free(&part);
    if (st) image_free(&whole);
    else {
        image_free(im);
        *im = whole;
    }
    return st;
}
