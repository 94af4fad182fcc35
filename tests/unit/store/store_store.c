/* The queue's order, fencing, what survives kill -9, and schemas of every earlier version. */
#include "store/inside.h"

#include "base/file.h"
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct mem *mem;
static char folder[] = "/var/tmp/kadr-store-XXXXXX";
static struct store_place place = {.where = folder, .cache = folder};
static kadr_error err;

#define OK(call)                                                                                   \
    do {                                                                                           \
        if (call) fail_msg("%s", err.message);                                                     \
    } while (0)

static int make_folder(void **state) {
    (void)state;
    place.where = folder;
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    mem = mem_open(0);
    return !mem || !mkdtemp(folder);
}

/* The same in the PostgreSQL that KADR_TEST_POSTGRES names, which tests/e2e/many.py starts. */
static int empty_database(void **state) {
    struct db db;
    int bad = make_folder(state);
    place.where = getenv("KADR_TEST_POSTGRES");
    OK(db_open(&db, place.where, &err));
    OK(db_run(&db, NULL, "DROP SCHEMA kadr CASCADE", &err, ""));
    db_close(&db);
    return bad;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return mem_close(mem) != 0 || system(command);
}

static struct store *begin(void) {
    struct store *s = NULL;
    OK(store_open(&s, mem, &place, &err));
    return s;
}

static int64_t add(struct store *s, const char *request, int64_t count) {
    int64_t id = 0;
    const struct store_order order = {.request = request, .pictures = count};
    OK(store_add_jobs(s, &order, 1, &id, &err));
    return id;
}

static struct store_claim claim(struct store *s, int64_t lease) {
    struct store_claim c;
    OK(store_claim(s, "test", lease, &c, &err));
    store_claim_free(&c);
    return c;
}

static int64_t draw(struct store *s, const struct store_claim *c, int64_t number,
                    kadr_status expected) {
    const struct store_picture p = {number, 7, 8, 8, "A red Fox", "{\"steps\":2}", "x", false};
    int64_t id = 0;
    char *path = store_picture_path(s, c, number);
    assert_non_null(path);
    OK(file_write_atomic(mem, path, "PNG", 3, &err));
    assert_int_equal(store_add_picture(s, c, &p, &id, &err), expected);
    /* A database takes it in. */
    assert_int_equal(file_exists(path), expected == KADR_OK && !store_is_shared(s));
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
    OK(store_renew(s, &old, 1, 30, &held, &err));
    assert_false(held);
    OK(store_renew(s, &new, 1, 30, &held, &err));
    assert_true(held);
    draw(s, &new, 1, KADR_OK);
    OK(store_finish(s, &new, NULL, &err));
    assert_string_equal(state_of(s, id, &pictures), "done");
    assert_int_equal(pictures, 2);
    assert_int_equal(store_release(s, &new, &err), KADR_EINTERRUPTED);
    store_close(s);
}

/* What several workers draw at once of one job. */
static void parts_are_fenced(void **state) {
    (void)state;
    struct store *s = begin();
    struct store_claim part[8];
    int64_t id = add(s, "{}", 17), other = add(s, "{}", 1);
    size_t pictures;
    bool held;
    for (int i = 0; i < 6; i++) {
        part[i] = claim(s, i == 2 ? -1 : 30); /* that of 2 has run out already */
        assert_int_equal(part[i].job, id);
        assert_int_equal(part[i].first, i == 3 ? 6 : part[i].first);
        if (i == 2) draw(s, &part[2], part[2].first, KADR_OK);
    }
    /* 17 are 5 of 3 and 1 of 2; what ran out was given away again. */
    assert_int_equal(part[3].first, part[2].first);
    assert_int_equal(part[3].done, 1);
    assert_int_equal(part[3].attempt, part[2].attempt + 1);
    part[6] = claim(s, 30);
    assert_int_equal(part[6].first + part[6].count, 17);
    assert_int_equal(claim(s, 30).job, other);
    draw(s, &part[2], part[2].first + 1, KADR_EINTERRUPTED);
    OK(store_renew(s, &part[2], 1, 30, &held, &err));
    assert_false(held);
    assert_int_equal(store_refuse(s, &part[2], "test", "no", &err), KADR_EINTERRUPTED);
    OK(store_release(s, &part[6], &err));
    part[6] = claim(s, 30);
    for (int i = 0; i < 7; i++)
        for (int64_t n = part[i].done; i != 2 && n < part[i].count; n++) {
            assert_string_equal(state_of(s, id, NULL), "running");
            draw(s, &part[i], part[i].first + n, KADR_OK);
        }
    assert_string_equal(state_of(s, id, &pictures), "done");
    assert_int_equal(pictures, 17);
    /* Told again, because nobody knew what became of the first time. */
    draw(s, &part[0], 0, KADR_OK);
    assert_string_equal(state_of(s, id, &pictures), "done");
    assert_int_equal(pictures, 17);
    store_close(s);
}

