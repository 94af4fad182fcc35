/* subject.c: see subject.h. */
#include "image/subject.h"

#include <stdlib.h>
#include <string.h>

#define ROOM 0.08  /* around the subject, of its size */
#define SHARE 0.02 /* of a row or column that must stand out to count */
#define LEAST 40   /* sum of the channels' differences that stands out */

static const uint8_t *pixel(const struct image *im, int x, int y) {
    return im->data + ((size_t)y * (size_t)im->width + (size_t)x) * (size_t)im->channels;
}

static int by_value(const void *a, const void *b) {
    return *(const uint8_t *)a - *(const uint8_t *)b;
}

/* The middle value of each channel along one side of the border. */
static void side_colour(const struct image *im, uint8_t *room, int side, int colour[3]) {
    int n = side < 2 ? im->width : im->height;
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < n; i++)
            room[i] = side < 2 ? pixel(im, i, side ? im->height - 1 : 0)[c]
                               : pixel(im, side == 3 ? im->width - 1 : 0, i)[c];
        qsort(room, (size_t)n, 1, by_value);
        colour[c] = room[n / 2];
    }
}

/* Like none of the border's colours. */
static bool stands_out(const uint8_t *p, int colour[4][3]) {
    for (int s = 0; s < 4; s++) {
        int sum = 0;
        for (int c = 0; c < 3; c++) sum += abs(p[c] - colour[s][c]);
        if (sum < LEAST) return false;
    }
    return true;
}

/* First and last of `n` counts that reach `least`. */
static bool span(const int *count, int n, int least, int *first, int *last) {
    *first = 0;
    *last = n - 1;
    while (*first < n && count[*first] < least) ++*first;
    while (*last > *first && count[*last] < least) --*last;
    return *first < n;
}

static int at_least_one(double x) {
    return x < 1 ? 1 : (int)x;
}

/* Grows [*at, *at + *size) to `wish`, moved so that it lies inside. */
static void grow(int *at, int *size, int wish, int all) {
    if (wish > all) wish = all;
    *at -= (wish - *size) / 2;
    *size = wish;
    if (*at + wish > all) *at = all - wish;
    if (*at < 0) *at = 0;
}

kadr_status image_find_subject(const struct image *im, struct mem *m, struct box *out,
                               kadr_error *err) {
    int w = im->width, h = im->height, more = w > h ? w : h, colour[4][3];
    *out = (struct box){0, 0, w, h};
    uint8_t *room = mem_alloc(m, (size_t)more);
    int *across = mem_array(m, (size_t)w, sizeof *across),
        *down = mem_array(m, (size_t)h, sizeof *down);
    kadr_status st = room && across && down ? KADR_OK : err_nomem(err, "picture", (size_t)more * 9);
    if (!st) {
        for (int s = 0; s < 4; s++) side_colour(im, room, s, colour[s]);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                if (stands_out(pixel(im, x, y), colour)) across[x]++, down[y]++;
        int left, right, top, bottom;
        if (span(across, w, at_least_one(SHARE * h), &left, &right) &&
            span(down, h, at_least_one(SHARE * w), &top, &bottom)) {
            *out = (struct box){left, top, right - left + 1, bottom - top + 1};
            int side = out->width > out->height ? out->width : out->height;
            side += (int)(2 * ROOM * side);
            grow(&out->x, &out->width, side, w);
            grow(&out->y, &out->height, side, h);
        }
    }
    mem_free(room);
    mem_free(across);
    mem_free(down);
    return st;
}

struct box image_upper_end(struct box b) {
    int side = b.height / 2 > 0 ? b.height / 2 : 1;
    if (side > b.width) side = b.width;
    return (struct box){b.x + (b.width - side) / 2, b.y, side, side};
}
