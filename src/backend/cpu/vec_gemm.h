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

typedef vf tile_sums[TILE_ROWS_MOST][TILE_VECS_MOST];

INLINE float *tile_c(const struct gemm_tile *t, int row, int vec) {
    return t->c + (size_t)row * t->c_stride + vec * VL;
}

INLINE void tile_begin(const struct gemm_tile *t, int rows, int vecs, tile_sums sum) {
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vecs; v++) sum[r][v] =
        t->accumulate ? v_load(tile_c(t, r, v)) : v_set(0);
}

INLINE void tile_end(const struct gemm_tile *t, int rows, int vecs, tile_sums sum) {
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vecs; v++)
        v_store(tile_c(t, r, v), sum[r][v]);
}

/* Row r of A: three rows a pointer, the rest by the addressing mode. */
#define TILE_POINTERS ((TILE_ROWS_MOST + 2) / 3)
INLINE void tile_rows(const struct gemm_tile *t, int rows, size_t piece,
                      const char *a[TILE_POINTERS]) {
    UNROLL for (int i = 0; 3 * i < rows; i++) a[i] =
        (const char *)t->a + piece * t->a_piece + (size_t)(3 * i) * t->a_stride;
}
INLINE const char *tile_a(const struct gemm_tile *t, const char *const *a, int r) {
    return a[r / 3] + (size_t)(r % 3) * t->a_stride;
}

/* What all rows share in a piece that has `steps` of depth; a step is a line of a panel. */
struct tile_walk {
    const char *b, *ahead;
};
INLINE struct tile_walk tile_walk(const struct gemm_tile *t, size_t piece, size_t steps) {
    return (struct tile_walk){(const char *)t->b + piece * steps * PANEL * 4,
                              (const char *)t->ahead + piece * steps * t->ahead_step};
}
/* Where vector v of B lies at this step. */
INLINE const void *tile_b(const struct gemm_tile *t, const struct tile_walk *w, int v) {
    return w->b + (size_t)(v / PANEL_VECS) * t->b_stride + (v % PANEL_VECS) * VL * 4;
}
INLINE void tile_step(const struct gemm_tile *t, struct tile_walk *w) {
    __builtin_prefetch(w->ahead, 0, 2);
    w->ahead += t->ahead_step;
    w->b += PANEL * 4;
}

INLINE void tile_f32(const struct gemm_tile *t, int rows, int vecs) {
    tile_sums sum;
    const char *a[TILE_POINTERS];
    tile_begin(t, rows, vecs, sum);
    for (size_t piece = 0; piece < t->pieces; piece++) {
        struct tile_walk w = tile_walk(t, piece, t->k);
        tile_rows(t, rows, piece, a);
        for (size_t k = 0; k < t->k; k++) {
            vf b[TILE_VECS_MOST];
            UNROLL for (int v = 0; v < vecs; v++) b[v] = v_load(tile_b(t, &w, v));
            UNROLL for (int r = 0; r < rows; r++) {
                vf x = v_set(((const float *)(const void *)tile_a(t, a, r))[k]);
                UNROLL for (int v = 0; v < vecs; v++) sum[r][v] = v_fma(x, b[v], sum[r][v]);
            }
            tile_step(t, &w);
        }
    }
    tile_end(t, rows, vecs, sum);
}

#define TILE_CASE(body, rows_, vecs_)                                                              \
    case rows_:                                                                                    \
        body(t, rows_, vecs_);                                                                     \
        break;
#define TILE_SWITCH_4(body, vecs)                                                                  \
    TILE_CASE(body, 1, vecs)                                                                       \
    TILE_CASE(body, 2, vecs)                                                                       \
    TILE_CASE(body, 3, vecs) TILE_CASE(body, 4, vecs)
#define TILE_SWITCH_6(body, vecs)                                                                  \
    TILE_SWITCH_4(body, vecs)                                                                      \
    TILE_CASE(body, 5, vecs) TILE_CASE(body, 6, vecs)
#define TILE_SWITCH_14(body, vecs)                                                                 \
    TILE_SWITCH_6(body, vecs)                                                                      \
    TILE_CASE(body, 7, vecs)                                                                       \
    TILE_CASE(body, 8, vecs)                                                                       \
    TILE_CASE(body, 9, vecs)                                                                       \
    TILE_CASE(body, 10, vecs)                                                                      \
    TILE_CASE(body, 11, vecs)                                                                      \
    TILE_CASE(body, 12, vecs) TILE_CASE(body, 13, vecs) TILE_CASE(body, 14, vecs)

/* A gemm_fn of tiles of up to 4, 6 or 14 rows by 1 or 2 panels. */
#define GEMM_KERNEL(name, body, row_switch, panels_most)                                           \
    static void name(const struct gemm_tile *t) {                                                  \
        if (t->panels == panels_most) switch (t->rows) {                                           \
                row_switch(body, panels_most *PANEL_VECS)                                          \
            }                                                                                      \
        else switch (t->rows) {                                                                    \
                row_switch(body, PANEL_VECS)                                                       \
            }                                                                                      \
    }

#endif