static int64_t add_panel(struct store *s, int64_t board) {
    int64_t id = 0;
    const struct store_order order = {"{}", 1, board, "{}", "somebody"};
    OK(store_add_jobs(s, &order, 1, &id, &err));
    return id;
}

static struct store_claim claim_with(struct store *s, size_t most, struct store_claim *more,
                                     size_t *count) {
    struct store_claim all[8];
    OK(store_claim(s, "test", 30, &all[0], &err));
    *count = 1;
    OK(store_claim_beside(s, "test", 30, all, most, count, &err));
    for (size_t i = 0; i < *count; i++) {
        assert_string_equal(all[i].request, "{}");
        store_claim_free(&all[i]);
        if (i) more[i - 1] = all[i];
    }
    return all[0];
}

/* Panels of one board that stand one behind the other; each a claim of its own. */
static void panels_are_claimed_together(void **state) {
    (void)state;
    struct store *s = begin();
    struct store_claim more[8];
    bool held[4], was;
    size_t count;
    int64_t a = add_panel(s, 3), b = add_panel(s, 3), c = add_panel(s, 3), other = add_panel(s, 4);
    int64_t d = add_panel(s, 3);
    struct store_claim first = claim_with(s, 2, more, &count);
    assert_int_equal(first.job, a);
    assert_int_equal(first.beside, 2); /* what stands behind another's waits */
    assert_int_equal(count, 2);
    assert_int_equal(more[0].job, b);
    assert_int_equal(claim(s, 30).job, c);
    assert_string_equal(state_of(s, b, NULL), "running");
    /* Of one board, as far as another worker did not get them. */
    OK(store_move(s, d, other, &was, &err));
    struct store_claim next = claim_with(s, 8, more + 1, &count);
    assert_int_equal(next.job, d);
    assert_int_equal(count, 1);
    OK(store_cancel(s, b, &was, &err));
    const struct store_claim all[] = {first, more[0], next};
    OK(store_renew(s, all, 3, 30, held, &err));
    assert_true(held[0] && !held[1] && held[2]);
    draw(s, &more[0], 0, KADR_EINTERRUPTED);
    draw(s, &first, 0, KADR_OK);
    draw(s, &next, 0, KADR_OK);
    assert_string_equal(state_of(s, a, NULL), "done");
    assert_string_equal(state_of(s, d, NULL), "done");
    assert_string_equal(state_of(s, b, NULL), "cancelled");
    /* Those who are there share. */
    for (int i = 0; i < 6; i++) add_panel(s, 5);
    OK(store_seen(s, "test", "{}", &err));
    OK(store_seen(s, "idle", "{}", &err));
    assert_int_equal(claim(s, 30).job, other);
    assert_int_equal(claim(s, 30).beside, 2);
    store_close(s);
}

