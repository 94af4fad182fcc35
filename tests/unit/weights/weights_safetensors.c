/* weights_safetensors.c: the format itself: what is written can be read, every float type gives the
 * numbers that it means, and what breaks the format is refused with file, tensor and reason. The
 * files that a model can be broken in are in weights_hostile.c. */
#include "fixture.h"
#include "weights/set.h"

#include <math.h>

static void test_round_trip(void **state) {
    struct fixture *f = *state;
    static const float wide[6] = {1, -2, 3.5f, 0, -0.25f, 1e30f};
    static const uint8_t bytes[3] = {1, 2, 255};
    const struct safetensors_out out[] = {
        {"latents \"quoted\\\"", SAFETENSORS_F32, 2, {2, 3}, wide},
        {"bytes", SAFETENSORS_U8, 1, {3}, bytes},
        {"scalar", SAFETENSORS_U8, 0, {0}, bytes},
        {"nothing", SAFETENSORS_F32, 2, {0, 5}, wide},
    };
    static const char *const metadata[] = {"format", "pt", "note", "a\nb \"c\" \xC3\xA4", NULL};
    const char *path = fixture_path(f, "a.safetensors");
    struct safetensors s;
    kadr_error err = {0};
    assert_int_equal(safetensors_write(f->mem, path, out, 4, metadata, &err), KADR_OK);
    assert_int_equal(safetensors_open(&s, f->mem, path, &err), KADR_OK);
    assert_int_equal(s.count, 4);
    assert_string_equal(safetensors_metadata(&s, "note"), metadata[3]);
    assert_null(safetensors_metadata(&s, "absent"));
    assert_null(safetensors_find(&s, "absent"));
    for (size_t i = 0; i < 4; i++) {
        const struct safetensors_tensor *t = safetensors_find(&s, out[i].name);
        char data[64];
        assert_non_null(t);
        assert_int_equal(t->dtype, out[i].dtype);
        assert_int_equal(t->rank, out[i].rank);
        assert_memory_equal(t->dim, out[i].dim, (size_t)t->rank * sizeof *t->dim);
        assert_int_equal(file_read_at(&s.file, t->begin, data, t->size, &err), KADR_OK);
        assert_memory_equal(data, out[i].data, t->size);
        if (t->dtype == SAFETENSORS_F32 && t->size) assert_int_equal(t->begin % 8, 0);
    }
    safetensors_close(&s);
    safetensors_close(&s);
}

/* An empty file of the format is one. */
static void test_empty(void **state) {
    struct fixture *f = *state;
    struct safetensors s;
    kadr_error err = {0};
    assert_int_equal(
        safetensors_open(&s, f->mem, fixture_header(f, "e.safetensors", "{}   ", 0), &err),
        KADR_OK);
    assert_int_equal(s.count, 0);
    safetensors_close(&s);
}

/* A vae of one tensor of that type, presented and read. */
static void read_as(struct fixture *f, enum safetensors_dtype stored, const void *data,
                    size_t count, enum dtype presented, void *to) {
    const struct safetensors_out out = {"x", stored, 1, {(int64_t)count}, data};
    kadr_error err = {0};
    const char *path = fixture_path(f, "m/vae/diffusion_pytorch_model.safetensors");
    assert_int_equal(safetensors_write(f->mem, path, &out, 1, NULL, &err), KADR_OK);
    fixture_text(f, "m/model_index.json", "{\"vae\":[\"diffusers\",\"AutoencoderKL\"]}");
    fixture_text(f, "m/vae/config.json", "{}");
    struct weights *w = fixture_weights(f, arena_printf(&f->arena, "%s/m", f->folder));
    const struct weights_tensor *t = weights_find(w, "vae.x");
    assert_non_null(t);
    assert_int_equal(t->dtype, presented);
    size_t size;
    void *read = fixture_read(f, w, t, 100, &size);
    assert_int_equal(size, count * dtype_size(presented));
    memcpy(to, read, size);
    mem_free(read);
    weights_close(w);
}

/* 8-bit floats become f16 without loss: all 256 of both kinds, by their definition. */
static void test_float8(void **state) {
    struct fixture *f = *state;
    uint8_t all[256];
    uint16_t half[256];
    for (int i = 0; i < 256; i++) all[i] = (uint8_t)i;
    for (int kind = 0; kind < 2; kind++) {
        int mantissa = kind ? 2 : 3, bias = kind ? 15 : 7;
        read_as(f, kind ? SAFETENSORS_F8_E5M2 : SAFETENSORS_F8_E4M3, all, 256, DTYPE_F16, half);
        for (int i = 0; i < 256; i++) {
            int e = (i & 127) >> mantissa, m = i & ((1 << mantissa) - 1);
            double sign = i & 128 ? -1 : 1, unit = ldexp(1, -mantissa);
            bool nan = kind ? e == 31 && m : e == 15 && m == 7;
            double want = nan               ? NAN
                          : kind && e == 31 ? sign * (double)INFINITY
                          : e               ? sign * ldexp(1 + m * unit, e - bias)
                                            : sign * ldexp(m * unit, 1 - bias);
            int he = half[i] >> 10 & 31, hm = half[i] & 1023;
            double got = he == 31 ? (hm ? NAN : (double)INFINITY)
                         : he     ? ldexp(1 + hm / 1024.0, he - 15)
                                  : ldexp(hm / 1024.0, -14);
            if (half[i] & 0x8000) got = -got;
            if (isnan(want) ? !isnan(got) : want != got || signbit(want) != signbit(got))
                fail_msg("kind %d, byte %d: %g instead of %g", kind, i, got, want);
        }
    }
}

