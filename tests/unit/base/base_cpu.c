/* What the processor can do, as the environment masks it, and what the system tells. As the flags
 * are found once a process, each case is a process of its own: this program called with "flags". */
#include "base/cpu.h"
#include "base/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char self[4096];

/* cpu_flags() of a process with that KADR_CPU; NULL: none. */
static unsigned flags_with(const char *list) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        if (list) setenv("KADR_CPU", list, 1);
        else unsetenv("KADR_CPU");
        execl(self, self, "flags", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    char text[32] = "";
    size_t n = 0;
    for (ssize_t got;
         n < sizeof text - 1 && (got = read(ends[0], text + n, sizeof text - 1 - n)) > 0;)
        n += (size_t)got;
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    return (unsigned)strtoul(text, NULL, 10);
}

static void the_environment_masks(void **unused) {
    (void)unused;
    unsigned all = flags_with(NULL);
    assert_int_equal(flags_with(""), all);
    assert_int_equal(flags_with("c"), 0);
    assert_int_equal(flags_with("none,such"), 0);
    assert_int_equal(flags_with("avx2"), all & CPU_AVX2);
    assert_int_equal(flags_with("c,avx2,,avx512,"), all & (CPU_AVX2 | CPU_AVX512));
    assert_int_equal(flags_with("avx"), 0);
    assert_int_equal(flags_with("avx512bf16,avx512vnni"),
                     all & (CPU_AVX512_BF16 | CPU_AVX512_VNNI));
    assert_int_equal(flags_with("neon,fp16,dot,bf16,i8mm"),
                     all &
                         (CPU_NEON | CPU_NEON_FP16 | CPU_NEON_DOT | CPU_NEON_BF16 | CPU_NEON_I8MM));
}

/* The compiler's own detection says the same. */
static void flags_are_the_processors(void **unused) {
    (void)unused;
    unsigned all = flags_with(NULL);
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    assert_int_equal((all & CPU_AVX2) != 0, avx2);
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    assert_int_equal((all & CPU_AVX512) != 0, avx512);
    assert_int_equal((all & CPU_AVX512_VNNI) != 0, avx512 && __builtin_cpu_supports("avx512vnni"));
    assert_int_equal(all & (CPU_NEON | CPU_NEON_BF16), 0);
#elif defined(__aarch64__)
    assert_true(all & CPU_NEON);
    assert_int_equal(all & CPU_AVX2, 0);
#else
    assert_int_equal(all, 0);
#endif
}

static void numbers_of_the_system(void **unused) {
    (void)unused;
    long online = sysconf(_SC_NPROCESSORS_ONLN), page = sysconf(_SC_PAGESIZE);
    assert_in_range(cpu_count(), 1, online);
    assert_int_equal(sys_page(), page);
    struct cpu_caches c = cpu_caches();
    assert_in_range(c.l1d, 8 << 10, 1 << 20);
    assert_in_range(c.l2, 64 << 10, 64 << 20);
    assert_true(c.l3 >= c.l2);
    uint64_t total = sys_memory_total(), left = sys_memory_free();
    assert_true(total >= (uint64_t)64 << 20);
    assert_true(total <= (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)page);
    assert_true(left <= total);
    double before = sys_seconds();
    usleep(20000);
    double took = sys_seconds() - before;
    assert_true(took >= 0.019 && took < 20);
}

/* Pages that are touched are counted, released ones not, and the peak stays. */
static void memory_is_measured(void **unused) {
    (void)unused;
    size_t size = (size_t)64 << 20;
    uint64_t before = sys_memory_now();
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    memset(p, 1, size);
    uint64_t held = sys_memory_now();
    assert_true(held >= before + size / 2);
    sys_release(p, size);
    assert_true(sys_memory_now() <= held - size / 2);
    assert_true(sys_memory_peak() >= held - (1 << 20));
    for (size_t i = 0; i < size; i += 997) assert_int_equal(p[i], 0);
    munmap(p, size);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "flags") == 0) {
        printf("%u\n", cpu_flags());
        return 0;
    }
    if (!realpath(argv[0], self)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_masks),
        cmocka_unit_test(flags_are_the_processors),
        cmocka_unit_test(numbers_of_the_system),
        cmocka_unit_test(memory_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
