/* peak.h: a loop of nothing but multiply-adds in one instruction set's vocabulary: what the machine
 * can do at most. Include it after the vocabulary; PEAK_LOOP(name, multiply, ops) makes the
 * function, which does `rounds` rounds and returns the floating-point operations of all:
 * multiply(sum, x, y) is one instruction of `ops` operations a lane. PEAK_CHAINS of them do not
 * wait for each other: enough for a latency of 4 to 6 and two units, and no more than there are
 * registers for.
 */
#include "backend/cpu/vec_math.h"

#define PEAK_LOOP(name, multiply, ops)                                                             \
    double name(long rounds, float *sink) {                                                        \
        vf sum[PEAK_CHAINS], x = v_set(0), y = v_set(0), all = v_set(0);                           \
        KEEP(x);                                                                                   \
        KEEP(y);                                                                                   \
        UNROLL for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = v_set((float)i);                     \
        for (long r = 0; r < rounds; r++) {                                                        \
            UNROLL for (int i = 0; i < PEAK_CHAINS; i++) {                                         \
                sum[i] = multiply(sum[i], x, y);                                                   \
                KEEP(sum[i]);                                                                      \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int i = 0; i < PEAK_CHAINS; i++) all = v_add(all, sum[i]);                     \
        *sink = v_sum(all);                                                                        \
        return (double)rounds * PEAK_CHAINS * VL * (ops);                                          \
    }
