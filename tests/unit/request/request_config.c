/* kadr.ini and the environment. */
#include "request/request.h"

#include "base/file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static kadr_status parse(kadr_request *rq, const char *text, unsigned command, kadr_error *err) {
    return request_parse_ini(rq, text, strlen(text), "k.ini", SOURCE_USER, command, err);
}

static void values_are_read(void **state) {
    (void)state;
    kadr_request *rq = kadr_request_new();
    kadr_error err = {0};
    const char *text = "\xef\xbb\xbf; a comment\n# another\nwidth = 512\r\n"
                       "negative: blurry,\n   ugly\n   (worst:1.2)\nsteps=7\n"
                       "lora = a:0.5\nlora = b\n"
                       "[generate]\nsteps = 9\nguidance = 3.5\n"
                       "[board]\nguidance = 4\nseed = 77";
    if (parse(rq, text, KADR_FOR_GENERATE, &err)) fail_msg("%s", err.message);
    assert_int_equal(rq->width, 512);
    assert_string_equal(rq->negative, "blurry, ugly (worst:1.2)");
    assert_int_equal(rq->origin[OPTION_negative].line, 4);
    assert_int_equal(rq->steps, 9);
    assert_true(rq->guidance == 3.5);
    assert_int_equal(rq->lora.count, 2);
    assert_false(request_has(rq, OPTION_seed));
    assert_int_equal(rq->origin[OPTION_steps].source, SOURCE_USER);
    assert_string_equal(rq->origin[OPTION_steps].file, "k.ini");
    assert_int_equal(rq->origin[OPTION_steps].line, 11);
    kadr_request_free(rq);

    rq = kadr_request_new();
    if (parse(rq, text, KADR_FOR_BOARD, &err)) fail_msg("%s", err.message);
    assert_int_equal(rq->steps, 7);
    assert_int_equal(rq->seed, 77);
    kadr_request_free(rq);
}

static void mistakes_have_their_place(void **state) {
    (void)state;
    char long_line[1200] = "width = 64\nprompt = ";
    memset(long_line + strlen(long_line), 'x', 1000);
    const struct {
        const char *text, *says;
    } wrong[] = {
        {"width = 512\n\nwidht = 8\n", "k.ini:3: unknown key \"widht\", did you mean \"width\"?"},
        {"zzzzzzzz = 8\n", "k.ini:1: unknown key \"zzzzzzzz\""},
        {"\n\nwidth = wide\nsteps = 3\n", "k.ini:3: width: expected a whole number"},
        {"width\n", "k.ini:1: expected NAME = VALUE"},
        {"steps = 2\n[generate\nwidth = 8\n", "k.ini:2: expected NAME = VALUE"},
        {"[generat]\nwidth = 8\n", "k.ini:2: unknown section [generat], did you mean generate"},
        {"[bored]\nx = 8\n", "unknown section"},
        {"[board]\nwidth = wide\n", "k.ini:2: width: expected"},
        {"output = /etc/passwd\n", "k.ini:1: output may only be given as a flag"},
        {"save-latents = x\n", "only be given as a flag"},
        {long_line, "k.ini:2: expected at most"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        kadr_request *rq = kadr_request_new();
        kadr_error err = {0};
        assert_int_equal(parse(rq, wrong[i].text, KADR_FOR_GENERATE, &err), KADR_EUSAGE);
        if (!strstr(err.message, wrong[i].says)) fail_msg("%s", err.message);
        kadr_request_free(rq);
    }
    kadr_request *rq = kadr_request_new();
    kadr_error err = {0};
    assert_int_equal(request_parse_ini(rq, "a=\0b", 4, "k.ini", SOURCE_USER, 1, &err), KADR_EUSAGE);
    assert_int_equal(request_parse_ini(rq, "", 0, "k.ini", SOURCE_USER, 1, &err), KADR_OK);
    kadr_request_free(rq);
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* flag > environment > ./kadr.ini > the user's > the rest */
static void places_come_in_order(void **state) {
    (void)state;
    char folder[] = "/tmp/kadr-config-XXXXXX", user[128];
    kadr_error err = {0};
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    setenv("XDG_CONFIG_HOME", folder, 1);
    snprintf(user, sizeof user, "%s/kadr", folder);
    assert_int_equal(file_make_folders(user, &err), KADR_OK);
    snprintf(user, sizeof user, "%s/kadr/kadr.ini", folder);
    write_text(user, "width=8\nheight=16\nsteps=24\nguidance=2\n");
    write_text("kadr.ini", "width=32\nheight=40\nsteps=48\n");
    setenv("KADR_WIDTH", "64", 1);
    setenv("KADR_HEIGHT", "72", 1);
    setenv("KADR_CLIP_SKIP", "2", 1);
    setenv("KADR_LORA", "a:1\nb:2\n", 1);
    setenv("KADR_OUTPUT", "nothing", 1);

    kadr_request *rq = kadr_request_new();
    kadr_request_set(rq, "width", "128", NULL);
    if (request_read_configuration(rq, KADR_FOR_GENERATE, &err)) fail_msg("%s", err.message);
    assert_int_equal(rq->width, 128);
    assert_int_equal(rq->height, 72);
    assert_int_equal(rq->steps, 48);
    assert_true(rq->guidance == 2);
    assert_int_equal(rq->clip_skip, 2);
    assert_int_equal(rq->lora.count, 2);
    assert_null(rq->output);

    struct arena a;
    arena_init(&a, rq->mem);
    assert_string_equal(request_origin_text(rq, OPTION_width, &a), "flag --width");
    assert_string_equal(request_origin_text(rq, OPTION_height, &a), "environment KADR_HEIGHT");
    assert_string_equal(request_origin_text(rq, OPTION_steps, &a), "kadr.ini:3");
    snprintf(user, sizeof user, "%s/kadr/kadr.ini:4", folder);
    assert_string_equal(request_origin_text(rq, OPTION_guidance, &a), user);
    arena_free(&a);
    kadr_request_free(rq);

    setenv("KADR_HEIGHT", "tall", 1);
    rq = kadr_request_new();
    assert_int_equal(request_read_configuration(rq, KADR_FOR_GENERATE, &err), KADR_EUSAGE);
    assert_non_null(strstr(err.message, "KADR_HEIGHT: height: expected"));
    kadr_request_free(rq);

    unlink("kadr.ini");
    snprintf(user, sizeof user, "%s/kadr/kadr.ini", folder);
    unlink(user);
    snprintf(user, sizeof user, "%s/kadr", folder);
    rmdir(user);
    assert_int_equal(chdir("/"), 0);
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read),
        cmocka_unit_test(mistakes_have_their_place),
        cmocka_unit_test(places_come_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
