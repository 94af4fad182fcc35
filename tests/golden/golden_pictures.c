/* Prompts and whole pictures through the library against what diffusers' pipelines made
 * (tests/reference/stages.py and pipeline.py): every case of golden/MODEL/embeds and
 * golden/MODEL/pictures. Embeddings to 1e-4 of their norm in f32; pictures to 45 dB. Prints the
 * worst. KADR_TEST_DATA names the folder of the data; KADR_FEW is set where programs are slow (with
 * sanitizers): then every fifth picture is drawn.
 */
#include "kadr.h"

#include "base/file.h"
#include "image/image.h"
#include "stage.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define EMBEDS_BAR 1e-4
#define LATENTS_BAR 1e-4
/* With casts, which hold keys and values in f16: its rounding is 5e-4 of them. */
#define CASTS_BAR 1e-3
#define PICTURE_BAR 45.0 /* dB */

struct run_case {
    struct mem *mem;
    const char *model, *folder, *name; /* folder: of the goldens */
    const char *casts;                 /* folder of casts; NULL: none */
    double latents, picture;           /* worst of this case */
    size_t pictures;
};

static void must(kadr_status st, const kadr_error *err, const char *what) {
    if (st) fail_msg("%s: %s", what, err->message);
}

/* Options by kadr's names; files lie in the goldens' folder. */
static kadr_request *request_of(const struct run_case *c, json_t *options) {
    static const char *const files[] = {"init", "mask", "lora"};
    kadr_request *rq = kadr_request_new();
    kadr_error err = {0};
    const char *key;
    json_t *value;
    must(kadr_request_set(rq, "model", c->model, &err), &err, c->name);
    must(kadr_request_set(rq, "precision", "f32", &err), &err, c->name);
    if (c->casts) must(kadr_request_set(rq, "cast-folder", c->casts, &err), &err, c->name);
    json_object_foreach(options, key, value) {
        bool is_file = false;
        for (size_t i = 0; i < 3; i++) is_file = is_file || strcmp(key, files[i]) == 0;
        size_t n = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t i = 0; i < n; i++) {
            const json_t *v = json_is_array(value) ? json_array_get(value, i) : value;
            char text[1024];
            if (json_is_string(v))
                snprintf(text, sizeof text, "%s%s%s", is_file ? c->folder : "", is_file ? "/" : "",
                         json_string_value(v));
            else if (json_is_integer(v))
                snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
            else snprintf(text, sizeof text, "%.17g", json_number_value(v));
            must(kadr_request_set(rq, key, text, &err), &err, c->name);
        }
    }
    return rq;
}

static double psnr(const uint8_t *a, const uint8_t *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sum > 0 ? 10 * log10(255.0 * 255.0 * (double)count / sum) : 99;
}

static int on_picture(void *user, const kadr_picture *p) {
    struct run_case *c = user;
    char path[512];
    kadr_error err = {0};
    struct safetensors file;
    struct image want;
    snprintf(path, sizeof path, "%s/%s.safetensors", c->folder, c->name);
    golden_open(&file, c->mem, path);
    size_t count, size = (size_t)(p->latent_channels * p->latent_height * p->latent_width);
    float *latents = golden_read(c->mem, &file, "latents", &count);
    assert_true(count >= (p->index + 1) * size);
    double e = relative_error(p->latents, latents + p->index * size, size);
    if (!(e <= c->latents)) c->latents = e;
    mem_free(latents);
    safetensors_close(&file);
    snprintf(path, sizeof path, "%s/%s_%zu.png", c->folder, c->name, p->index);
    must(image_read(&want, c->mem, path, IMAGE_OVER_WHITE, NULL, &err), &err, c->name);
    assert_int_equal(want.width, p->width);
    assert_int_equal(want.height, p->height);
    double like = psnr(p->rgb, want.data, (size_t)(p->width * p->height * 3));
    if (!(like >= c->picture)) c->picture = like;
    image_free(&want);
    c->pictures++;
    return 0;
}

static json_t *cases_of(const char *folder) {
    char path[512];
    json_error_t e;
    snprintf(path, sizeof path, "%s/cases.json", folder);
    json_t *cases = json_load_file(path, 0, &e);
    if (!cases) fail_msg("%s: %s", path, e.text);
    return cases;
}

