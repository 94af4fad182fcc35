/* The identity lock against diffusers' load_ip_adapter, as tests/reference/identity.py has it:
 * CLIP's preprocessing to the bit, the image encoder, the projection of every kind of adapter, and
 * one pass of the UNet with casts, regions and strengths by block. f32 to 1e-4 of the output's
 * norm. KADR_TEST_DATA names the folder of the data.
 */
#include "image/image.h"
#include "image/pixels.h"
#include "model/ip_adapter.h"
#include "model/unet.h"
#include "stage.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BAR 1e-4

enum { ENCODE, PROJECT, IMAGE, CONDITION, STEP, GRAPHS };

/* Keys or values of a cast while other segments run. */
struct held {
    char name[160];
    float *data;
    size_t size;
    struct held *next;
};

struct lock {
    const char *data, *name; /* folder of the goldens, case */
    const json_t *options;
    struct stage s;
    struct safetensors file;
    struct clip_vision_config encoder;
    struct ip_adapter_config adapter;
    struct unet_config unet;
    struct unet_shape shape;
    struct held *held;
};

static void must(kadr_status st, const kadr_error *err) {
    if (st) fail_msg("%s", err->message);
}

static const json_t *list(const struct lock *l, const char *key, int i) {
    return json_array_get(json_object_get(l->options, key), (size_t)i);
}

static void replace(struct lock *l, const char *component, const char *path) {
    kadr_error err;
    must(weights_replace(l->s.weights, component, path, &err), &err);
}

static void open_parts(struct lock *l, const char *model) {
    char path[512];
    const char *adapter = json_string_value(list(l, "adapters", 0));
    kadr_error err;
    stage_open(&l->s, model, DTYPE_F32, GRAPHS);
    if (strcmp(adapter, "mini") == 0) {
        snprintf(path, sizeof path, "%s/ip_adapter/image_encoder", model);
        replace(l, "image_encoder", path);
        snprintf(path, sizeof path, "%s/ip_adapter/ip-adapter-plus_kadr.safetensors", model);
    } else {
        snprintf(path, sizeof path, "%s/encoder_%c", l->data, adapter[strlen(adapter) - 1]);
        replace(l, "image_encoder", path);
        snprintf(path, sizeof path, "%s/ip-adapter_%s.safetensors", l->data, adapter);
    }
    replace(l, "ip_adapter", path);
    const struct weights *w = l->s.weights;
    must(clip_vision_read_config(weights_config(w, "image_encoder"), &l->encoder, &err), &err);
    must(ip_adapter_read_config(weights_config(w, "ip_adapter"), &l->adapter, &err), &err);
    must(ip_adapter_check_encoder(&l->adapter, &l->encoder, &err), &err);
    must(unet_read_config(weights_config(w, "unet"), &l->unet, &err), &err);
}

static void describe(struct lock *l) {
    const struct safetensors_tensor *latents = safetensors_find(&l->file, "latents");
    const struct safetensors_tensor *prompt = safetensors_find(&l->file, "prompt_embeds");
    assert_non_null(latents);
    assert_non_null(prompt);
    l->shape = (struct unet_shape){
        .n = latents->dim[0], .h = latents->dim[2], .w = latents->dim[3], .prompt = prompt->dim[1]};
    l->shape.casts = (int)json_array_size(json_object_get(l->options, "pictures"));
    for (int i = 0; i < l->shape.casts; i++) {
        size_t pictures = json_array_size(list(l, "pictures", i));
        l->shape.cast[i].tokens = l->adapter.tokens * (int64_t)pictures;
        l->shape.cast[i].masked = list(l, "regions", i) != NULL;
    }
    struct graph *g = l->s.graph;
    clip_vision_graph(&g[ENCODE], &l->encoder, (struct clip_vision_wish){true, true});
    ip_adapter_graph(&g[PROJECT], &l->adapter, clip_vision_tokens(&l->encoder));
    unet_image_graph(&g[IMAGE], &l->unet, l->adapter.tokens, ip_adapter_norm(&l->adapter));
    unet_conditioning_graph(&g[CONDITION], &l->unet, &l->shape);
    unet_graph(&g[STEP], &l->unet, &l->shape);
    stage_ready(&l->s);
}

