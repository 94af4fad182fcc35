/* kernels_c_winograd.c: the reference of Winograd's transformations in plain C, like kernels_c.c.
 */
#include "backend/cpu/bits.h"
#include "backend/cpu/kernels.h"

static float load(const void *p, enum dtype type, size_t i) {
    return type == DTYPE_BF16 ? bf16_to_f32(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}

static void store(void *p, enum dtype type, size_t i, float v) {
    if (type == DTYPE_BF16) ((uint16_t *)p)[i] = f32_to_bf16(v);
    else ((float *)p)[i] = v;
}

/* Numbers `step` apart, before and after. */
static void by_b(const float *d, float *to, size_t step) {
    to[0] = d[0] - d[2 * step];
    to[step] = d[step] + d[2 * step];
    to[2 * step] = d[2 * step] - d[step];
    to[3 * step] = d[step] - d[3 * step];
}
static void by_g(const float *g, size_t from, float *to, size_t step) {
    float outer = (g[0] + g[2 * from]) * 0.5f, inner = g[from] * 0.5f;
    to[0] = g[0];
    to[step] = outer + inner;
    to[2 * step] = outer - inner;
    to[3 * step] = g[2 * from];
}
static void by_a(const float *m, size_t from, float *to, size_t step) {
    to[0] = m[0] + m[from] + m[2 * from];
    to[step] = m[from] - m[2 * from] - m[3 * from];
}

static void input_c(const struct winograd_input *w) {
    for (size_t tile = 0; tile < w->tiles; tile++)
        for (size_t c = 0; c < w->channels; c++) {
            const char *x = (const char *)w->x + 2 * tile * w->pixel;
            float d[16], down[16], term[16];
            for (size_t i = 0; i < 16; i++)
                d[i] = load(x + i / 4 * w->line + i % 4 * w->pixel, w->type, c);
            for (size_t col = 0; col < 4; col++) by_b(d + col, down + col, 4);
            for (size_t row = 0; row < 4; row++) by_b(down + 4 * row, term + 4 * row, 1);
            for (size_t i = 0; i < 16; i++)
                store((char *)w->out + tile * w->out_tile + i * w->out_step, w->type, c, term[i]);
        }
}

static void output_c(const struct winograd_output *w) {
    for (size_t tile = 0; tile < w->tiles; tile++)
        for (size_t c = 0; c < w->cols; c++) {
            float m[16], down[8], pixel[4];
            for (size_t i = 0; i < 16; i++) m[i] = w->sums[i * w->step + tile * w->stride + c];
            for (size_t col = 0; col < 4; col++) by_a(m + col, 4, down + col, 4);
            for (size_t line = 0; line < 2; line++) by_a(down + 4 * line, 1, pixel + 2 * line, 1);
            for (size_t i = 0; i < 4; i++)
                w->out[i / 2 * w->out_line + (2 * tile + i % 2) * w->out_pixel + c] = pixel[i];
        }
}

/* Where channel k of a column lies in a panel. */
static size_t in_panel(enum dtype type, size_t k, size_t column) {
    return type == DTYPE_BF16 ? (k / 2 * PANEL + column) * 2 + k % 2 : k * PANEL + column;
}

static void weights_c(void *to, size_t step, enum dtype to_type, const void *panel, enum dtype type,
                      size_t channels) {
    for (size_t k = 0; k < channels; k++)
        for (size_t column = 0; column < PANEL; column++) {
            float g[9], down[12], term[16];
            for (size_t i = 0; i < 9; i++)
                g[i] = load(panel, type, in_panel(type, i * channels + k, column));
            for (size_t col = 0; col < 3; col++) by_g(g + col, 3, down + col, 3);
            for (size_t row = 0; row < 4; row++) by_g(down + 3 * row, 1, term + 4 * row, 1);
            for (size_t i = 0; i < 16; i++)
                store((char *)to + i * step, to_type, in_panel(to_type, k, column), term[i]);
        }
}

void kernels_c_winograd(struct kernels *k) {
    k->winograd_input = input_c;
    k->winograd_output = output_c;
    k->winograd_weights = weights_c;
}