static void draw_with_casts(kadr_context *ctx, struct mem *m, const char *model, const char *folder,
                            const char *casts) {
    json_t *cases = cases_of(folder), *options;
    const char *name;
    int number = 0;
    json_object_foreach(cases, name, options) {
        if (getenv("KADR_FEW") && number++ % 16) continue;
        struct run_case c = {m, model, folder, name, casts, 0, 99, 0};
        const kadr_observer observer = {.user = &c, .picture = on_picture};
        kadr_request *rq = request_of(&c, options);
        kadr_error err = {0};
        must(kadr_draw(ctx, &rq, 1, &observer, &err), &err, name);
        kadr_request_free(rq);
        printf("    %-18s latents %.1e  picture %5.1f dB\n", name, c.latents, c.picture);
        json_t *wanted = json_object_get(options, "count");
        assert_int_equal(c.pictures, wanted ? json_integer_value(wanted) : 1);
        double bar = casts ? CASTS_BAR : LATENTS_BAR;
        if (!(c.latents <= bar) || !(c.picture >= PICTURE_BAR))
            fail_msg("%s: %s: latents %g, picture %g dB; expected %g and %g dB", folder, name,
                     c.latents, c.picture, bar, PICTURE_BAR);
    }
    json_decref(cases);
}

static void draw_cases(kadr_context *ctx, struct mem *m, const char *model, const char *folder) {
    draw_with_casts(ctx, m, model, folder, NULL);
}

/* ---- Casts, made here of the reference pictures */

static void set_file(kadr_request *rq, const char *option, const char *folder, json_t *name) {
    char path[512];
    kadr_error err = {0};
    snprintf(path, sizeof path, "%s/%s", folder, json_string_value(name));
    if (name) must(kadr_request_set(rq, option, path, &err), &err, option);
}

static void make_casts(kadr_context *ctx, const char *model, const char *data, const char *folder,
                       const char *casts) {
    char path[600];
    const char *name;
    json_t *how, *picture;
    json_error_t e;
    snprintf(path, sizeof path, "%s/casts.json", folder);
    json_t *all = json_load_file(path, 0, &e);
    if (!all) fail_msg("%s: %s", path, e.text);
    json_object_foreach(all, name, how) {
        char files[4][512];
        const char *pictures[4];
        size_t i;
        kadr_request *rq = kadr_request_new();
        kadr_error err = {0};
        must(kadr_request_set(rq, "model", model, &err), &err, name);
        set_file(rq, "adapter", data, json_object_get(how, "adapter"));
        set_file(rq, "image-encoder", data, json_object_get(how, "image-encoder"));
        json_array_foreach(json_object_get(how, "pictures"), i, picture) {
            snprintf(files[i], sizeof files[i], "%s/%s.png", data, json_string_value(picture));
            pictures[i] = files[i];
        }
        snprintf(path, sizeof path, "%s/%s.cast", casts, name);
        must(kadr_cast_make(ctx, rq, name, pictures, i, path, NULL, &err), &err, name);
        kadr_request_free(rq);
    }
    json_decref(all);
}

/* kadr_cast_likeness against transformers' encoder and Pillow's windows. */
static void compare_likeness(kadr_context *ctx, const char *model, const char *data,
                             const char *casts) {
    char path[600];
    const char *name;
    json_t *how, *picture;
    json_error_t e;
    snprintf(path, sizeof path, "%s/likeness.json", data);
    json_t *all = json_load_file(path, 0, &e);
    if (!all) fail_msg("%s: %s", path, e.text);
    json_object_foreach(all, name, how) {
        char files[4][512];
        const char *pictures[4];
        double likeness[4];
        size_t i, count = json_array_size(json_object_get(how, "pictures"));
        kadr_request *rq = kadr_request_new();
        kadr_error err = {0};
        must(kadr_request_set(rq, "model", model, &err), &err, name);
        json_array_foreach(json_object_get(how, "pictures"), i, picture) {
            snprintf(files[i], sizeof files[i], "%s/%s", data, json_string_value(picture));
            pictures[i] = files[i];
        }
        snprintf(path, sizeof path, "%s/%s.cast", casts, name);
        must(kadr_cast_likeness(ctx, rq, path, pictures, count, likeness, &err), &err, name);
        for (i = 0; i < count; i++) {
            double want = json_number_value(json_array_get(json_object_get(how, "likeness"), i));
            printf("    %-18s likeness %.6f, %.6f\n", name, likeness[i], want);
            if (!(fabs(likeness[i] - want) < 1e-5)) fail_msg("%s: likeness", name);
        }
        kadr_request_free(rq);
    }
    json_decref(all);
}

