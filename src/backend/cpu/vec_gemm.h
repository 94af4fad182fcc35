/* vec_gemm.h: the product's tile in one instruction set's vocabulary (see vec_math.h). Sums live in
 * registers: ROWS rows times `vecs` vectors; GEMM_KERNEL makes the function of the table, which
 * picks the tile compiled for exactly the rows and panels that it is given.
 */
#ifndef KADR_BACKEND_CPU_VEC_GEMM_H
#define KADR_BACKEND_CPU_VEC_GEMM_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/vec_math.h"

#define PANEL_VECS (PANEL / VL)
#define TILE_ROWS_MOST 14
#define TILE_VECS_MOST 4

struct tile {
    const char *a;
    size_t a_stride;
    const char *b;
    size_t b_stride;
    float *c;
    size_t c_stride;
    size_t k;
    bool accumulate;
};

typedef vf tile_sums[TILE_ROWS_MOST][TILE_VECS_MOST];

INLINE float *tile_c(const struct tile *t, int row, int vec) {
    return t->c + (size_t)row * t->c_stride + vec * VL;
}

INLINE void tile_begin(const struct tile *t, int rows, int vecs, tile_sums sum) {
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vecs; v++) sum[r][v] =
        t->accumulate ? v_load(tile_c(t, r, v)) : v_set(0);
}

INLINE void tile_end(const struct tile *t, int rows, int vecs, tile_sums sum) {
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vecs; v++)
        v_store(tile_c(t, r, v), sum[r][v]);
}

/* Row r of A: three rows a pointer, the rest by the addressing mode. */
#define TILE_POINTERS ((TILE_ROWS_MOST + 2) / 3)
INLINE void tile_rows(const struct tile *t, int rows, const char *a[TILE_POINTERS]) {
    UNROLL for (int i = 0; 3 * i < rows; i++) a[i] = t->a + (size_t)(3 * i) * t->a_stride;
}
INLINE const char *tile_a(const struct tile *t, const char *const *a, int r) {
    return a[r / 3] + (size_t)(r % 3) * t->a_stride;
}

/* Address of vector v at depth 0. */
INLINE const char *tile_b(const struct tile *t, int v) {
    return t->b + (size_t)(v / PANEL_VECS) * t->b_stride + (v % PANEL_VECS) * VL * 4;
}

INLINE void tile_f32(const struct tile *t, int rows, int vecs) {
    tile_sums sum;
    const char *a[TILE_POINTERS];
    tile_rows(t, rows, a);
    tile_begin(t, rows, vecs, sum);
    for (size_t k = 0; k < t->k; k++) {
        vf b[TILE_VECS_MOST];
        UNROLL for (int v = 0; v < vecs; v++) b[v] =
            v_load((const float *)(const void *)(tile_b(t, v) + k * PANEL * 4));
        UNROLL for (int r = 0; r < rows; r++) {
            vf x = v_set(((const float *)(const void *)tile_a(t, a, r))[k]);
            UNROLL for (int v = 0; v < vecs; v++) sum[r][v] = v_fma(x, b[v], sum[r][v]);
        }
    }
    tile_end(t, rows, vecs, sum);
}

#define TILE_CASE(body, rows_, vecs_)                                                              \
    case rows_:                                                                                    \
        body(&t, rows_, vecs_);                                                                    \
        break;
#define TILE_SWITCH_6(body, vecs)                                                                  \
    TILE_CASE(body, 1, vecs)                                                                       \
    TILE_CASE(body, 2, vecs)                                                                       \
    TILE_CASE(body, 3, vecs)                                                                       \
    TILE_CASE(body, 4, vecs) TILE_CASE(body, 5, vecs) TILE_CASE(body, 6, vecs)
#define TILE_SWITCH_14(body, vecs)                                                                 \
    TILE_SWITCH_6(body, vecs)                                                                      \
    TILE_CASE(body, 7, vecs)                                                                       \
    TILE_CASE(body, 8, vecs)                                                                       \
    TILE_CASE(body, 9, vecs)                                                                       \
    TILE_CASE(body, 10, vecs)                                                                      \
    TILE_CASE(body, 11, vecs)                                                                      \
    TILE_CASE(body, 12, vecs) TILE_CASE(body, 13, vecs) TILE_CASE(body, 14, vecs)

/* A gemm_fn of tiles of up to 6 or 14 rows by 1 or 2 panels. */
#define GEMM_KERNEL(name, body, row_switch, panels_most)                                           \
    static void name(int rows, int panels, size_t k, const void *a, size_t a_stride,               \
                     const void *b, size_t b_stride, float *c, size_t c_stride, bool accumulate) { \
        const struct tile t = {a, a_stride, b, b_stride, c, c_stride, k, accumulate};              \
        if (panels == panels_most) switch (rows) {                                                 \
                row_switch(body, panels_most *PANEL_VECS)                                          \
            }                                                                                      \
        else switch (rows) {                                                                       \
                row_switch(body, PANEL_VECS)                                                       \
            }                                                                                      \
    }

#endif
