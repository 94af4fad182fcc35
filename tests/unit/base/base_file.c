/* Files: whole or not at all, and never more than was allowed. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct mem *m;
static struct arena a;
static char folder[64];

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *f) {
    (void)s, (void)kind, (void)f;
    return remove(path);
}

static int arrive(void **unused) {
    (void)unused;
    m = mem_open(0);
    arena_init(&a, m);
    snprintf(folder, sizeof folder, "/tmp/kadr-file-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int leave(void **unused) {
    (void)unused;
    arena_free(&a);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return (int)mem_close(m);
}

static const char *at(const char *name) {
    return file_join(&a, folder, name);
}

static size_t files_there(void) {
    char **names;
    size_t count = 0;
    assert_int_equal(file_list(&a, folder, &names, &count, NULL), KADR_OK);
    return count;
}

static void must_hold(const char *path, const char *text) {
    char *data;
    size_t size;
    assert_int_equal(file_read_all(m, path, 1 << 20, KADR_EIO, &data, &size, NULL), KADR_OK);
    assert_int_equal(size, strlen(text));
    assert_string_equal(data, text);
    mem_free(data);
}

static void written_and_read(void **unused) {
    (void)unused;
    const char *path = at("a.txt");
    kadr_error err;
    assert_int_equal(file_write_atomic(m, path, "first", 5, &err), KADR_OK);
    must_hold(path, "first");
    assert_int_equal(file_write_atomic(m, path, "", 0, &err), KADR_OK);
    must_hold(path, "");
    struct file_writer w;
    assert_int_equal(file_writer_begin(&w, m, path, &err), KADR_OK);
    assert_int_equal(file_writer_add(&w, "one ", 4, &err), KADR_OK);
    must_hold(path, ""); /* the old one until the new one is whole */
    assert_int_equal(file_writer_add(&w, "two", 3, &err), KADR_OK);
    assert_int_equal(file_writer_commit(&w, &err), KADR_OK);
    file_writer_abort(&w);
    must_hold(path, "one two");
    assert_int_equal(file_writer_begin(&w, m, path, &err), KADR_OK);
    assert_int_equal(file_writer_add(&w, "three", 5, &err), KADR_OK);
    assert_int_equal(files_there(), 2);
    file_writer_abort(&w);
    file_writer_abort(&w);
    must_hold(path, "one two");
    assert_int_equal(files_there(), 1);
    struct stat s;
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0666 & ~mask);
    remove(path);
}

