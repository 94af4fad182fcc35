/* file.h: files. Reading is by position, so that several threads may share one file; writing is
 * atomic: a reader sees the old file or the whole new one. Paths are UTF-8. */
#ifndef KADR_BASE_FILE_H
#define KADR_BASE_FILE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"

struct file {
    int fd;         /* -1: closed */
    int direct;     /* the same file past the page cache; -1: not opened so */
    uint64_t size;  /* when it was opened */
    int64_t change; /* when it had been changed last, in ns */
    char *path;     /* owned */
};

/* Regular files only. Missing or unreadable: `missing` is the status (KADR_EMODEL for parts of a
 * model, KADR_EIO else). */
kadr_status file_open(struct file *f, struct mem *m, const char *path, kadr_status missing,
                      kadr_error *err);
void file_close(struct file *f); /* idempotent */

/* Exactly `size` bytes at `offset`; retries short reads; an early end is KADR_EIO with the place,
 * as is a file that was changed since it was opened. Thread-safe. */
kadr_status file_read_at(const struct file *f, uint64_t offset, void *to, size_t size,
                         kadr_error *err);

/* Lets file_read_direct go past the page cache, where the file system can. */
void file_open_direct(struct file *f);
#define FILE_DIRECT ((size_t)4096)
/* As file_read_at, but what is read does not fill the page cache, where `offset` and the address
 * of `to` leave the same rest when divided by FILE_DIRECT. `to` has room up to the next multiple
 * behind the end. */
kadr_status file_read_direct(const struct file *f, uint64_t offset, void *to, size_t size,
                             kadr_error *err);

/* What lies one behind the other, in one request where the system can: each piece after the first
 * begins at the next multiple of FILE_DIRECT behind the one before. Otherwise as file_read_direct.
 */
struct file_piece {
    void *to;
    size_t size;
};
#define FILE_PIECES 32 /* at most */
kadr_status file_read_pieces(const struct file *f, uint64_t offset, const struct file_piece *pieces,
                             int count, kadr_error *err);

/* A file without a name for `size` bytes, which is gone when it is closed, in `folder` or, when
 * that is NULL, where caches lie (XDG_CACHE_HOME, ~/.cache, else TMPDIR or /var/tmp). Its room is
 * taken at once: a full disk is an error now. KADR_EIO says what is needed where. */
kadr_status file_open_scratch(struct file *f, struct mem *m, const char *folder, uint64_t size,
                              kadr_error *err);
/* Exactly `size` bytes at `offset`. Thread-safe. */
kadr_status file_write_at(const struct file *f, uint64_t offset, const void *from, size_t size,
                          kadr_error *err);
/* The same past the page cache, under the conditions of file_read_direct; exactly `size` bytes. */
kadr_status file_write_direct(const struct file *f, uint64_t offset, const void *from, size_t size,
                              kadr_error *err);

/* The whole file, NUL-terminated (not counted), from `m`; refused when larger than `most`. */
kadr_status file_read_all(struct mem *m, const char *path, size_t most, kadr_status missing,
                          char **data, size_t *size, kadr_error *err);

/* Writes path.PID.part, fsync, rename, fsync of the folder. On failure nothing is left behind. */
kadr_status file_write_atomic(struct mem *m, const char *path, const void *data, size_t size,
                              kadr_error *err);

/* The same for data that comes in pieces: begin, add..., then commit or abort. */
struct file_writer {
    int fd;
    char *path, *part;
};
kadr_status file_writer_begin(struct file_writer *w, struct mem *m, const char *path,
                              kadr_error *err);
kadr_status file_writer_add(struct file_writer *w, const void *data, size_t size, kadr_error *err);
kadr_status file_writer_commit(struct file_writer *w, kadr_error *err);
void file_writer_abort(struct file_writer *w); /* idempotent; harmless after commit */

bool file_exists(const char *path); /* regular file */
bool file_is_folder(const char *path);
bool file_is_there(const char *path); /* anything, be it a link to nowhere */
kadr_status file_make_folders(const char *path,
                              kadr_error *err); /* like mkdir -p, mode 0777 & ~umask */

/* "a/b" from "a" and "b"; `b` alone when it is absolute. NULL when memory is refused. */
char *file_join(struct arena *a, const char *folder, const char *name);
/* Where the XDG base directory specification puts things: $variable/below, or ~/otherwise/below
 * ("XDG_CACHE_HOME", ".cache", "kadr/machine.json"). Variables that are no absolute path do not
 * count. NULL without either, or when memory is refused. */
char *file_place(struct arena *a, const char *variable, const char *otherwise, const char *below);
const char *file_name(const char *path);      /* after the last slash */
const char *file_extension(const char *path); /* after the last dot of the name, "" if none */

/* Names in a folder without "." and "..", sorted bytewise. */
kadr_status file_list(struct arena *a, const char *folder, char ***names, size_t *count,
                      kadr_error *err);

#endif
