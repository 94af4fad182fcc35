/* vec_winograd.h: the transformations of Winograd's F(2x2, 3x3) in one instruction set's vocabulary
 * (see vec_math.h). A file that includes this sets the table's entries with use_vec_winograd.
 */
#ifndef KADR_BACKEND_CPU_VEC_WINOGRAD_H
#define KADR_BACKEND_CPU_VEC_WINOGRAD_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/vec_math.h"

/* Four numbers of a tile, down or across; three taps; four sums. */
INLINE void winograd_b(vf d0, vf d1, vf d2, vf d3, vf to[4]) {
    to[0] = v_sub(d0, d2);
    to[1] = v_add(d1, d2);
    to[2] = v_sub(d2, d1);
    to[3] = v_sub(d1, d3);
}
INLINE void winograd_g(vf g0, vf g1, vf g2, vf to[4]) {
    vf half = v_set(0.5f), outer = v_mul(v_add(g0, g2), half), inner = v_mul(g1, half);
    to[0] = g0;
    to[1] = v_add(outer, inner);
    to[2] = v_sub(outer, inner);
    to[3] = g2;
}
INLINE void winograd_a(vf m0, vf m1, vf m2, vf m3, vf to[2]) {
    to[0] = v_add(v_add(m0, m1), m2);
    to[1] = v_sub(v_sub(m1, m2), m3);
}

INLINE void winograd_input_at(const struct winograd_input *w, const char *x, char *out, size_t c,
                              size_t n, enum dtype type) {
    vf down[4][4]; /* [column][term] */
    UNROLL for (size_t col = 0; col < 4; col++) {
        vf d[4];
        UNROLL for (size_t row = 0; row < 4; row++) d[row] =
            v_load_some(x + row * w->line + col * w->pixel, type, c, n);
        winograd_b(d[0], d[1], d[2], d[3], down[col]);
    }
    UNROLL for (size_t row = 0; row < 4; row++) {
        vf term[4];
        winograd_b(down[0][row], down[1][row], down[2][row], down[3][row], term);
        UNROLL for (size_t col = 0; col < 4; col++)
            v_store_some(out + (row * 4 + col) * w->out_step, type, c, n, term[col]);
    }
}

INLINE void winograd_input_typed(const struct winograd_input *w, enum dtype type) {
    for (size_t tile = 0; tile < w->tiles; tile++) {
        const char *x = (const char *)w->x + 2 * tile * w->pixel;
        char *out = (char *)w->out + tile * w->out_tile;
        size_t c = 0;
        for (; c + VL <= w->channels; c += VL) winograd_input_at(w, x, out, c, VL, type);
        if (c < w->channels) winograd_input_at(w, x, out, c, w->channels - c, type);
    }
}

static void vec_winograd_input(const struct winograd_input *w) {
    if (w->type == DTYPE_BF16) winograd_input_typed(w, DTYPE_BF16);
    else winograd_input_typed(w, DTYPE_F32);
}

INLINE void winograd_output_at(const struct winograd_output *w, size_t tile, size_t c, size_t n) {
    const float *sums = w->sums + tile * w->stride;
    float *out = w->out + 2 * tile * w->out_pixel;
    vf down[4][2]; /* [column][line] */
    UNROLL for (size_t col = 0; col < 4; col++) {
        vf m[4];
        UNROLL for (size_t row = 0; row < 4; row++) m[row] =
            v_load_some(sums + (row * 4 + col) * w->step, DTYPE_F32, c, n);
        winograd_a(m[0], m[1], m[2], m[3], down[col]);
    }
    UNROLL for (size_t line = 0; line < 2; line++) {
        vf pixel[2];
        winograd_a(down[0][line], down[1][line], down[2][line], down[3][line], pixel);
        v_store_some(out + line * w->out_line, DTYPE_F32, c, n, pixel[0]);
        v_store_some(out + line * w->out_line + w->out_pixel, DTYPE_F32, c, n, pixel[1]);
    }
}

static void vec_winograd_output(const struct winograd_output *w) {
    for (size_t tile = 0; tile < w->tiles; tile++) {
        size_t c = 0;
        for (; c + VL <= w->cols; c += VL) winograd_output_at(w, tile, c, VL);
        if (c < w->cols) winograd_output_at(w, tile, c, w->cols - c);
    }
}

/* The 16 terms of nine taps, [tap]. */
INLINE void winograd_terms(const vf g[9], vf term[16]) {
    vf down[3][4];
    UNROLL for (int col = 0; col < 3; col++) winograd_g(g[col], g[3 + col], g[6 + col], down[col]);
    UNROLL for (int row = 0; row < 4; row++)
        winograd_g(down[0][row], down[1][row], down[2][row], term + 4 * row);
}

/* VL columns of one channel, or of two. */
INLINE void winograd_weights_f32(char *to, size_t step, const char *from, size_t tap) {
    vf g[9], term[16];
    UNROLL for (size_t i = 0; i < 9; i++) g[i] = v_load_any(from + i * tap, DTYPE_F32, 0);
    winograd_terms(g, term);
    UNROLL for (size_t i = 0; i < 16; i++) v_store_any(to + i * step, DTYPE_F32, 0, term[i]);
}
INLINE void winograd_weights_pair(char *to, size_t step, const char *from, size_t tap,
                                  bool narrow) {
    vf g[2][9], term[2][16];
    UNROLL for (size_t i = 0; i < 9; i++) {
        vf pair = v_load_any(from + i * tap, DTYPE_F32, 0);
        g[0][i] = v_pair_first(pair);
        g[1][i] = v_pair_second(pair);
    }
    winograd_terms(g[0], term[0]);
    winograd_terms(g[1], term[1]);
    UNROLL for (size_t i = 0; i < 16; i++) {
        if (narrow) v_store_any(to + i * step, DTYPE_F32, 0, v_pair(term[0][i], term[1][i]));
        else {
            v_store_any(to + i * step, DTYPE_F32, 0, term[0][i]);
            v_store_any(to + i * step, DTYPE_F32, PANEL, term[1][i]);
        }
    }
}

static void vec_winograd_weights(void *to, size_t step, enum dtype to_type, const void *panel,
                                 enum dtype type, size_t channels) {
    const size_t line = PANEL * 4;
    size_t per = type == DTYPE_BF16 ? 2 : 1, tap = channels / per * line;
    size_t out = to_type == DTYPE_BF16 ? line : per * line;
    for (size_t i = 0; i < channels / per; i++)
        for (size_t j = 0; j < line; j += VL * 4) {
            const char *from = (const char *)panel + i * line + j;
            char *at = (char *)to + i * out + j;
            if (type == DTYPE_F32) winograd_weights_f32(at, step, from, tap);
            else if (to_type == DTYPE_BF16) winograd_weights_pair(at, step, from, tap, true);
            else winograd_weights_pair(at, step, from, tap, false);
        }
}

static void use_vec_winograd(struct kernels *k) {
    k->winograd_input = vec_winograd_input;
    k->winograd_output = vec_winograd_output;
    k->winograd_weights = vec_winograd_weights;
}

#endif