static void run(struct lock *l, int segment) {
    kadr_error err;
    must(run_segment(l->s.run, segment, 0, false, &err), &err);
}

/* Against row `row` of the golden tensor. */
static void check(struct lock *l, const char *name, const float *got, size_t size, size_t row) {
    size_t count;
    float *want = golden_read(l->s.mem, &l->file, name, &count);
    assert_true((row + 1) * size <= count);
    double e = relative_error(got, want + row * size, size);
    mem_free(want);
    printf("    %-14s %-8s relative error %.2e\n", l->name, name, e);
    if (!(e <= BAR)) fail_msg("%s: %s: relative error %g", l->name, name, e);
}

static size_t size_of(struct lock *l, const char *buffer) {
    return l->s.program.buffers[program_find(&l->s.program, buffer)].bytes / sizeof(float);
}

/* A reference picture as pixels for the encoder; NULL: zeros. */
static void put_picture(struct lock *l, const char *name) {
    float *pixels = run_buffer(l->s.run, "image_encoder.pixels", 0);
    size_t size = size_of(l, "image_encoder.pixels");
    char path[512];
    kadr_error err;
    memset(pixels, 0, size * sizeof *pixels);
    if (!name) return;
    struct image im;
    snprintf(path, sizeof path, "%s/%s.png", l->data, name);
    must(image_read(&im, l->s.mem, path, IMAGE_OVER_WHITE, NULL, &err), &err);
    must(pixels_prepare_clip(&im, l->s.mem, (int)l->encoder.image, pixels, &err), &err);
    image_free(&im);
}

static void put_numbers(struct lock *l, const char *buffer) {
    int32_t *to = run_buffer(l->s.run, buffer, 0);
    if (!to) return;
    for (size_t i = 0; i < size_of(l, buffer); i++) to[i] = (int32_t)i;
}

/* The buffer of the step's graph, which does not exist yet, as it will be. */
static float *hold(struct lock *l, const char *name, size_t size) {
    struct held *h = l->held;
    while (h && strcmp(h->name, name) != 0) h = h->next;
    if (!h) {
        h = mem_alloc(l->s.mem, sizeof *h);
        assert_non_null(h);
        snprintf(h->name, sizeof h->name, "%s", name);
        h->data = mem_array(l->s.mem, size, sizeof *h->data);
        assert_non_null(h->data);
        h->size = size;
        h->next = l->held;
        l->held = h;
    }
    assert_int_equal(h->size, size);
    return h->data;
}

static void release(struct lock *l) {
    for (struct held *h = l->held, *next; h; h = next) {
        next = h->next;
        float *to = run_buffer(l->s.run, h->name, 0);
        assert_non_null(to);
        memcpy(to, h->data, h->size * sizeof *to);
        mem_free(h->data);
        mem_free(h);
    }
    l->held = NULL;
}

/* Keys and values of the cast's tokens [place, place + tokens) of one branch. */
static void take_tokens(struct lock *l, int cast, int branch, size_t place) {
    struct unet_transformer t = {0};
    char attention[128], from[160], to[160];
    while (unet_next_transformer(&l->unet, &t))
        for (int i = 0; i < t.depth * 2; i++) {
            char which = i % 2 ? 'v' : 'k';
            unet_attention_name(attention, sizeof attention, &t, i / 2);
            snprintf(from, sizeof from, "%s.ip_%c", attention, which);
            snprintf(to, sizeof to, "%s.cast%d.%c", attention, cast, which);
            size_t size = (size_t)(l->adapter.tokens * t.width);
            size_t all = (size_t)(l->shape.cast[cast].tokens * t.width);
            float *k = hold(l, to, all * (size_t)l->shape.n);
            memcpy(k + (size_t)branch * all + place * size, run_buffer(l->s.run, from, 0),
                   size * sizeof *k);
        }
}

