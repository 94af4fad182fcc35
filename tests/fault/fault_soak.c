/* Many drawings with changing settings in one process: memory goes back after each, none creeps.
 * 28 pictures; KADR_LONG=1: 200.
 */
#include "base/sys.h"
#include "draw/context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (1 << 20)

static void set(kadr_request *rq, const char *name, const char *value) {
    assert_int_equal(kadr_request_set(rq, name, value, NULL), KADR_OK);
}

static kadr_request *request(int n) {
    static const char *const models[] = {"micro", "tiny-a", "tiny-b", "tiny-c"};
    static const char *const samplers[] = {"euler", "dpmpp_2m", "unipc", "heun", "lcm"};
    char text[512];
    kadr_request *rq = kadr_request_new();
    assert_non_null(rq);
    snprintf(text, sizeof text, "%s/models/%s", getenv("KADR_TEST_DATA"), models[n % 4]);
    set(rq, "model", text);
    set(rq, "prompt", n % 3 ? "a fox" : "a (red:1.3) fox BREAK in the snow");
    set(rq, "sampler", samplers[n % 5]);
    set(rq, "precision", n % 2 ? "bf16" : "f32");
    set(rq, "guidance", n % 7 ? "4" : "1");
    snprintf(text, sizeof text, "%d", 64 + 64 * (n % 4));
    set(rq, "width", text);
    set(rq, "height", n % 2 ? "64" : "128");
    set(rq, "steps", "2");
    set(rq, "count", n % 6 ? "1" : "2");
    set(rq, "seed", "1");
    return rq;
}

static void flat(void **unused) {
    (void)unused;
    int pictures = getenv("KADR_LONG") ? 200 : 28, warm = 14;
    kadr_context *ctx;
    size_t idle = 0;
    assert_int_equal(kadr_open(&(kadr_config){.threads = 2}, &ctx, NULL), KADR_OK);
    for (int n = 0; n < pictures; n++) {
        kadr_error err = {0};
        kadr_request *rq = request(n);
        if (kadr_draw(ctx, &rq, 1, NULL, &err)) fail_msg("picture %d: %s", n, err.message);
        kadr_request_free(rq);
        struct mem_stats stats;
        mem_get_stats(ctx->mem, &stats);
        /* What remains is the model that was used last, its names and configurations. */
        if (stats.now > 4 * MIB) fail_msg("picture %d: %zu bytes are held", n, stats.now);
        if (n == warm) idle = stats.now + (size_t)sys_memory_now();
    }
    sys_trim();
    size_t end = (size_t)sys_memory_now();
    print_message("    after %d pictures %zu KiB, at the end %zu KiB\n", warm, idle >> 10,
                  end >> 10);
#if !defined(__SANITIZE_ADDRESS__)
    assert_true(end <= idle + 2 * MIB); /* a sanitizer keeps what was freed for a while */
#endif
    kadr_close(ctx);
}

/* Weights are kept between the pictures of a job; after its last one at least 99 % of what drawing
 * took has gone back, to the ledger and to the system. */
static void given_back(void **unused) {
    (void)unused;
    kadr_context *ctx;
    struct mem_stats before, after;
    size_t resident = 0;
    char model[512];
    snprintf(model, sizeof model, "%s/../../models/mini", getenv("KADR_TEST_DATA"));
    assert_int_equal(kadr_open(&(kadr_config){.threads = 2}, &ctx, NULL), KADR_OK);
    for (int n = 0; n < 2; n++) {
        kadr_error err = {0};
        kadr_request *rq = kadr_request_new();
        set(rq, "model", model);
        set(rq, "prompt", "a fox");
        set(rq, "width", "512");
        set(rq, "height", "384");
        set(rq, "steps", "1");
        set(rq, "count", "2");
        mem_get_stats(ctx->mem, &before);
        resident = (size_t)sys_memory_now();
        if (kadr_draw(ctx, &rq, 1, NULL, &err)) fail_msg("%s", err.message);
        kadr_request_free(rq);
    }
    mem_get_stats(ctx->mem, &after);
    size_t took = after.peak - before.now;
    print_message("    of %zu KiB, %zd remain; resident %zd KiB more\n", took >> 10,
                  (after.now - before.now) >> 10,
                  ((ssize_t)sys_memory_now() - (ssize_t)resident) >> 10);
    assert_true(took > 16 * MIB);
    assert_true(after.now <= before.now + took / 100);
#if !defined(__SANITIZE_ADDRESS__)
    sys_trim();
    assert_true((size_t)sys_memory_now() <= resident + took / 100);
#endif
    kadr_close(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(flat), cmocka_unit_test(given_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
