/* weights_single.c: checkpoints in the original layout against diffusers' own conversion: names,
 * shapes, every byte, and the configurations that shapes tell. */
#include "fixture.h"

/* Shapes agree but for trailing ones. */
static bool same_shape(const struct weights_tensor *t, const json_t *shape) {
    int rank = (int)json_array_size(shape);
    for (int i = 0; i < rank || i < t->rank; i++) {
        int64_t a = i < t->rank ? t->dim[i] : 1;
        if (a != (i < rank ? json_integer_value(json_array_get(shape, (size_t)i)) : 1))
            return false;
    }
    return true;
}

static void compare_tensors(struct fixture *f, const struct weights *w, const json_t *expected) {
    const char *name;
    json_t *v;
    int piece = 1;
    assert_int_equal(weights_count(w), json_object_size(expected));
    json_object_foreach((json_t *)expected, name, v) {
        const struct weights_tensor *t = weights_find(w, name);
        if (!t) fail_msg("no tensor %s", name);
        if (!same_shape(t, json_array_get(v, 0))) fail_msg("shape of %s", name);
        assert_int_equal(t->dtype, DTYPE_F16);
        size_t size;
        piece = piece % 97 + 13; /* pieces of any size */
        void *data = fixture_read(f, w, t, piece, &size);
        if (fixture_crc(data, size) != json_integer_value(json_array_get(v, 1)))
            fail_msg("values of %s", name);
        mem_free(data);
    }
}

static void compare_configs(const struct weights *w, const json_t *expected) {
    const char *component, *key;
    json_t *config, *v;
    json_object_foreach((json_t *)expected, component, config) {
        const json_t *own = weights_config(w, component);
        assert_non_null(own);
        json_object_foreach(config, key, v) if (!json_equal(v, json_object_get(own, key))) {
            char *a = json_dumps(json_object_get(own, key), JSON_ENCODE_ANY);
            fail_msg("%s: %s: %s", component, key, a ? a : "absent");
        }
    }
}

static void check_model(struct fixture *f, const char *data) {
    json_t *json = fixture_data(f, data);
    const char *path =
        fixture_model(f, "model.safetensors", json_object_get(json, "original"), NULL);
    struct weights *w = fixture_weights(f, path);
    assert_int_equal(weights_kind(w), WEIGHTS_SINGLE_FILE);
    compare_tensors(f, w, json_object_get(json, "converted"));
    compare_configs(w, json_object_get(json, "config"));
    assert_string_equal(
        json_string_value(json_object_get(weights_config(w, "scheduler"), "prediction_type")),
        "epsilon");
    assert_null(weights_tokenizer_folder(w, "tokenizer"));
    weights_close(w);
    json_decref(json);
}

static void test_sdxl_layout(void **state) {
    check_model(*state, "single_sdxl.json");
}

static void test_small_layout(void **state) {
    check_model(*state, "single_small.json");
}

/* The VAE alone, in three of the forms in which it goes round, replaces a model's own. */
static void test_replace_vae(void **state) {
    struct fixture *f = *state;
    json_t *json = fixture_data(f, "single_small.json"),
           *shapes = json_object_get(json, "original");
    const char *model = fixture_model(f, "model.safetensors", shapes, NULL), *name;
    static const char *const prefix = "first_stage_model.";
    json_t *bare = json_object(), *same = json_object(), *modern = json_object(), *v;
    json_object_foreach(shapes, name, v) if (strncmp(name, prefix, strlen(prefix)) == 0) {
        json_object_set(same, name, v);
        json_object_set(bare, name + strlen(prefix), v);
    }
    json_object_foreach(json_object_get(json, "converted"), name,
                        v) if (strncmp(name, "vae.", 4) == 0)
        json_object_set(modern, name + 4, json_array_get(v, 0));
    const json_t *forms[] = {same, bare, modern};
    for (size_t i = 0; i < 3; i++) {
        const char *path = fixture_model(f, "vae.safetensors", forms[i], NULL);
        struct weights *w = fixture_weights(f, model);
        kadr_error err = {0};
        size_t before = weights_count(w);
        assert_int_equal(weights_replace(w, "vae", path, &err), KADR_OK);
        assert_int_equal(weights_count(w), before);
        const struct weights_tensor *t =
            weights_find(w, "vae.decoder.up_blocks.1.resnets.0.conv_shortcut.weight");
        assert_non_null(t);
        const char *stored = i == 2 ? "decoder.up_blocks.1.resnets.0.conv_shortcut.weight"
                             : i == 1
                                 ? "decoder.up.0.block.0.nin_shortcut.weight"
                                 : "first_stage_model.decoder.up.0.block.0.nin_shortcut.weight";
        size_t size;
        void *data = fixture_read(f, w, t, 1000, &size);
        uint16_t *expected = mem_alloc(f->mem, size);
        fixture_numbers(stored, expected, size / 2);
        assert_memory_equal(data, expected, size);
        mem_free(data);
        mem_free(expected);
        assert_float_equal(
            json_real_value(json_object_get(weights_config(w, "vae"), "scaling_factor")), 0.13025,
            1e-9);
        weights_close(w);
    }
    json_decref(bare);
    json_decref(same);
    json_decref(modern);
    json_decref(json);
}

/* v-prediction and zero terminal SNR: marks as tensors, or the metadata. */
static void test_prediction_marks(void **state) {
    struct fixture *f = *state;
    json_t *json = fixture_data(f, "single_small.json"),
           *shapes = json_object_get(json, "original");
    static const char *const spec[] = {"modelspec.prediction_type", "v", NULL, NULL};
    const char *path = fixture_model(f, "model.safetensors", shapes, spec);
    for (int i = 0; i < 2; i++) {
        struct weights *w = fixture_weights(f, path);
        const json_t *config = weights_config(w, "scheduler");
        assert_string_equal(json_string_value(json_object_get(config, "prediction_type")),
                            "v_prediction");
        assert_int_equal(json_is_true(json_object_get(config, "rescale_betas_zero_snr")), i);
        weights_close(w);
        json_object_set_new(shapes, "v_pred", json_array());
        json_object_set_new(shapes, "ztsnr", json_array());
        path = fixture_model(f, "model.safetensors", shapes, NULL);
    }
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sdxl_layout, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_small_layout, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_replace_vae, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_prediction_marks, fixture_open, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
