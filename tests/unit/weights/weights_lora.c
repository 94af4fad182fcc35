/* weights_lora.c: merged weights against diffusers' and PEFT's, and what is refused. */
#include "fixture.h"

#include <math.h>

/* The model of lora.json as a diffusers folder. */
static const char *write_model(struct fixture *f, const json_t *shapes) {
    static const char *const files[][2] = {
        {"unet", "diffusion_pytorch_model.safetensors"},
        {"text_encoder", "model.safetensors"},
        {"text_encoder_2", "model.safetensors"},
    };
    fixture_text(f, "model/model_index.json",
                 "{\"unet\":[\"a\",\"b\"],\"text_encoder\":[\"a\",\"b\"],"
                 "\"text_encoder_2\":[\"a\",\"b\"]}");
    for (size_t i = 0; i < 3; i++) {
        json_t *own = json_object(), *v;
        const char *name;
        size_t n = strlen(files[i][0]);
        json_object_foreach((json_t *)shapes, name,
                            v) if (strncmp(name, files[i][0], n) == 0 && name[n] == '.')
            json_object_set(own, name, v);
        fixture_text(f, arena_printf(&f->arena, "model/%s/config.json", files[i][0]), "{}");
        /* Under their canonical names the formula gives what the reference has; the file's own
         * names lack the component. */
        struct safetensors_out *out = arena_array(&f->arena, json_object_size(own), sizeof *out);
        size_t k = 0;
        json_object_foreach(own, name, v) {
            size_t count = 1;
            out[k].name = name + n + 1;
            out[k].dtype = SAFETENSORS_F16;
            out[k].rank = (int)json_array_size(v);
            for (int d = 0; d < out[k].rank; d++) {
                out[k].dim[d] = json_integer_value(json_array_get(v, (size_t)d));
                count *= (size_t)out[k].dim[d];
            }
            uint16_t *data = arena_array(&f->arena, count, sizeof *data);
            fixture_numbers(name, data, count);
            out[k++].data = data;
        }
        kadr_error err = {0};
        const char *path =
            fixture_path(f, arena_printf(&f->arena, "model/%s/%s", files[i][0], files[i][1]));
        if (safetensors_write(f->mem, path, out, k, NULL, &err)) fail_msg("%s", err.message);
        json_decref(own);
    }
    return arena_printf(&f->arena, "%s/model", f->folder);
}

static const char *write_lora(struct fixture *f, const json_t *json, const char *name) {
    const json_t *file = json_object_get(json_object_get(json, "files"), name);
    const json_t *metadata = json_object_get(file, "metadata");
    const char *pairs[16] = {NULL}, *key;
    size_t n = 0;
    json_t *v;
    json_object_foreach((json_t *)metadata, key, v) {
        pairs[n++] = key;
        pairs[n++] = json_string_value(v);
    }
    return fixture_model(f, arena_printf(&f->arena, "%s.safetensors", name),
                         json_object_get(file, "tensors"), pairs);
}

static uint64_t place(const char *name, size_t i, size_t count) {
    uint64_t seed = 0xCBF29CE484222325u;
    for (const char *p = name; *p; p++) seed = (seed ^ (unsigned char)*p) * 0x100000001B3u;
    uint64_t x = seed + (i + 1) * 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return (x ^ x >> 31) % count;
}

/* Largest error against the largest value of the samples. */
static double sample_error(const char *name, const float *data, size_t count, const json_t *want) {
    double worst = 0, top = 1e-30;
    for (size_t i = 0; i < json_array_size(want); i++) {
        double e = json_number_value(json_array_get(want, i));
        double d = fabs((double)data[place(name, i, count)] - e);
        if (d > worst || isnan(d)) worst = d;
        if (fabs(e) > top) top = fabs(e);
    }
    return worst / top;
}

