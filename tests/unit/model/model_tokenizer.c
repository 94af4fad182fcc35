/* model_tokenizer.c: the tokenizer against transformers' CLIPTokenizer
 * (tests/reference/tokenizer.py): texts of all kinds, every code point; broken files; want of
 * memory. */
#include "unit/weights/fixture.h"

#include "base/utf8.h"
#include "model/tokenizer.h"

#define MINI "/../../models/mini/"

static const char *data_path(struct fixture *f, const char *name) {
    const char *data = getenv("KADR_TEST_DATA");
    assert_non_null(data);
    return arena_printf(&f->arena, "%s/%s", data, name);
}

static json_t *read_data(struct fixture *f, const char *name) {
    json_error_t e;
    json_t *json = json_load_file(data_path(f, name), JSON_ALLOW_NUL, &e);
    if (!json) fail_msg("%s: %s", name, e.text);
    return json;
}

static char *read_text(struct fixture *f, const char *path, size_t *size) {
    char *text = NULL;
    kadr_error err;
    assert_int_equal(file_read_all(f->mem, path, 1 << 24, KADR_EIO, &text, size, &err), KADR_OK);
    return text;
}

static void copy_mini(struct fixture *f, const char *folder, const char *name) {
    size_t size;
    char *text =
        read_text(f, data_path(f, arena_printf(&f->arena, MINI "tokenizer/%s", name)), &size);
    fixture_write(f, arena_printf(&f->arena, "%s/%s", folder, name), text, size);
    mem_free(text);
}

/* Puts the mini model's vocabulary and merges into a tokenizer.json. */
static void fill_one_file(struct fixture *f, json_t *whole) {
    json_error_t e;
    json_t *model = json_object_get(whole, "model"), *merges = json_array();
    json_object_set_new(model, "vocab",
                        json_load_file(data_path(f, MINI "tokenizer/vocab.json"), 0, &e));
    size_t size;
    char *text = read_text(f, data_path(f, MINI "tokenizer/merges.txt"), &size);
    const char *p = text + strcspn(text, "\n") + 1; /* behind the version */
    while (*p) {
        size_t left = strcspn(p, " "), all = strcspn(p, "\n");
        json_array_append_new(merges, json_pack("[s%s%]", p, left, p + left + 1, all - left - 1));
        p += all + 1;
    }
    mem_free(text);
    json_object_set_new(model, "merges", merges);
}

/* Opens a tokenizer as tokens.json describes it. */
static struct tokenizer *open_like(struct fixture *f, const json_t *spec,
                                   const struct tokenizer *like) {
    const char *name = json_string_value(json_object_get(spec, "name")), *file;
    const char *given = json_string_value(json_object_get(spec, "folder"));
    const char *folder = arena_printf(&f->arena, "%s/%s", f->folder, name);
    struct tokenizer *t;
    kadr_error err = {0};
    json_t *content, *files = json_object_get(spec, "files");
    kadr_status st;
    if (strncmp(name, "sdxl_", 5) == 0)
        st = tokenizer_open_shipped(
            f->mem, strcmp(name, "sdxl_2") ? TOKENIZER_SDXL_1 : TOKENIZER_SDXL_2, like, &t, &err);
    else if (given)
        st = tokenizer_open(f->mem, data_path(f, arena_printf(&f->arena, MINI "%s", given)), like,
                            &t, &err);
    else {
        json_object_foreach(files, file, content) {
            if (strcmp(file, "tokenizer.json") == 0) fill_one_file(f, content);
            char *text = json_dumps(content, 0);
            fixture_text(f, arena_printf(&f->arena, "%s/%s", name, file), text);
            free(text);
        }
        if (!json_is_true(json_object_get(spec, "one_file"))) {
            copy_mini(f, name, "vocab.json");
            copy_mini(f, name, "merges.txt");
        }
        st = tokenizer_open(f->mem, folder, like, &t, &err);
    }
    if (st) fail_msg("%s: %s", name, err.message);
    return t;
}

