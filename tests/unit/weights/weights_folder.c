/* weights_folder.c: diffusers folders: which of several files is taken, shards, and the styles of
 * keys that different versions of diffusers and transformers wrote. */
#include "fixture.h"

/* A file of one f16 tensor [4] each for the names given (a space between them). */
static const char *make_file(struct fixture *f, const char *file, const char *names) {
    json_t *shapes = json_object();
    for (const char *p = names; *p;) {
        size_t n = strcspn(p, " ");
        json_object_set_new(shapes, arena_printf(&f->arena, "%.*s", (int)n, p),
                            json_pack("[i]", 4));
        p += n + (p[n] == ' ');
    }
    const char *path = fixture_model(f, file, shapes, NULL);
    json_decref(shapes);
    return path;
}

static const char *make_folder(struct fixture *f, const char *component, const char *config) {
    fixture_text(f, "m/model_index.json",
                 arena_printf(&f->arena,
                              "{\"_class_name\":\"StableDiffusionXLPipeline\",\"%s\":[\"a\",\"b\"],"
                              "\"image_encoder\":[null,null],\"add_watermarker\":null}",
                              component));
    fixture_text(f, arena_printf(&f->arena, "m/%s/config.json", component), config);
    return arena_printf(&f->arena, "%s/m", f->folder);
}

/* The model's only tensor is `name`, and holds the formula's numbers for `stored`. */
static void holds(struct fixture *f, const struct weights *w, const char *name,
                  const char *stored) {
    const struct weights_tensor *t = weights_find(w, name);
    uint16_t expected[4];
    size_t size;
    if (!t) fail_msg("no tensor %s", name);
    void *data = fixture_read(f, w, t, 3, &size);
    fixture_numbers(stored, expected, 4);
    assert_int_equal(size, sizeof expected);
    assert_memory_equal(data, expected, size);
    mem_free(data);
}

static void test_variants(void **state) {
    struct fixture *f = *state;
    const char *model = make_folder(f, "unet", "{\"in_channels\":4}");
    static const char *const order[][2] = {
        {"diffusion_pytorch_model.fp16.safetensors", "half"},
        {"diffusion_pytorch_model.safetensors", "plain"},
    };
    fixture_text(f, "m/unet/diffusion_pytorch_model.bin", "x");
    fixture_text(f, "m/unet/diffusion_pytorch_model.non_ema.safetensors", "x");
    for (size_t i = 0; i < 2; i++) {
        make_file(f, arena_printf(&f->arena, "m/unet/%s", order[i][0]), order[i][1]);
        struct weights *w = fixture_weights(f, model);
        assert_int_equal(weights_kind(w), WEIGHTS_FOLDER);
        assert_int_equal(weights_count(w), 1);
        holds(f, w, arena_printf(&f->arena, "unet.%s", order[i][1]), order[i][1]);
        assert_int_equal(
            json_integer_value(json_object_get(weights_config(w, "unet"), "in_channels")), 4);
        assert_non_null(weights_config(w, ""));
        assert_null(weights_config(w, "vae"));
        assert_null(weights_config(w, "scheduler"));
        assert_null(weights_tokenizer_folder(w, "tokenizer"));
        weights_close(w);
    }
}

static void test_shards(void **state) {
    struct fixture *f = *state;
    const char *model = make_folder(f, "text_encoder", "{}");
    static const char *const names[] = {"model.safetensors.index.json",
                                        "model.safetensors.index.fp16.json",
                                        "model.fp16.safetensors.index.json"};
    make_file(f, "m/text_encoder/model-00001-of-00002.safetensors", "text_model.a text_model.c");
    make_file(f, "m/text_encoder/model-00002-of-00002.safetensors", "text_model.b");
    for (size_t i = 0; i < 3; i++) {
        const char *index = fixture_text(f, arena_printf(&f->arena, "m/text_encoder/%s", names[i]),
                                         "{\"metadata\":{\"total_size\":24},\"weight_map\":{"
                                         "\"text_model.a\":\"model-00001-of-00002.safetensors\","
                                         "\"text_model.b\":\"model-00002-of-00002.safetensors\","
                                         "\"text_model.c\":\"model-00001-of-00002.safetensors\"}}");
        struct weights *w = fixture_weights(f, model);
        assert_int_equal(weights_count(w), 3);
        holds(f, w, "text_encoder.text_model.a", "text_model.a");
        holds(f, w, "text_encoder.text_model.b", "text_model.b");
        holds(f, w, "text_encoder.text_model.c", "text_model.c");
        assert_string_equal(weights_at(w, 1)->name, "text_encoder.text_model.b");
        weights_close(w);
        assert_int_equal(remove(index), 0);
    }
}

