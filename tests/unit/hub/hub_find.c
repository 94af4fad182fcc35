/* hub_find.c: names are found in the model folder and in a cache laid out as huggingface_hub does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "hub/hub.h"

struct home {
    struct mem *mem;
    struct arena arena;
    char folder[64];
};

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static int open_home(void **state) {
    struct home *h = calloc(1, sizeof *h);
    assert_non_null(h);
    h->mem = mem_open(0);
    arena_init(&h->arena, h->mem);
    snprintf(h->folder, sizeof h->folder, "/tmp/kadr-hub-XXXXXX");
    assert_non_null(mkdtemp(h->folder));
    static const char *const clear[] = {"XDG_DATA_HOME", "XDG_CACHE_HOME", "HF_HOME",
                                        "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"};
    for (size_t i = 0; i < sizeof clear / sizeof *clear; i++) unsetenv(clear[i]);
    setenv("HOME", h->folder, 1);
    *state = h;
    return 0;
}

static int close_home(void **state) {
    struct home *h = *state;
    nftw(h->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    arena_free(&h->arena);
    assert_int_equal(mem_close(h->mem), 0);
    free(h);
    return 0;
}

static const char *at(struct home *h, const char *name) {
    return arena_printf(&h->arena, "%s/%s", h->folder, name);
}

static const char *make_file(struct home *h, const char *name, const char *text) {
    kadr_error err;
    const char *path = at(h, name);
    char *folder = arena_printf(&h->arena, "%.*s", (int)(file_name(path) - path - 1), path);
    assert_int_equal(file_make_folders(folder, &err), KADR_OK);
    assert_int_equal(file_write_atomic(h->mem, path, text, strlen(text), &err), KADR_OK);
    return path;
}

static void finds(struct home *h, const char *name, const char *expected) {
    char *path = NULL;
    kadr_error err = {0};
    if (hub_find_model(h->mem, name, &path, &err)) fail_msg("%s", err.message);
    assert_string_equal(path, expected);
    mem_free(path);
}

static void finds_not(struct home *h, const char *name, const char *in_message) {
    char *path = NULL;
    kadr_error err = {0};
    assert_int_equal(hub_find_model(h->mem, name, &path, &err), KADR_EMODEL);
    assert_null(path);
    if (!strstr(err.message, in_message) || !strstr(err.message, name))
        fail_msg("\"%s\" does not hold \"%s\"", err.message, in_message);
}

static void test_paths(void **state) {
    struct home *h = *state;
    finds(h, make_file(h, "x.safetensors", ""), at(h, "x.safetensors"));
    finds(h, h->folder, h->folder);
    finds_not(h, at(h, "absent"), "no such model");
}

static void test_model_folder(void **state) {
    struct home *h = *state;
    finds_not(h, "anime", at(h, ".local/share/kadr/models/anime.safetensors"));
    make_file(h, ".local/share/kadr/models/anime.safetensors", "");
    make_file(h, ".local/share/kadr/models/base/model_index.json", "{}");
    make_file(h, ".local/share/secret", "");
    finds(h, "anime", at(h, ".local/share/kadr/models/anime.safetensors"));
    finds(h, "anime.safetensors", at(h, ".local/share/kadr/models/anime.safetensors"));
    finds(h, "base", at(h, ".local/share/kadr/models/base"));
    finds_not(h, "../../secret", "no such model");
    finds_not(h, "base/../../../secret", "no such model");
    char *folder = hub_model_folder(h->mem);
    assert_string_equal(folder, at(h, ".local/share/kadr/models"));
    mem_free(folder);
    setenv("XDG_DATA_HOME", at(h, "data"), 1);
    finds_not(h, "base", at(h, "data/kadr/models/base"));
    make_file(h, "data/kadr/models/base/model_index.json", "{}");
    finds(h, "base", at(h, "data/kadr/models/base"));
    setenv("XDG_DATA_HOME", "relative", 1); /* does not count */
    finds(h, "base", at(h, ".local/share/kadr/models/base"));
}