/* One whose vocabulary another had that is closed already. */
static struct tokenizer *open_described(struct fixture *f, const json_t *spec) {
    struct tokenizer *first = open_like(f, spec, NULL), *second = open_like(f, spec, first);
    tokenizer_close(first);
    return second;
}

static void same_ids(const char *name, size_t text, const struct tokens *got, const json_t *want) {
    bool same = got->count == json_array_size(want);
    for (size_t i = 0; same && i < got->count; i++)
        same = got->id[i] == json_integer_value(json_array_get(want, i));
    if (!same) fail_msg("%s: text %zu: other ids than the reference's", name, text);
}

static void check_described(struct fixture *f, const json_t *spec, const json_t *texts) {
    struct tokenizer *t = open_described(f, spec);
    const char *name = json_string_value(json_object_get(spec, "name"));
    const json_t *ids = json_object_get(spec, "ids"), *decoded = json_object_get(spec, "decoded");
    assert_int_equal(tokenizer_bos(t), json_integer_value(json_object_get(spec, "bos")));
    assert_int_equal(tokenizer_eos(t), json_integer_value(json_object_get(spec, "eos")));
    assert_int_equal(tokenizer_pad(t), json_integer_value(json_object_get(spec, "pad")));
    assert_int_equal(tokenizer_size(t), json_integer_value(json_object_get(spec, "size")));
    assert_int_equal(json_array_size(ids), json_array_size(texts));
    struct tokens got;
    tokens_init(&got, f->mem);
    size_t i;
    json_t *text;
    json_array_foreach(texts, i, text) {
        got.count = 0;
        assert_int_equal(
            tokenizer_encode(t, json_string_value(text), json_string_length(text), &got, NULL),
            KADR_OK);
        same_ids(name, i, &got, json_array_get(ids, i));
        if (!decoded) continue;
        const json_t *want = json_array_get(decoded, i);
        struct buf b;
        buf_init(&b, f->mem);
        tokenizer_decode(t, got.id, got.count, &b);
        assert_int_equal(b.size, json_string_length(want));
        assert_memory_equal(b.data, json_string_value(want), b.size);
        buf_free(&b);
    }
    tokens_free(&got);
    tokenizer_close(t);
}

static void test_texts(void **state) {
    struct fixture *f = *state;
    json_t *all = read_data(f, "tokenizer/tokens.json"), *spec;
    size_t i;
    assert_true(json_array_size(json_object_get(all, "texts")) > 400);
    assert_true(json_array_size(json_object_get(all, "tokenizers")) > 10);
    json_array_foreach(json_object_get(all, "tokenizers"), i, spec)
        check_described(f, spec, json_object_get(all, "texts"));
    json_decref(all);
}

/* One setting ("a{}b") of a code point, as a line. */
static void add_line(struct buf *b, const char *setting, uint32_t c) {
    const char *hole = strstr(setting, "{}");
    char bytes[4];
    if (b->size) buf_putc(b, '\n');
    buf_add(b, setting, (size_t)(hole - setting));
    buf_add(b, bytes, utf8_put(c, bytes));
    buf_puts(b, hole + 2);
}

static uint64_t digest_of(struct fixture *f, const struct tokenizer *t, const json_t *settings,
                          uint32_t first, uint32_t count) {
    uint64_t h = 0xCBF29CE484222325u;
    size_t i;
    json_t *setting;
    struct buf b;
    struct tokens ids;
    buf_init(&b, f->mem);
    tokens_init(&ids, f->mem);
    json_array_foreach(settings, i, setting) {
        buf_clear(&b);
        ids.count = 0;
        for (uint32_t c = first; c < first + count; c++)
            if (c < 0xD800 || c >= 0xE000) add_line(&b, json_string_value(setting), c);
        assert_int_equal(tokenizer_encode(t, b.data, b.size, &ids, NULL), KADR_OK);
        for (size_t k = 0; k < ids.count; k++) h = (h ^ (uint32_t)ids.id[k]) * 0x100000001B3u;
    }
    tokens_free(&ids);
    buf_free(&b);
    return h;
}

