/* Casts: files that are whole, damaged or made for another model; entries of the option; several
 * references. How near what is drawn with them is to diffusers: tests/golden. */
#include "draw/casting.h"

#include "../weights/fixture.h"

#include <math.h>

/* A context, the model tiny-a and a cast `one` of it. */
struct scene {
    struct fixture *f;
    kadr_context *ctx;
    kadr_request *rq;
    struct draw_model *model;
};

static void must(kadr_status st, const kadr_error *err) {
    if (st) fail_msg("%s", err->message);
}

static const char *data_path(struct fixture *f, const char *name) {
    return arena_printf(&f->arena, "%s/%s", getenv("KADR_TEST_DATA"), name);
}

static void set(struct scene *s, const char *option, const char *value) {
    kadr_error err = {0};
    must(kadr_request_set(s->rq, option, value, &err), &err);
}

static const char *make(struct scene *s, const char *name, size_t references) {
    kadr_error err = {0};
    const char *pictures[2];
    pictures[0] = pictures[1] = data_path(s->f, "golden/identity/wide.png");
    const char *path = arena_printf(&s->f->arena, "%s/%s.cast", s->f->folder, name);
    must(kadr_cast_make(s->ctx, s->rq, name, pictures, references, path, NULL, &err), &err);
    return path;
}

static int open_scene(void **state) {
    struct scene *s = calloc(1, sizeof *s);
    kadr_error err = {0};
    void *f;
    fixture_open(&f);
    s->f = f;
    s->rq = kadr_request_new();
    must(kadr_open(NULL, &s->ctx, &err), &err);
    set(s, "model", data_path(f, "models/tiny-a"));
    set(s, "adapter", data_path(f, "golden/identity/ip-adapter_plus_h.safetensors"));
    set(s, "image-encoder", data_path(f, "golden/identity/encoder_h"));
    set(s, "cast-folder", s->f->folder);
    make(s, "one", 1);
    must(draw_model_open(s->f->mem, NULL, s->rq, NULL, &s->model, &err), &err);
    *state = s;
    return 0;
}

static int close_scene(void **state) {
    struct scene *s = *state;
    void *f = s->f;
    draw_model_close(s->model);
    kadr_request_free(s->rq);
    kadr_close(s->ctx);
    free(s);
    return fixture_close(&f);
}

/* ---- Entries */

static kadr_status read_entries(struct scene *s, const char *const *entries, struct castings *c,
                                kadr_error *err) {
    struct cast_shelf shelf = {.mem = s->f->mem};
    kadr_request *rq = kadr_request_copy(s->rq);
    for (; *entries; entries++) must(kadr_request_set(rq, "cast", *entries, err), err);
    must(kadr_request_set(rq, "identity-scale", "0.25", err), err);
    kadr_status st = castings_open(c, &shelf, rq, s->model, err);
    castings_close(c);
    cast_shelf_close(&shelf);
    kadr_request_free(rq);
    return st;
}

static void test_entries(void **state) {
    struct scene *s = *state;
    const char *mask = data_path(s->f, "golden/identity/high.png");
    const char *path = arena_printf(&s->f->arena, "%s/one.cast", s->f->folder);
    const char *with_mask = arena_printf(&s->f->arena, "one:0.5@%s steps=0.25-0.75", mask);
    const struct {
        const char *entry;
        double scale, from, to, left, right;
        bool masked, picture;
    } good[] = {
        {"one", 0.25, 0, 1, 0, 0, false, false},
        {"ONE:0.5", 0.5, 0, 1, 0, 0, false, false},
        {"one@right", 0.25, 0, 1, 0.5, 1, true, false},
        {"one:1.5@0.1,0.2,0.3,0.4", 1.5, 0, 1, 0.1, 0.3, true, false},
        {path, 0.25, 0, 1, 0, 0, false, false},
        {with_mask, 0.5, 0.25, 0.75, 0, 0, true, true},
        {"one steps=0-0.5 blocks=0.5", 0.25, 0, 0.5, 0, 0, false, false},
        {"one blocks={\"up\": 1} steps=0.5-1", 0.25, 0.5, 1, 0, 0, false, false},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct castings c;
        kadr_error err = {0};
        must(read_entries(s, (const char *[]){good[i].entry, NULL}, &c, &err), &err);
        /* What is no pointer may be looked at after closing. */
        const struct casting *one = &c.list[0];
        assert_true(one->scale == good[i].scale && one->from == good[i].from);
        assert_true(one->to == good[i].to && one->masked == good[i].masked);
        assert_true(one->box[0] == good[i].left && one->box[2] == good[i].right);
    }
}