static void identity(void **state) {
    (void)state;
    static const char *const models[] = {"mini", "tiny-a"};
    const char *data = getenv("KADR_TEST_DATA");
    char goldens[400], casts[] = "/tmp/kadr-casts-XXXXXX";
    kadr_context *ctx;
    kadr_error err = {0};
    struct mem *m = mem_open(0);
    struct arena a;
    char **names;
    size_t count;
    arena_init(&a, m);
    assert_non_null(mkdtemp(casts));
    must(kadr_open(NULL, &ctx, &err), &err, "context");
    snprintf(goldens, sizeof goldens, "%s/golden/identity", data);
    for (size_t i = 0; i < 2; i++) {
        char model[512], folder[480];
        snprintf(model, sizeof model, "%s/%s/%s", data, i ? "models" : "../../models", models[i]);
        snprintf(folder, sizeof folder, "%s/pictures/%s", goldens, models[i]);
        make_casts(ctx, model, goldens, folder, casts);
        draw_with_casts(ctx, m, model, folder, casts);
        if (!i) compare_likeness(ctx, model, goldens, casts);
    }
    must(file_list(&a, casts, &names, &count, &err), &err, casts);
    assert_int_equal(count, 5);
    for (size_t i = 0; i < count; i++) unlink(file_join(&a, casts, names[i]));
    rmdir(casts);
    arena_free(&a);
    kadr_close(ctx);
    assert_int_equal(mem_close(m), 0);
}

/* ---- Embeddings: what --save-embeds writes */

static double compare(struct mem *m, const char *got_path, const char *want_path) {
    static const char *const names[] = {"prompt_embeds", "pooled", "negative_prompt_embeds",
                                        "negative_pooled"};
    struct safetensors got, want;
    double worst = 0;
    golden_open(&got, m, got_path);
    golden_open(&want, m, want_path);
    for (size_t i = 0; i < 4; i++) {
        size_t n, count;
        float *a = golden_read(m, &got, names[i], &n), *b = golden_read(m, &want, names[i], &count);
        assert_int_equal(n, count);
        double e = relative_error(a, b, n);
        if (!(e <= worst)) worst = e;
        mem_free(a);
        mem_free(b);
    }
    safetensors_close(&got);
    safetensors_close(&want);
    return worst;
}

/* The golden file has both encoders' 77 ids with their start, end and padding; kadr_tokens what
 * lies between. */
static void compare_ids(kadr_context *ctx, struct mem *m, const kadr_request *rq,
                        const char *path) {
    static const char *const names[2] = {"ids", "ids2"};
    const char *prompt = kadr_request_get(rq, "prompt");
    struct safetensors file;
    kadr_error err = {0};
    char *text;
    must(kadr_tokens(ctx, rq, prompt, 1, &text, &err), &err, prompt);
    json_t *all = json_loads(text, 0, NULL), *encoders = json_object_get(all, "encoders");
    kadr_free(text);
    assert_int_equal(json_array_size(encoders), 2);
    golden_open(&file, m, path);
    for (size_t e = 0; e < 2; e++) {
        int32_t want[77];
        const struct safetensors_tensor *t = safetensors_find(&file, names[e]);
        assert_non_null(t);
        assert_int_equal(t->size, sizeof want);
        must(file_read_at(&file.file, t->begin, want, sizeof want, &err), &err, path);
        const json_t *ids = json_object_get(json_array_get(encoders, e), "ids");
        size_t n = json_array_size(ids), end = 1;
        while (end < 76 && want[end] != want[0] + 1)
            end++; /* the end mark follows the start's id */
        assert_int_equal(n, end - 1);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(json_integer_value(json_array_get(ids, i)), want[i + 1]);
    }
    safetensors_close(&file);
    json_decref(all);
}

static void embed_cases(kadr_context *ctx, struct mem *m, const char *model, const char *folder) {
    json_t *cases = cases_of(folder), *options;
    const char *name;
    char saved[64], want[512];
    snprintf(saved, sizeof saved, "/tmp/kadr-embeds-%ld.safetensors", (long)getpid());
    json_object_foreach(cases, name, options) {
        struct run_case c = {.mem = m, .model = model, .folder = folder, .name = name};
        kadr_request *rq = request_of(&c, options);
        kadr_error err = {0};
        static const char *const small[][2] = {
            {"width", "64"}, {"height", "64"}, {"steps", "1"}, {"guidance", "4"}};
        for (size_t i = 0; i < 4; i++)
            must(kadr_request_set(rq, small[i][0], small[i][1], &err), &err, name);
        must(kadr_request_set(rq, "save-embeds", saved, &err), &err, name);
        must(kadr_draw(ctx, &rq, 1, NULL, &err), &err, name);
        snprintf(want, sizeof want, "%s/%s.safetensors", folder, name);
        compare_ids(ctx, m, rq, want);
        kadr_request_free(rq);
        double worst = compare(m, saved, want);
        printf("    %-18s embeddings %.1e\n", name, worst);
        if (!(worst <= EMBEDS_BAR))
            fail_msg("%s: %s: relative error %g, expected at most %g", folder, name, worst,
                     EMBEDS_BAR);
    }
    unlink(saved);
    json_decref(cases);
}