static void test_every_code_point(void **state) {
    struct fixture *f = *state;
    json_t *all = read_data(f, "tokenizer/codepoints.json"), *digest;
    uint32_t block = (uint32_t)json_integer_value(json_object_get(all, "block"));
    struct tokenizer *t;
    size_t i;
    assert_int_equal(tokenizer_open(f->mem, NULL, NULL, &t, NULL), KADR_OK);
    assert_int_equal(json_array_size(json_object_get(all, "digests")) * block, 0x110000);
    json_array_foreach(json_object_get(all, "digests"), i, digest) {
        uint64_t got =
            digest_of(f, t, json_object_get(all, "settings"), (uint32_t)i * block, block);
        if (got != strtoull(json_string_value(digest), NULL, 16))
            fail_msg("U+%04X to U+%04X: other ids than the reference's", (unsigned)i * block,
                     (unsigned)(i + 1) * block - 1);
    }
    tokenizer_close(t);
    json_decref(all);
}

static void same_as(struct fixture *f, const struct tokenizer *t, const char *a, size_t a_size,
                    const char *b) {
    struct tokens x, y;
    tokens_init(&x, f->mem);
    tokens_init(&y, f->mem);
    assert_int_equal(tokenizer_encode(t, a, a_size, &x, NULL), KADR_OK);
    assert_int_equal(tokenizer_encode(t, b, strlen(b), &y, NULL), KADR_OK);
    assert_int_equal(x.count, y.count);
    assert_memory_equal(x.id, y.id, x.count * sizeof *x.id);
    tokens_free(&x);
    tokens_free(&y);
}

static void test_broken_utf8(void **state) {
    struct fixture *f = *state;
    struct tokenizer *t;
    assert_int_equal(tokenizer_open(f->mem, NULL, NULL, &t, NULL), KADR_OK);
    same_as(f, t,
            "a\xFF"
            "b",
            3,
            "a\uFFFD"
            "b");
    same_as(f, t, "cat \xC3", 5, "cat \uFFFD");
    same_as(f, t, "\xE2\x82", 2, "\uFFFD\uFFFD");
    same_as(f, t, "\xC0\xAF\xED\xA0\x80", 5, "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD");
    same_as(f, t, "\xF4\x90\x80\x80 \xF0\x9F\x98\x80", 9, "\uFFFD\uFFFD\uFFFD\uFFFD \U0001F600");
    tokenizer_close(t);
}

/* One word, and one run of marks, of a million letters: no step may take the square of that. */
static void test_long_texts(void **state) {
    struct fixture *f = *state;
    struct tokenizer *t;
    struct tokens ids;
    struct buf text, back;
    assert_int_equal(tokenizer_open(f->mem, NULL, NULL, &t, NULL), KADR_OK);
    for (int marks = 0; marks < 2; marks++) {
        buf_init(&text, f->mem);
        buf_init(&back, f->mem);
        tokens_init(&ids, f->mem);
        for (int i = 0; i < 500000; i++)
            if (marks) buf_puts(&text, i < 250000 ? "\u0316" : "\u0301");
            else buf_putc(&text, (char)('a' + i * 7 % 26));
        assert_int_equal(tokenizer_encode(t, text.data, text.size, &ids, NULL), KADR_OK);
        tokenizer_decode(t, ids.id, ids.count, &back);
        assert_int_equal(back.size, text.size);
        assert_memory_equal(back.data, text.data, text.size);
        tokens_free(&ids);
        buf_free(&back);
        buf_free(&text);
    }
    tokenizer_close(t);
}

