/* peak_amx.c: see peak.h. Four tiles of sums wait for each other no longer than a product takes. */
#include "kernelcheck.h"

#include <immintrin.h>
#include <string.h>

#define ROUNDS_OF(name, dot, depth)                                                                \
    double name(long rounds, float *sink) {                                                        \
        struct {                                                                                   \
            uint8_t palette, other[15];                                                            \
            uint16_t bytes[16];                                                                    \
            uint8_t rows[16];                                                                      \
        } config = {.palette = 1};                                                                 \
        for (int i = 0; i < 8; i++) config.bytes[i] = 64, config.rows[i] = 16;                     \
        __asm__ volatile("" : : "r"(&config) : "memory");                                          \
        _tile_loadconfig(&config);                                                                 \
        for (long r = 0; r < rounds / 4; r++) {                                                    \
            dot(0, 4, 6);                                                                          \
            dot(1, 4, 7);                                                                          \
            dot(2, 5, 6);                                                                          \
            dot(3, 5, 7);                                                                          \
        }                                                                                          \
        float row[16 * 16];                                                                        \
        _tile_stored(0, row, 64);                                                                  \
        _tile_release();                                                                           \
        *sink = row[0];                                                                            \
        return (double)(rounds / 4) * 4 * 16 * 16 * (depth)*2;                                     \
    }

ROUNDS_OF(peak_amx_bf16, _tile_dpbf16ps, 32)
ROUNDS_OF(peak_amx_i8, _tile_dpbssd, 64)
