/* rng.c: see rng.h. mt19937 after Matsumoto and Nishimura (1998), Philox after Salmon et al.,
 * "Parallel random numbers: as easy as 1, 2, 3" (2011); how torch makes normals of them was found
 * in its behaviour.
 */
#include "base/rng.h"

#include <math.h>
#include <stdbool.h>

#define TWO_PI 6.283185307179586

/* ---- mt19937 */
#define MT_N 624
#define MT_M 397

struct mt {
    uint32_t state[MT_N];
    int at;
};

static void mt_seed(struct mt *g, uint64_t seed) {
    g->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < MT_N; i++)
        g->state[i] = 1812433253u * (g->state[i - 1] ^ (g->state[i - 1] >> 30)) + i;
    g->at = MT_N;
}

static void mt_refill(struct mt *g) {
    for (int i = 0; i < MT_N; i++) {
        uint32_t y = (g->state[i] & 0x80000000u) | (g->state[(i + 1) % MT_N] & 0x7FFFFFFFu);
        g->state[i] = g->state[(i + MT_M) % MT_N] ^ (y >> 1) ^ (y & 1 ? 0x9908B0DFu : 0);
    }
    g->at = 0;
}

static uint32_t mt_next(struct mt *g) {
    if (g->at == MT_N) mt_refill(g);
    uint32_t y = g->state[g->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9D2C5680u;
    y ^= (y << 15) & 0xEFC60000u;
    return y ^ (y >> 18);
}

static float uniform24(struct mt *g) {
    return (float)(mt_next(g) & 0xFFFFFFu) * 0x1p-24f;
}

static double uniform53(struct mt *g) {
    uint64_t high = mt_next(g);
    uint64_t both = high << 32 | mt_next(g);
    return (double)(both & 0x1FFFFFFFFFFFFFull) * 0x1p-53;
}

/* Box-Muller over 16 uniforms in place: the first eight with the last eight. */
static void sixteen(float *x) {
    for (int i = 0; i < 8; i++) {
        float radius = sqrtf(-2.0f * logf(1.0f - x[i]));
        float theta = (float)TWO_PI * x[i + 8];
        x[i] = radius * cosf(theta);
        x[i + 8] = radius * sinf(theta);
    }
}

static void torch_many(struct mt *g, size_t count, float *to) {
    for (size_t i = 0; i < count; i++) to[i] = uniform24(g);
    for (size_t i = 0; i + 15 < count; i += 16) sixteen(to + i);
    if (count % 16 == 0) return;
    float *tail = to + count - 16;
    for (int i = 0; i < 16; i++) tail[i] = uniform24(g);
    sixteen(tail);
}

/* Fewer than 16: one by one in f64, each pair's second number kept for the next call. */
static void torch_few(struct mt *g, bool *kept, double *second, size_t count, float *to) {
    for (size_t i = 0; i < count; i++) {
        if (*kept) {
            to[i] = (float)*second;
            *kept = false;
            continue;
        }
        double u1 = uniform53(g), u2 = uniform53(g);
        double radius = sqrt(-2.0 * log1p(-u2));
        to[i] = (float)(radius * cos(TWO_PI * u1));
        *second = radius * sin(TWO_PI * u1);
        *kept = true;
    }
}

static void torch_normals(uint64_t seed, uint32_t index, size_t count, float *to) {
    struct mt g;
    bool kept = false;
    double second = 0;
    mt_seed(&g, seed);
    for (uint32_t i = 0; i < index; i++) {
        if (count < 16) torch_few(&g, &kept, &second, count, to);
        else
            for (size_t j = 0; j < count + (count % 16 ? 16 : 0); j++) mt_next(&g);
    }
    if (count < 16) torch_few(&g, &kept, &second, count, to);
    else torch_many(&g, count, to);
}

/* ---- Philox4x32-10 */
static void philox(uint32_t c[4], uint64_t key) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)c[0] * 0xD2511F53u, b = (uint64_t)c[2] * 0xCD9E8D57u;
        uint32_t next0 = (uint32_t)(b >> 32) ^ c[1] ^ k0;
        uint32_t next2 = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[0] = next0;
        c[1] = (uint32_t)b;
        c[2] = next2;
        c[3] = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static void philox_normals(uint64_t seed, uint32_t index, size_t count, float *to) {
    const float unit = 2.3283064e-10f, turn = 2.3283064e-10f * 6.2831855f;
    for (size_t i = 0; i < count; i++) {
        uint32_t c[4] = {index, 0, (uint32_t)i, 0};
        philox(c, seed);
        float u = (float)c[0] * unit + unit / 2, v = (float)c[1] * turn + turn / 2;
        to[i] = sqrtf(-2.0f * logf(u)) * sinf(v);
    }
}

void rng_normals(enum rng_kind kind, uint64_t seed, uint32_t index, size_t count, float *to) {
    if (kind == RNG_TORCH) torch_normals(seed, index, count, to);
    else philox_normals(seed, index, count, to);
}
