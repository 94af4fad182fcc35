/* sys.h: what only the operating system knows. One file per system implements it (sys_linux.c,
 * sys_macos.c). */
#ifndef KADR_BASE_SYS_H
#define KADR_BASE_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

double sys_seconds(void);        /* monotonic clock */
uint64_t sys_memory_total(void); /* bytes in the machine, or in its cgroup when that is less */
uint64_t sys_memory_free(
    void); /* bytes that this process could take now without swapping, same rule; 0: unknown */
uint64_t sys_memory_peak(
    void); /* highest resident size of this process so far (VmHWM, phys_footprint); 0: unknown */
uint64_t sys_memory_now(void); /* resident size of this process now; 0: unknown */
void sys_processor_name(char *name, size_t size); /* as its maker calls it; "" when unknown */
int sys_processors(void);                         /* processors this process may use */
size_t sys_page(void);                            /* bytes of a page */
void sys_release(
    void *pages,
    size_t size); /* private anonymous pages back to the system; they read as zero afterwards */
/* The system may back those pages with large ones, where it has such and has not been told not to:
 * fewer are to be looked up, and to be pinned by a read past its cache. */
void sys_large_pages(void *pages, size_t size);

/* What the thread that calls is called by the system's own tools; at most 15 letters. */
void sys_name_thread(const char *name);

/* The system's words for an errno, in English; thread-safe. */
void sys_error_text(int code, char *text, size_t size);

/* Gives what was allocated and freed again back to the system. */
void sys_trim(void);

/* Takes room for `size` bytes in an open file; 0, or an errno. */
int sys_reserve(int fd, uint64_t size);

/* A file opened for reading (`write`: and writing) past the page cache: offsets, sizes and
 * addresses are then multiples of 4096. -1 where the file system does not do that. */
int sys_open_direct(const char *path, bool write);

/* The system's own library of matrix products that is to be used, for dlopen; NULL: none. */
const char *sys_blas(void);

void sys_caches(size_t *l1d, size_t *l2, size_t *l3); /* bytes of one instance; 0: unknown */
bool sys_use_tiles(void);     /* asks for the registers of AMX, for all threads of this process */
unsigned sys_arm_flags(void); /* enum cpu_flag of an aarch64 processor; 0 elsewhere */

#endif
