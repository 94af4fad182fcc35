/* sys_linux.c: sys.h on Linux. Both versions of cgroups are looked at, because a container's limit
 * is what the process really has. */
#include "base/cpu.h"
#include "base/sys.h"

#include <fcntl.h>
#include <inttypes.h>
#include <locale.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

void sys_name_thread(const char *name) {
    pthread_setname_np(pthread_self(), name);
}

double sys_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The number after `key` in a file of "key: number kB" lines, in bytes; 0 when it is not there. */
static uint64_t read_field(const char *path, const char *key) {
    FILE *f = fopen(path, "re");
    if (!f) return 0;
    char line[256];
    uint64_t value = 0;
    size_t n = strlen(key);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, key, n) == 0) {
            if (sscanf(line + n, " %" SCNu64, &value) == 1) value *= 1024;
            break;
        }
    fclose(f);
    return value;
}

/* A file with one number; false for "max" or none. */
static bool read_number(const char *path, uint64_t *out) {
    FILE *f = fopen(path, "re");
    if (!f) return false;
    bool ok = fscanf(f, "%" SCNu64, out) == 1;
    fclose(f);
    return ok;
}

/* Folder of this process's cgroup for a controller ("memory", "cpu"), version 2 or 1. */
static bool cgroup_folder(const char *controller, char *folder, size_t size, bool *v2) {
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f) return false;
    char line[512];
    bool found = false;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *names = strchr(line, ':');
        char *path = names ? strchr(names + 1, ':') : NULL;
        if (!path) continue;
        *path++ = 0;
        names++;
        if (!*names && !found) {
            snprintf(folder, size, "/sys/fs/cgroup%s", path);
            *v2 = found = true;
        } else if (strstr(names, controller)) {
            snprintf(folder, size, "/sys/fs/cgroup/%s%s", controller, path);
            *v2 = false;
            found = true;
            break;
        }
    }
    fclose(f);
    return found;
}

/* Limit and use of the cgroup; false when there is none. The limit may lie on a parent. */
static bool cgroup_memory(uint64_t *limit, uint64_t *used) {
    char folder[600], path[700];
    bool v2;
    if (!cgroup_folder("memory", folder, sizeof folder, &v2)) return false;
    bool any = false;
    for (size_t root = strlen("/sys/fs/cgroup"); strlen(folder) >= root;) {
        uint64_t l, u;
        snprintf(path, sizeof path, "%s/%s", folder, v2 ? "memory.max" : "memory.limit_in_bytes");
        bool limited = read_number(path, &l) && l < (uint64_t)1 << 60;
        snprintf(path, sizeof path, "%s/%s", folder,
                 v2 ? "memory.current" : "memory.usage_in_bytes");
        if (limited && read_number(path, &u) && (!any || l - u < *limit - *used)) {
            *limit = l;
            *used = u < l ? u : l;
            any = true;
        }
        char *slash = strrchr(folder, '/');
        if (!slash || slash < folder + root) break;
        *slash = 0;
    }
    return any;
}

uint64_t sys_memory_total(void) {
    uint64_t total = read_field("/proc/meminfo", "MemTotal:"), limit, used;
    return cgroup_memory(&limit, &used) && limit < total ? limit : total;
}

uint64_t sys_memory_free(void) {
    uint64_t available = read_field("/proc/meminfo", "MemAvailable:"), limit, used;
    if (!available) available = read_field("/proc/meminfo", "MemFree:");
    return cgroup_memory(&limit, &used) && limit - used < available ? limit - used : available;
}

uint64_t sys_memory_peak(void) {
    return read_field("/proc/self/status", "VmHWM:");
}

uint64_t sys_memory_now(void) {
    return read_field("/proc/self/status", "VmRSS:");
}

