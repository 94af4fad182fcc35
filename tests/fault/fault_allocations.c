/* Every allocation of a small drawing is refused once, one after another: of ours through the
 * ledger, of jansson's through its hook. Each time the drawing fails with KADR_EMEMORY (or goes on,
 * where an allocation is only for something that can be left out), nothing leaks and nothing
 * crashes.
 */
#include "draw/context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- jansson's allocations */
static uint64_t json_calls, json_fail_at;
static long json_blocks;

static void *json_take(size_t size) {
    if (++json_calls == json_fail_at) return NULL;
    void *p = malloc(size);
    if (p) json_blocks++;
    return p;
}

static void json_give(void *p) {
    if (p) json_blocks--;
    free(p);
}

static kadr_request *request(void) {
    char model[512];
    snprintf(model, sizeof model, "%s/models/micro", getenv("KADR_TEST_DATA"));
    kadr_request *rq = kadr_request_new();
    assert_non_null(rq);
    const char *const values[][2] = {{"model", model},       {"prompt", "a (red:1.2) fox"},
                                     {"negative", "blurry"}, {"width", "16"},
                                     {"height", "16"},       {"steps", "2"},
                                     {"guidance", "3"},      {"seed", "5"},
                                     {"sampler", "dpmpp_2m"}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        assert_int_equal(kadr_request_set(rq, values[i][0], values[i][1], NULL), KADR_OK);
    return rq;
}

static int count_picture(void *user, const kadr_picture *p) {
    assert_int_equal(p->width, 16);
    ++*(int *)user;
    return 0;
}

static kadr_status draw(struct mem *m, const kadr_request *rq, int *pictures, kadr_error *err) {
    kadr_context *ctx;
    const kadr_config config = {.threads = 2};
    *pictures = 0;
    kadr_status st = context_open(m, &config, &ctx, err);
    if (st) return st;
    const kadr_observer observer = {.user = pictures, .picture = count_picture};
    kadr_request *list[1] = {(kadr_request *)(uintptr_t)rq};
    st = kadr_draw(ctx, list, 1, &observer, err);
    context_close(ctx);
    return st;
}

/* How many allocations there are, with nothing refused. */
static uint64_t count_all(const kadr_request *rq, bool json) {
    struct mem *m = mem_open(0);
    struct mem_stats stats;
    kadr_error err;
    int pictures;
    json_calls = json_fail_at = 0;
    assert_int_equal(draw(m, rq, &pictures, &err), KADR_OK);
    assert_int_equal(pictures, 1);
    mem_get_stats(m, &stats);
    assert_int_equal(mem_close(m), 0);
    return json ? json_calls : stats.calls;
}

static void refuse_each(bool json) {
    kadr_request *rq = request();
    uint64_t all = count_all(rq, json), failed = 0;
    long before = json_blocks;
    /* Quick runs take a sample that touches every region; the first and last hundred always. Of
     * jansson's always a sample: where its 2.14 cannot grow the buffer of what it reads, it goes on
     * and may lose blocks of its own. */
    bool each = all < 1500 || (getenv("KADR_LONG") && !json);
    uint64_t step = each ? 1 : all / 1000;
    for (uint64_t n = 1; n <= all; n += n < 100 || n + 100 > all ? 1 : step) {
        struct mem *m = mem_open(0);
        kadr_error err = {0};
        int pictures;
        if (json) {
            json_calls = 0;
            json_fail_at = n;
        } else mem_fail_at(m, n);
        kadr_status st = draw(m, rq, &pictures, &err);
        json_fail_at = 0;
        if (st) {
            failed++;
            /* Jansson's parser tells want of memory as an error of form where it happens, and its
             * 2.14 not at all when a long string outgrows its buffer: then a name lacks a letter,
             * and the tensor is missed. */
            bool right = st == KADR_EMEMORY || (json && (strstr(err.message, "not valid JSON") ||
                                                         strstr(err.message, "no tensor")));
            if (!right) fail_msg("allocation %d: status %d: %s", (int)n, st, err.message);
            assert_int_equal(pictures, 0);
        }
        assert_int_equal(mem_close(m), 0);
        if (json_blocks != before)
            fail_msg("allocation %d: %ld blocks of JSON are left", (int)n, json_blocks - before);
    }
    print_message("    %d allocations, %d refused drawings\n", (int)all, (int)failed);
    assert_true(failed > 0);
    kadr_request_free(rq);
}

static void ours(void **unused) {
    (void)unused;
    refuse_each(false);
}

static void janssons(void **unused) {
    (void)unused;
    refuse_each(true);
}

int main(void) {
    json_set_alloc_funcs(json_take, json_give);
    const struct CMUnitTest tests[] = {cmocka_unit_test(ours), cmocka_unit_test(janssons)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