static void each(void (*test)(kadr_context *, struct mem *, const char *, const char *),
                 const char *what) {
    static const char *const models[] = {"mini", "tiny-a", "tiny-b", "tiny-c", "micro"};
    const char *data = getenv("KADR_TEST_DATA");
    assert_non_null(data);
    kadr_context *ctx;
    kadr_error err = {0};
    struct mem *m = mem_open(0);
    must(kadr_open(NULL, &ctx, &err), &err, "context");
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char model[512], folder[512];
        if (i) snprintf(model, sizeof model, "%s/models/%s", data, models[i]);
        else snprintf(model, sizeof model, "%s/../../models/mini", data);
        snprintf(folder, sizeof folder, "%s/golden/%s/%s", data, models[i], what);
        printf("  %s\n", models[i]);
        test(ctx, m, model, folder);
    }
    kadr_close(ctx);
    assert_int_equal(mem_close(m), 0);
}

/* ---- bf16: as near to f32 as PyTorch's */

struct shot {
    uint8_t *rgb;
    size_t size;
};

static int keep_picture(void *user, const kadr_picture *p) {
    struct shot *s = user;
    s->size = (size_t)(p->width * p->height * 3);
    s->rgb = malloc(s->size);
    assert_non_null(s->rgb);
    memcpy(s->rgb, p->rgb, s->size);
    return 0;
}

static struct shot draw_in(kadr_context *ctx, json_t *settings, const json_t *picture,
                           const char *model, const char *precision) {
    struct run_case c = {.model = model, .name = "bf16"};
    struct shot s = {0};
    const kadr_observer observer = {.user = &s, .picture = keep_picture};
    kadr_error err = {0};
    kadr_request *rq = request_of(&c, settings);
    char seed[32];
    snprintf(seed, sizeof seed, "%lld",
             (long long)json_integer_value(json_object_get(picture, "seed")));
    must(kadr_request_set(rq, "seed", seed, &err), &err, "seed");
    const char *prompt = json_string_value(json_object_get(picture, "prompt"));
    must(kadr_request_set(rq, "prompt", prompt, &err), &err, "prompt");
    must(kadr_request_set(rq, "precision", precision, &err), &err, "precision");
    must(kadr_draw(ctx, &rq, 1, &observer, &err), &err, prompt);
    kadr_request_free(rq);
    return s;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *list, size_t n) {
    qsort(list, n, sizeof *list, by_size);
    return (list[n / 2] + list[(n - 1) / 2]) / 2;
}

/* Ten of the fifty pictures (with KADR_FEW two); all with KADR_LONG=1. Where a picture could become
 * this or that, rounding decides: single ones are between 23 and 50 dB, and the median of five
 * would be chance. */
static void narrow(void **state) {
    (void)state;
    const char *data = getenv("KADR_TEST_DATA");
    char path[512], model[512];
    double ours[64], theirs[64];
    json_error_t e;
    kadr_context *ctx;
    kadr_error err = {0};
    snprintf(path, sizeof path, "%s/golden/bf16.json", data);
    snprintf(model, sizeof model, "%s/../../models/mini", data);
    json_t *all = json_load_file(path, 0, &e);
    if (!all) fail_msg("%s: %s", path, e.text);
    json_t *pictures = json_object_get(all, "pictures");
    size_t count = json_array_size(pictures), step = 5, n = 0;
    if (getenv("KADR_LONG")) step = 1;
    if (getenv("KADR_FEW")) step = 40;
    assert_int_equal(count, 50);
    must(kadr_open(NULL, &ctx, &err), &err, "context");
    for (size_t i = 0; i < count; i += step, n++) {
        const json_t *p = json_array_get(pictures, i);
        struct shot f32 = draw_in(ctx, json_object_get(all, "settings"), p, model, "f32");
        struct shot bf16 = draw_in(ctx, json_object_get(all, "settings"), p, model, "bf16");
        ours[n] = psnr(f32.rgb, bf16.rgb, f32.size);
        theirs[n] = json_number_value(json_object_get(p, "psnr"));
        free(f32.rgb);
        free(bf16.rgb);
    }
    kadr_close(ctx);
    json_decref(all);
    double mine = median(ours, n), bar = median(theirs, n) - 0.5;
    printf("    %zu pictures: median PSNR of bf16 %.2f dB, at least %.2f dB\n", n, mine, bar);
    assert_true(mine >= bar);
}

static void pictures(void **state) {
    (void)state;
    each(draw_cases, "pictures");
}

static void embeds(void **state) {
    (void)state;
    each(embed_cases, "embeds");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(embeds), cmocka_unit_test(pictures),
                                       cmocka_unit_test(identity), cmocka_unit_test(narrow)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
