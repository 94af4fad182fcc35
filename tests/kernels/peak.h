/* peak.h: a loop of nothing but multiply-adds in one instruction set's vocabulary: what the machine
 * can do at most. Include it after the vocabulary; PEAK_LOOP(name) makes the function, which does
 * `rounds` rounds and returns the floating-point operations of all. */
#include "backend/cpu/vec_math.h"

#define PEAK_CHAINS 12 /* enough for a latency of 4 to 6 and two units */

#define PEAK_LOOP(name)                                                                            \
    double name(long rounds, float *sink) {                                                        \
        vf sum[PEAK_CHAINS], x = v_set(0.999f), y = v_set(1e-3f), all = v_set(0);                  \
        UNROLL for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = v_set((float)i);                     \
        for (long r = 0; r < rounds; r++) {                                                        \
            UNROLL for (int i = 0; i < PEAK_CHAINS; i++) {                                         \
                sum[i] = v_fma(sum[i], x, y);                                                      \
                KEEP(sum[i]);                                                                      \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int i = 0; i < PEAK_CHAINS; i++) all = v_add(all, sum[i]);                     \
        *sink = v_sum(all);                                                                        \
        return (double)rounds * PEAK_CHAINS * VL * 2;                                              \
    }