static void check_case(struct fixture *f, const json_t *json, const json_t *c, const char *model) {
    struct weights *w = fixture_weights(f, model);
    const json_t *files = json_object_get(c, "files"), *strengths = json_object_get(c, "strengths");
    const json_t *merged = json_object_get(c, "merged");
    kadr_error err = {0};
    double worst = 0;
    assert_int_equal(weights_lora_bytes(w), 0);
    for (size_t i = 0; i < json_array_size(files); i++) {
        const char *path = write_lora(f, json, json_string_value(json_array_get(files, i)));
        if (weights_add_lora(w, path, json_number_value(json_array_get(strengths, i)), &err))
            fail_msg("%s", err.message);
    }
    for (size_t i = 0; i < weights_count(w); i++) {
        const struct weights_tensor *t = weights_at(w, i);
        const json_t *want = json_object_get(merged, t->name);
        if (!want) {
            assert_int_equal(t->dtype, DTYPE_F16);
            continue;
        }
        assert_int_equal(t->dtype, DTYPE_F32);
        size_t size;
        struct mem_stats before, after;
        mem_get_stats(f->mem, &before);
        float *data = fixture_read(f, w, t, 7 + (int64_t)i % 300, &size);
        mem_get_stats(f->mem, &after);
        /* What reading takes is what was announced (headers of blocks aside). */
        assert_true(after.peak <= before.peak ||
                    after.peak <= before.now + size + weights_lora_bytes(w) + 4096);
        double error = sample_error(t->name, data, size / sizeof *data, want);
        if (!(error <= 1e-6)) fail_msg("%s: relative error %g", t->name, error);
        if (error > worst) worst = error;
        mem_free(data);
    }
    assert_true(weights_lora_bytes(w) > 0);
    print_message("%s, %zu tensors: largest relative error %.2g\n",
                  json_string_value(json_array_get(files, 0)), json_object_size(merged), worst);
    weights_close(w);
}

static void test_merged(void **state) {
    struct fixture *f = *state;
    json_t *json = fixture_data(f, "lora.json"), *c;
    const char *model = write_model(f, json_object_get(json, "model"));
    size_t i;
    json_array_foreach(json_object_get(json, "cases"), i, c) check_case(f, json, c, model);
    json_decref(json);
}

/* The pieces in which rows are read change no bit. */
static void test_pieces(void **state) {
    struct fixture *f = *state;
    json_t *json = fixture_data(f, "lora.json");
    struct weights *w = fixture_weights(f, write_model(f, json_object_get(json, "model")));
    kadr_error err = {0};
    assert_int_equal(weights_add_lora(w, write_lora(f, json, "kohya"), 1, &err), KADR_OK);
    const struct weights_tensor *t =
        weights_find(w, "unet.mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight");
    size_t size;
    assert_true(t->dim[0] > 256);
    void *whole = fixture_read(f, w, t, t->dim[0], &size),
         *pieces = fixture_read(f, w, t, 37, &size);
    assert_memory_equal(whole, pieces, size);
    mem_free(whole);
    mem_free(pieces);
    weights_close(w);
    json_decref(json);
}

#define LAYER "lora_unet_conv_in"
#define PAIR                                                                                       \
    "\"" LAYER ".lora_down.weight\":{\"dtype\":\"F32\",\"shape\":[2,4,3,3],\"data_offsets\":[0,"   \
    "288]},\"" LAYER ".lora_up.weight\":{\"dtype\":\"F32\",\"shape\":[32,2,1,1],\"data_offsets\":" \
    "[288,544]}"

