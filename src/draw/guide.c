/* guide.c: see guide.h. */
#include "draw/guide.h"

#include <math.h>

static double deviation(const float *x, size_t n) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    return sqrt(squares / (double)(n > 1 ? n - 1 : 1));
}

void guide(float *u, const float *c, size_t count, double scale, double rescale) {
    float s = (float)scale;
    for (size_t i = 0; i < count; i++) u[i] += s * (c[i] - u[i]);
    if (rescale <= 0) return;
    double wide = deviation(u, count);
    if (wide <= 0) return;
    float factor = (float)(rescale * deviation(c, count) / wide + (1 - rescale));
    for (size_t i = 0; i < count; i++) u[i] *= factor;
}

void guide_blend(float *latents, const float *known, const float *mask, size_t channels,
                 size_t plane) {
    for (size_t i = 0; i < channels * plane; i++) {
        float m = mask[i % plane];
        latents[i] = (1 - m) * known[i] + m * latents[i];
    }
}