/* One picture (NULL: the unconditional one) through encoder and projection. */
static void see(struct lock *l, const char *picture, bool compare) {
    bool classic = l->adapter.kind == IP_ADAPTER_CLASSIC;
    put_picture(l, picture);
    put_numbers(l, "image_encoder.ids");
    put_numbers(l, "image_encoder.first");
    run(l, ENCODE);
    if (compare) {
        check(l, "hidden", run_buffer(l->s.run, "image_encoder.hidden", 0),
              size_of(l, "image_encoder.hidden"), 0);
        check(l, "embeds", run_buffer(l->s.run, "image_encoder.embeds", 0),
              size_of(l, "image_encoder.embeds"), 0);
    }
    if (classic && !picture) {
        float *embeds = run_buffer(l->s.run, "image_encoder.embeds", 0);
        memset(embeds, 0, size_of(l, "image_encoder.embeds") * sizeof *embeds);
    }
    put_numbers(l, "ip_adapter.queries");
    run(l, PROJECT);
    run(l, IMAGE);
}

static void make_casts(struct lock *l) {
    char name[32];
    size_t tokens = size_of(l, "ip_adapter.tokens");
    for (int c = 0; c < l->shape.casts; c++) {
        const json_t *pictures = list(l, "pictures", c);
        size_t count = json_array_size(pictures);
        snprintf(name, sizeof name, "tokens%d", c);
        for (size_t p = 0; p < 2 * count; p++) {
            bool negative = p < count;
            size_t place = p % count;
            see(l, negative ? NULL : json_string_value(json_array_get(pictures, place)),
                c == 0 && p == count);
            check(l, name, run_buffer(l->s.run, "ip_adapter.tokens", 0), tokens, p);
            take_tokens(l, c, !negative, place);
        }
    }
}

static void put_gains(struct lock *l) {
    struct unet_transformer t = {0};
    char name[128];
    kadr_error err;
    while (unet_next_transformer(&l->unet, &t))
        for (int c = 0; c < l->shape.casts; c++) {
            double gain;
            must(unet_scale(&l->unet, list(l, "scales", c), &t, &gain, &err), &err);
            snprintf(name, sizeof name, "%s.cast%d.gain", t.label, c);
            float *to = run_buffer(l->s.run, name, 0);
            for (int b = 0; b < l->shape.n; b++) to[b] = (float)gain;
        }
}

static void put_masks(struct lock *l) {
    if (!list(l, "regions", 0)) return;
    int width = (int)l->shape.w * 8, height = (int)l->shape.h * 8;
    float *mask = mem_array(l->s.mem, (size_t)(width * height), sizeof *mask);
    assert_non_null(mask);
    for (int c = 0; c < l->shape.casts; c++) {
        double box[4];
        for (size_t i = 0; i < 4; i++)
            box[i] = json_number_value(json_array_get(list(l, "regions", c), i));
        for (int i = 0; i < width * height; i++) {
            int x = i % width, y = i / width;
            mask[i] = x >= box[0] * width && x < box[2] * width && y >= box[1] * height &&
                      y < box[3] * height;
        }
        for (int level = 0; level < l->unet.levels; level++) {
            char name[64];
            snprintf(name, sizeof name, "unet.cast%d.mask%d", c, level);
            float *to = run_buffer(l->s.run, name, 0);
            if (!to) continue;
            int64_t count = unet_side(l->shape.h, level) * unet_side(l->shape.w, level);
            for (int b = 0; b < l->shape.n; b++)
                pixels_mask_to_tokens(mask, width, height, count, to + b * count);
        }
    }
    mem_free(mask);
}