/* The vocabulary's writing. */
static void test_names(void **state) {
    struct fixture *f = *state;
    struct tokenizer *t;
    assert_int_equal(tokenizer_open_shipped(f->mem, TOKENIZER_SDXL_2, NULL, &t, NULL), KADR_OK);
    assert_string_equal(tokenizer_text(t, 0), "!");
    assert_string_equal(tokenizer_text(t, 256), "!</w>");
    assert_string_equal(tokenizer_text(t, 1125), "photo</w>");
    assert_string_equal(tokenizer_text(t, 49407), "<|endoftext|>");
    assert_null(tokenizer_text(t, 49408));
    assert_null(tokenizer_text(t, -1));
    for (int32_t id = 0; id < tokenizer_size(t); id++)
        assert_int_equal(tokenizer_find(t, tokenizer_text(t, id)), id);
    assert_int_equal(tokenizer_find(t, "no such token"), -1);
    tokenizer_close(t);
    tokenizer_close(NULL);
}

/* SDXL's two differ in what pads alone. */
static void test_one_vocabulary(void **state) {
    struct fixture *f = *state;
    struct tokenizer *first, *second;
    struct mem_stats none, one, two;
    mem_get_stats(f->mem, &none);
    assert_int_equal(tokenizer_open_shipped(f->mem, TOKENIZER_SDXL_1, NULL, &first, NULL), KADR_OK);
    mem_get_stats(f->mem, &one);
    assert_int_equal(tokenizer_open_shipped(f->mem, TOKENIZER_SDXL_2, first, &second, NULL),
                     KADR_OK);
    mem_get_stats(f->mem, &two);
    assert_true(two.now - one.now < (one.now - none.now) / 50);
    assert_int_equal(tokenizer_pad(first), 49407);
    assert_int_equal(tokenizer_pad(second), 0);
    tokenizer_close(first);
    assert_string_equal(tokenizer_text(second, 1125), "photo</w>");
    tokenizer_close(second);
}

/* ---- Broken files ---------------------------------------------------------------------------- */

#define UNK "\"<|endoftext|>\":0"
#define ABC "{" UNK ",\"a\":1,\"b\":2,\"ab\":3}"
#define DECODER(x) "{\"added_tokens_decoder\":" x "}"