static void a_failed_write_leaves_nothing(void **unused) {
    (void)unused;
    kadr_error err;
    assert_int_equal(file_write_atomic(m, at("none/a.txt"), "x", 1, &err), KADR_EIO);
    assert_non_null(strstr(err.message, "none/a.txt"));
    assert_int_equal(mkdir(at("taken"), 0777), 0);
    assert_int_equal(file_write_atomic(m, at("taken"), "x", 1, &err), KADR_EIO);
    assert_non_null(strstr(err.message, "taken"));
    assert_int_equal(files_there(), 1);
    assert_int_equal(rmdir(at("taken")), 0);
    /* No room: a limit on the size of files stands for a full disk. */
    const char *path = at("full");
    assert_int_equal(file_write_atomic(m, path, "old", 3, &err), KADR_OK);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 10000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    static const char data[30000];
    kadr_status st = file_write_atomic(m, path, data, sizeof data, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(st, KADR_EIO);
    assert_non_null(strstr(err.message, "full: "));
    must_hold(path, "old");
    assert_int_equal(files_there(), 1);
    for (uint64_t n = 1; n <= 2; n++) { /* no memory for the names */
        mem_fail_at(m, n);
        assert_int_equal(file_write_atomic(m, path, "new", 3, &err), KADR_EMEMORY);
    }
    mem_fail_at(m, 0);
    must_hold(path, "old");
    assert_int_equal(files_there(), 1);
    remove(path);
}

static void only_regular_files_are_replaced(void **unused) {
    (void)unused;
    kadr_error err = {0};
    const char *fifo = at("fifo"), *link = at("link");
    struct stat s;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(file_write_atomic(m, fifo, "x", 1, &err), KADR_EIO);
    assert_non_null(strstr(err.message, "regular file"));
    assert_int_equal(stat(fifo, &s), 0);
    assert_true(S_ISFIFO(s.st_mode));
    assert_int_equal(symlink("/dev/null", link), 0);
    assert_int_equal(file_write_atomic(m, link, "x", 1, &err), KADR_EIO);
    assert_int_equal(stat(link, &s), 0);
    assert_true(S_ISCHR(s.st_mode));
    assert_int_equal(files_there(), 2);
    remove(fifo);
    remove(link);
}

static void limits_of_reading(void **unused) {
    (void)unused;
    const char *path = at("ten");
    kadr_error err;
    char *data = NULL;
    size_t size = 0;
    assert_int_equal(file_write_atomic(m, path, "0123456789", 10, &err), KADR_OK);
    assert_int_equal(file_read_all(m, path, 9, KADR_EMODEL, &data, &size, &err), KADR_EMODEL);
    assert_non_null(strstr(err.message, "10 bytes, expected at most 9"));
    assert_null(data);
    assert_int_equal(file_read_all(m, path, 10, KADR_EMODEL, &data, &size, &err), KADR_OK);
    assert_int_equal(data[10], 0);
    mem_free(data);
    assert_int_equal(file_read_all(m, at("none"), 10, KADR_EMODEL, &data, &size, &err),
                     KADR_EMODEL);
    assert_int_equal(err.status, KADR_EMODEL);
    assert_non_null(strstr(err.message, "none: No such file"));
    struct file f;
    char part[8];
    assert_int_equal(file_open(&f, m, path, KADR_EIO, &err), KADR_OK);
    assert_int_equal(f.size, 10);
    assert_int_equal(file_read_at(&f, 4, part, 6, &err), KADR_OK);
    assert_memory_equal(part, "456789", 6);
    assert_int_equal(file_read_at(&f, 10, part, 0, &err), KADR_OK);
    assert_int_equal(file_read_at(&f, 8, part, 4, &err), KADR_EIO);
    assert_non_null(strstr(err.message, "ends at byte 10, expected 2 more"));
    assert_int_equal(file_read_at(&f, 1 << 30, part, 1, &err), KADR_EIO);
    assert_int_equal(file_read_at(&f, UINT64_MAX - 3, part, 1, &err), KADR_EIO);
    file_close(&f);
    file_close(&f);
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail_at(m, n);
        assert_int_equal(file_read_all(m, path, 10, KADR_EIO, &data, &size, &err), KADR_EMEMORY);
    }
    mem_fail_at(m, 0);
    remove(path);
}

static void what_is_no_file_is_refused_at_once(void **unused) {
    (void)unused;
    kadr_error err;
    struct file f;
    alarm(20); /* waiting for the other end of a FIFO ends the test */
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    const char *const paths[] = {at("fifo"), folder, "/dev/null", "/dev/tty", ""};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_int_equal(file_open(&f, m, paths[i], KADR_EMODEL, &err), KADR_EMODEL);
        assert_int_equal(f.fd, -1);
        file_close(&f);
    }
    alarm(0);
    assert_false(file_exists(at("fifo")) || file_exists(folder) || file_exists(at("none")));
    assert_true(file_is_folder(folder));
    assert_false(file_is_folder(at("fifo")) || file_is_folder(at("none")));
    remove(at("fifo"));
}

static atomic_bool ready;
static void *write_late(void *arg) {
    while (!atomic_load(&ready)) usleep(1000);
    file_write_atomic(m, arg, "behind", 6, NULL);
    return NULL;
}

