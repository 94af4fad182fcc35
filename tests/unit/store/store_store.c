/* The queue's order, fencing, what survives kill -9, and schemas of every earlier version. */
#include "store/inside.h"

#include "base/file.h"
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct mem *mem;
static char folder[] = "/var/tmp/kadr-store-XXXXXX";
static kadr_error err;

#define OK(call)                                                                                   \
    do {                                                                                           \
        if (call) fail_msg("%s", err.message);                                                     \
    } while (0)

static int make_folder(void **state) {
    (void)state;
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    mem = mem_open(0);
    return !mem || !mkdtemp(folder);
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return mem_close(mem) != 0 || system(command);
}

static struct store *begin(void) {
    struct store *s = NULL;
    OK(store_open(&s, mem, folder, &err));
    return s;
}

static int64_t add(struct store *s, const char *request, int64_t count) {
    int64_t id = 0;
    OK(store_add_job(s, request, count, &id, &err));
    return id;
}

static struct store_claim claim(struct store *s, int64_t lease) {
    struct store_claim c;
    OK(store_claim(s, "test", lease, &c, &err));
    mem_free(c.request);
    c.request = NULL;
    return c;
}

static int64_t draw(struct store *s, const struct store_claim *c, int64_t number,
                    kadr_status expected) {
    const struct store_picture p = {number, 7, 8, 8, "A red Fox", "{\"steps\":2}", "x"};
    int64_t id = 0;
    char *path = store_picture_path(s, c, number);
    assert_non_null(path);
    OK(file_write_atomic(mem, path, "PNG", 3, &err));
    assert_int_equal(store_add_picture(s, c, &p, &id, &err), expected);
    assert_int_equal(file_exists(path), expected == KADR_OK);
    mem_free(path);
    return id;
}

static const char *state_of(struct store *s, int64_t id, size_t *pictures) {
    static char text[20];
    json_t *job;
    OK(store_job(s, id, &job, &err));
    assert_non_null(job);
    snprintf(text, sizeof text, "%s", json_string_value(json_object_get(job, "state")));
    if (pictures) *pictures = json_array_size(json_object_get(job, "pictures"));
    json_decref(job);
    return text;
}

static void queue_keeps_its_order(void **state) {
    (void)state;
    struct store *s = begin();
    int64_t a = add(s, "{}", 1), b = add(s, "{}", 1), c = add(s, "{}", 1), d = add(s, "{}", 1);
    bool was;
    OK(store_move(s, c, a, &was, &err));
    assert_true(was);
    OK(store_cancel(s, b, &was, &err));
    assert_true(was);
    OK(store_move(s, b, a, &was, &err));
    assert_false(was);
    store_close(s);
    s = begin();
    const int64_t order[] = {c, a, d, 0};
    for (size_t i = 0; i < 4; i++) assert_int_equal(claim(s, 30).job, order[i]);
    assert_string_equal(state_of(s, b, NULL), "cancelled");
    OK(store_cancel(s, b, &was, &err));
    assert_false(was);
    store_close(s);
}

static void late_reports_are_refused(void **state) {
    (void)state;
    struct store *s = begin();
    size_t pictures;
    bool held;
    int64_t id = add(s, "{\"prompt\":\"x\"}", 2);
    struct store_claim old = claim(s, -1); /* a lease that has run out already */
    draw(s, &old, 0, KADR_OK);
    struct store_claim new = claim(s, 30);
    assert_int_equal(new.job, id);
    assert_int_equal(new.attempt, old.attempt + 1);
    assert_int_equal(new.done, 1);
    draw(s, &old, 1, KADR_EINTERRUPTED);
    assert_int_equal(store_finish(s, &old, NULL, &err), KADR_EINTERRUPTED);
    OK(store_renew(s, &old, 30, &held, &err));
    assert_false(held);
    OK(store_renew(s, &new, 30, &held, &err));
    assert_true(held);
    draw(s, &new, 1, KADR_OK);
    OK(store_finish(s, &new, NULL, &err));
    assert_string_equal(state_of(s, id, &pictures), "done");
    assert_int_equal(pictures, 2);
    assert_int_equal(store_release(s, &new, &err), KADR_EINTERRUPTED);
    store_close(s);
}

