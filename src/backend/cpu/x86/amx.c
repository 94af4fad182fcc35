/* amx.c: products of bf16 and int8 for processors with AMX, which multiplies tiles: registers of 16
 * rows of 64 bytes. A tile of B is 16 lines of a panel as it lies in memory; of A, 64 bytes of 16
 * rows; four tiles of sums, 2 by 2, are at work at a time.
 *
 * A tile's product is summed up from zero and then added: so bits depend on where a tile begins,
 * and the depth may only be cut between tiles.
 */
#include "backend/cpu/x86/vec_avx512.h"

#include "backend/cpu/vec_gemm.h"
#define I8_ZERO 0
#include "backend/cpu/vec_i8.h"

enum { TILE = 16, LINE = 64 }; /* rows of a tile, bytes of a row */
enum { ROWS = 2 * TILE, PANELS = 2 };

/* As LDTILECFG takes it. */
struct tile_config {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

/* Tiles 0 to 3 are sums, 4 and 5 rows of A, the first 16 and what is left of `n`, 6 and 7 panels.
 */
#define FIRST(n) ((n) < TILE ? (n) : TILE)
#define REST(n) ((n) > TILE ? (n)-TILE : (n))
#define CONFIG(n)                                                                                  \
    [n] = {1,                                                                                      \
           0,                                                                                      \
           {0},                                                                                    \
           {LINE, LINE, LINE, LINE, LINE, LINE, LINE, LINE},                                       \
           {FIRST(n), FIRST(n), REST(n), REST(n), FIRST(n), REST(n), TILE, TILE}}
#define CONFIG_4(n) CONFIG(n), CONFIG(n + 1), CONFIG(n + 2), CONFIG(n + 3)
static const struct tile_config configs[ROWS + 1] = {CONFIG_4(1),  CONFIG_4(5),  CONFIG_4(9),
                                                     CONFIG_4(13), CONFIG_4(17), CONFIG_4(21),
                                                     CONFIG_4(25), CONFIG_4(29)};

/* Rows that this thread's tiles are set up for; 0: they are not in use. */
static _Thread_local int ready;

static void set_up(int rows) {
    if (ready == rows) return;
    _tile_loadconfig(&configs[rows]);
    ready = rows;
}

static void leave(void) {
    if (ready) _tile_release();
    ready = 0;
}

/* What the compiler has not stored yet is stored: it does not know that a tile is loaded from it.
 */
#define STORED() __asm__ volatile("" ::: "memory")

#define DOT(type, sum, a, b)                                                                       \
    do {                                                                                           \
        if ((type) == DTYPE_I8) _tile_dpbssd(sum, a, b);                                           \
        else _tile_dpbf16ps(sum, a, b);                                                            \
    } while (0)

/* 64 bytes of each row of A by 16 lines of each panel, which pass the first cache by. */
INLINE void tiles_step(enum dtype type, bool rest, bool pair, const char *a, size_t a_stride,
                       const char *b, size_t b_stride) {
    _tile_loadd(4, a, a_stride);
    _tile_stream_loadd(6, b, LINE);
    DOT(type, 0, 4, 6);
    if (pair) {
        _tile_stream_loadd(7, b + b_stride, LINE);
        DOT(type, 1, 4, 7);
    }
    if (rest) {
        _tile_loadd(5, a + TILE * a_stride, a_stride);
        DOT(type, 2, 5, 6);
        if (pair) DOT(type, 3, 5, 7);
    }
}

/* The end of a piece that fills no tile: `bytes` of each row, the rest zeros. */
INLINE void tiles_end(enum dtype type, bool rest, bool pair, const struct gemm_tile *t,
                      const char *a, const char *b, size_t bytes) {
    char rows[ROWS * LINE] = {0}, lines[PANELS * TILE * LINE] = {0};
    for (int r = 0; r < t->rows; r++) memcpy(rows + r * LINE, a + (size_t)r * t->a_stride, bytes);
    for (int p = 0; p <= pair; p++)
        memcpy(lines + p * TILE * LINE, b + (size_t)p * t->b_stride, bytes / 4 * LINE);
    STORED();
    tiles_step(type, rest, pair, rows, LINE, lines, TILE * LINE);
}

INLINE void tiles(enum dtype type, bool rest, bool pair, const struct gemm_tile *t) {
    const size_t stride = t->c_stride * sizeof(float), bytes = t->k * dtype_size(type);
    float *below = t->c + TILE * t->c_stride;
    if (t->accumulate) {
        STORED();
        _tile_loadd(0, t->c, stride);
        if (pair) _tile_loadd(1, t->c + PANEL, stride);
        if (rest) _tile_loadd(2, below, stride);
        if (rest && pair) _tile_loadd(3, below + PANEL, stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    const char *b = t->b, *ahead = t->ahead;
    for (size_t piece = 0; piece < t->pieces; piece++) {
        const char *a = (const char *)t->a + piece * t->a_piece;
        size_t at = 0;
        for (; at + LINE <= bytes; at += LINE, b += TILE * LINE) {
            for (size_t i = 0; i < TILE * t->ahead_step; i += LINE)
                __builtin_prefetch(ahead + i, 0, 2);
            ahead += TILE * t->ahead_step;
            tiles_step(type, rest, pair, a + at, t->a_stride, b, t->b_stride);
        }
        if (at == bytes) continue;
        tiles_end(type, rest, pair, t, a + at, b, bytes - at);
        b += (bytes - at) / 4 * LINE;
    }
    _tile_stored(0, t->c, stride);
    if (pair) _tile_stored(1, t->c + PANEL, stride);
    if (rest) _tile_stored(2, below, stride);
    if (rest && pair) _tile_stored(3, below + PANEL, stride);
}

INLINE void tiles_of(enum dtype type, const struct gemm_tile *t) {
    set_up(t->rows);
    bool pair = t->panels == PANELS;
    if (t->rows > TILE) {
        if (pair) tiles(type, true, true, t);
        else tiles(type, true, false, t);
    } else if (pair) tiles(type, false, true, t);
    else tiles(type, false, false, t);
}

static void gemm_bf16_amx(const struct gemm_tile *t) {
    tiles_of(DTYPE_BF16, t);
}

static void gemm_i8_amx(const struct gemm_tile *t) {
    tiles_of(DTYPE_I8, t);
}

void kernels_amx(struct kernels *k) {
    USE_VEC_I8(k);
    k->gemm_bf16 = (struct gemm_kernel){.name = "gemm_bf16_amx",
                                        .run = gemm_bf16_amx,
                                        .rows = ROWS,
                                        .panels = PANELS,
                                        .near = NEAR_ROWS,
                                        .plain_conv = true,
                                        .depth = LINE / 2,
                                        .leave = leave};
    k->gemm_i8 = (struct gemm_kernel){.name = "gemm_i8_amx",
                                      .run = gemm_i8_amx,
                                      .rows = ROWS,
                                      .panels = PANELS,
                                      .near = NEAR_ROWS,
                                      .depth = LINE,
                                      .leave = leave};
}