/* A job that its workers die of is not tried for ever; one whose machine is restarted often is. */
static void what_kills_its_workers_fails(void **state) {
    (void)state;
    struct store *s = begin();
    json_t *job;
    int64_t id = add_panel(s, 3), good = add_panel(s, 3);
    for (int i = 0; i < 20; i++) {
        struct store_claim c = claim(s, -1);
        assert_int_equal(c.job, id);
        if (i) assert_int_equal(c.beside, 0); /* after one death alone */
    }
    for (int i = 1; i < STORE_DEATHS - 1; i++) {
        OK(db_run(&s->db, NULL, "UPDATE parts SET died = died - 11000", &err, ""));
        assert_int_equal(claim(s, -1).job, id);
    }
    OK(db_run(&s->db, NULL, "UPDATE parts SET died = died - 11000", &err, ""));
    assert_int_equal(claim(s, 30).job, good);
    OK(store_job(s, id, &job, &err));
    assert_string_equal(json_string_value(json_object_get(job, "state")), "failed");
    assert_non_null(strstr(json_string_value(json_object_get(job, "error")), "5 times"));
    json_decref(job);
    /* A picture between two deaths: it can be drawn. */
    id = add(s, "{}", 2);
    struct store_claim c = claim(s, -1);
    for (int i = 0; i < 2 * STORE_DEATHS; i++) {
        if (i == STORE_DEATHS - 1) draw(s, &c, c.first, KADR_OK);
        OK(db_run(&s->db, NULL, "UPDATE parts SET died = died - 11000", &err, ""));
        if (i == STORE_DEATHS) break;
        c = claim(s, -1);
        assert_int_equal(c.job, id);
    }
    /* What is given back was no death. */
    for (int i = 0; i < 2 * STORE_DEATHS; i++) {
        c = claim(s, 30);
        assert_int_equal(c.job, id);
        OK(store_release(s, &c, &err));
        OK(db_run(&s->db, NULL, "UPDATE parts SET died = died - 11000", &err, ""));
    }
    store_close(s);
}

static void pictures_are_skipped(void **state) {
    (void)state;
    struct store *s = begin();
    size_t pictures;
    int64_t id = add(s, "{}", 3);
    struct store_claim c = claim(s, 30);
    int64_t each = c.count; /* 3 in one part, or 1 in each of 3 */
    if (each > 1) draw(s, &c, 0, KADR_OK);
    OK(store_skip(s, &c, &err));
    assert_int_equal(store_skip(s, &c, &err), KADR_EINTERRUPTED);
    c = claim(s, 30);
    assert_int_equal(c.job, id);
    assert_int_equal(c.first, each > 1 ? 2 : 1);
    assert_int_equal(c.done, 0);
    draw(s, &c, c.first, KADR_OK);
    if (each == 1) {
        c = claim(s, 30);
        OK(store_skip(s, &c, &err));
    }
    assert_string_equal(state_of(s, id, &pictures), "done");
    assert_int_equal(pictures, each > 1 ? 2 : 1);
    store_close(s);
}

static void clients_are_known_by_what_waits(void **state) {
    (void)state;
    struct store *s = begin();
    int64_t count, jobs[4];
    size_t drawn;
    int64_t a = add_panel(s, 3);
    add_panel(s, 3);
    add(s, "{}", 1);
    OK(store_client_jobs(s, "somebody", &count, &err));
    assert_int_equal(count, 2);
    struct store_claim c = claim(s, 30);
    store_close(s);
    s = begin();
    c = claim(s, 30);
    if (!c.job) return store_close(s); /* many machines: the first one has it still */
    OK(store_client_drawn(s, "somebody", jobs, 4, &drawn, &err));
    assert_int_equal(drawn, 1);
    assert_int_equal(jobs[0], a);
    draw(s, &c, 0, KADR_OK);
    OK(store_client_jobs(s, "somebody", &count, &err));
    assert_int_equal(count, 1);
    OK(store_client_jobs(s, "another", &count, &err));
    assert_int_equal(count, 0);
    store_close(s);
}

static void who_cannot_draw_it_is_not_asked_again(void **state) {
    (void)state;
    struct store *s = begin();
    int64_t large = add(s, "{}", 2), small = add(s, "{}", 1);
    json_t *job;
    OK(store_seen(s, "test", "{}", &err));
    OK(store_seen(s, "idle", "{}", &err));
    struct store_claim c = claim(s, 30);
    assert_int_equal(c.job, large);
    OK(store_refuse(s, &c, "test", "takes 9 GiB, allowed are 4 GiB", &err));
    assert_int_equal(claim(s, 30).job, small);
    assert_int_equal(claim(s, 30).job, 0);
    OK(store_job(s, large, &job, &err));
    assert_string_equal(json_string_value(json_object_get(job, "state")), "queued");
    assert_non_null(strstr(json_string_value(json_object_get(job, "waits")), "9 GiB"));
    json_decref(job);
    /* A minute later it fails, unless somebody is there that did not refuse. */
    OK(db_run(&s->db, NULL, "UPDATE jobs SET created = created - 61000", &err, ""));
    assert_int_equal(claim(s, 30).job, 0);
    assert_string_equal(state_of(s, large, NULL), "queued");
    OK(store_workers(s, &job, &err));
    assert_int_equal(json_array_size(job), 2);
    json_decref(job);
    OK(store_seen(s, "idle", NULL, &err));
    assert_int_equal(claim(s, 30).job, 0);
    assert_string_equal(state_of(s, large, NULL), "failed");
    store_close(s);
}

