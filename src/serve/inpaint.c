/* inpaint.c: see a1111.h. What A1111 does to pictures before and after drawing a part of one: its
 * images.resize_image, masking.fill, get_crop_region and expand_crop_region. */
#include "serve/a1111.h"

#include "image/scale.h"
#include <math.h>
#include <string.h>

/* ---- Sizes ----------------------------------------------------------------------------------- */
/* Copies a row or a column of the part that is covered to all that lie outside of it. */
static void repeat_edges(struct image *im, int x, int y, int width, int height) {
    size_t n = (size_t)im->channels, row = (size_t)im->width * n;
    for (int v = 0; v < im->height; v++)
        for (int u = 0; u < im->width; u++) {
            int fu = u < x ? x : u >= x + width ? x + width - 1 : u;
            int fv = v < y ? y : v >= y + height ? y + height - 1 : v;
            if (fu == u && fv == v) continue;
            memcpy(im->data + (size_t)v * row + (size_t)u * n,
                   im->data + (size_t)fv * row + (size_t)fu * n, n);
        }
}

static void copy_part(const struct image *from, struct image *to, int x, int y) {
    size_t n = (size_t)to->channels;
    for (int v = 0; v < from->height; v++) {
        if (y + v < 0 || y + v >= to->height) continue;
        int first = x < 0 ? -x : 0, last = from->width;
        if (x + last > to->width) last = to->width - x;
        if (first < last)
            memcpy(to->data + ((size_t)(y + v) * (size_t)to->width + (size_t)(x + first)) * n,
                   from->data + ((size_t)v * (size_t)from->width + (size_t)first) * n,
                   (size_t)(last - first) * n);
    }
}

kadr_status inpaint_resize(const struct image *im, struct mem *m, int mode, int width, int height,
                           struct image *out, kadr_error *err) {
    if (mode == 0) return image_scale(im, m, width, height, SCALE_LANCZOS, out, err);
    struct image scaled = {0};
    double ratio = (double)width / height, own = (double)im->width / im->height;
    bool by_width = mode == 1 ? ratio > own : ratio < own;
    bool by_height = mode == 1 ? ratio <= own : ratio >= own;
    int64_t w = by_width ? width : (int64_t)im->width * height / im->height;
    int64_t h = by_height ? height : (int64_t)im->height * width / im->width;
    if (w < 1) w = 1;
    if (h < 1) h = 1;
    if (w > IMAGE_SIDE || h > IMAGE_SIDE)
        return err_set(err, KADR_EUSAGE, "a picture of %d x %d has too long a shape for %d x %d",
                       im->width, im->height, width, height);
    kadr_status st = image_scale(im, m, (int)w, (int)h, SCALE_LANCZOS, &scaled, err);
    if (!st) st = image_make(out, m, width, height, im->channels, err);
    int x = width / 2 - (int)w / 2, y = height / 2 - (int)h / 2;
    if (!st) copy_part(&scaled, out, x, y);
    if (!st && mode == 2) repeat_edges(out, x, y, (int)w, (int)h);
    image_free(&scaled);
    return st;
}

/* ---- Blur ------------------------------------------------------------------------------------ */
#define SIGMAS 2.5 /* how far a kernel reaches, as A1111's */

/* One line of `count` pixels, `step` apart, with mirrored ends as OpenCV's (not doubled). */
static void blur_line(const float *from, float *to, int count, size_t step, const double *kernel,
                      int reach) {
    for (int i = 0; i < count; i++) {
        double sum = 0;
        for (int k = -reach; k <= reach; k++) {
            int at = i + k;
            while (count > 1 && (at < 0 || at >= count)) at = at < 0 ? -at : 2 * (count - 1) - at;
            sum += kernel[k + reach] * (double)from[count > 1 ? (size_t)at * step : 0];
        }
        to[(size_t)i * step] = (float)sum;
    }
}

