/* cpu.c: see cpu.h. The flags are the one write-once global: every thread that races to find them
 * finds the same. */
#include "base/cpu.h"
#include "base/sys.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned flag;
} names[] = {
    {"avx2", CPU_AVX2},
    {"avx512", CPU_AVX512},
    {"avx512bf16", CPU_AVX512_BF16},
    {"avx512vnni", CPU_AVX512_VNNI},
    {"amx", CPU_AMX},
    {"neon", CPU_NEON},
    {"fp16", CPU_NEON_FP16},
    {"dot", CPU_NEON_DOT},
    {"bf16", CPU_NEON_BF16},
    {"i8mm", CPU_NEON_I8MM},
};

#if defined(__x86_64__)
#include <cpuid.h>

static uint64_t xgetbv(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static unsigned detect(void) {
    unsigned a, b, c, d, flags = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    bool osxsave = c >> 27 & 1, avx = c >> 28 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
    if (!osxsave || !avx) return 0;
    uint64_t xcr = xgetbv();
    if ((xcr & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if (fma && f16c && (b >> 5 & 1)) flags |= CPU_AVX2;
    bool zmm = (xcr & 0xE6) == 0xE6;
    bool f = b >> 16 & 1, dq = b >> 17 & 1, bw = b >> 30 & 1, vl = b >> 31 & 1;
    if (!(flags & CPU_AVX2) || !zmm || !f || !dq || !bw || !vl) return flags;
    flags |= CPU_AVX512;
    if (c >> 11 & 1) flags |= CPU_AVX512_VNNI;
    bool amx = d >> 22 & 1 && d >> 24 & 1 && d >> 25 & 1 && (xcr & 0x60000) == 0x60000;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1)) flags |= CPU_AVX512_BF16;
    const unsigned beside = CPU_AVX512_BF16 | CPU_AVX512_VNNI;
    if (amx && (flags & beside) == beside && sys_use_tiles()) flags |= CPU_AMX;
    return flags;
}
#else
static unsigned detect(void) {
    return sys_arm_flags();
}
#endif

/* Only the levels named in a comma-separated list; "c" names none. */
static unsigned mask(unsigned found, const char *list) {
    unsigned allowed = 0;
    while (*list) {
        size_t n = strcspn(list, ",");
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (strlen(names[i].name) == n && strncmp(names[i].name, list, n) == 0)
                allowed |= names[i].flag;
        list += n + (list[n] == ',');
    }
    return found & allowed;
}

unsigned cpu_flags(void) {
    static atomic_uint known; /* the top bit says that it is filled in */
    unsigned flags = atomic_load(&known);
    if (flags) return flags & ~(1u << 31);
    flags = detect();
    const char *list = getenv("KADR_CPU");
    if (list && *list) flags = mask(flags, list);
    atomic_store(&known, flags | 1u << 31);
    return flags;
}

void cpu_flags_text(unsigned flags, char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && used < size; i++)
        if (flags & names[i].flag)
            used +=
                (size_t)snprintf(text + used, size - used, "%s%s", used ? " " : "", names[i].name);
}

int cpu_count(void) {
    int n = sys_processors();
    return n < 1 ? 1 : n;
}

struct cpu_caches cpu_caches(void) {
    struct cpu_caches c;
    sys_caches(&c.l1d, &c.l2, &c.l3);
    if (c.l1d < 8 << 10 || c.l1d > 1 << 20) c.l1d = 32 << 10;
    if (c.l2 < 64 << 10 || c.l2 > 64 << 20) c.l2 = 512 << 10;
    if (c.l3 < c.l2) c.l3 = c.l2;
    return c;
}