static void test_wrong_entries(void **state) {
    struct scene *s = *state;
    static const struct {
        const char *entry, *words;
    } bad[] = {
        {"two", "there is none of that name"},
        {"@left", "expected NAME"},
        {"../one", "expected NAME"},
        {"one:2.5", "scale from 0 to 2"},
        {"one:-1", "scale from 0 to 2"},
        {"one@middle", "left, right"},
        {"one@0.5,0,0.5,1", "shares of the picture"},
        {"one@0,0,1,1.5", "shares of the picture"},
        {"one steps=0.5-0.5", "shares of the steps"},
        {"one steps=0.5", "shares of the steps"},
        {"one blocks={\"down\": {\"block_0\": 1}}", "one of block_1 block_2"},
        {"one blocks={\"left\": 1}", "down, mid or up"},
        {"one blocks={\"up\": {\"block_0\": [1, 2]}}", "a list of 3"},
        {"one blocks=[1]", "a number or"},
        {"one blocks={", "not valid JSON"},
        {"missing.cast", "cannot open"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct castings c;
        kadr_error err = {0};
        kadr_status st = read_entries(s, (const char *[]){bad[i].entry, NULL}, &c, &err);
        if (st != KADR_EUSAGE && st != KADR_EMODEL) fail_msg("%s: status %d", bad[i].entry, st);
        if (!strstr(err.message, bad[i].words)) fail_msg("%s: %s", bad[i].entry, err.message);
    }
    const char *nine[] = {"one", "one", "one", "one", "one", "one", "one", "one", "one", NULL};
    struct castings c;
    kadr_error err = {0};
    assert_int_equal(read_entries(s, nine, &c, &err), KADR_EUSAGE);
    set(s, "identity-lock", "off"); /* then nothing is looked at */
    must(read_entries(s, nine, &c, &err), &err);
    assert_int_equal(c.count, 0);
}

/* ---- Several references */

static float *keys(struct scene *s, const struct cast *c, bool uncond) {
    kadr_error err = {0};
    float *x = mem_array(s->f->mem, (size_t)(c->tokens * 24), sizeof *x);
    must(cast_read(c, "unet.mid_block.attentions.0.transformer_blocks.2.attn2", 'k', uncond, 24,
                   DTYPE_F32, x, &err),
         &err);
    return x;
}

/* Twice the same picture: the mean is the same to the bit, one after the other twice the same. */
static void test_references(void **state) {
    struct scene *s = *state;
    struct cast one, mean, row;
    kadr_error err = {0};
    set(s, "references", "average");
    must(cast_open(&mean, s->f->mem, make(s, "mean", 2), &err), &err);
    set(s, "references", "concat");
    must(cast_open(&row, s->f->mem, make(s, "row", 2), &err), &err);
    must(cast_open(&one, s->f->mem, fixture_path(s->f, "one.cast"), &err), &err);
    assert_int_equal(one.tokens, 16);
    assert_int_equal(mean.tokens, 16);
    assert_int_equal(row.tokens, 32);
    assert_int_equal(row.uncond_tokens, 16);
    for (int uncond = 0; uncond < 2; uncond++) {
        float *a = keys(s, &one, uncond), *b = keys(s, &mean, uncond), *c = keys(s, &row, uncond);
        size_t size = 16 * 24 * sizeof *a;
        assert_memory_equal(a, b, size);
        assert_memory_equal(a, c, size);
        assert_memory_equal(a, c + 16 * 24, size);
        mem_free(a);
        mem_free(b);
        mem_free(c);
    }
    struct image small;
    must(cast_thumbnail(&one, s->f->mem, &small, &err), &err);
    assert_int_equal(small.width, 128);
    assert_string_equal(cast_text(&one, "kind"), "plus");
    image_free(&small);
    cast_close(&one);
    cast_close(&mean);
    cast_close(&row);
}

/* ---- Files */

static kadr_status look(struct scene *s, const char *path, kadr_error *err) {
    struct cast c;
    kadr_status st = cast_open(&c, s->f->mem, path, err);
    if (!st) st = cast_check(&c, &s->model->unet, "tiny-a", err);
    cast_close(&c);
    return st;
}

static void test_cut_files(void **state) {
    struct scene *s = *state;
    char *bytes;
    size_t size;
    kadr_error err = {0};
    const char *whole = fixture_path(s->f, "one.cast");
    must(file_read_all(s->f->mem, whole, (size_t)1 << 24, KADR_EIO, &bytes, &size, &err), &err);
    must(look(s, whole, &err), &err);
    for (size_t i = 0; i < 40; i++) {
        const char *path = fixture_write(s->f, "cut.cast", bytes, size * i / 40);
        assert_int_not_equal(look(s, path, &err), KADR_OK);
    }
    /* A flipped byte anywhere is refused or changes nothing but values: nothing else may happen. */
    for (size_t i = 0; i < 400; i++) {
        size_t at = i < 200 ? i : i * 7919 % size;
        bytes[at] ^= 0x15;
        kadr_status st = look(s, fixture_write(s->f, "flip.cast", bytes, size), &err);
        bytes[at] ^= 0x15;
        assert_true(st == KADR_OK || st == KADR_EMODEL || st == KADR_EIO);
    }
    mem_free(bytes);
}

/* The cast `one` with something changed: text in its header by another of the same length. */
static const char *changed(struct scene *s, const char *from, const char *to) {
    char *bytes;
    size_t size, n = strlen(from);
    kadr_error err = {0};
    const char *whole = fixture_path(s->f, "one.cast");
    must(file_read_all(s->f->mem, whole, (size_t)1 << 24, KADR_EIO, &bytes, &size, &err), &err);
    bool found = false;
    for (size_t i = 0; i + n < size && !found; i++) {
        found = memcmp(bytes + i, from, n) == 0;
        if (found) memcpy(bytes + i, to, n);
    }
    if (!found || strlen(to) != n) fail_msg("no %s", from);
    const char *path = fixture_write(s->f, "changed.cast", bytes, size);
    mem_free(bytes);
    return path;
}

static void test_wrong_files(void **state) {
    struct scene *s = *state;
    static const struct {
        const char *from, *to, *words;
    } bad[] = {
        {"\"kadr cast\"", "\"kadr card\"", "no cast"},
        {"\"version\":\"1\"", "\"version\":\"2\"", "version 2"},
        {".attn2.k\"", ".attn2.x\"", "laid out otherwise"},
        {".attn2.uncond_v\"", ".attn9.uncond_v\"", "laid out otherwise"},
        {"[16,18]", "[18,16]", "F16 [16"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kadr_error err = {0};
        kadr_status st = look(s, changed(s, bad[i].from, bad[i].to), &err);
        if (st != KADR_EMODEL) fail_msg("%s: status %d", bad[i].to, st);
        if (!strstr(err.message, bad[i].words) && !strstr(err.message, "laid out otherwise"))
            fail_msg("%s: %s", bad[i].to, err.message);
    }
    /* Another model's. */
    struct draw_model *other;
    struct cast c;
    kadr_error err = {0};
    set(s, "model", data_path(s->f, "models/tiny-c"));
    must(draw_model_open(s->f->mem, NULL, s->rq, NULL, &other, &err), &err);
    must(cast_open(&c, s->f->mem, fixture_path(s->f, "one.cast"), &err), &err);
    assert_int_equal(cast_check(&c, &other->unet, "tiny-c", &err), KADR_EMODEL);
    assert_non_null(strstr(err.message, "made for tiny-a"));
    assert_non_null(strstr(err.message, "-m tiny-c"));
    cast_close(&c);
    draw_model_close(other);
}

/* ---- Numbers */

/* Every f16 comes back from f32; what lies between two goes to the nearer, or to the even one. */
static void test_narrowing(void **state) {
    (void)state;
    float before = -INFINITY;
    for (int bits = 0; bits < 0x7c00; bits++) {
        int exponent = bits >> 10, mantissa = bits & 0x3ff;
        float x = exponent ? ldexpf((float)(mantissa + 1024), exponent - 25)
                           : ldexpf((float)mantissa, -24);
        float list[4] = {x, -x, (x + before) / 2, nextafterf((x + before) / 2, x)};
        uint16_t got[4];
        weights_convert(list, 4, DTYPE_F16, got);
        assert_int_equal(got[0], bits);
        assert_int_equal(got[1], bits | 0x8000);
        if (bits) assert_int_equal(got[2], bits % 2 ? bits - 1 : bits);
        if (bits) assert_int_equal(got[3], bits);
        before = x;
    }
    const float large[3] = {65519, 65520, NAN};
    uint16_t got[3];
    weights_convert(large, 3, DTYPE_F16, got);
    assert_int_equal(got[0], 0x7bff);
    assert_int_equal(got[1], 0x7c00);
    assert_true((got[2] & 0x7fff) > 0x7c00);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, open_scene, close_scene)
    const struct CMUnitTest tests[] = {WITH(test_entries),     WITH(test_wrong_entries),
                                       WITH(test_references),  WITH(test_cut_files),
                                       WITH(test_wrong_files), cmocka_unit_test(test_narrowing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