static const struct broken {
    const char *file, *text; /* NULL text: the file is missing */
    const char *message;     /* what the error must hold */
} broken[] = {
    {"vocab.json", NULL, "vocab.json"},
    {"vocab.json", "", "not valid JSON"},
    {"vocab.json", "{" UNK, "not valid JSON"},
    {"vocab.json", "[]", "expected an object"},
    {"vocab.json", "3", "expected"},
    {"vocab.json", "{}", "the first is not in the vocabulary"},
    {"vocab.json", "{\"a\":1,\"b\":2,\"ab\":3}", "byte 0x00"},
    {"vocab.json", "{" UNK ",\"a\":0}", "same id 0"},
    {"vocab.json", "{" UNK ",\"a\":1,\"a\":2}", "duplicate"},
    {"vocab.json", "{" UNK ",\"a\":-1}", "id -1"},
    {"vocab.json", "{" UNK ",\"a\":1048576}", "id 1048576"},
    {"vocab.json", "{" UNK ",\"a\":9223372036854775807}", "id 9223372036854775807"},
    {"vocab.json", "{" UNK ",\"a\":99999999999999999999}", "expected a whole number"},
    {"vocab.json", "{" UNK ",\"a\":\"1\"}", "expected a whole number"},
    {"vocab.json", "{" UNK ",\"a\":1.5}", "expected a whole number"},
    {"vocab.json", "{" UNK ",\"a\":null}", "expected a whole number"},
    {"vocab.json", "{" UNK ",\"a\\u0000b\":1}", "not valid JSON"},
    {"vocab.json", "{" UNK ",\"\xFF\":1}", "not valid JSON"},
    {"merges.txt", NULL, "merges.txt"},
    {"merges.txt", "#version: 0.2\na\n", "merges.txt:2: expected two tokens"},
    {"merges.txt", "a b c\n", "merges.txt:1: expected two tokens"},
    {"merges.txt", "x b\n", "the first is not in the vocabulary"},
    {"merges.txt", "a x\n", "the second is not in the vocabulary"},
    {"merges.txt", "b a\n", "what they make is not in the vocabulary"},
    {"merges.txt", "a b\nab ab\n", "merges.txt:2: merge 'ab ab'"},
    {"merges.txt", " b\n", "the first is not in the vocabulary"},
    {"tokenizer.json", "{}", "expected an object of tokens"},
    {"tokenizer.json", "[]", "expected an object"},
    {"tokenizer.json", "{\"model\":3}", "expected an object of tokens"},
    {"tokenizer.json", "{\"model\":{\"type\":\"WordPiece\"}}", "'WordPiece', expected BPE"},
    {"tokenizer.json", "{\"model\":{\"vocab\":" ABC "}}", "model.merges: expected an array"},
    {"tokenizer.json", "{\"model\":{\"vocab\":" ABC ",\"merges\":[1]}}", "model.merges[0]"},
    {"tokenizer.json", "{\"model\":{\"vocab\":" ABC ",\"merges\":[\"a b\",[\"a\"]]}}", "merges[1]"},
    {"tokenizer.json", "{\"model\":{\"vocab\":" ABC ",\"merges\":[[\"a\",\"b\",\"c\"]]}}",
     "merges[0]"},
    {"tokenizer.json", "{\"model\":{\"vocab\":" ABC ",\"merges\":[\"ab\"]}}",
     "expected two tokens"},
    {"tokenizer.json",
     "{\"model\":{\"vocab\":" ABC ",\"merges\":[]},\"added_tokens\":[{\"id\":1}]}", "has no text"},
    {"tokenizer.json",
     "{\"model\":{\"vocab\":" ABC
     ",\"merges\":[]},\"added_tokens\":[{\"id\":-1,\"content\":\"x\"}]}",
     "id: expected a whole number"},
    {"tokenizer_config.json", "{", "not valid JSON"},
    {"tokenizer_config.json", "[]", "expected an object"},
    {"tokenizer_config.json", "{\"bos_token\":3}", "has no text"},
    {"tokenizer_config.json", "{\"bos_token\":\"\"}", "has no text"},
    {"tokenizer_config.json", "{\"bos_token\":{\"content\":[]}}", "has no text"},
    {"tokenizer_config.json", DECODER("{\"x\":{\"content\":\"y\"}}"), "'x' is not an id"},
    {"tokenizer_config.json", DECODER("{\"-1\":{\"content\":\"y\"}}"), "'-1' is not an id"},
    {"tokenizer_config.json", DECODER("{\"99999999999\":{\"content\":\"y\"}}"), "is not an id"},
    {"tokenizer_config.json", DECODER("{\"1\":{}}"), "has no text"},
    {"tokenizer_config.json", DECODER("{\"1\":3}"), "has no text"},
    {"tokenizer_config.json", DECODER("{\"1\":{\"content\":\"y\",\"lstrip\":1}}"),
     "lstrip: expected true or false"},
    {"tokenizer_config.json", DECODER("{\"8\":{\"content\":\"Y\"},\"9\":{\"content\":\"y\"}}"),
     "cannot be told apart"},
    {"special_tokens_map.json", "{\"eos_token\":{\"content\":4}}", "has no text"},
    {"added_tokens.json", "{\"x\":\"y\"}", "token 'x'"},
    {"added_tokens.json", "{\"\":5}", "expected an id"},
    {"added_tokens.json", "{\"x\":-5}", "expected an id"},
};