/* Who has opened a file keeps reading that one when it is replaced. */
static void a_reader_sees_one_file(void **unused) {
    (void)unused;
    const char *path = at("replaced");
    struct file f;
    pthread_t t;
    char part[7] = {0};
    assert_int_equal(file_write_atomic(m, path, "before", 6, NULL), KADR_OK);
    assert_int_equal(pthread_create(&t, NULL, write_late, (void *)path), 0);
    assert_int_equal(file_open(&f, m, path, KADR_EIO, NULL), KADR_OK);
    assert_int_equal(file_read_at(&f, 0, part, 3, NULL), KADR_OK);
    atomic_store(&ready, true);
    pthread_join(t, NULL);
    assert_int_equal(file_read_at(&f, 3, part + 3, 3, NULL), KADR_OK);
    assert_string_equal(part, "before");
    must_hold(path, "behind");
    file_close(&f);
    remove(path);
}

static const char *contended;
static void *write_many(void *arg) {
    char text[5000];
    memset(text, *(char *)arg, sizeof text);
    for (int i = 0; i < 30; i++) file_write_atomic(m, contended, text, sizeof text, NULL);
    return NULL;
}

static void writers_do_not_mix(void **unused) {
    (void)unused;
    static char letters[] = "ab";
    pthread_t t[2];
    contended = at("contended");
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, write_many, &letters[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
    char *data;
    size_t size;
    assert_int_equal(file_read_all(m, contended, 1 << 20, KADR_EIO, &data, &size, NULL), KADR_OK);
    assert_int_equal(size, 5000);
    for (size_t i = 1; i < size; i++) assert_int_equal(data[i], data[0]);
    mem_free(data);
    assert_int_equal(files_there(), 1);
    remove(contended);
}

static void folders_and_names(void **unused) {
    (void)unused;
    kadr_error err;
    assert_int_equal(file_make_folders(at("x/y//z/"), &err), KADR_OK);
    assert_int_equal(file_make_folders(at("x/y/z"), &err), KADR_OK);
    assert_true(file_is_folder(at("x/y/z")));
    assert_int_equal(file_write_atomic(m, at("x/file"), "", 0, &err), KADR_OK);
    assert_int_equal(file_make_folders(at("x/file/below"), &err), KADR_EIO);
    char *far = arena_alloc(&a, 10000);
    memset(far, 'a', 9999);
    assert_int_equal(file_make_folders(far, &err), KADR_EIO);
    assert_int_equal(file_write_atomic(m, far, "", 0, &err), KADR_EIO);
    static const char *const made[] = {"x/b", "x/a", "x/\xC3\xA9", "x/.hidden", "x/A"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(file_write_atomic(m, at(made[i]), "", 0, &err), KADR_OK);
    char **names;
    size_t count;
    assert_int_equal(file_list(&a, at("x"), &names, &count, &err), KADR_OK);
    static const char *const sorted[] = {".hidden", "A", "a", "b", "file", "y", "\xC3\xA9"};
    assert_int_equal(count, 7);
    for (size_t i = 0; i < 7; i++) assert_string_equal(names[i], sorted[i]);
    assert_int_equal(file_list(&a, at("none"), &names, &count, &err), KADR_EIO);
    assert_string_equal(file_join(&a, "a", "b"), "a/b");
    assert_string_equal(file_join(&a, "a/", "b"), "a/b");
    assert_string_equal(file_join(&a, "a", "/b"), "/b");
    assert_string_equal(file_join(&a, "", "b"), "b");
    assert_string_equal(file_name("a/b.c"), "b.c");
    assert_string_equal(file_name("b"), "b");
    assert_string_equal(file_extension("a.d/b.tar.gz"), "gz");
    assert_string_equal(file_extension("a.d/b"), "");
    assert_string_equal(file_extension("a/.hidden"), "");
}

/* Reads and writes of any size at any place, at addresses that lie as the place does and at others:
 * the scratch file holds what a mirror in memory holds. */
static void scratch_is_what_was_written(void **unused) {
    (void)unused;
    enum { SIZE = 1 << 18 };
    struct file f;
    kadr_error err;
    uint32_t state = 5;
    unsigned char *mirror = mem_map(m, SIZE), *other = mem_map(m, SIZE + 4 * FILE_DIRECT);
    assert_int_equal(file_open_scratch(&f, m, folder, SIZE, &err), KADR_OK);
    for (int round = 0; round < 2000; round++) {
        uint32_t r[4];
        for (int i = 0; i < 4; i++) r[i] = (state = state * 1664525u + 1013904223u) >> 8;
        size_t at = r[0] % SIZE, size = 1 + r[1] % (SIZE - at < 50000 ? SIZE - at : 50000);
        if (r[3] % 3 == 0) at -= at % FILE_DIRECT;
        unsigned char *p = other + at % FILE_DIRECT + (r[3] % 5 ? 0 : 8);
        if (r[2] % 2) {
            for (size_t i = 0; i < size; i++) mirror[at + i] = p[i] = (unsigned char)(r[2] + i * 7);
            assert_int_equal(file_write_direct(&f, at, p, size, &err), KADR_OK);
        } else {
            assert_int_equal(file_read_direct(&f, at, p, size, &err), KADR_OK);
            assert_memory_equal(p, mirror + at, size);
        }
    }
    file_close(&f);
    mem_unmap(m, mirror, SIZE);
    mem_unmap(m, other, SIZE + 4 * FILE_DIRECT);
}

/* Neighbours in one request, at addresses in any order: what a mirror in memory holds; the same at
 * addresses that no request can fill, and where the first begins anywhere, as a part of a weight
 * does; the file's end is told. */
static void neighbours_are_read_together(void **unused) {
    (void)unused;
    enum { SIZE = 1 << 20, PIECES = 12, ROOM = 8 * FILE_DIRECT };
    struct file f;
    kadr_error err;
    uint32_t state = 9;
    unsigned char *mirror = mem_map(m, SIZE), *room = mem_map(m, (PIECES + 1) * ROOM);
    assert_int_equal(file_open_scratch(&f, m, folder, SIZE, &err), KADR_OK);
    for (int i = 0; i < SIZE; i++)
        mirror[i] = (unsigned char)((state = state * 1664525u + 1) >> 20);
    assert_int_equal(file_write_at(&f, 0, mirror, SIZE, &err), KADR_OK);
    for (int round = 0; round < 300; round++) {
        struct file_piece piece[PIECES];
        size_t begin = (state = state * 1664525u + 1013904223u) % 100 * FILE_DIRECT;
        if (round % 3 == 2) begin += (state >> 8) % FILE_DIRECT;
        size_t at = begin;
        int count = 1 + round % PIECES;
        for (int i = 0; i < count; i++) {
            piece[i].size = 1 + ((state = state * 1664525u + 1013904223u) >> 8) % (ROOM - 1);
            piece[i].to = room + (size_t)((i * 5 + round) % PIECES) * ROOM + (round % 4 ? 0 : 8);
        }
        memset(room, 0, (PIECES + 1) * ROOM);
        assert_int_equal(file_read_pieces(&f, begin, piece, count, &err), KADR_OK);
        for (int i = 0; i < count; i++) {
            assert_memory_equal(piece[i].to, mirror + at, piece[i].size);
            at = (at + piece[i].size + FILE_DIRECT - 1) / FILE_DIRECT * FILE_DIRECT;
        }
    }
    const struct file_piece beyond[] = {{room, FILE_DIRECT}, {room + ROOM, 1}};
    assert_int_equal(file_read_pieces(&f, SIZE - FILE_DIRECT, beyond, 2, &err), KADR_EIO);
    file_close(&f);
    mem_unmap(m, mirror, SIZE);
    mem_unmap(m, room, (PIECES + 1) * ROOM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_are_read_together),
        cmocka_unit_test(scratch_is_what_was_written),
        cmocka_unit_test(written_and_read),
        cmocka_unit_test(a_failed_write_leaves_nothing),
        cmocka_unit_test(only_regular_files_are_replaced),
        cmocka_unit_test(limits_of_reading),
        cmocka_unit_test(what_is_no_file_is_refused_at_once),
        cmocka_unit_test(a_reader_sees_one_file),
        cmocka_unit_test(writers_do_not_mix),
        cmocka_unit_test(folders_and_names),
    };
    return cmocka_run_group_tests(tests, arrive, leave);
}
