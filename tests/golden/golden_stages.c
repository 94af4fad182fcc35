/* Each network against diffusers and transformers: text encoders, UNet (conditioning and one step),
 * VAE both ways, for every model that tests/reference/stages.py made goldens of. f32 to 1e-4 of the
 * output's norm; bf16 no farther from f32 than PyTorch in bf16 is (golden/bf16.json), the UNet in
 * int8 no farther than PyTorch with layers quantised by the same scheme (golden/int8.json): over
 * all outputs of a model in the mean, and a single one by no more than chance explains.
 * KADR_TEST_DATA names the folder of the data. With KADR_GOLDEN_MODEL and KADR_GOLDEN_DATA another
 * model is compared with its goldens, as tests/reference/fullshape.py makes them.
 */
#include "model/clip_text.h"
#include "model/unet.h"
#include "model/vae.h"
#include "stage.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One model in one precision. */
struct golden {
    const char *folder, *data; /* of the model, of its goldens */
    enum dtype dtype;
    const json_t *bars; /* of bf16 or int8, by stage; NULL: only told */
    double shares;      /* of their bars that errors were, summed up; and how many */
    int checked;
};

/* Roundings are drawn anew wherever sums differ in their last digit, from one instruction set to
 * another: products perturbed by 2e-7 spread an error of mini's UNet from 5.4e-3 to 7.5e-3.
 * PyTorch's error is one draw, too. */
#define CHANCE 1.25

static double bar_of(const struct golden *g, const char *stage) {
    if (g->dtype == DTYPE_F32) return 1e-4;
    const json_t *l2 = json_object_get(json_object_get(g->bars, stage), "l2");
    if (g->bars && !l2) fail_msg("no bar for %s", stage);
    return l2 ? json_number_value(l2) : 1;
}

static void check(struct golden *g, struct stage *s, const struct safetensors *file,
                  const char *name, const char *buffer, const char *stage) {
    size_t count;
    float *want = golden_read(s->mem, file, name, &count);
    double e = relative_error(run_buffer(s->run, buffer, 0), want, count), bar = bar_of(g, stage);
    double most = g->dtype == DTYPE_F32 ? bar : CHANCE * bar;
    mem_free(want);
    g->shares += e / bar;
    g->checked++;
    printf("    %-4s %-16s relative error %.2e, at most %.2e\n", dtype_name(g->dtype), stage, e,
           most);
    if (!(e <= most)) fail_msg("%s: relative error %g, expected at most %g", stage, e, most);
}

static void must(kadr_status st, const kadr_error *err) {
    if (st) fail_msg("%s", err->message);
}

static void text(struct golden *g) {
    char path[512];
    static const char *const names[2] = {"text_encoder", "text_encoder_2"};
    for (int i = 0; i < 2; i++) {
        struct stage s;
        struct safetensors file;
        kadr_error err;
        struct clip_text_config c;
        stage_open(&s, g->folder, g->dtype, 1);
        snprintf(path, sizeof path, "%s/text.safetensors", g->data);
        golden_open(&file, s.mem, path);
        must(clip_text_read_config(weights_config(s.weights, names[i]), names[i], &c, &err), &err);
        clip_text_graph(&s.graph[0], &c, names[i], &(struct clip_text_shape){.samples = 2});
        stage_ready(&s);
        snprintf(path, sizeof path, "%s.ids", names[i]);
        golden_put(&s, &file, i ? "ids2" : "ids", path);
        if (i) golden_put(&s, &file, "eos2", "text_encoder_2.eos");
        must(run_segment(s.run, 0, 0, false, &err), &err);
        snprintf(path, sizeof path, "%s.hidden", names[i]);
        const char *hidden = i ? "hidden2" : "hidden";
        check(g, &s, &file, hidden, path, hidden);
        if (i) check(g, &s, &file, "pooled", "text_encoder_2.pooled", "pooled");
        safetensors_close(&file);
        stage_close(&s);
    }
}

static void unet(struct golden *g, const char *tag) {
    char path[512], stage[32];
    struct stage s;
    struct safetensors file;
    kadr_error err;
    struct unet_config c;
    stage_open(&s, g->folder, g->dtype == DTYPE_I8 ? DTYPE_BF16 : g->dtype, 2);
    snprintf(path, sizeof path, "%s/unet_%s.safetensors", g->data, tag);
    golden_open(&file, s.mem, path);
    must(unet_read_config(weights_config(s.weights, "unet"), &c, &err), &err);
    const struct safetensors_tensor *latents = safetensors_find(&file, "latents");
    const struct safetensors_tensor *prompt = safetensors_find(&file, "prompt_embeds");
    assert_non_null(latents);
    assert_non_null(prompt);
    const struct unet_shape shape = {.n = latents->dim[0],
                                     .h = latents->dim[2],
                                     .w = latents->dim[3],
                                     .prompt = prompt->dim[1],
                                     .int8 = g->dtype == DTYPE_I8};
    unet_conditioning_graph(&s.graph[0], &c, &shape);
    unet_graph(&s.graph[1], &c, &shape);
    stage_ready(&s);
    golden_put(&s, &file, "prompt_embeds", "unet.prompt_embeds");
    golden_put(&s, &file, "text_embeds", "unet.text_embeds");
    golden_put(&s, &file, "time_ids", "unet.time_ids");
    must(run_segment(s.run, 0, 0, false, &err), &err);
    golden_put(&s, &file, "latents", "unet.latents");
    golden_put(&s, &file, "timestep", "unet.timestep");
    golden_put(&s, &file, "lengths", "unet.prompt_lengths");
    must(run_segment(s.run, 1, 0, false, &err), &err);
    snprintf(stage, sizeof stage, "unet_%s.output", tag);
    check(g, &s, &file, "output", "unet.output", stage);
    safetensors_close(&file);
    stage_close(&s);
}