static void processes_hear_each_other(void **state) {
    (void)state;
    struct store *s = begin();
    bool missed;
    assert_null(store_hear(s, 0, &missed));
    assert_true(missed);
    OK(store_tell(s, "a", &err));
    OK(store_tell(s, "b", &err));
    assert_string_equal(store_hear(s, 5000, &missed), "a");
    assert_string_equal(store_hear(s, 5000, &missed), "b");
    assert_null(store_hear(s, 0, &missed));
    assert_false(missed);
    store_close(s);
}

/* "Nobody sees a password": in no message, whatever is wrong with the URL. */
static void passwords_are_not_told(void **state) {
    (void)state;
    static const char *const urls[] = {
        "postgresql://kadr:s3cret@127.0.0.1:1/x",
        "postgresql://kadr:s3cret@",
        "postgresql://kadr:s3cret@127.0.0.1:port/x",
        "postgresql://kadr:x@s3cret@127.0.0.1/x",
        "postgresql://kadr:s3cret@127.0.0.1/x?s3cret=1",
        "postgresql://kadr:s3c%ret@127.0.0.1/x",
        "postgres://kadr:s3cret@[::1/x",
        "postgresql://kadr:1/s3cret@127.0.0.1/x",
        "postgresql://kadr:1?s3cret=@127.0.0.1/x",
        "postgresql://kadr:1#s3cret@127.0.0.1:1/x",
        "postgresql://127.0.0.1:1/x?password=s3cret",
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct db db;
        kadr_status st = db_open(&db, urls[i], &err);
        assert_true(st == KADR_EIO || st == KADR_EUSAGE);
        if (strstr(err.message, "s3c")) fail_msg("%s", err.message);
    }
}

