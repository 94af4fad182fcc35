/* fetch.c: contents of files into blobs/. Each goes through these states; nothing in it waits, so
 * that all of them, Ctrl-C and the progress line move on together:
 *
 *     ASKED -> WAITING -> CHECKING (what an earlier call left) -> LOADING -> THERE
 *
 * A content whose sum is wrong is loaded once more from its beginning.
 */
#include "hub/inside.h"

#include "base/chk.h"
#include "base/file.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOADS 4                    /* downloads at once */
#define SLICE ((size_t)1 << 20)    /* bytes that are checked in one go */
#define SLICES 32                  /* goes between two looks at the network */
#define SPARE ((uint64_t)64 << 20) /* stays free on the disk */
#define RATE_OVER 8.0              /* seconds over which the rate is told */

enum state { ASKED, WAITING, CHECKING, LOADING, THERE };

struct task {
    struct pull_file *file;
    struct fetch *fetch;
    enum state state;
    const char *blob, *part, *lock_path, *what;
    int fd, lock;  /* -1: closed */
    uint64_t have; /* bytes of `part` that went through `hash` */
    uint64_t left; /* bytes that an earlier call left in it */
    struct hash hash;
    struct net_call call;
    bool retried, asked, moved;
    char tag[NET_TAG];
};

struct fetch {
    struct remote *r;
    const char *commit;
    struct task *task;
    size_t count;
    unsigned char *slice;
    uint64_t loaded; /* over the network */
    double marked, rate;
    uint64_t mark;  /* of `loaded` */
    bool elsewhere; /* another program loads what is still missing */
};

static void put_down(struct task *t) {
    if (t->fd >= 0) close(t->fd);
    if (t->lock >= 0) close(t->lock);
    hash_close(&t->hash);
    t->fd = t->lock = -1;
}

/* ---- Progress -------------------------------------------------------------------------------- */
/* The first task with that content counts for all. */
static bool is_first(const struct fetch *f, const struct task *t) {
    for (const struct task *o = f->task; o < t; o++)
        if (o->file->sum && t->file->sum && !strcmp(o->file->sum, t->file->sum)) return false;
    return true;
}

static bool tell(struct fetch *f) {
    struct pull_progress *p = &f->r->seen;
    double now = sys_seconds();
    bool checking = false, loading = false;
    *p = (struct pull_progress){.files = f->count, .seconds_left = -1};
    for (size_t i = 0; i < f->count; i++) {
        const struct task *t = &f->task[i];
        checking |= t->state == CHECKING;
        loading |= t->state == LOADING;
        p->files_done += t->state == THERE;
        if (!is_first(f, t)) continue;
        p->bytes += t->file->size;
        p->bytes_done += t->state == THERE ? t->file->size : t->have;
    }
    if (f->marked <= 0) f->marked = now;
    double past = now - f->marked;
    if (past >= 0.5) { /* a running mean */
        double rate = (double)(f->loaded - f->mark) / past, part = past / RATE_OVER;
        f->rate = f->rate > 0 ? f->rate + (rate - f->rate) * (part < 1 ? part : 1) : rate;
        f->marked = now;
        f->mark = f->loaded;
    }
    p->stage = loading        ? "downloading"
               : checking     ? "checking"
               : f->elsewhere ? "waiting"
                              : "asking";
    p->rate = f->rate;
    if (f->rate > 0 && !checking) p->seconds_left = (double)(p->bytes - p->bytes_done) / f->rate;
    return remote_tell(f->r);
}

/* ---- What the hub says of each --------------------------------------------------------------- */
static kadr_status ask_about(struct task *t, kadr_error *err) {
    struct remote *r = t->fetch->r;
    t->what = arena_printf(r->arena, "%s/%s", r->rq->name, t->file->name);
    const char *url = remote_url(r, t->fetch->commit, t->file->name);
    if (!t->what || !url) return err_nomem(err, "an address", 0);
    t->call = (struct net_call){.url = url, .what = t->what, .head = true, .user = t};
    t->asked = true;
    return net_start(r->net, &t->call, err);
}