static void vae(struct golden *g) {
    char path[512];
    snprintf(path, sizeof path, "%s/vae.safetensors", g->data);
    for (int encode = 0; encode < 2; encode++) {
        struct stage s;
        struct safetensors file;
        kadr_error err;
        struct vae_config c;
        stage_open(&s, g->folder, g->dtype, 1);
        golden_open(&file, s.mem, path);
        must(vae_read_config(weights_config(s.weights, "vae"), &c, &err), &err);
        const struct safetensors_tensor *t =
            safetensors_find(&file, encode ? "clamped" : "latents");
        assert_non_null(t);
        if (encode) vae_encode_graph(&s.graph[0], &c, t->dim[0], t->dim[1], t->dim[2]);
        else vae_decode_graph(&s.graph[0], &c, t->dim[0], t->dim[2], t->dim[3]);
        stage_ready(&s);
        golden_put(&s, &file, encode ? "clamped" : "latents",
                   encode ? "vae.picture" : "vae.latents");
        must(run_segment(s.run, 0, 0, false, &err), &err);
        if (encode) check(g, &s, &file, "moments", "vae.moments", "vae.moments");
        else check(g, &s, &file, "picture", "vae.picture", "vae.picture");
        safetensors_close(&file);
        stage_close(&s);
    }
}

static void all_stages(struct golden *g) {
    if (g->dtype != DTYPE_I8) text(g);
    if (g->dtype != DTYPE_I8) vae(g);
    unet(g, "a");
    unet(g, "b");
    double mean = g->shares / g->checked;
    printf("    %-4s all              %.2f of what they may be\n", dtype_name(g->dtype), mean);
    if (!(mean <= 1)) fail_msg("errors are %g of what they may be in the mean", mean);
    g->shares = g->checked = 0;
}

/* The state is the model's name. */
static void model(void **state) {
    const char *name = *state, *data = getenv("KADR_TEST_DATA");
    char folder[400], golden[400], bars[400];
    assert_non_null(data);
    bool mini = strcmp(name, "mini") == 0;
    snprintf(folder, sizeof folder, "%s/%s/%s", data, mini ? "../../models" : "models", name);
    snprintf(golden, sizeof golden, "%s/golden/%s", data, name);
    struct golden g = {.folder = folder, .data = golden, .dtype = DTYPE_F32};
    all_stages(&g);
    for (int narrow = 0; narrow < 2; narrow++) {
        json_error_t e;
        g.dtype = narrow ? DTYPE_I8 : DTYPE_BF16;
        snprintf(bars, sizeof bars, "%s/golden/%s.json", data, dtype_name(g.dtype));
        json_t *all = json_load_file(bars, 0, &e);
        if (!all) fail_msg("%s: %s", bars, e.text);
        g.bars = json_object_get(json_object_get(all, "stages"), name);
        assert_non_null(g.bars);
        all_stages(&g);
        json_decref(all);
    }
}

/* The state is the precision. */
static void another_model(void **state) {
    struct golden g = {.folder = getenv("KADR_GOLDEN_MODEL"),
                       .data = getenv("KADR_GOLDEN_DATA"),
                       .dtype = *(const enum dtype *)*state};
    assert_non_null(g.data);
    all_stages(&g);
}

int main(void) {
    static char names[][8] = {"mini", "tiny-a", "tiny-b", "tiny-c", "micro"};
    const struct CMUnitTest tests[] = {
        {"mini", model, NULL, NULL, names[0]},   {"tiny-a", model, NULL, NULL, names[1]},
        {"tiny-b", model, NULL, NULL, names[2]}, {"tiny-c", model, NULL, NULL, names[3]},
        {"micro", model, NULL, NULL, names[4]},
    };
    static enum dtype dtypes[] = {DTYPE_F32, DTYPE_BF16, DTYPE_I8};
    const struct CMUnitTest other[] = {{"f32", another_model, NULL, NULL, &dtypes[0]},
                                       {"bf16", another_model, NULL, NULL, &dtypes[1]},
                                       {"int8", another_model, NULL, NULL, &dtypes[2]}};
    return getenv("KADR_GOLDEN_MODEL") ? cmocka_run_group_tests(other, NULL, NULL)
                                       : cmocka_run_group_tests(tests, NULL, NULL);
}
