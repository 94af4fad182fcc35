/* Reading a model while it is drawn with: reads that are short, that fail, that are slow, and files
 * that are cut, overwritten or replaced under the reader. Each time the picture is the right one,
 * or there is an error that names the file; never another picture.
 *
 * The library is linked in, so that its pread and preadv are ours.
 */
#include "draw/context.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

enum fault {
    FAULT_NONE,
    FAULT_SHORT,
    FAULT_FAILS,
    FAULT_SLOW,
    FAULT_CUT,
    FAULT_WRITTEN,
    FAULT_REPLACED
};

static struct {
    enum fault fault;
    atomic_int calls;    /* of pread so far */
    atomic_int together; /* of preadv */
    int at;              /* the call at which it happens */
    const char *path;    /* of the packed model */
} now;

static char folder[256], packed[512], other[512];

/* ---- Files */

static void copy_file(const char *from, const char *to) {
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    char block[65536];
    size_t n;
    assert_true(in && out);
    while ((n = fread(block, 1, sizeof block, in)) > 0)
        assert_int_equal(fwrite(block, 1, n, out), n);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* Turns bytes over throughout the second half, where weights lie. */
static void write_into(const char *path) {
    int fd = open(path, O_WRONLY);
    off_t size = lseek(fd, 0, SEEK_END);
    for (off_t at = size / 2; at < size; at += 512)
        if (pwrite(fd, "\xff\xff\xff\xff", 4, at) != 4) abort();
    close(fd);
}

static void happen(void) {
    if (now.fault == FAULT_CUT && truncate(now.path, 8192) != 0) abort();
    if (now.fault == FAULT_WRITTEN) write_into(now.path);
    if (now.fault == FAULT_REPLACED) {
        char fresh[600];
        snprintf(fresh, sizeof fresh, "%s.new", now.path);
        copy_file(now.path, fresh);
        write_into(fresh);
        if (rename(fresh, now.path) != 0) abort();
    }
}

/* ---- pread as kadr sees it */

ssize_t pread(int fd, void *to, size_t size, off_t at);
ssize_t pread(int fd, void *to, size_t size, off_t at) {
    int call = atomic_fetch_add(&now.calls, 1) + 1;
    if (now.fault == FAULT_SHORT && size > 512) size = size > 4096 ? 4096 : size / 2;
    if (now.fault == FAULT_SLOW) usleep(300);
    if (call == now.at) happen();
    if (now.fault == FAULT_FAILS && call >= now.at) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, to, size, at);
}

/* Short ones end in the middle of a piece. */
ssize_t preadv(int fd, const struct iovec *part, int count, off_t at);
ssize_t preadv(int fd, const struct iovec *part, int count, off_t at) {
    atomic_fetch_add(&now.together, 1);
    ssize_t done = 0;
    for (int i = 0; i < count; i++) {
        ssize_t n = pread(fd, part[i].iov_base, part[i].iov_len, at + done);
        if (n < 0) return done ? done : -1;
        done += n;
        if ((size_t)n < part[i].iov_len) break;
    }
    return done;
}

/* ---- Drawing */

#define PIXELS (16 * 16 * 3)

static int keep(void *user, const kadr_picture *p) {
    memcpy(user, p->rgb, PIXELS);
    return 0;
}

static kadr_request *request(const char *model) {
    kadr_request *rq = kadr_request_new();
    const char *const values[][2] = {{"model", model}, {"prompt", "a red fox"}, {"width", "16"},
                                     {"height", "16"}, {"steps", "3"},          {"guidance", "3"},
                                     {"seed", "5"}};
    assert_non_null(rq);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        assert_int_equal(kadr_request_set(rq, values[i][0], values[i][1], NULL), KADR_OK);
    return rq;
}

/* With so little memory that weights are read in every step. */
static kadr_status draw(const char *model, uint64_t memory, uint8_t *rgb, kadr_error *err) {
    kadr_context *ctx;
    const kadr_config config = {.threads = 2, .memory = memory};
    assert_int_equal(kadr_open(&config, &ctx, err), KADR_OK);
    kadr_request *rq = request(model);
    const kadr_observer observer = {.user = rgb, .picture = keep};
    kadr_status st = kadr_draw(ctx, &rq, 1, &observer, err);
    kadr_request_free(rq);
    kadr_close(ctx);
    return st;
}

