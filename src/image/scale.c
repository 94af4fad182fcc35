/* scale.c: see scale.h. The arithmetic (order of sums, where it rounds) is Pillow's and must stay
 * so: the tests compare every bit. */
#include "image/scale.h"
#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846
#define BITS 22 /* of a weight's fraction: 8 bits of pixel and 2 for overshoot make it 32 */

static double box(double x) {
    return x > -0.5 && x <= 0.5 ? 1 : 0;
}

static double bilinear(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static double sinc(double x) {
    if (x == 0) return 1;
    x *= PI;
    return sin(x) / x;
}

static double lanczos(double x) {
    return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

static const struct kernel {
    double (*weight)(double x);
    double support; /* half width */
} kernels[] = {
    [SCALE_BOX] = {box, 0.5},
    [SCALE_BILINEAR] = {bilinear, 1},
    [SCALE_BICUBIC] = {bicubic, 2},
    [SCALE_LANCZOS] = {lanczos, 3},
};

/* For each place of the result: where its window begins, how long it is, and its weights. */
struct windows {
    int most;    /* weights a window */
    int *bounds; /* pairs: first, count */
    int32_t *weights;
};

static void windows_free(struct windows *w) {
    mem_free(w->bounds);
    mem_free(w->weights);
}

/* One window's weights, normalised in doubles before they are rounded. */
static void fill_window(const struct kernel *k, int in, double centre, double stretch,
                        double *scratch, int *bounds, int32_t *weights) {
    double support = k->support * stretch, sum = 0, shrink = 1.0 / stretch;
    int first = (int)(centre - support + 0.5), last = (int)(centre + support + 0.5);
    if (first < 0) first = 0;
    if (last > in) last = in;
    int count = last - first;
    for (int i = 0; i < count; i++) {
        scratch[i] = k->weight((i + first - centre + 0.5) * shrink);
        sum += scratch[i];
    }
    for (int i = 0; i < count; i++) {
        double v = sum != 0 ? scratch[i] / sum : scratch[i];
        weights[i] = (int32_t)((v < 0 ? -0.5 : 0.5) + v * (1 << BITS));
    }
    bounds[0] = first;
    bounds[1] = count;
}

static kadr_status windows_make(struct windows *w, struct mem *m, const struct kernel *k, int in,
                                int out, kadr_error *err) {
    double scale = (double)in / out, stretch = scale < 1 ? 1 : scale;
    w->most = (int)ceil(k->support * stretch) * 2 + 1;
    w->bounds = mem_array(m, (size_t)out, 2 * sizeof *w->bounds);
    w->weights = mem_array(m, (size_t)out * (size_t)w->most, sizeof *w->weights);
    double *scratch = mem_array(m, (size_t)w->most, sizeof *scratch);
    bool made = w->bounds && w->weights && scratch;
    for (int i = 0; made && i < out; i++)
        fill_window(k, in, (i + 0.5) * scale, stretch, scratch, w->bounds + 2 * i,
                    w->weights + (size_t)i * (size_t)w->most);
    mem_free(scratch);
    return made ? KADR_OK : err_nomem(err, "a picture's resampling windows", (size_t)out);
}

/* One value of the result: `step` bytes lie between the pixels of the window. */
static uint8_t convolve(const uint8_t *from, size_t step, const int32_t *weights, int count) {
    int32_t sum = 1 << (BITS - 1);
    for (int i = 0; i < count; i++) sum += from[(size_t)i * step] * weights[i];
    sum >>= BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void pass_across(const struct image *im, const struct windows *w, struct image *out) {
    size_t pixel = (size_t)im->channels;
    for (size_t y = 0; y < (size_t)im->height; y++) {
        const uint8_t *row = im->data + y * (size_t)im->width * pixel;
        uint8_t *to = out->data + y * (size_t)out->width * pixel;
        for (size_t x = 0; x < (size_t)out->width; x++)
            for (size_t c = 0; c < pixel; c++)
                *to++ = convolve(row + (size_t)w->bounds[2 * x] * pixel + c, pixel,
                                 w->weights + x * (size_t)w->most, w->bounds[2 * x + 1]);
    }
}

static void pass_down(const struct image *im, const struct windows *w, struct image *out) {
    size_t row = (size_t)im->width * (size_t)im->channels;
    for (size_t y = 0; y < (size_t)out->height; y++)
        for (size_t i = 0; i < row; i++)
            out->data[y * row + i] =
                convolve(im->data + (size_t)w->bounds[2 * y] * row + i, row,
                         w->weights + y * (size_t)w->most, w->bounds[2 * y + 1]);
}

/* One pass over `im`, or a copy where there is nothing to do; `out` is empty when it fails. */
static kadr_status pass(const struct image *im, struct mem *m, const struct kernel *k, bool down,
                        int size, struct image *out, kadr_error *err) {
    if (size == (down ? im->height : im->width))
        return image_crop(im, m, 0, 0, im->width, im->height, out, err);
    struct windows w = {0};
    kadr_status status = windows_make(&w, m, k, down ? im->height : im->width, size, err);
    if (!status)
        status = image_make(out, m, down ? im->width : size, down ? size : im->height, im->channels,
                            err);
    if (!status) (down ? pass_down : pass_across)(im, &w, out);
    windows_free(&w);
    return status;
}

static void premultiply(struct image *im) {
    size_t pixels = (size_t)im->width * (size_t)im->height;
    for (uint8_t *p = im->data; pixels--; p += 4)
        for (int c = 0; c < 3; c++) {
            unsigned t = p[c] * (unsigned)p[3] + 128;
            p[c] = (uint8_t)(((t >> 8) + t) >> 8);
        }
}

static void unpremultiply(struct image *im) {
    size_t pixels = (size_t)im->width * (size_t)im->height;
    for (uint8_t *p = im->data; pixels--; p += 4)
        for (int c = 0; c < 3 && p[3] != 0 && p[3] != 255; c++) {
            unsigned v = 255u * p[c] / p[3];
            p[c] = (uint8_t)(v > 255 ? 255 : v);
        }
}

/* Where Pillow's nearest looks: it adds up the step in doubles. */
static void nearest_places(int in, int out, int *places) {
    double step = (double)in / out, at = step * 0.5;
    for (int i = 0; i < out; i++, at += step) {
        int place = (int)at;
        places[i] = place < in ? place : in - 1;
    }
}

static kadr_status nearest(const struct image *im, struct mem *m, int width, int height,
                           struct image *out, kadr_error *err) {
    int *columns = mem_array(m, (size_t)width + (size_t)height, sizeof *columns);
    if (!columns) return err_nomem(err, "a picture's columns", (size_t)width);
    kadr_status status = image_make(out, m, width, height, im->channels, err);
    if (!status) {
        int *rows = columns + width;
        nearest_places(im->width, width, columns);
        nearest_places(im->height, height, rows);
        size_t pixel = (size_t)im->channels;
        for (size_t y = 0; y < (size_t)height; y++)
            for (size_t x = 0; x < (size_t)width; x++)
                memcpy(out->data + (y * (size_t)width + x) * pixel,
                       im->data +
                           ((size_t)rows[y] * (size_t)im->width + (size_t)columns[x]) * pixel,
                       pixel);
    }
    mem_free(columns);
    return status;
}

/* Which pass comes first: Pillow (since 13) begins with the columns where that saves much. */
static bool down_first(const struct image *im, int width, int height) {
    return height < im->height && im->height - height > 2 * (im->width - width);
}

kadr_status image_scale(const struct image *im, struct mem *m, int width, int height,
                        enum scale_filter filter, struct image *out, kadr_error *err) {
    memset(out, 0, sizeof *out);
    if (width < 1 || height < 1 || width > IMAGE_SIDE || height > IMAGE_SIDE)
        return err_set(err, KADR_EUSAGE, "a picture resized to %d x %d, expected 1 to %d each way",
                       width, height, IMAGE_SIDE);
    if (filter == SCALE_NEAREST) return nearest(im, m, width, height, out, err);
    const struct kernel *k = &kernels[filter];
    struct image copy = {0}, half = {0};
    kadr_status status = KADR_OK;
    bool alpha = im->channels == 4 && (width != im->width || height != im->height);
    if (alpha) {
        status = image_crop(im, m, 0, 0, im->width, im->height, &copy, err);
        if (status) return status;
        premultiply(&copy);
        im = &copy;
    }
    bool down = down_first(im, width, height);
    status = pass(im, m, k, down, down ? height : width, &half, err);
    if (!status) status = pass(&half, m, k, !down, down ? width : height, out, err);
    image_free(&half);
    image_free(&copy);
    if (!status && alpha) unpremultiply(out);
    return status;
}
