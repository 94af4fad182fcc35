/* emulated.c: the kernels of AVX-512 in plain C: what they compute is checked on processors that
 * have none of their instructions. */
#include "emulated.h"

#define kernels_avx512 emulated_avx512
#define kernels_avx512_bf16 emulated_avx512_bf16
#define kernels_avx512_vnni emulated_avx512_vnni
#include "backend/cpu/x86/avx512.c"

#include "backend/cpu/x86/avx512_bf16.c"

#include "backend/cpu/x86/avx512_vnni.c"