static int prepare(void **unused) {
    (void)unused;
    char model[512];
    kadr_context *ctx;
    snprintf(folder, sizeof folder, "/tmp/kadr-fault-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(packed, sizeof packed, "%s/micro.kadr", folder);
    snprintf(other, sizeof other, "%s/kept.kadr", folder);
    snprintf(model, sizeof model, "%s/models/micro", getenv("KADR_TEST_DATA"));
    assert_int_equal(kadr_open(NULL, &ctx, NULL), KADR_OK);
    kadr_request *rq = request(model);
    assert_int_equal(kadr_pack(ctx, rq, packed, NULL, NULL), KADR_OK);
    kadr_request_free(rq);
    kadr_close(ctx);
    copy_file(packed, other);
    return 0;
}

static int clean(void **unused) {
    (void)unused;
    remove(packed);
    remove(other);
    return rmdir(folder);
}

static uint8_t right[PIXELS];
static int all_calls;

static void undisturbed(void **unused) {
    (void)unused;
    now.fault = FAULT_NONE;
    atomic_store(&now.calls, 0);
    assert_int_equal(draw(packed, 0, right, NULL), KADR_OK);
    all_calls = atomic_load(&now.calls);
    print_message("    %d reads, %d of several pieces\n", all_calls, atomic_load(&now.together));
    assert_true(all_calls > 20);
}

static void same_picture(enum fault fault) {
    uint8_t rgb[PIXELS] = {0};
    kadr_error err = {0};
    now.fault = fault;
    now.path = packed;
    kadr_status st = draw(packed, 0, rgb, &err);
    now.fault = FAULT_NONE;
    if (st) fail_msg("%s", err.message);
    assert_memory_equal(rgb, right, PIXELS);
}

static void short_reads(void **unused) {
    (void)unused;
    same_picture(FAULT_SHORT);
}

static void slow_reads(void **unused) {
    (void)unused;
    same_picture(FAULT_SLOW);
}

/* The fault at every read in turn: an error that names the file, or the right picture. */
static void never_another_picture(enum fault fault, bool may_go_on) {
    int failed = 0, drawn = 0;
    for (int at = 1; at <= all_calls; at += at < 20 ? 1 : 1 + all_calls / 30) {
        uint8_t rgb[PIXELS] = {0};
        kadr_error err = {0};
        copy_file(other, packed);
        now.path = packed;
        now.at = at;
        atomic_store(&now.calls, 0);
        now.fault = fault;
        kadr_status st = draw(packed, 0, rgb, &err);
        now.fault = FAULT_NONE;
        if (st) {
            failed++;
            if (!strstr(err.message, "micro.kadr")) fail_msg("read %d: %s", at, err.message);
            assert_true(st == KADR_EIO || st == KADR_EMODEL);
        } else if (memcmp(rgb, right, PIXELS) != 0) fail_msg("read %d: another picture", at);
        else drawn++;
    }
    print_message("    %d errors, %d right pictures\n", failed, drawn);
    assert_true(may_go_on ? drawn > 0 : failed > 0 && drawn <= 1);
    copy_file(other, packed);
}

static void failing_reads(void **unused) {
    (void)unused;
    never_another_picture(FAULT_FAILS, false);
}

static void cut_files(void **unused) {
    (void)unused;
    never_another_picture(FAULT_CUT, false);
}

static void overwritten_files(void **unused) {
    (void)unused;
    never_another_picture(FAULT_WRITTEN, false);
}

/* Who has the old file open reads the old file. */
static void replaced_files(void **unused) {
    (void)unused;
    never_another_picture(FAULT_REPLACED, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(undisturbed),   cmocka_unit_test(short_reads),
        cmocka_unit_test(slow_reads),    cmocka_unit_test(failing_reads),
        cmocka_unit_test(cut_files),     cmocka_unit_test(overwritten_files),
        cmocka_unit_test(replaced_files)};
    return cmocka_run_group_tests(tests, prepare, clean);
}