/* Processors that the CPU quota pays for; 0: no quota. */
static int cgroup_processors(void) {
    char folder[600], path[700];
    bool v2;
    if (!cgroup_folder("cpu", folder, sizeof folder, &v2)) return 0;
    double quota = 0, period = 0;
    if (v2) {
        snprintf(path, sizeof path, "%s/cpu.max", folder);
        FILE *f = fopen(path, "re");
        if (!f) return 0;
        if (fscanf(f, "%lf %lf", &quota, &period) != 2) quota = 0;
        fclose(f);
    } else {
        uint64_t q = 0, p = 0;
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
        if (!read_number(path, &q) || q > (uint64_t)1 << 40) return 0;
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        if (!read_number(path, &p)) return 0;
        quota = (double)q;
        period = (double)p;
    }
    if (quota <= 0 || period <= 0) return 0;
    int n = (int)(quota / period + 0.999);
    return n < 1 ? 1 : n;
}

void sys_processor_name(char *name, size_t size) {
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];
    name[0] = 0;
    while (f && !name[0] && fgets(line, sizeof line, f)) {
        const char *value = strchr(line, ':');
        bool named = !strncmp(line, "model name", 10) || !strncmp(line, "CPU part", 8);
        if (!value || !named) continue;
        line[strcspn(line, "\n")] = 0;
        value += 1 + strspn(value + 1, " ");
        snprintf(name, size, "%s%s", line[0] == 'C' ? "ARM " : "", value);
    }
    if (f) fclose(f);
}

int sys_processors(void) {
    cpu_set_t set;
    int n = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
    if (n < 1) n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int quota = cgroup_processors();
    return quota && quota < n ? quota : n;
}

size_t sys_page(void) {
    long n = sysconf(_SC_PAGESIZE);
    return n > 0 ? (size_t)n : 4096;
}

void sys_release(void *pages, size_t size) {
    madvise(pages, size, MADV_DONTNEED);
}

void sys_large_pages(void *pages, size_t size) {
    madvise(pages, size, MADV_HUGEPAGE);
}

void sys_error_text(int code, char *text, size_t size) {
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    snprintf(text, size, "%s", c ? strerror_l(code, c) : "system error");
    if (c) freelocale(c);
}

void sys_trim(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

int sys_reserve(int fd, uint64_t size) {
    return posix_fallocate(fd, 0, (off_t)size);
}

int sys_open_direct(const char *path, bool write) {
    return open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_DIRECT);
}

void sys_caches(size_t *l1d, size_t *l2, size_t *l3) {
    *l1d = *l2 = *l3 = 0;
#ifdef _SC_LEVEL1_DCACHE_SIZE
    long a = sysconf(_SC_LEVEL1_DCACHE_SIZE), b = sysconf(_SC_LEVEL2_CACHE_SIZE),
         c = sysconf(_SC_LEVEL3_CACHE_SIZE);
    *l1d = a > 0 ? (size_t)a : 0;
    *l2 = b > 0 ? (size_t)b : 0;
    *l3 = c > 0 ? (size_t)c : 0;
#endif
}

/* The kernel hands out the tiles' state, 8 KiB a thread, to those that ask:
 * Documentation/arch/x86/xstate.rst */
bool sys_use_tiles(void) {
#if defined(__x86_64__)
    enum {
        REQUEST_PERMISSION = 0x1023,
        TILE_DATA = 18
    }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

unsigned sys_arm_flags(void) {
#if defined(__aarch64__)
    unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    unsigned flags = CPU_NEON;
    if (cap & (1ul << 10)) flags |= CPU_NEON_FP16;  /* HWCAP_ASIMDHP */
    if (cap & (1ul << 20)) flags |= CPU_NEON_DOT;   /* HWCAP_ASIMDDP */
    if (cap2 & (1ul << 14)) flags |= CPU_NEON_BF16; /* HWCAP2_BF16 */
    if (cap2 & (1ul << 13)) flags |= CPU_NEON_I8MM; /* HWCAP2_I8MM */
    return flags;
#else
    return 0;
#endif
}

const char *sys_blas(void) {
    return NULL;
}