#define REPOSITORY "hub/models--owner--name.v1"

static void check_cache(struct home *h, const char *hub) {
    const char *below = arena_printf(&h->arena, "%s/models--owner--name.v1", hub);
    finds_not(h, "owner/name.v1", at(h, below));
    make_file(h, arena_printf(&h->arena, "%s/snapshots/abc123/model_index.json", below), "{}");
    make_file(h, arena_printf(&h->arena, "%s/refs/main", below), "abc123\n");
    finds(h, "owner/name.v1", at(h, arena_printf(&h->arena, "%s/snapshots/abc123", below)));
    make_file(h, arena_printf(&h->arena, "%s/snapshots/newer/model_index.json", below), "{}");
    finds(h, "owner/name.v1", at(h, arena_printf(&h->arena, "%s/snapshots/abc123", below)));
}

/* The cache's place, in the order in which huggingface_hub asks. */
static void test_cache_places(void **state) {
    struct home *h = *state;
    check_cache(h, ".cache/huggingface/hub");
    setenv("XDG_CACHE_HOME", at(h, "xdg"), 1);
    check_cache(h, "xdg/huggingface/hub");
    setenv("HF_HOME", at(h, "hf"), 1);
    check_cache(h, "hf/hub");
    setenv("HUGGINGFACE_HUB_CACHE", at(h, "old"), 1);
    check_cache(h, "old");
    setenv("HF_HUB_CACHE", at(h, "new"), 1);
    check_cache(h, "new");
}

static void test_cache_forms(void **state) {
    struct home *h = *state;
    setenv("HF_HUB_CACHE", at(h, "hub"), 1);
    /* A revision that is no name leads nowhere. */
    make_file(h, "outside/model_index.json", "{}");
    make_file(h, REPOSITORY "/snapshots/one/model_index.json", "{}");
    make_file(h, REPOSITORY "/refs/main", "../../../outside");
    finds_not(h, "owner/name.v1", "refs/main");
    make_file(h, REPOSITORY "/refs/main", "");
    finds_not(h, "owner/name.v1", "refs/main");
    make_file(h, REPOSITORY "/refs/main", "two");
    finds_not(h, "owner/name.v1", "snapshots/two");
    /* Without refs the only snapshot is meant; of two, none. */
    assert_int_equal(remove(at(h, REPOSITORY "/refs/main")), 0);
    finds(h, "owner/name.v1", at(h, REPOSITORY "/snapshots/one"));
    make_file(h, REPOSITORY "/snapshots/two/sdxl.safetensors", "");
    finds_not(h, "owner/name.v1", "refs/main");
    /* A repository with one checkpoint in it, and with two. */
    make_file(h, REPOSITORY "/refs/main", "two");
    finds(h, "owner/name.v1", at(h, REPOSITORY "/snapshots/two/sdxl.safetensors"));
    make_file(h, REPOSITORY "/snapshots/two/vae.safetensors", "");
    finds(h, "owner/name.v1", at(h, REPOSITORY "/snapshots/two"));
}