static void gallery_is_searched(void **state) {
    (void)state;
    struct store *s = begin();
    json_t *list;
    char *path;
    bool was;
    add(s, "{}", 2);
    struct store_claim c = claim(s, 30);
    int64_t first = draw(s, &c, 0, KADR_OK);
    if (c.count == 1) c = claim(s, 30);
    int64_t second = draw(s, &c, 1, KADR_OK);
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

static void boards_know_their_jobs(void **state) {
    (void)state;
    struct store *s = begin();
    const struct store_order order = {"{}", 1, 3, "{\"panel\":\"1A\"}", NULL};
    int64_t id = 0, number = 0, version;
    json_t *list;
    add(s, "{}", 1);
    OK(store_add_jobs(s, &order, 1, &id, &err));
    OK(store_board_jobs(s, 4, &list, &err));
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
    struct store_claim c = claim(s, 30);
    OK(store_finish(s, &c, NULL, &err));
    c = claim(s, 30);
    int64_t picture = draw(s, &c, 0, KADR_OK);
    OK(store_finish(s, &c, NULL, &err));
    OK(store_board_jobs(s, 3, &list, &err));
    const json_t *job = json_array_get(list, 0), *about = json_object_get(job, "about");
    assert_int_equal(json_array_size(list), 1);
    assert_int_equal(json_integer_value(json_object_get(job, "job")), id);
    assert_int_equal(json_integer_value(json_object_get(job, "picture")), picture);
    assert_string_equal(json_string_value(json_object_get(about, "panel")), "1A");
    json_decref(list);
    OK(store_next_number(s, "board", &number, &err));
    assert_int_equal(number, 1);
    OK(store_put(s, "board", "9", "{}", 0, &version, &err));
    OK(store_put(s, "board", "10", "{}", 0, &version, &err));
    OK(store_next_number(s, "board", &number, &err));
    assert_int_equal(number, 11);
    store_close(s);
}

static void only_one_process_serves(void **state) {
    (void)state;
    struct store *s = begin(), *other = NULL;
    assert_int_equal(store_open(&other, mem, &place, &err), KADR_EUSAGE);
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

/* What each version wrote, as it wrote it: job 1 was being drawn, with one of its three pictures
 * there, job 2 waits, and before it stands job 3; job 4 is over. */
static const char *const written[] = {
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
    "INSERT INTO jobs(place, state, request, count, attempt, worker, lease, created) VALUES"
    " (1, 'running', '{}', 3, 4, 'serve', 99999999999999, 5), (3, 'queued', '{}', 1, 0, NULL, "
    "NULL, 6),"
    " (2, 'queued', '{}', 1, 0, NULL, NULL, 7), (4, 'done', '{}', 1, 1, 'serve', NULL, 8);"
    "INSERT INTO pictures(job, number, file, width, height, seed, prompt, settings, parameters,"
    " created) VALUES(1, 0, '1-0-4.png', 8, 8, 7, 'x', '{}', 'x', 9);"
    "PRAGMA user_version = 1",
    "CREATE TABLE documents(kind TEXT NOT NULL, name TEXT NOT NULL, version BIGINT NOT NULL,"
    " body TEXT NOT NULL, changed BIGINT NOT NULL, PRIMARY KEY(kind, name));"
    "INSERT INTO documents VALUES('board', 'b', 3, '{\"x\":1}', 5);"
    "PRAGMA user_version = 2",
    "ALTER TABLE jobs ADD COLUMN board BIGINT;"
    "ALTER TABLE jobs ADD COLUMN about TEXT;"
    "CREATE INDEX jobs_board ON jobs(board, id);"
    "UPDATE jobs SET board = 9, about = '{}' WHERE id = 3;"
    "PRAGMA user_version = 3",
    "ALTER TABLE jobs DROP COLUMN worker;"
    "ALTER TABLE jobs DROP COLUMN lease;"
    "ALTER TABLE jobs ADD COLUMN ticket TEXT;"
    "CREATE UNIQUE INDEX jobs_ticket ON jobs(ticket);"
    "CREATE TABLE parts(id INTEGER PRIMARY KEY AUTOINCREMENT, job BIGINT NOT NULL,"
    " first BIGINT NOT NULL, count BIGINT NOT NULL, attempt BIGINT NOT NULL DEFAULT 0,"
    " worker TEXT, lease BIGINT, preview BLOB);"
    "CREATE INDEX parts_job ON parts(job);"
    "INSERT INTO parts(job, first, count, attempt, worker, lease) VALUES"
    " (1, 0, 3, 4, 'serve', 99999999999999), (2, 0, 1, 0, NULL, NULL), (3, 0, 1, 0, NULL, NULL);"
    "CREATE TABLE files(name TEXT PRIMARY KEY, data BLOB NOT NULL, created BIGINT NOT NULL);"
    "CREATE TABLE workers(name TEXT PRIMARY KEY, about TEXT NOT NULL, seen BIGINT NOT NULL);"
    "CREATE TABLE refusals(job BIGINT NOT NULL, worker TEXT NOT NULL, reason TEXT NOT NULL,"
    " PRIMARY KEY(job, worker));"
    "CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL);"
    "PRAGMA user_version = 4",
};
#define WRITTEN (sizeof written / sizeof *written)

static void bring_up(size_t versions) {
    char path[64];
    sqlite3 *db;
    int64_t version;
    size_t pictures;
    json_t *list;
    snprintf(path, sizeof path, "%s/kadr.db", folder);
    unlink(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    for (size_t i = 0; i < versions; i++)
        assert_int_equal(sqlite3_exec(db, written[i], NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    struct store *s = begin();
    struct store_claim c = claim(s, 30);
    assert_int_equal(c.job, 1);
    assert_int_equal(c.attempt, 5);
    assert_int_equal(c.count, 3);
    assert_int_equal(c.done, 1);
    for (int64_t n = 1; n < 3; n++) draw(s, &c, n, KADR_OK);
    assert_string_equal(state_of(s, 1, &pictures), "done");
    assert_int_equal(pictures, 3);
    assert_int_equal(claim(s, 30).job, 3);
    assert_int_equal(claim(s, 30).job, 2);
    assert_int_equal(claim(s, 30).job, 0);
    OK(store_list(s, "board", &list, &err));
    assert_int_equal(json_array_size(list), versions > 1);
    json_decref(list);
    OK(store_board_jobs(s, 9, &list, &err));
    assert_int_equal(json_array_size(list), versions > 2);
    json_decref(list);
    OK(store_put(s, "board", "a", "{}", 0, &version, &err));
    OK(db_number(&s->db, 0, &version, "PRAGMA user_version", &err, ""));
    assert_int_equal(version, db_version());
    store_close(s);
}

static void earlier_schemas_are_brought_up(void **state) {
    (void)state;
    /* A new step needs what the version before it wrote. */
    assert_int_equal(WRITTEN + 1, db_version());
    for (size_t n = 1; n <= WRITTEN; n++) bring_up(n);
    struct store *s = begin();
    OK(db_run(&s->db, NULL, "PRAGMA user_version = 99", &err, ""));
    store_close(s);
    s = NULL;
    assert_int_equal(store_open(&s, mem, &place, &err), KADR_EUSAGE);
    assert_non_null(strstr(err.message, "newer kadr"));
}

static void damage_is_told(void **state) {
    (void)state;
    char path[64], garbage[8192];
    struct store *s = NULL;
    memset(garbage, 'x', sizeof garbage);
    snprintf(path, sizeof path, "%s/kadr.db", folder);
    OK(file_write_atomic(mem, path, garbage, sizeof garbage, &err));
    assert_int_equal(store_open(&s, mem, &place, &err), KADR_EIO);
    assert_non_null(strstr(err.message, "not a database"));
}

/* ---- Several at once, on PostgreSQL ---------------------------------------------------------- */
enum { MOVERS = 4, MOVED = 12, MOVES = 60 };
struct mover {
    const int64_t *id;
    unsigned seed;
    bool failed;
    char why[256];
};

static void *move_about(void *arg) {
    struct mover *m = arg;
    struct store *s = NULL;
    kadr_error e = {0};
    m->failed = store_open(&s, mem, &place, &e) != KADR_OK;
    for (int i = 0; i < MOVES && !m->failed; i++) {
        m->seed = m->seed * 1664525u + 1013904223u;
        int64_t job = m->id[(m->seed >> 8) % MOVED], before = m->id[(m->seed >> 16) % MOVED];
        bool was;
        m->failed = store_move(s, job, job == before ? 0 : before, &was, &e) != KADR_OK;
    }
    memcpy(m->why, e.message, sizeof m->why < sizeof e.message ? sizeof m->why : sizeof e.message);
    store_close(s);
    return NULL;
}

/* Nobody is refused because two wait for each other, and the order is one. */
static void moves_at_once(void **state) {
    (void)state;
    struct store *s = begin();
    struct mover mover[MOVERS];
    pthread_t thread[MOVERS];
    int64_t id[MOVED], places = 0;
    for (int i = 0; i < MOVED; i++) id[i] = add(s, "{}", 1);
    for (unsigned i = 0; i < MOVERS; i++) {
        mover[i] = (struct mover){.id = id, .seed = i + 1};
        assert_int_equal(pthread_create(&thread[i], NULL, move_about, &mover[i]), 0);
    }
    for (int i = 0; i < MOVERS; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < MOVERS; i++)
        if (mover[i].failed) fail_msg("%s", mover[i].why);
    OK(db_number(&s->db, 0, &places, "SELECT COUNT(DISTINCT place) FROM jobs", &err, ""));
    assert_int_equal(places, MOVED);
    store_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
#define SHARED(f) cmocka_unit_test_setup_teardown(f, empty_database, remove_folder)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(queue_keeps_its_order),
        TEST(late_reports_are_refused),
        TEST(gallery_is_searched),
        TEST(documents_have_versions),
        TEST(boards_know_their_jobs),
        TEST(only_one_process_serves),
        TEST(kills_lose_nothing),
        TEST(earlier_schemas_are_brought_up),
        TEST(damage_is_told),
        TEST(passwords_are_not_told),
        TEST(panels_are_claimed_together),
        TEST(what_kills_its_workers_fails),
        TEST(pictures_are_skipped),
        TEST(clients_are_known_by_what_waits),
    };
    const struct CMUnitTest shared[] = {
        SHARED(queue_keeps_its_order),
        SHARED(parts_are_fenced),
        SHARED(panels_are_claimed_together),
        SHARED(what_kills_its_workers_fails),
        SHARED(pictures_are_skipped),
        SHARED(gallery_is_searched),
        SHARED(who_cannot_draw_it_is_not_asked_again),
        SHARED(documents_have_versions),
        SHARED(boards_know_their_jobs),
        SHARED(processes_hear_each_other),
        SHARED(moves_at_once),
    };
    if (getenv("KADR_TEST_POSTGRES")) return cmocka_run_group_tests(shared, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