static void test_broken_files(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        const char *folder = arena_printf(&f->arena, "%s/%zu", f->folder, i);
        fixture_text(f, arena_printf(&f->arena, "%zu/vocab.json", i), ABC);
        fixture_text(f, arena_printf(&f->arena, "%zu/merges.txt", i), "#version: 0.2\r\na b\r\n\n");
        struct tokenizer *t = NULL;
        kadr_error err = {0};
        assert_int_equal(tokenizer_open(f->mem, folder, NULL, &t, &err), KADR_OK);
        tokenizer_close(t);
        t = NULL;
        const char *name = arena_printf(&f->arena, "%zu/%s", i, broken[i].file);
        if (broken[i].text) fixture_text(f, name, broken[i].text);
        else assert_int_equal(remove(fixture_path(f, name)), 0);
        kadr_status st = tokenizer_open(f->mem, folder, NULL, &t, &err);
        if (st != KADR_EMODEL || !strstr(err.message, broken[i].message))
            fail_msg("%zu: %s '%s': got %d '%s', expected '%s'", i, broken[i].file,
                     broken[i].text ? broken[i].text : "(missing)", st, err.message,
                     broken[i].message);
        assert_true(strstr(err.message, f->folder) != NULL);
        assert_null(t);
    }
    kadr_error err = {0};
    struct tokenizer *t = NULL;
    assert_int_equal(tokenizer_open(f->mem, "/nowhere/at/all", NULL, &t, &err), KADR_EMODEL);
}

/* Python writes "no limit" as a number that no machine word holds. */
static void test_huge_limit(void **state) {
    struct fixture *f = *state;
    struct tokenizer *t;
    fixture_text(f, "a/vocab.json", ABC);
    fixture_text(f, "a/merges.txt", "a b\n");
    fixture_text(f, "a/tokenizer_config.json",
                 "{\"model_max_length\":1000000000000000019884624838656,\"pad_token\":\"a\"}");
    assert_int_equal(
        tokenizer_open(f->mem, arena_printf(&f->arena, "%s/a", f->folder), NULL, &t, NULL),
        KADR_OK);
    assert_int_equal(tokenizer_pad(t), 1);
    tokenizer_close(t);
}

static void test_deep_json(void **state) {
    struct fixture *f = *state;
    char deep[2001];
    memset(deep, '[', 2000);
    deep[2000] = '\0';
    fixture_text(f, "deep/vocab.json", deep);
    fixture_text(f, "deep/merges.txt", "a b\n");
    struct tokenizer *t;
    kadr_error err = {0};
    assert_int_equal(
        tokenizer_open(f->mem, arena_printf(&f->arena, "%s/deep", f->folder), NULL, &t, &err),
        KADR_EMODEL);
    assert_non_null(strstr(err.message, "nested deeper"));
}

/* Every allocation fails once; nothing is left behind (fixture_close looks). */
static void test_no_memory(void **state) {
    struct fixture *f = *state;
    const char *folder = data_path(f, MINI "tokenizer_2");
    const char *text = "A cafe\u0301, BREAK \u1E69 of <|startoftext|> \xFF words!";
    int refused = 0;
    for (uint64_t n = 1;; n++) {
        struct tokenizer *t = NULL;
        struct tokens ids;
        tokens_init(&ids, f->mem);
        mem_fail_at(f->mem, n);
        kadr_status st = tokenizer_open(f->mem, folder, NULL, &t, NULL);
        if (!st) st = tokenizer_encode(t, text, strlen(text), &ids, NULL);
        mem_fail_at(f->mem, 0);
        tokens_free(&ids);
        tokenizer_close(t);
        if (!st) break;
        assert_int_equal(st, KADR_EMEMORY);
        refused++;
    }
    assert_true(refused > 20);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        TEST(test_texts),        TEST(test_every_code_point),
        TEST(test_broken_utf8),  TEST(test_long_texts),
        TEST(test_names),        TEST(test_one_vocabulary),
        TEST(test_broken_files), TEST(test_huge_limit),
        TEST(test_deep_json),    TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