static void gallery_is_searched(void **state) {
    (void)state;
    struct store *s = begin();
    json_t *list;
    char *path;
    bool was;
    add(s, "{}", 2);
    struct store_claim c = claim(s, 30);
    int64_t first = draw(s, &c, 0, KADR_OK), second = draw(s, &c, 1, KADR_OK);
    OK(store_pictures(s, "FOX", 0, 10, &list, &err));
    assert_int_equal(json_array_size(list), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "id")), second);
    json_decref(list);
    OK(store_pictures(s, "%", 0, 10, &list, &err));
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
    OK(store_pictures(s, NULL, second, 10, &list, &err));
    assert_int_equal(json_array_size(list), 1);
    json_decref(list);
    OK(store_picture_file(s, first, &path, &err));
    assert_true(file_exists(path));
    OK(store_delete_picture(s, first, &was, &err));
    assert_true(was && !file_exists(path));
    mem_free(path);
    OK(store_delete_picture(s, first, &was, &err));
    assert_false(was);
    assert_null(store_upload_path(s, "../x"));
    assert_null(store_upload_path(s, ""));
    store_close(s);
}

static void documents_have_versions(void **state) {
    (void)state;
    struct store *s = begin();
    int64_t version;
    json_t *d;
    bool was;
    OK(store_put(s, "board", "a", "{\"x\":1}", 0, &version, &err));
    assert_int_equal(store_put(s, "board", "a", "{}", 0, &version, &err), KADR_EUSAGE);
    OK(store_put(s, "board", "a", "{\"x\":2}", 1, &version, &err));
    assert_int_equal(version, 2);
    OK(store_get(s, "board", "a", &d, &err));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(d, "body"), "x")), 2);
    json_decref(d);
    OK(store_get(s, "cast", "a", &d, &err));
    assert_null(d);
    OK(store_delete(s, "board", "a", &was, &err));
    assert_true(was);
    OK(store_list(s, "board", &d, &err));
    assert_int_equal(json_array_size(d), 0);
    json_decref(d);
    store_close(s);
}

static void only_one_process_serves(void **state) {
    (void)state;
    struct store *s = begin(), *other = NULL;
    assert_int_equal(store_open(&other, mem, folder, &err), KADR_EUSAGE);
    store_close(s);
}

/* Draws all there is, as fast as it can, until it is killed. */
static void work_until_killed(void) {
    struct store *s = begin();
    for (;;) {
        struct store_claim c = claim(s, 30);
        if (!c.job) pause();
        for (int64_t n = c.done; n < 3; n++) draw(s, &c, n, KADR_OK);
        OK(store_finish(s, &c, NULL, &err));
    }
}

