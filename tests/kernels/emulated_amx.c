/* emulated_amx.c: as emulated.c, the kernels of AMX: a tile as Intel's manual defines it. */
#include "emulated.h"

/* Tiles, of which the rows are those that were loaded or cleared last. */
struct tile_config_in_memory {
    uint8_t before[16];
    uint16_t bytes[16];
    uint8_t rows[16];
};
static _Thread_local struct tile_config_in_memory tile_config;
static _Thread_local union {
    float f[16];
    int32_t s[16];
    uint16_t h[32];
    int8_t c[64];
} tiles_held[8][16];

EMULATE void emulated_tile_config(const void *config) {
    memcpy(&tile_config, config, sizeof tile_config);
    memset(tiles_held, 0, sizeof tiles_held);
}
EMULATE void emulated_tile_zero(int tile) {
    memset(tiles_held[tile], 0, sizeof tiles_held[tile]);
}
EMULATE void emulated_tile_load(int tile, const void *from, size_t stride) {
    emulated_tile_zero(tile);
    for (int r = 0; r < tile_config.rows[tile]; r++)
        memcpy(&tiles_held[tile][r], (const char *)from + (size_t)r * stride,
               tile_config.bytes[tile]);
}
EMULATE void emulated_tile_store(int tile, void *to, size_t stride) {
    for (int r = 0; r < tile_config.rows[tile]; r++)
        memcpy((char *)to + (size_t)r * stride, &tiles_held[tile][r], tile_config.bytes[tile]);
}
static float from_bf16(uint16_t h) {
    union lanes x;
    x.u[0] = (uint32_t)h << 16;
    return x.f[0];
}
EMULATE void emulated_tile_dot(int sum, int a, int b) {
    for (int r = 0; r < tile_config.rows[sum]; r++)
        for (int n = 0; n < 16; n++) {
            float s = 0;
            for (int k = 0; k < 32; k++)
                s = fmaf(from_bf16(tiles_held[a][r].h[k]),
                         from_bf16(tiles_held[b][k / 2].h[2 * n + k % 2]), s);
            tiles_held[sum][r].f[n] += s;
        }
}
EMULATE void emulated_tile_dot_bytes(int sum, int a, int b) {
    for (int r = 0; r < tile_config.rows[sum]; r++)
        for (int n = 0; n < 16; n++)
            for (int k = 0; k < 64; k++)
                tiles_held[sum][r].s[n] +=
                    tiles_held[a][r].c[k] * tiles_held[b][k / 4].c[4 * n + k % 4];
}

#define _tile_loadconfig emulated_tile_config
#define _tile_release() ((void)0)
#undef _tile_zero
#define _tile_zero emulated_tile_zero
#undef _tile_loadd
#define _tile_loadd emulated_tile_load
#undef _tile_stream_loadd
#define _tile_stream_loadd emulated_tile_load
#undef _tile_stored
#define _tile_stored emulated_tile_store
#undef _tile_dpbf16ps
#define _tile_dpbf16ps emulated_tile_dot
#undef _tile_dpbssd
#define _tile_dpbssd emulated_tile_dot_bytes

#define kernels_amx emulated_amx
#include "backend/cpu/x86/amx.c"