static void test_key_styles(void **state) {
    static const struct {
        const char *component, *stored, *name; /* NULL: left out */
    } keys[] = {
        {"text_encoder", "embeddings.token_embedding.weight",
         "text_encoder.text_model.embeddings.token_embedding.weight"},
        {"text_encoder", "encoder.layers.0.mlp.fc1.bias",
         "text_encoder.text_model.encoder.layers.0.mlp.fc1.bias"},
        {"text_encoder", "final_layer_norm.bias", "text_encoder.text_model.final_layer_norm.bias"},
        {"text_encoder", "text_model.final_layer_norm.weight",
         "text_encoder.text_model.final_layer_norm.weight"},
        {"text_encoder", "text_model.embeddings.position_ids", NULL},
        {"text_encoder", "embeddings.position_ids", NULL},
        {"text_encoder_2", "text_projection.weight", "text_encoder_2.text_projection.weight"},
        {"text_encoder_2", "text_model.encoder.layers.9.layer_norm1.weight",
         "text_encoder_2.text_model.encoder.layers.9.layer_norm1.weight"},
        {"text_encoder_2", "logit_scale", NULL},
        {"image_encoder", "vision_model.embeddings.class_embedding",
         "image_encoder.vision_model.embeddings.class_embedding.weight"},
        {"image_encoder", "pre_layrnorm.weight", "image_encoder.vision_model.pre_layrnorm.weight"},
        {"image_encoder", "visual_projection.weight", "image_encoder.visual_projection.weight"},
        {"vae", "decoder.mid_block.attentions.0.query.weight",
         "vae.decoder.mid_block.attentions.0.to_q.weight"},
        {"vae", "decoder.mid_block.attentions.0.key.bias",
         "vae.decoder.mid_block.attentions.0.to_k.bias"},
        {"vae", "encoder.mid_block.attentions.0.value.bias",
         "vae.encoder.mid_block.attentions.0.to_v.bias"},
        {"vae", "encoder.mid_block.attentions.0.proj_attn.bias",
         "vae.encoder.mid_block.attentions.0.to_out.0.bias"},
        {"vae", "encoder.mid_block.attentions.0.to_out.0.bias",
         "vae.encoder.mid_block.attentions.0.to_out.0.bias"},
        {"unet", "down_blocks.0.resnets.0.conv1.weight",
         "unet.down_blocks.0.resnets.0.conv1.weight"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *model = make_folder(f, keys[i].component, "{}");
        make_file(f, arena_printf(&f->arena, "m/%s/model.safetensors", keys[i].component),
                  keys[i].stored);
        /* make_folder's index switches the optional image encoder off. */
        if (strcmp(keys[i].component, "image_encoder") == 0)
            fixture_text(f, "m/model_index.json", "{\"image_encoder\":[\"a\",\"b\"]}");
        struct weights *w = fixture_weights(f, model);
        assert_int_equal(weights_count(w), keys[i].name != NULL);
        if (keys[i].name) holds(f, w, keys[i].name, keys[i].stored);
        weights_close(w);
    }
}

/* The same tensor in an old and a new style is one too many. */
static void test_both_styles(void **state) {
    struct fixture *f = *state;
    const char *model = make_folder(f, "text_encoder", "{}");
    struct weights *w = NULL;
    kadr_error err = {0};
    make_file(f, "m/text_encoder/model.safetensors",
              "encoder.layers.0.x text_model.encoder.layers.0.x");
    assert_int_equal(weights_open(f->mem, NULL, model, &w, &err), KADR_EMODEL);
    assert_non_null(strstr(err.message, "tensor encoder.layers.0.x"));
    assert_non_null(strstr(err.message, "tensor text_model.encoder.layers.0.x"));
}

static void test_besides(void **state) {
    struct fixture *f = *state;
    const char *model = make_folder(f, "unet", "{}");
    make_file(f, "m/unet/diffusion_pytorch_model.safetensors", "a");
    fixture_text(f, "m/scheduler/scheduler_config.json", "{\"prediction_type\":\"v_prediction\"}");
    fixture_text(f, "m/tokenizer_2/vocab.json", "{}");
    struct weights *w = fixture_weights(f, model);
    assert_string_equal(
        json_string_value(json_object_get(weights_config(w, "scheduler"), "prediction_type")),
        "v_prediction");
    assert_null(weights_tokenizer_folder(w, "tokenizer"));
    assert_string_equal(weights_tokenizer_folder(w, "tokenizer_2"),
                        arena_printf(&f->arena, "%s/tokenizer_2", model));
    weights_close(w);
}

/* Components that a model lacks, from a file, a folder, and a whole model's folder. */
static void test_replace(void **state) {
    struct fixture *f = *state;
    const char *model = make_folder(f, "unet", "{}");
    make_file(f, "m/unet/diffusion_pytorch_model.safetensors", "a");
    fixture_text(f, "encoder/config.json", "{\"hidden_size\":8}");
    const char *encoder = make_file(f, "encoder/model.safetensors", "vision_model.x");
    const char *adapter = arena_printf(
        &f->arena, "%s/golden/identity/ip-adapter_plus_h.safetensors", getenv("KADR_TEST_DATA"));
    const char *folder = arena_printf(&f->arena, "%s/encoder", f->folder);
    const char *ways[] = {encoder, folder, NULL};
    fixture_text(f, "whole/image_encoder/config.json", "{\"hidden_size\":8}");
    make_file(f, "whole/image_encoder/model.safetensors", "vision_model.x");
    ways[2] = arena_printf(&f->arena, "%s/whole", f->folder);
    for (size_t i = 0; i < 3; i++) {
        struct weights *w = fixture_weights(f, model);
        kadr_error err = {0};
        size_t count[2];
        for (int k = 0; k < 2; k++) {
            assert_int_equal(weights_replace(w, "image_encoder", ways[i], &err), KADR_OK);
            assert_int_equal(weights_replace(w, "ip_adapter", adapter, &err), KADR_OK);
            count[k] = weights_count(w);
        }
        assert_int_equal(count[0], count[1]); /* the second time replaces the first */
        holds(f, w, "unet.a", "a");
        holds(f, w, "image_encoder.vision_model.x", "vision_model.x");
        /* What is stored as [1, 16, 24] is a table; what is fused comes apart. */
        const struct weights_tensor *t;
        const int64_t queries[2] = {16, 24}, keys[2] = {128, 24};
        assert_int_equal(
            weights_expect(w, "ip_adapter.image_proj.latents.weight", 2, queries, &t, &err),
            KADR_OK);
        assert_int_equal(
            weights_expect(w, "ip_adapter.image_proj.layers.3.0.to_v.weight", 2, keys, &t, &err),
            KADR_OK);
        assert_string_equal(
            json_string_value(json_object_get(weights_config(w, "ip_adapter"), "kind")), "plus");
        assert_int_equal(
            json_integer_value(json_object_get(weights_config(w, "image_encoder"), "hidden_size")),
            8);
        assert_int_equal(weights_replace(w, "vae", adapter, &err), KADR_EMODEL);
        assert_non_null(strstr(err.message, "no VAE"));
        weights_close(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_variants, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_shards, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_key_styles, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_both_styles, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_besides, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_replace, fixture_open, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