/* Revisions behind an @, files behind a further slash. */
static void test_cache_parts(void **state) {
    struct home *h = *state;
    static const char commit[] = "0123456789abcdef0123456789abcdef01234567";
    setenv("HF_HUB_CACHE", at(h, "hub"), 1);
    make_file(h, REPOSITORY "/snapshots/one/model_index.json", "{}");
    make_file(h, REPOSITORY "/refs/main", "one");
    make_file(h, REPOSITORY "/refs/refs/pr/7", commit);
    make_file(h, REPOSITORY "/secret", "");
    const char *snapshot = arena_printf(&h->arena, REPOSITORY "/snapshots/%s", commit);
    make_file(h, arena_printf(&h->arena, "%s/loras/ink.safetensors", snapshot), "");
    finds(h, "owner/name.v1@main", at(h, REPOSITORY "/snapshots/one"));
    finds(h, "owner/name.v1@refs/pr/7", at(h, snapshot));
    finds(h, arena_printf(&h->arena, "owner/name.v1@%s", commit), at(h, snapshot));
    finds(h, "owner/name.v1/loras/ink.safetensors@refs/pr/7",
          at(h, arena_printf(&h->arena, "%s/loras/ink.safetensors", snapshot)));
    finds_not(h, "owner/name.v1/loras/ink.safetensors", "snapshots/one/loras");
    finds_not(h, "owner/name.v1@two", "refs/two");
    static const char *const wrong[] = {"owner/name.v1@../secret", "owner/name.v1/../../secret",
                                        "owner/name.v1@", "owner/name.v1@a..b"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        finds_not(h, wrong[i], "no such model");
    finds_not(h, "owner/other", "kadr pull owner/other");
}

static void test_list(void **state) {
    struct home *h = *state;
    struct hub_model *models = NULL;
    size_t count = 7;
    kadr_error err;
    assert_int_equal(hub_list(&h->arena, &models, &count, &err), KADR_OK);
    assert_int_equal(count, 0);
    setenv("HF_HUB_CACHE", at(h, "hub"), 1);
    make_file(h, ".local/share/kadr/models/anime.kadr", "12345");
    make_file(h, ".local/share/kadr/models/anime.safetensors", "123");
    make_file(h, ".local/share/kadr/models/notes.txt", "");
    make_file(h, ".local/share/kadr/models/set/base/model_index.json", "{}");
    make_file(h, ".local/share/kadr/models/set/base/unet/config.json", "{   }");
    make_file(h, "hub/models--owner--begun/blobs/12.incomplete", "");
    make_file(h, "hub/models--owner--language/snapshots/a/config.json", "");
    make_file(h, "hub/models--owner--one/snapshots/a/x.safetensors", "1");
    make_file(h, "hub/models--owner--tagged/refs/v2", "b");
    make_file(h, "hub/models--owner--tagged/snapshots/a/model_index.json", "");
    make_file(h, "hub/models--owner--tagged/snapshots/b/model_index.json", "{}");
    make_file(h, "hub/models--owner--two/snapshots/a/x.safetensors", "12");
    make_file(h, "hub/models--owner--two/snapshots/a/y.safetensors", "123");
    make_file(h, "hub/models--owner--a--b/snapshots/a/model_index.json", "{}");
    make_file(h, "hub/datasets--owner--d/snapshots/a/x.safetensors", "");
    static const struct {
        const char *name;
        uint64_t bytes;
    } expected[] = {{"anime.kadr", 5},
                    {"anime", 3},
                    {"set/base", 7},
                    {"owner/begun", 0},
                    {"owner/one", 1},
                    {"owner/tagged@v2", 2},
                    {"owner/two/x.safetensors", 2},
                    {"owner/two/y.safetensors", 3}};
    assert_int_equal(hub_list(&h->arena, &models, &count, &err), KADR_OK);
    for (size_t i = 0; i < count && i < sizeof expected / sizeof *expected; i++) {
        assert_string_equal(models[i].name, expected[i].name);
        assert_int_equal(models[i].bytes, expected[i].bytes);
        assert_int_equal(models[i].unfinished, !models[i].path);
        if (models[i].path) finds(h, models[i].name, models[i].path);
    }
    assert_int_equal(count, sizeof expected / sizeof *expected);
    assert_true(models[3].unfinished);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_paths, open_home, close_home),
        cmocka_unit_test_setup_teardown(test_model_folder, open_home, close_home),
        cmocka_unit_test_setup_teardown(test_cache_places, open_home, close_home),
        cmocka_unit_test_setup_teardown(test_cache_forms, open_home, close_home),
        cmocka_unit_test_setup_teardown(test_cache_parts, open_home, close_home),
        cmocka_unit_test_setup_teardown(test_list, open_home, close_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