static void test_refused(void **state) {
    static const struct {
        const char *header;
        size_t data;
        const char *expect[2];
    } cases[] = {
        {"{" PAIR ",\"" LAYER
         ".dora_scale\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[544,"
         "548]}}",
         548,
         {"dora_scale", "DoRA"}},
        {"{\"unet.conv_in.lora_magnitude_vector\":{\"dtype\":\"F32\",\"shape\":[1],"
         "\"data_offsets\":[0,4]}}",
         4,
         {"lora_magnitude_vector", "DoRA"}},
        {"{\"" LAYER ".hada_w1_a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4,
         {"hada_w1_a", "LoHa"}},
        {"{\"" LAYER ".lokr_w1\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4,
         {"lokr_w1", "LoKr"}},
        {"{\"" LAYER ".lora_mid.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4,
         {"lora_mid", "LoCon"}},
        {"{\"" LAYER ".diff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4,
         {LAYER ".diff", "full difference"}},
        {"{\"lora_unet_nowhere.lora_down.weight\":{\"dtype\":\"F32\",\"shape\":[1],"
         "\"data_offsets\":[0,4]}}",
         4,
         {"lora_unet_nowhere.lora_down.weight", "no such layer"}},
        {"{\"unet.nowhere.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"
         "}",
         4,
         {"unet.nowhere.lora_A.weight", "no such layer"}},
        {"{\"conv_in.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4,
         {"conv_in.weight", "not a key of a LoRA"}},
        {"{\"" LAYER ".lora_down.weight\":{\"dtype\":\"F32\",\"shape\":[2,4,3,3],\"data_offsets\":["
         "0,288]}}",
         288,
         {LAYER ".lora_down.weight", "up (B) is missing"}},
        {"{\"" LAYER ".alpha\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}",
         4,
         {LAYER ".alpha", "down (A) is missing"}},
        {"{\"" LAYER ".lora_down.weight\":{\"dtype\":\"F32\",\"shape\":[2,5],\"data_offsets\":[0,"
         "40]},\"" LAYER ".lora_up.weight\":{\"dtype\":\"F32\",\"shape\":[32,2],\"data_offsets\":["
         "40,296]}}",
         296,
         {LAYER ".lora_down.weight", "expected [rank, 36]"}},
        {"{\"" LAYER ".lora_down.weight\":{\"dtype\":\"F32\",\"shape\":[2,36],\"data_offsets\":[0,"
         "288]},\"" LAYER ".lora_up.weight\":{\"dtype\":\"F32\",\"shape\":[32,3],\"data_offsets\":["
         "288,672]}}",
         672,
         {LAYER ".lora_up.weight", "expected [32, 2]"}},
        {"{\"" LAYER ".lora_down.weight\":{\"dtype\":\"F32\",\"shape\":[0,36],\"data_offsets\":[0,"
         "0]},\"" LAYER ".lora_up.weight\":{\"dtype\":\"F32\",\"shape\":[32,0],\"data_offsets\":[0,"
         "0]}}",
         0,
         {LAYER ".lora_down.weight", "expected [rank, 36]"}},
        {"{" PAIR ",\"" LAYER ".alpha\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[544,"
         "552]}}",
         552,
         {LAYER ".alpha", "expected one number"}},
        {"{" PAIR ",\"" LAYER ".alpha\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[544,"
         "548]}}",
         548,
         {LAYER ".alpha", "dtype I32"}},
        {"{" PAIR ",\"unet.conv_in.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[],"
         "\"data_offsets\":[544,548]}}",
         548,
         {"unet.conv_in.lora_A.weight", "are both for unet.conv_in.weight"}},
        {"{\"__metadata__\":{\"lora_adapter_metadata\":\"{]\"}," PAIR "}",
         544,
         {"lora_adapter_metadata", "1"}},
        {"{}", 0, {"lora.safetensors", "no tensors"}},
    };
    struct fixture *f = *state;
    json_t *json = fixture_data(f, "lora.json");
    const char *model = write_model(f, json_object_get(json, "model"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weights *w = fixture_weights(f, model);
        kadr_error err = {0};
        const char *path = fixture_header(f, "lora.safetensors", cases[i].header, cases[i].data);
        if (weights_add_lora(w, path, 1, &err) != KADR_EMODEL || !strstr(err.message, path) ||
            !strstr(err.message, cases[i].expect[0]) || !strstr(err.message, cases[i].expect[1]))
            fail_msg("case %zu: %s", i, err.message);
        weights_close(w);
    }
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_merged, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_pieces, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_refused, fixture_open, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