static kadr_status hear_about(struct task *t, kadr_error *err) {
    struct remote *r = t->fetch->r;
    struct arena *a = r->arena;
    const char *folder = strrchr(r->repository, '/') + 1, *sum;
    kadr_status st = remote_read_answer(r, &t->call, t->fetch->commit, &sum, err);
    if (st) return st;
    t->file->sum = sum;
    t->file->size = t->call.answer.size;
    t->moved = t->call.answer.moved;
    memcpy(t->tag, t->call.answer.etag, sizeof t->tag);
    t->blob = arena_printf(a, "%s/blobs/%s", r->repository, sum);
    t->part = arena_printf(a, "%s/blobs/%s.incomplete", r->repository, sum);
    t->lock_path = arena_printf(a, "%s/.locks/%s/%s.lock", r->cache, folder, sum);
    if (!t->blob || !t->part || !t->lock_path) return err_nomem(err, "a path", 0);
    t->state = WAITING;
    return KADR_OK;
}

static kadr_status ask_about_all(struct fetch *f, kadr_error *err) {
    size_t next = 0, heard = 0, out = 0;
    kadr_status st = KADR_OK;
    while (heard < f->count && !st) {
        for (; next < f->count && out < NET_CALLS && !st; next++, out++)
            st = ask_about(&f->task[next], err);
        struct net_call *call = st ? NULL : net_next(f->r->net, 0.1);
        if (call) {
            heard++, out--;
            st = hear_about(call->user, err);
        }
        if (!st && tell(f)) st = remote_interrupted(err);
    }
    return st;
}

/* ---- Room ------------------------------------------------------------------------------------ */
static bool is_there(const struct task *t) {
    struct stat s;
    return stat(t->blob, &s) == 0 && S_ISREG(s.st_mode) && (uint64_t)s.st_size == t->file->size;
}

static void put_size(struct buf *to, uint64_t bytes) {
    buf_printf(to, "%.1f GiB", (double)bytes / (double)((uint64_t)1 << 30));
}

static kadr_status check_room(struct fetch *f, kadr_error *err) {
    struct statvfs disk;
    struct stat s;
    uint64_t needed = 0;
    for (size_t i = 0; i < f->count; i++) {
        const struct task *t = &f->task[i];
        if (!is_first(f, t) || is_there(t)) continue;
        uint64_t size = t->file->size; /* at most 2^40, and at most 1,000 of them */
        bool begun = lstat(t->part, &s) == 0 && (uint64_t)s.st_size <= size;
        needed += begun ? size - (uint64_t)s.st_size : size;
    }
    if (!needed || statvfs(f->r->repository, &disk)) return KADR_OK;
    uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (needed + SPARE <= room) return KADR_OK;
    struct buf text;
    buf_init(&text, f->r->arena->mem);
    buf_puts(&text, "needs ");
    put_size(&text, needed);
    buf_puts(&text, " more, and the disk has ");
    put_size(&text, room);
    kadr_status st = err_set(err, KADR_EIO,
                             "%s: %s free at %s; make room, or set HF_HOME to a folder on another "
                             "disk. Nothing was downloaded",
                             f->r->rq->name, buf_ok(&text) ? text.data : "no room", f->r->cache);
    buf_free(&text);
    return st;
}

/* ---- Locks ----------------------------------------------------------------------------------- */
/* That of huggingface_hub: flock on a file that may be removed when it is let go. Where the file
 * system has no locks there are none. */
