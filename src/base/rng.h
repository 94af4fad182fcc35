/* rng.h: the random numbers of torch, addressed by seed and index, so that a run can be resumed and
 * the same seed draws the same picture as other programs do.
 */
#ifndef KADR_BASE_RNG_H
#define KADR_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

enum rng_kind {
    RNG_TORCH, /* torch.Generator on a CPU: mt19937. Uniforms are exact, normals to 1e-6 */
    RNG_PHILOX /* torch on CUDA, as A1111's "NV" source: Philox4x32-10 */
};

/* What the (index + 1)-th of successive calls torch.randn(count) with one generator of that seed
 * gives: float32 standard normals. Torch's generator is replayed from its seed, which costs a few
 * milliseconds for a million numbers; of its seed only the low 32 bits count, as in torch. Philox
 * needs no replay. It gives CUDA's numbers where each thread of the GPU draws one, as A1111's does;
 * for counts beyond the threads that a GPU runs at once, torch's layout depends on the GPU.
 * Compared with published numbers, not on a GPU. */
void rng_normals(enum rng_kind kind, uint64_t seed, uint32_t index, size_t count, float *to);

#endif