static void test_case(struct lock *l, const char *model) {
    char path[512];
    open_parts(l, model);
    snprintf(path, sizeof path, "%s/%s.safetensors", l->data, l->name);
    golden_open(&l->file, l->s.mem, path);
    describe(l);
    put_picture(l, json_string_value(json_array_get(list(l, "pictures", 0), 0)));
    size_t count, pixels = size_of(l, "image_encoder.pixels");
    float *want = golden_read(l->s.mem, &l->file, "pixels", &count);
    assert_true(count >= pixels);
    assert_memory_equal(want, run_buffer(l->s.run, "image_encoder.pixels", 0),
                        pixels * sizeof *want);
    mem_free(want);
    make_casts(l);
    golden_put(&l->s, &l->file, "prompt_embeds", "unet.prompt_embeds");
    golden_put(&l->s, &l->file, "text_embeds", "unet.text_embeds");
    golden_put(&l->s, &l->file, "time_ids", "unet.time_ids");
    run(l, CONDITION);
    release(l);
    put_gains(l);
    put_masks(l);
    golden_put(&l->s, &l->file, "latents", "unet.latents");
    golden_put(&l->s, &l->file, "timestep", "unet.timestep");
    golden_put(&l->s, &l->file, "lengths", "unet.prompt_lengths");
    run(l, STEP);
    check(l, "output", run_buffer(l->s.run, "unet.output", 0), size_of(l, "unet.output"), 0);
    safetensors_close(&l->file);
    stage_close(&l->s);
}

static void all(void **state) {
    (void)state;
    const char *data = getenv("KADR_TEST_DATA"), *name;
    char folder[400], model[400], path[512];
    json_error_t e;
    json_t *options;
    assert_non_null(data);
    snprintf(folder, sizeof folder, "%s/golden/identity", data);
    snprintf(path, sizeof path, "%s/cases.json", folder);
    json_t *cases = json_load_file(path, 0, &e);
    if (!cases) fail_msg("%s: %s", path, e.text);
    json_object_foreach(cases, name, options) {
        const char *which = json_string_value(json_object_get(options, "model"));
        bool mini = strcmp(which, "mini") == 0;
        snprintf(model, sizeof model, "%s/%s/%s", data, mini ? "../../models" : "models", which);
        struct lock l = {.data = folder, .name = name, .options = options};
        test_case(&l, model);
    }
    json_decref(cases);
}

/* What must be refused, with words that tell what is wrong. */
static void refused(void **state) {
    (void)state;
    const char *data = getenv("KADR_TEST_DATA");
    struct mem *m = mem_open(0);
    static const struct {
        const char *encoder, *adapter, *words;
    } pairs[] = {
        {"encoder_h", "ip-adapter_classic_g.safetensors", "pooled embeddings of width 36"},
        {"encoder_g", "ip-adapter_plus_h.safetensors", "hidden states of width 40"},
        {"encoder_h", "ip-adapter_plus_h.bin", "pickle"},
        {"encoder_h", "encoder_h/model.safetensors", "no IP-Adapter"},
        {"ip-adapter_plus_h.safetensors", "ip-adapter_plus_h.safetensors", "no CLIP image"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct weights *w;
        struct clip_vision_config encoder;
        struct ip_adapter_config adapter;
        kadr_error err = {0};
        char path[512];
        must(weights_open_empty(m, NULL, "cast", &w, &err), &err);
        snprintf(path, sizeof path, "%s/golden/identity/%s", data, pairs[i].encoder);
        kadr_status st = weights_replace(w, "image_encoder", path, &err);
        snprintf(path, sizeof path, "%s/golden/identity/%s", data, pairs[i].adapter);
        if (!st) st = weights_replace(w, "ip_adapter", path, &err);
        if (!st) st = clip_vision_read_config(weights_config(w, "image_encoder"), &encoder, &err);
        if (!st) st = ip_adapter_read_config(weights_config(w, "ip_adapter"), &adapter, &err);
        if (!st) st = ip_adapter_check_encoder(&adapter, &encoder, &err);
        assert_int_equal(st, KADR_EMODEL);
        if (!strstr(err.message, pairs[i].words)) fail_msg("%s", err.message);
        weights_close(w);
    }
    /* The published ones are called by their names. */
    const struct clip_vision_config h = {.width = 1280, .projection = 1024};
    const struct ip_adapter_config classic = {.kind = IP_ADAPTER_CLASSIC, .feature = 1280};
    kadr_error err = {0};
    assert_int_equal(ip_adapter_check_encoder(&classic, &h, &err), KADR_EMODEL);
    assert_non_null(strstr(err.message, "ViT-bigG-14"));
    assert_non_null(strstr(err.message, "ViT-H-14"));
    assert_int_equal(mem_close(m), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