/* Planes of floats, [channels, height, width], blurred in place. */
static kadr_status blur_planes(float *data, struct mem *m, int width, int height, int channels,
                               double sigma, bool down, kadr_error *err) {
    int reach = (int)(SIGMAS * sigma + 0.5);
    if (reach < 1) return KADR_OK;
    size_t plane = (size_t)width * (size_t)height, taps = 2 * (size_t)reach + 1;
    double *kernel = mem_array(m, taps, sizeof *kernel), sum = 0;
    float *line = mem_array(m, plane, sizeof *line);
    if (kernel && line) {
        for (int k = -reach; k <= reach; k++)
            sum += kernel[k + reach] = exp(-0.5 * (double)k * k / (sigma * sigma));
        for (size_t k = 0; k < taps; k++) kernel[k] /= sum;
        for (int c = 0; c < channels; c++) {
            float *at = data + (size_t)c * plane;
            memcpy(line, at, plane * sizeof *line);
            for (int i = 0; i < (down ? width : height); i++) {
                size_t begin = down ? (size_t)i : (size_t)i * (size_t)width;
                blur_line(line + begin, at + begin, down ? height : width, down ? (size_t)width : 1,
                          kernel, reach);
            }
        }
    }
    kadr_status st = kernel && line ? KADR_OK : err_nomem(err, "a blur", plane * sizeof *line);
    mem_free(kernel);
    mem_free(line);
    return st;
}

kadr_status inpaint_blur(struct image *im, struct mem *m, double across, double down,
                         kadr_error *err) {
    size_t pixels = (size_t)im->width * (size_t)im->height, n = (size_t)im->channels;
    float *grey = mem_array(m, pixels, sizeof *grey);
    if (!grey) return err_nomem(err, "a mask", pixels * sizeof *grey);
    for (size_t i = 0; i < pixels; i++) grey[i] = im->data[i * n];
    kadr_status st = blur_planes(grey, m, im->width, im->height, 1, across, false, err);
    if (!st) st = blur_planes(grey, m, im->width, im->height, 1, down, true, err);
    for (size_t i = 0; i < pixels && !st; i++)
        memset(im->data + i * n, (int)(grey[i] + 0.5f), n < 3 ? n : 3);
    mem_free(grey);
    return st;
}

/* ---- Fill ------------------------------------------------------------------------------------ */
/* Worked out on a coarser grid: what it makes has no detail anyway. */
#define FILL_STEP 4

/* Lays a blur of `seen` (premultiplied colours and alpha, planes) over the picture that emerges. */
static void lay(float *to, const float *blurred, size_t pixels, int times) {
    for (int t = 0; t < times; t++)
        for (size_t i = 0; i < pixels; i++) {
            float alpha = blurred[3 * pixels + i] / 255;
            for (size_t c = 0; c < 4; c++) {
                float *at = to + c * pixels + i;
                *at = blurred[c * pixels + i] + *at * (1 - alpha);
            }
        }
}

static void spread(const struct image *im, const struct image *mask, float *planes) {
    size_t pixels = (size_t)im->width * (size_t)im->height;
    for (size_t i = 0; i < pixels; i++) {
        float seen = (float)(255 - mask->data[i * (size_t)mask->channels]) / 255;
        for (size_t c = 0; c < 3; c++)
            planes[c * pixels + i] = (float)im->data[i * (size_t)im->channels + c] * seen;
        planes[3 * pixels + i] = 255 * seen;
    }
}

