/* sys_macos.c: sys.h on macOS. */
#include "base/cpu.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <mach/mach.h>
#include <malloc/malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysctl.h>
#include <time.h>
#include <unistd.h>

void sys_name_thread(const char *name) {
    pthread_setname_np(name);
}

double sys_seconds(void) {
    return (double)clock_gettime_nsec_np(CLOCK_UPTIME_RAW) * 1e-9;
}

static uint64_t number(const char *name) {
    uint64_t value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, NULL, 0) == 0 ? value : 0;
}

uint64_t sys_memory_total(void) {
    return number("hw.memsize");
}

uint64_t sys_memory_free(void) {
    vm_statistics64_data_t s;
    mach_msg_type_number_t n = HOST_VM_INFO64_COUNT;
    if (host_statistics64(mach_host_self(), HOST_VM_INFO64, (host_info64_t)&s, &n) != KERN_SUCCESS)
        return 0;
    return ((uint64_t)s.free_count + s.inactive_count + s.purgeable_count) * sys_page();
}

/* What Activity Monitor shows and the system's limit counts. */
static uint64_t footprint(int peak) {
    task_vm_info_data_t info;
    mach_msg_type_number_t n = TASK_VM_INFO_COUNT;
    if (task_info(mach_task_self(), TASK_VM_INFO, (task_info_t)&info, &n) != KERN_SUCCESS) return 0;
    return peak ? (uint64_t)info.ledger_phys_footprint_peak : (uint64_t)info.phys_footprint;
}

uint64_t sys_memory_peak(void) {
    return footprint(1);
}

uint64_t sys_memory_now(void) {
    return footprint(0);
}

void sys_processor_name(char *name, size_t size) {
    if (sysctlbyname("machdep.cpu.brand_string", name, &size, NULL, 0) != 0) name[0] = 0;
}

int sys_processors(void) {
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

size_t sys_page(void) {
    return (size_t)getpagesize();
}

void sys_release(void *pages, size_t size) {
    /* A new mapping over the old: MADV_FREE would leave the pages counted. */
    mmap(pages, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_FIXED, -1, 0);
}

void sys_large_pages(void *pages, size_t size) {
    (void)pages, (void)size;
}

void sys_error_text(int code, char *text, size_t size) {
    if (strerror_r(code, text, size) != 0) snprintf(text, size, "error %d", code);
}

void sys_trim(void) {
    malloc_zone_pressure_relief(NULL, 0);
}

int sys_reserve(int fd, uint64_t size) {
    fstore_t room = {
        .fst_flags = F_ALLOCATEALL, .fst_posmode = F_PEOFPOSMODE, .fst_length = (off_t)size};
    if (fcntl(fd, F_PREALLOCATE, &room) != 0) return errno;
    return ftruncate(fd, (off_t)size) == 0 ? 0 : errno;
}

int sys_open_direct(const char *path, bool write) {
    int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (fd >= 0) fcntl(fd, F_NOCACHE, 1);
    return fd;
}

void sys_caches(size_t *l1d, size_t *l2, size_t *l3) {
    *l1d = (size_t)number("hw.perflevel0.l1dcachesize");
    *l2 = (size_t)number("hw.perflevel0.l2cachesize");
    *l3 = 0;
}

bool sys_use_tiles(void) {
    return false;
}

unsigned sys_arm_flags(void) {
    unsigned flags = CPU_NEON;
    if (number("hw.optional.arm.FEAT_FP16")) flags |= CPU_NEON_FP16;
    if (number("hw.optional.arm.FEAT_DotProd")) flags |= CPU_NEON_DOT;
    if (number("hw.optional.arm.FEAT_BF16")) flags |= CPU_NEON_BF16;
    if (number("hw.optional.arm.FEAT_I8MM")) flags |= CPU_NEON_I8MM;
    return flags;
}

const char *sys_blas(void) {
    return "/System/Library/Frameworks/Accelerate.framework/Accelerate";
}
