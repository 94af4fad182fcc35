/* with_blas PROGRAM [ARGUMENT...]: runs a test with products of f32 by a BLAS of the system's
 * (OpenBLAS; on macOS Accelerate is what tests use anyway); 77, which skips it, where there is
 * none. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static const char *const names[] = {"libopenblas.so.0", "libopenblas.dylib",
                                        "/opt/homebrew/opt/openblas/lib/libopenblas.dylib"};
    for (size_t i = 0; argc > 1 && i < sizeof names / sizeof *names; i++) {
        if (!dlopen(names[i], RTLD_LAZY)) continue;
        setenv("KADR_BLAS", names[i], 1);
        execv(argv[1], argv + 1);
        perror(argv[1]);
        return 1;
    }
    puts("skipped: no OpenBLAS here");
    return 77;
}
