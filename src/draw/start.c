/* start.c: see start.h. */
#include "draw/start.h"
#include "base/file.h"
#include "weights/safetensors.h"

#include <math.h>
#include <string.h>

#define SIDE 4096 /* most of the latents' */

bool start_is_latents(const char *init) {
    return init && strcmp(file_extension(init), "safetensors") == 0;
}

/* Weights of the four neighbours of a place `t` behind the second (Keys, a = -0.75). */
static void cubic(double t, double w[4]) {
    const double a = -0.75;
    for (int i = 0; i < 4; i++) {
        double d = fabs(t + 1 - i);
        w[i] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1
                      : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
    }
}

static int64_t clamp(int64_t i, int64_t n) {
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static float sample(const float *from, int64_t h, int64_t w, double y, double x) {
    double wy[4], wx[4], sum = 0;
    int64_t iy = (int64_t)floor(y), ix = (int64_t)floor(x);
    cubic(y - (double)iy, wy);
    cubic(x - (double)ix, wx);
    for (int j = 0; j < 4; j++) {
        const float *row = from + clamp(iy - 1 + j, h) * w;
        double along = 0;
        for (int i = 0; i < 4; i++) along += wx[i] * (double)row[clamp(ix - 1 + i, w)];
        sum += wy[j] * along;
    }
    return (float)sum;
}

static void resize(const float *from, int64_t from_h, int64_t from_w, float *to, int64_t h,
                   int64_t w) {
    double sy = (double)from_h / (double)h, sx = (double)from_w / (double)w;
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++)
            to[y * w + x] = sample(from, from_h, from_w, ((double)y + 0.5) * sy - 0.5,
                                   ((double)x + 0.5) * sx - 0.5);
}

kadr_status start_read(struct mem *m, const char *path, int64_t channels, int64_t h, int64_t w,
                       float *to, kadr_error *err) {
    struct safetensors file;
    kadr_status st = safetensors_open(&file, m, path, err);
    if (st) return st;
    const struct safetensors_tensor *t = safetensors_find(&file, "latents");
    bool good = t && t->dtype == SAFETENSORS_F32 && t->rank == 4 && t->dim[0] >= 1 &&
                t->dim[1] == channels && t->dim[2] >= 1 && t->dim[3] >= 1 && t->dim[2] <= SIDE &&
                t->dim[3] <= SIDE;
    size_t plane = good ? (size_t)(t->dim[2] * t->dim[3]) : 0;
    float *from = good ? mem_array(m, plane, sizeof *from) : NULL;
    if (!good)
        st = err_set(err, KADR_EUSAGE,
                     "%s: expected a tensor \"latents\" of F32 [1, %d, height, width]", path,
                     (int)channels);
    else if (!from) st = err_nomem(err, path, plane * sizeof *from);
    for (int64_t c = 0; c < channels && !st; c++) {
        size_t bytes = plane * sizeof *from;
        st = file_read_at(&file.file, t->begin + (uint64_t)c * bytes, from, bytes, err);
        if (!st) resize(from, t->dim[2], t->dim[3], to + c * h * w, h, w);
    }
    mem_free(from);
    safetensors_close(&file);
    return st;
}