static kadr_status take_lock(struct task *t, bool *taken, kadr_error *err) {
    struct stat ours, there;
    *taken = false;
    t->lock = open(t->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (t->lock < 0) return err_errno(err, "cannot make", t->lock_path);
    if (flock(t->lock, LOCK_EX | LOCK_NB)) *taken = errno != EWOULDBLOCK && errno != EINTR;
    else
        *taken = fstat(t->lock, &ours) == 0 && stat(t->lock_path, &there) == 0 &&
                 ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
    if (*taken) return KADR_OK;
    close(t->lock);
    t->lock = -1;
    return KADR_OK;
}

/* ---- Loading --------------------------------------------------------------------------------- */
static kadr_status start_over(struct task *t, kadr_error *err) {
    hash_close(&t->hash);
    t->have = 0;
    if (ftruncate(t->fd, 0)) return err_errno(err, "cannot write", t->part);
    return hash_open(&t->hash, t->file->sum, t->file->size) ? KADR_OK : err_nomem(err, "a sum", 0);
}

static bool on_begin(struct net_call *call, uint64_t at) {
    struct task *t = call->user;
    if (at != t->have) call->status = start_over(t, &call->error); /* it sends all of it */
    return !call->status;
}

static bool on_body(struct net_call *call, const void *bytes, size_t size) {
    struct task *t = call->user;
    const char *from = bytes;
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(t->fd, from + done, size - done, (off_t)(t->have + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            call->status = err_errno(&call->error, "cannot write", t->part);
            return false;
        }
        done += (size_t)n;
    }
    hash_add(&t->hash, bytes, size);
    t->have += size;
    t->fetch->loaded += size;
    return true;
}

static kadr_status load(struct task *t, kadr_error *err) {
    struct remote *r = t->fetch->r;
    t->call = (struct net_call){.url = t->call.url,
                                .what = t->what,
                                .has_size = true,
                                .size = t->file->size,
                                .from = t->have,
                                .tag = t->moved ? NULL : t->tag,
                                .begin = on_begin,
                                .body = on_body,
                                .user = t};
    t->state = LOADING;
    t->file->fetched = true;
    return net_start(r->net, &t->call, err);
}

/* Gives a whole content its name, when it is the right one. */
static kadr_status settle(struct task *t, kadr_error *err) {
    char sum[HASH_TEXT];
    hash_end(&t->hash, sum);
    if (!strcmp(sum, t->file->sum)) {
        if (fsync(t->fd) || rename(t->part, t->blob))
            return err_errno(err, "cannot write", t->blob);
        put_down(t);
        t->state = THERE;
        return KADR_OK;
    }
    if (!t->retried) {
        t->retried = true;
        kadr_status st = start_over(t, err);
        return st ? st : load(t, err);
    }
    unlink(t->part);
    return err_set(err, KADR_EIO,
                   "%s: its sum is %s; expected %s: the hub, or something on the way, sends wrong "
                   "bytes. They were deleted",
                   t->what, sum, t->file->sum);
}

/* ---- Moving on ------------------------------------------------------------------------------- */
static bool is_busy(const struct task *t) {
    return t->state == CHECKING || t->state == LOADING;
}

/* Opens what is there of a content. */
static kadr_status begin(struct task *t, kadr_error *err) {
    struct stat s;
    t->fd = open(t->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (t->fd < 0 || fstat(t->fd, &s)) return err_errno(err, "cannot write", t->part);
    if (!S_ISREG(s.st_mode)) return err_set(err, KADR_EIO, "%s: expected a file", t->part);
    t->left = (uint64_t)s.st_size;
    t->state = CHECKING;
    if (t->left > t->file->size) t->left = 0;
    if (!t->left) return start_over(t, err);
    return hash_open(&t->hash, t->file->sum, t->file->size) ? KADR_OK : err_nomem(err, "a sum", 0);
}

/* A task that waits begins, unless its content is there or somebody is at it. */
static kadr_status try_begin(struct task *t, kadr_error *err) {
    struct fetch *f = t->fetch;
    bool taken;
    if (is_there(t)) {
        t->state = THERE;
        return KADR_OK;
    }
    for (size_t i = 0; i < f->count; i++)
        if (is_busy(&f->task[i]) && !strcmp(f->task[i].file->sum, t->file->sum)) return KADR_OK;
    kadr_status st = take_lock(t, &taken, err);
    if (!st && !taken) f->elsewhere = true;
    if (st || !taken) return st;
    if (!is_there(t)) return begin(t, err);
    put_down(t);
    t->state = THERE;
    return KADR_OK;
}

/* Some of what an earlier call left goes through the sum. */
static kadr_status check_some(struct task *t, kadr_error *err) {
    for (int i = 0; i < SLICES && t->have < t->left; i++) {
        uint64_t left = t->left - t->have;
        ssize_t n =
            pread(t->fd, t->fetch->slice, left < SLICE ? (size_t)left : SLICE, (off_t)t->have);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return err_errno(err, "cannot read", t->part);
        hash_add(&t->hash, t->fetch->slice, (size_t)n);
        t->have += (uint64_t)n;
    }
    if (t->have < t->left) return KADR_OK;
    return t->have == t->file->size ? settle(t, err) : load(t, err);
}

static kadr_status move_on(struct fetch *f, size_t *missing, kadr_error *err) {
    size_t busy = 0;
    bool checking = false;
    kadr_status st = KADR_OK;
    *missing = 0;
    f->elsewhere = false;
    for (size_t i = 0; i < f->count; i++) busy += is_busy(&f->task[i]);
    for (size_t i = 0; i < f->count && !st; i++) {
        struct task *t = &f->task[i];
        if (t->state == WAITING && busy < LOADS) {
            st = try_begin(t, err);
            busy += is_busy(t);
        }
        if (!st && t->state == CHECKING) st = check_some(t, err);
        checking |= t->state == CHECKING;
        *missing += t->state != THERE;
    }
    if (st || !*missing) return st;
    struct net_call *call = net_next(f->r->net, checking ? 0 : 0.2);
    if (!call) return KADR_OK;
    if (call->status) {
        *err = call->error;
        return call->status;
    }
    return settle(call->user, err);
}

static kadr_status make_folders(struct fetch *f, kadr_error *err) {
    struct remote *r = f->r;
    const char *blobs = arena_printf(r->arena, "%s/blobs", r->repository);
    const char *locks =
        arena_printf(r->arena, "%s/.locks/%s", r->cache, strrchr(r->repository, '/') + 1);
    if (!blobs || !locks) return err_nomem(err, "a path", 0);
    kadr_status st = file_make_folders(blobs, err);
    return st ? st : file_make_folders(locks, err);
}

/* Makes the names durable before links lead to them. */
static void sync_names(const struct remote *r) {
    const char *blobs = arena_printf(r->arena, "%s/blobs", r->repository);
    int fd = blobs ? open(blobs, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    fsync(fd); /* some file systems refuse that for a folder: not an error */
    close(fd);
}

kadr_status fetch(struct remote *r, const char *commit, struct pull_file *file, size_t count,
                  kadr_error *err) {
    struct fetch f = {.r = r, .commit = commit, .count = count};
    size_t missing = count;
    f.task = mem_array(r->arena->mem, count, sizeof *f.task);
    f.slice = mem_alloc(r->arena->mem, SLICE);
    kadr_status st = f.task && f.slice ? KADR_OK : err_nomem(err, "downloads", SLICE);
    for (size_t i = 0; i < count && f.task; i++)
        f.task[i] = (struct task){.file = &file[i], .fetch = &f, .fd = -1, .lock = -1};
    if (!st) st = ask_about_all(&f, err);
    if (!st) st = make_folders(&f, err);
    if (!st) st = check_room(&f, err);
    while (!st && missing) {
        st = move_on(&f, &missing, err);
        if (!st && tell(&f)) st = remote_interrupted(err);
    }
    if (!st) sync_names(r);
    if (st) remote_close(r); /* before its calls go */
    for (size_t i = 0; i < count && f.task; i++) put_down(&f.task[i]);
    mem_free(f.task);
    mem_free(f.slice);
    return st;
}
