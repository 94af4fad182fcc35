/* file.c: see file.h. */
#include "base/file.h"
#include "base/chk.h"
#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int64_t change_of(const struct stat *s) {
#ifdef __APPLE__
    return (int64_t)s->st_mtimespec.tv_sec * 1000000000 + s->st_mtimespec.tv_nsec;
#else
    return (int64_t)s->st_mtim.tv_sec * 1000000000 + s->st_mtim.tv_nsec;
#endif
}

kadr_status file_open(struct file *f, struct mem *m, const char *path, kadr_status missing,
                      kadr_error *err) {
    *f = (struct file){.fd = -1, .direct = -1};
    /* Not blocking: a FIFO in a model's place must not hang us. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat s;
    if (fd < 0 || fstat(fd, &s) != 0) {
        err_errno(err, "cannot open", path);
        if (fd >= 0) close(fd);
        if (err) err->status = missing;
        return missing;
    }
    if (!S_ISREG(s.st_mode)) {
        close(fd);
        return err_set(err, missing, "%s: expected a regular file", path);
    }
    f->path = mem_strdup(m, path);
    if (!f->path) {
        close(fd);
        return err_nomem(err, path, strlen(path));
    }
    f->fd = fd;
    f->size = (uint64_t)s.st_size;
    f->change = change_of(&s);
    return KADR_OK;
}

void file_close(struct file *f) {
    if (f->fd >= 0 && f->path) {
        close(f->fd);
        if (f->direct >= 0) close(f->direct);
    }
    mem_free(f->path);
    *f = (struct file){.fd = -1, .direct = -1};
}

/* A file that somebody writes into is no longer what its headers said. Scratch files are ours. */
static kadr_status check_unchanged(const struct file *f, kadr_error *err) {
    struct stat s;
    if (!f->change || fstat(f->fd, &s) != 0) return KADR_OK;
    if (change_of(&s) == f->change && (uint64_t)s.st_size == f->size) return KADR_OK;
    return err_set(err, KADR_EIO, "%s: was changed while it was read", f->path);
}

static kadr_status read_rest(const struct file *f, uint64_t offset, void *to, size_t size,
                             kadr_error *err) {
    char *p = to;
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(f->fd, p + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_errno(err, "cannot read", f->path);
        if (n == 0)
            return err_set(err, KADR_EIO, "%s: ends at byte %llu, expected %zu more", f->path,
                           (unsigned long long)(offset + done), size - done);
        done += (size_t)n;
    }
    return KADR_OK;
}

kadr_status file_read_at(const struct file *f, uint64_t offset, void *to, size_t size,
                         kadr_error *err) {
    kadr_status st = read_rest(f, offset, to, size, err);
    return st ? st : check_unchanged(f, err);
}

static void open_direct(struct file *f, const char *path, bool write) {
    struct stat ours, direct;
    int fd = sys_open_direct(path, write);
    bool same = fd >= 0 && fstat(f->fd, &ours) == 0 && fstat(fd, &direct) == 0 &&
                ours.st_dev == direct.st_dev && ours.st_ino == direct.st_ino;
    if (same) f->direct = fd;
    else if (fd >= 0) close(fd);
}

void file_open_direct(struct file *f) {
    open_direct(f, f->path, false);
}

/* Bytes before the first multiple of FILE_DIRECT; all of them where the system cannot go past its
 * cache: no such file, or the address does not lie as the offset does. */
static size_t direct_head(const struct file *f, uint64_t offset, const void *p, size_t size) {
    size_t in = (size_t)(offset % FILE_DIRECT), head = in ? FILE_DIRECT - in : 0;
    return f->direct < 0 || (uintptr_t)p % FILE_DIRECT != in || head > size ? size : head;
}

kadr_status file_read_direct(const struct file *f, uint64_t offset, void *to, size_t size,
                             kadr_error *err) {
    size_t done = direct_head(f, offset, to, size);
    kadr_status st = done ? read_rest(f, offset, to, done, err) : KADR_OK;
    while (!st && done < size) {
        size_t whole = chk_align(size - done, FILE_DIRECT);
        ssize_t n = pread(f->direct, (char *)to + done, whole, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break; /* the other way reads the rest, or says what is wrong */
        done += (size_t)n;
        if (n % (ssize_t)FILE_DIRECT) break; /* the end of the file */
    }
    if (!st && done < size) st = read_rest(f, offset + done, (char *)to + done, size - done, err);
    return st ? st : check_unchanged(f, err);
}

kadr_status file_read_pieces(const struct file *f, uint64_t offset, const struct file_piece *pieces,
                             int count, kadr_error *err) {
    struct iovec part[FILE_PIECES];
    bool direct = count > 1 && f->direct >= 0 && offset % FILE_DIRECT == 0;
    for (int i = 0; i < count; i++) {
        part[i] = (struct iovec){pieces[i].to, chk_align(pieces[i].size, FILE_DIRECT)};
        direct = direct && (uintptr_t)pieces[i].to % FILE_DIRECT == 0;
    }
    ssize_t n = direct ? preadv(f->direct, part, count, (off_t)offset) : 0;
    uint64_t end = offset + (n > 0 ? (uint64_t)n : 0); /* of what is there; the rest comes singly */
    kadr_status st = KADR_OK;
    for (int i = 0; i < count && !st; i++) {
        if (offset + pieces[i].size > end)
            st = file_read_direct(f, offset, pieces[i].to, pieces[i].size, err);
        offset = chk_align(offset + pieces[i].size, FILE_DIRECT); /* the first may begin anywhere */
    }
    return st ? st : check_unchanged(f, err);
}

kadr_status file_write_at(const struct file *f, uint64_t offset, const void *from, size_t size,
                          kadr_error *err) {
    const char *p = from;
    size_t done = 0;
    while (done < size) {
        ssize_t n = pwrite(f->fd, p + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return err_errno(err, "cannot write", f->path);
        done += (size_t)n;
    }
    return KADR_OK;
}

kadr_status file_write_direct(const struct file *f, uint64_t offset, const void *from, size_t size,
                              kadr_error *err) {
    const char *p = from;
    size_t done = direct_head(f, offset, from, size);
    kadr_status st = done ? file_write_at(f, offset, from, done, err) : KADR_OK;
    while (!st && size - done >= FILE_DIRECT) {
        size_t whole = (size - done) / FILE_DIRECT * FILE_DIRECT;
        ssize_t n = pwrite(f->direct, p + done, whole, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0 || n % (ssize_t)FILE_DIRECT) break;
        done += (size_t)n;
    }
    if (!st && done < size) st = file_write_at(f, offset + done, p + done, size - done, err);
    return st;
}

/* Where caches lie. */
static char *scratch_folder(struct arena *a) {
    const char *tmp = getenv("TMPDIR");
    char *folder = file_place(a, "XDG_CACHE_HOME", ".cache", "kadr");
    if (folder && file_make_folders(folder, NULL) == KADR_OK && access(folder, W_OK) == 0)
        return folder;
    return arena_strdup(a, tmp && *tmp == '/' ? tmp : "/var/tmp");
}

kadr_status file_open_scratch(struct file *f, struct mem *m, const char *folder, uint64_t size,
                              kadr_error *err) {
    struct arena a;
    *f = (struct file){.fd = -1, .direct = -1, .size = size};
    arena_init(&a, m);
    if (!folder) folder = scratch_folder(&a);
    char *path = folder ? file_join(&a, folder, "scratch-XXXXXX") : NULL;
    kadr_status st = path ? KADR_OK : err_nomem(err, "scratch file", 64);
    if (!st && (f->fd = mkstemp(path)) < 0)
        st = err_errno(err, "cannot make a scratch file in", folder);
    if (!st) {
        open_direct(f, path, true);
        unlink(path);
        fcntl(f->fd, F_SETFD, FD_CLOEXEC);
        int wrong = sys_reserve(f->fd, size);
        if (wrong)
            st = err_set(err, KADR_EIO, "%s: no room for a scratch file of %llu MiB: %s", folder,
                         (unsigned long long)(size >> 20) + 1, strerror(wrong));
        else if (!(f->path = mem_strdup(m, path))) st = err_nomem(err, "scratch file", 64);
    }
    if (st && f->fd >= 0) close(f->fd);
    if (st && f->direct >= 0) close(f->direct);
    if (st) *f = (struct file){.fd = -1, .direct = -1};
    arena_free(&a);
    return st;
}

kadr_status file_read_all(struct mem *m, const char *path, size_t most, kadr_status missing,
                          char **data, size_t *size, kadr_error *err) {
    struct file f;
    kadr_status st = file_open(&f, m, path, missing, err);
    if (st) return st;
    char *p = NULL;
    if (f.size > most) {
        st = err_set(err, missing, "%s: %llu bytes, expected at most %zu", path,
                     (unsigned long long)f.size, most);
    } else if (!(p = mem_alloc(m, (size_t)f.size + 1))) {
        st = err_nomem(err, path, (size_t)f.size);
    } else {
        st = file_read_at(&f, 0, p, (size_t)f.size, err);
    }
    if (st) {
        mem_free(p);
    } else {
        *data = p;
        *size = (size_t)f.size;
    }
    file_close(&f);
    return st;
}

kadr_status file_write_atomic(struct mem *m, const char *path, const void *data, size_t size,
                              kadr_error *err) {
    struct file_writer w;
    kadr_status st = file_writer_begin(&w, m, path, err);
    if (!st) st = file_writer_add(&w, data, size, err);
    if (!st) st = file_writer_commit(&w, err);
    file_writer_abort(&w);
    return st;
}

kadr_status file_writer_begin(struct file_writer *w, struct mem *m, const char *path,
                              kadr_error *err) {
    static atomic_uint serial; /* two threads that write the same path at once */
    *w = (struct file_writer){.fd = -1};
    size_t room = strlen(path) + 48;
    w->path = mem_strdup(m, path);
    w->part = mem_alloc(m, room);
    if (!w->path || !w->part) {
        file_writer_abort(w);
        return err_nomem(err, path, room);
    }
    snprintf(w->part, room, "%s.%ld-%u.part", path, (long)getpid(), atomic_fetch_add(&serial, 1));
    struct stat s;
    kadr_status st = KADR_OK;
    /* A rename would put a file in the place of a device or a pipe. */
    if (stat(path, &s) == 0 && !S_ISREG(s.st_mode))
        st = err_set(err, KADR_EIO, "cannot write %s: expected a regular file or nothing there",
                     path);
    if (!st) {
        unlink(w->part); /* of a process of the same number that was killed */
        w->fd = open(w->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd >= 0) return KADR_OK;
        st = err_errno(err, "cannot write", path);
    }
    mem_free(w->part);
    w->part = NULL;
    file_writer_abort(w);
    return st;
}

kadr_status file_writer_add(struct file_writer *w, const void *data, size_t size, kadr_error *err) {
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(w->fd, p, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return err_errno(err, "cannot write", w->path);
        p += n;
        size -= (size_t)n;
    }
    return KADR_OK;
}

/* Makes the rename itself durable. Some file systems refuse to sync a folder: not an error. */
static void sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    int fd = -1;
    if (!slash) fd = open(".", O_RDONLY | O_CLOEXEC);
    else {
        char folder[4096];
        size_t n = slash == path ? 1 : (size_t)(slash - path);
        if (n >= sizeof folder) return;
        memcpy(folder, path, n);
        folder[n] = 0;
        fd = open(folder, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

kadr_status file_writer_commit(struct file_writer *w, kadr_error *err) {
    if (fsync(w->fd) != 0) return err_errno(err, "cannot write", w->path);
    int fd = w->fd;
    w->fd = -1;
    if (close(fd) != 0 || rename(w->part, w->path) != 0)
        return err_errno(err, "cannot write", w->path);
    sync_folder(w->path);
    mem_free(w->part);
    w->part = NULL;
    file_writer_abort(w);
    return KADR_OK;
}

void file_writer_abort(struct file_writer *w) {
    if (w->fd >= 0) close(w->fd);
    if (w->part) unlink(w->part);
    mem_free(w->path);
    mem_free(w->part);
    *w = (struct file_writer){.fd = -1};
}

bool file_exists(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

bool file_is_folder(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool file_is_there(const char *path) {
    struct stat s;
    return lstat(path, &s) == 0;
}

kadr_status file_make_folders(const char *path, kadr_error *err) {
    char part[4096];
    size_t n = strlen(path);
    if (n >= sizeof part) return err_set(err, KADR_EIO, "cannot make folder: the path is too long");
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        char c = part[i];
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && (errno != EEXIST || !file_is_folder(part)))
            return err_errno(err, "cannot make folder", part);
        part[i] = c;
    }
    return KADR_OK;
}

char *file_place(struct arena *a, const char *variable, const char *otherwise, const char *below) {
    const char *folder = getenv(variable), *home = getenv("HOME");
    if (folder && *folder == '/') return arena_printf(a, "%s/%s", folder, below);
    return home && *home == '/' ? arena_printf(a, "%s/%s/%s", home, otherwise, below) : NULL;
}

char *file_join(struct arena *a, const char *folder, const char *name) {
    if (name[0] == '/' || !folder[0]) return arena_strdup(a, name);
    size_t n = strlen(folder);
    return arena_printf(a, "%s%s%s", folder, folder[n - 1] == '/' ? "" : "/", name);
}

const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *file_extension(const char *path) {
    const char *name = file_name(path), *dot = strrchr(name, '.');
    return dot && dot != name ? dot + 1 : "";
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

kadr_status file_list(struct arena *a, const char *folder, char ***names, size_t *count,
                      kadr_error *err) {
    DIR *d = opendir(folder);
    if (!d) return err_errno(err, "cannot read folder", folder);
    char **list = NULL;
    size_t n = 0, room = 0;
    kadr_status st = KADR_OK;
    for (struct dirent *e; !st && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (n == room) {
            size_t more = room ? room * 2 : 32;
            char **p = arena_array(a, more, sizeof *p);
            if (p && n) memcpy(p, list, n * sizeof *p);
            if (p) list = p, room = more;
        }
        if (n == room || !(list[n] = arena_strdup(a, e->d_name))) st = err_nomem(err, folder, n);
        else n++;
    }
    closedir(d);
    if (st) return st;
    if (n) qsort(list, n, sizeof *list, by_bytes);
    *names = list;
    *count = n;
    return KADR_OK;
}
