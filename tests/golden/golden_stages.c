/* Each network against diffusers and transformers: text encoders, UNet (conditioning and one step),
 * VAE both ways, for every model that tests/reference/stages.py made goldens of. f32 to 1e-4 of the
 * output's norm. KADR_TEST_DATA names the folder of the data.
 */
#include "model/clip_text.h"
#include "model/unet.h"
#include "model/vae.h"
#include "stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(struct stage *s, const struct safetensors *file, const char *name,
                  const char *buffer, double bar) {
    size_t count;
    float *want = golden_read(s->mem, file, name, &count);
    double e = relative_error(run_buffer(s->run, buffer, 0), want, count);
    mem_free(want);
    printf("    %-28s relative error %.2e\n", buffer, e);
    if (!(e <= bar)) fail_msg("%s: relative error %g, expected at most %g", buffer, e, bar);
}

static void must(kadr_status st, const kadr_error *err) {
    if (st) fail_msg("%s", err->message);
}

static void text(const char *folder, const char *golden) {
    char path[512];
    static const char *const names[2] = {"text_encoder", "text_encoder_2"};
    for (int i = 0; i < 2; i++) {
        struct stage s;
        struct safetensors file;
        kadr_error err;
        struct clip_text_config c;
        stage_open(&s, folder, DTYPE_F32, 1);
        snprintf(path, sizeof path, "%s/text.safetensors", golden);
        golden_open(&file, s.mem, path);
        must(clip_text_read_config(weights_config(s.weights, names[i]), names[i], &c, &err), &err);
        clip_text_graph(&s.graph[0], &c, names[i], &(struct clip_text_shape){.samples = 2});
        stage_ready(&s);
        snprintf(path, sizeof path, "%s.ids", names[i]);
        golden_put(&s, &file, i ? "ids2" : "ids", path);
        if (i) golden_put(&s, &file, "eos2", "text_encoder_2.eos");
        must(run_segment(s.run, 0, 0, false, &err), &err);
        snprintf(path, sizeof path, "%s.hidden", names[i]);
        check(&s, &file, i ? "hidden2" : "hidden", path, 1e-4);
        if (i) check(&s, &file, "pooled", "text_encoder_2.pooled", 1e-4);
        safetensors_close(&file);
        stage_close(&s);
    }
}

static void unet(const char *folder, const char *golden, const char *tag) {
    char path[512];
    struct stage s;
    struct safetensors file;
    kadr_error err;
    struct unet_config c;
    stage_open(&s, folder, DTYPE_F32, 2);
    snprintf(path, sizeof path, "%s/unet_%s.safetensors", golden, tag);
    golden_open(&file, s.mem, path);
    must(unet_read_config(weights_config(s.weights, "unet"), &c, &err), &err);
    const struct safetensors_tensor *latents = safetensors_find(&file, "latents");
    const struct safetensors_tensor *prompt = safetensors_find(&file, "prompt_embeds");
    assert_non_null(latents);
    assert_non_null(prompt);
    const struct unet_shape shape = {latents->dim[0], latents->dim[2], latents->dim[3],
                                     prompt->dim[1]};
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
    check(&s, &file, "output", "unet.output", 1e-4);
    safetensors_close(&file);
    stage_close(&s);
}

static void vae(const char *folder, const char *golden) {
    char path[512];
    snprintf(path, sizeof path, "%s/vae.safetensors", golden);
    for (int encode = 0; encode < 2; encode++) {
        struct stage s;
        struct safetensors file;
        kadr_error err;
        struct vae_config c;
        stage_open(&s, folder, DTYPE_F32, 1);
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
        if (encode) check(&s, &file, "moments", "vae.moments", 1e-4);
        else check(&s, &file, "picture", "vae.picture", 1e-4);
        safetensors_close(&file);
        stage_close(&s);
    }
}

/* The state is the model's name. */
static void model(void **state) {
    const char *name = *state, *data = getenv("KADR_TEST_DATA");
    char folder[400], golden[400];
    assert_non_null(data);
    bool mini = strcmp(name, "mini") == 0;
    snprintf(folder, sizeof folder, "%s/%s/%s", data, mini ? "../../models" : "models", name);
    snprintf(golden, sizeof golden, "%s/golden/%s", data, name);
    text(folder, golden);
    vae(folder, golden);
    unet(folder, golden, "a");
    unet(folder, golden, "b");
}

int main(void) {
    static char names[][8] = {"mini", "tiny-a", "tiny-b", "tiny-c", "micro"};
    const struct CMUnitTest tests[] = {
        {"mini", model, NULL, NULL, names[0]},   {"tiny-a", model, NULL, NULL, names[1]},
        {"tiny-b", model, NULL, NULL, names[2]}, {"tiny-c", model, NULL, NULL, names[3]},
        {"micro", model, NULL, NULL, names[4]},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