static void kill_worker_after(useconds_t us) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        work_until_killed();
        _exit(1);
    }
    usleep(us);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void kills_lose_nothing(void **state) {
    (void)state;
    enum { JOBS = 40 };
    int rounds = getenv("KADR_LONG") ? 200 : 25;
    int64_t id[JOBS], check = 0, doubled = 1;
    struct store *s = begin();
    for (int i = 0; i < JOBS; i++) id[i] = add(s, "{}", 3);
    store_close(s);
    unsigned seed = 1;
    for (int i = 0; i < rounds; i++) {
        seed = seed * 1664525u + 1013904223u;
        kill_worker_after(1000 + (seed >> 8) % 30000);
    }
    s = begin();
    for (struct store_claim c = claim(s, 30); c.job; c = claim(s, 30)) {
        for (int64_t n = c.done; n < 3; n++) draw(s, &c, n, KADR_OK);
        OK(store_finish(s, &c, NULL, &err));
    }
    for (int i = 0; i < JOBS; i++) {
        size_t pictures;
        assert_string_equal(state_of(s, id[i], &pictures), "done");
        assert_int_equal(pictures, 3);
    }
    struct db_row row;
    OK(db_start(&s->db, &row, "PRAGMA integrity_check", &err, ""));
    OK(db_next(&row, &err));
    assert_string_equal(db_text(&row, 0), "ok");
    db_end(&row);
    OK(db_number(&s->db, 0, &check, "SELECT COUNT(*) FROM pictures", &err, ""));
    OK(db_number(&s->db, 0, &doubled, "SELECT COUNT(*) FROM jobs WHERE state != 'done'", &err, ""));
    assert_int_equal(check, 3 * JOBS);
    assert_int_equal(doubled, 0);
    store_close(s);
    store_close(begin()); /* sweeps */
    char path[64];
    snprintf(path, sizeof path, "%s/pictures", folder);
    DIR *d = opendir(path);
    int files = 0;
    while (d && readdir(d)) files++;
    closedir(d);
    assert_int_equal(files, 3 * JOBS + 2);
}

/* What the first release wrote, as it wrote it. */
static const char first_schema[] =
    "CREATE TABLE jobs(id INTEGER PRIMARY KEY AUTOINCREMENT, place BIGINT NOT NULL,"
    " state TEXT NOT NULL, request TEXT NOT NULL, count BIGINT NOT NULL,"
    " attempt BIGINT NOT NULL DEFAULT 0, worker TEXT, lease BIGINT, error TEXT,"
    " created BIGINT NOT NULL, finished BIGINT);"
    "CREATE INDEX jobs_queue ON jobs(state, place);"
    "CREATE TABLE pictures(id INTEGER PRIMARY KEY AUTOINCREMENT, job BIGINT NOT NULL,"
    " number BIGINT NOT NULL, file TEXT NOT NULL UNIQUE, width BIGINT NOT NULL,"
    " height BIGINT NOT NULL, seed BIGINT NOT NULL, prompt TEXT NOT NULL,"
    " settings TEXT NOT NULL, parameters TEXT NOT NULL, created BIGINT NOT NULL,"
    " UNIQUE(job, number));"
    "INSERT INTO jobs(place, state, request, count, created) VALUES(1, 'running', '{}', 1, 5);"
    "PRAGMA user_version = 1";

static void earlier_schemas_are_brought_up(void **state) {
    (void)state;
    char path[64];
    sqlite3 *db;
    int64_t version;
    snprintf(path, sizeof path, "%s/kadr.db", folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, first_schema, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    struct store *s = begin();
    assert_int_equal(claim(s, 30).job, 1);
    OK(store_put(s, "board", "a", "{}", 0, &version, &err));
    OK(db_number(&s->db, 0, &version, "PRAGMA user_version", &err, ""));
    assert_int_equal(version, 2);
    OK(db_run(&s->db, NULL, "PRAGMA user_version = 99", &err, ""));
    store_close(s);
    s = NULL;
    assert_int_equal(store_open(&s, mem, folder, &err), KADR_EUSAGE);
    assert_non_null(strstr(err.message, "newer kadr"));
}

static void damage_is_told(void **state) {
    (void)state;
    char path[64], garbage[8192];
    struct store *s = NULL;
    memset(garbage, 'x', sizeof garbage);
    snprintf(path, sizeof path, "%s/kadr.db", folder);
    OK(file_write_atomic(mem, path, garbage, sizeof garbage, &err));
    assert_int_equal(store_open(&s, mem, folder, &err), KADR_EIO);
    assert_non_null(strstr(err.message, "not a database"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(queue_keeps_its_order),
        TEST(late_reports_are_refused),
        TEST(gallery_is_searched),
        TEST(documents_have_versions),
        TEST(only_one_process_serves),
        TEST(kills_lose_nothing),
        TEST(earlier_schemas_are_brought_up),
        TEST(damage_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