static void test_float64(void **state) {
    struct fixture *f = *state;
    static double in[5000];
    static float out[5000];
    for (int i = 0; i < 5000; i++) in[i] = ldexp(i - 2500.3, i % 60 - 30);
    read_as(f, SAFETENSORS_F64, in, 5000, DTYPE_F32, out);
    for (int i = 0; i < 5000; i++) assert_true(out[i] == (float)in[i]);
}

/* Every f16 and bf16 is handed on as it is stored. */
static void test_stored_halves(void **state) {
    struct fixture *f = *state;
    static uint16_t in[65536], out[65536];
    for (int i = 0; i < 65536; i++) in[i] = (uint16_t)i;
    read_as(f, SAFETENSORS_F16, in, 65536, DTYPE_F16, out);
    assert_memory_equal(in, out, sizeof in);
    read_as(f, SAFETENSORS_BF16, in, 65536, DTYPE_BF16, out);
    assert_memory_equal(in, out, sizeof in);
}

/* All f16 as f32, by their definition; infinities stay, NaN stays NaN. */
static void test_halves_to_f32(void **state) {
    (void)state;
    static uint16_t in[65536];
    static float out[65536];
    for (int i = 0; i < 65536; i++) in[i] = (uint16_t)i;
    element_convert(SAFETENSORS_F16, in, DTYPE_F32, out, 65536);
    for (int i = 0; i < 65536; i++) {
        int e = i >> 10 & 31, m = i & 1023;
        double want = e == 31 ? (double)INFINITY
                      : e     ? ldexp(1 + m / 1024.0, e - 15)
                              : ldexp(m, -24);
        if (i & 0x8000) want = -want;
        if (e == 31 && m) assert_true(isnan(out[i]));
        else assert_true((double)out[i] == want && !signbit(out[i]) == !signbit(want));
    }
}

/* Textual inversion in its forms, as f32; f16 by its definition. */
static void test_embedding(void **state) {
    struct fixture *f = *state;
    static const int64_t width[2] = {32, 48};
    static const struct {
        const char *shapes;
        const char *name[2];
        int64_t count;
    } cases[] = {
        {"{\"clip_l\":[3,32],\"clip_g\":[3,48]}", {"clip_l", "clip_g"}, 3},
        {"{\"emb_params\":[2,32]}", {"emb_params", NULL}, 2},
        {"{\"<kadr>\":[48]}", {NULL, "<kadr>"}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weights_embedding e;
        kadr_error err = {0};
        json_t *shapes = json_loads(cases[i].shapes, 0, NULL);
        const char *path = fixture_model(f, "embedding.safetensors", shapes, NULL);
        json_decref(shapes);
        if (weights_embedding_read(f->mem, path, width, &e, &err)) fail_msg("%s", err.message);
        assert_int_equal(e.count, cases[i].count);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(e.vector[k] != NULL, cases[i].name[k] != NULL);
            if (!e.vector[k]) continue;
            uint16_t half[3 * 48];
            size_t n = (size_t)(e.count * width[k]);
            fixture_numbers(cases[i].name[k], half, n);
            for (size_t j = 0; j < n; j++) {
                double m = (half[j] & 1023) / 1024.0;
                int exponent = half[j] >> 10 & 31;
                double v = exponent ? ldexp(1 + m, exponent - 15) : ldexp(m, -14);
                assert_true((double)e.vector[k][j] == (half[j] & 0x8000 ? -v : v));
            }
        }
        weights_embedding_free(&e);
        weights_embedding_free(&e);
    }
}

static void test_embedding_refused(void **state) {
    struct fixture *f = *state;
    static const int64_t width[2] = {32, 48};
    static const struct {
        const char *shapes, *expect[2];
    } cases[] = {
        {"{}", {"embedding.safetensors", "no tensors"}},
        {"{\"emb_params\":[2,33]}", {"emb_params", "[2, 33]"}},
        {"{\"clip_l\":[2,48]}", {"clip_l", "expected [vectors, 32]"}},
        {"{\"clip_l\":[1,2,32]}", {"clip_l", "[1, 2, 32]"}},
        {"{\"clip_l\":[0,32]}", {"clip_l", "[0, 32]"}},
        {"{\"clip_l\":[78,32]}", {"clip_l", "at most 77"}},
        {"{\"clip_l\":[2,32],\"clip_g\":[3,48]}", {"clip_l", "as many"}},
        {"{\"a\":[2,32],\"b\":[2,32]}", {"tensor b", "one tensor for each"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weights_embedding e;
        kadr_error err = {0};
        json_t *shapes = json_loads(cases[i].shapes, 0, NULL);
        const char *path = fixture_model(f, "embedding.safetensors", shapes, NULL);
        json_decref(shapes);
        if (weights_embedding_read(f->mem, path, width, &e, &err) != KADR_EMODEL ||
            !strstr(err.message, cases[i].expect[0]) || !strstr(err.message, cases[i].expect[1]))
            fail_msg("case %zu: %s", i, err.message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_empty, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_float8, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_float64, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_stored_halves, fixture_open, fixture_close),
        cmocka_unit_test(test_halves_to_f32),
        cmocka_unit_test_setup_teardown(test_embedding, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_embedding_refused, fixture_open, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