static kadr_status fill(struct image *im, const struct image *mask, struct mem *m,
                        kadr_error *err) {
    static const struct {
        double sigma;
        int times;
    } rounds[] = {{64, 1}, {16, 1}, {4, 2}, {1, 4}, {0, 1}}; /* theirs by FILL_STEP */
    size_t pixels = (size_t)im->width * (size_t)im->height;
    float *seen = mem_array(m, pixels, 4 * sizeof *seen);
    float *made = mem_array(m, pixels, 4 * sizeof *made);
    float *blurred = mem_array(m, pixels, 4 * sizeof *blurred);
    kadr_status st = seen && made && blurred ? KADR_OK : err_nomem(err, "a blur", pixels * 48);
    if (!st) spread(im, mask, seen);
    for (size_t i = 0; i < sizeof rounds / sizeof *rounds && !st; i++) {
        memcpy(blurred, seen, pixels * 4 * sizeof *seen);
        st = blur_planes(blurred, m, im->width, im->height, 4, rounds[i].sigma, false, err);
        if (!st) st = blur_planes(blurred, m, im->width, im->height, 4, rounds[i].sigma, true, err);
        if (!st) lay(made, blurred, pixels, rounds[i].times);
    }
    for (size_t i = 0; i < pixels && !st; i++) {
        float alpha = made[3 * pixels + i];
        for (size_t c = 0; c < 3; c++) {
            float v = alpha > 0 ? made[c * pixels + i] * 255 / alpha : 0;
            im->data[i * (size_t)im->channels + c] = (uint8_t)(v > 255 ? 255 : v + 0.5f);
        }
    }
    mem_free(seen);
    mem_free(made);
    mem_free(blurred);
    return st;
}

/* Worked out small, then taken large where the mask is. */
kadr_status inpaint_fill(struct image *im, const struct image *mask, struct mem *m,
                         kadr_error *err) {
    struct image small = {0}, small_mask = {0}, filled = {0};
    int w = (im->width + FILL_STEP - 1) / FILL_STEP, h = (im->height + FILL_STEP - 1) / FILL_STEP;
    kadr_status st = image_scale(im, m, w, h, SCALE_BOX, &small, err);
    if (!st) st = image_scale(mask, m, w, h, SCALE_BOX, &small_mask, err);
    if (!st) st = fill(&small, &small_mask, m, err);
    if (!st) st = image_scale(&small, m, im->width, im->height, SCALE_BICUBIC, &filled, err);
    size_t pixels = (size_t)im->width * (size_t)im->height, n = (size_t)im->channels;
    for (size_t i = 0; i < pixels && !st; i++)
        for (size_t c = 0; c < 3; c++) {
            unsigned redraw = mask->data[i * (size_t)mask->channels];
            uint8_t *at = im->data + i * n + c;
            *at = (uint8_t)((*at * (255 - redraw) + filled.data[i * n + c] * redraw + 127) / 255);
        }
    image_free(&small);
    image_free(&small_mask);
    image_free(&filled);
    return st;
}

/* ---- The part that is redrawn ---------------------------------------------------------------- */
/* Widens from..to to `wanted`, moved back inside 0..most where it can be. */
static void widen(int *from, int *to, int wanted, int most) {
    int more = wanted - (*to - *from);
    if (more <= 0) return;
    *from -= more / 2;
    *to += more - more / 2;
    if (*to >= most) *from -= *to - most, *to = most;
    if (*from < 0) *to -= *from, *from = 0;
    if (*to >= most) *to = most;
}

bool inpaint_box_of(const struct image *mask, int padding, int width, int height,
                    struct inpaint_box *box) {
    struct inpaint_box b = {mask->width, mask->height, 0, 0};
    for (int y = 0; y < mask->height; y++)
        for (int x = 0; x < mask->width; x++) {
            size_t at = (size_t)y * (size_t)mask->width + (size_t)x;
            if (!mask->data[at * (size_t)mask->channels]) continue;
            if (x < b.x0) b.x0 = x;
            if (y < b.y0) b.y0 = y;
            if (x + 1 > b.x1) b.x1 = x + 1;
            if (y + 1 > b.y1) b.y1 = y + 1;
        }
    if (b.x0 >= b.x1) return false;
    b.x0 = b.x0 > padding ? b.x0 - padding : 0;
    b.y0 = b.y0 > padding ? b.y0 - padding : 0;
    b.x1 = mask->width - b.x1 > padding ? b.x1 + padding : mask->width;
    b.y1 = mask->height - b.y1 > padding ? b.y1 + padding : mask->height;
    int w = b.x1 - b.x0, h = b.y1 - b.y0;
    double shape = (double)width / height;
    if ((double)w / h > shape) widen(&b.y0, &b.y1, (int)(w / shape), mask->height);
    else widen(&b.x0, &b.x1, (int)(h * shape), mask->width);
    *box = b;
    return true;
}
