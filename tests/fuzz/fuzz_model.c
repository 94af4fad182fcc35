/* fuzz_model.c: configurations from outside. The input is a JSON object of the configurations of a
 * whole model (unet, vae, text_encoder, text_encoder_2, scheduler); what is accepted is described
 * for a picture, and each description must be whole: shapes that agree and sizes that do not wrap.
 */
#include "model/clip_text.h"
#include "model/unet.h"
#include "model/vae.h"
#include "sample/sample.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SIDE 128 /* of the picture */

static void check(struct graph *g, kadr_status (*status)(const struct graph *, kadr_error *)) {
    kadr_error err = {0};
    kadr_status st = status(g, &err);
    if (st && !err.message[0]) abort();
    for (int i = 0; !st && i < g->tensor_count; i++) {
        const struct tensor *t = &g->tensors[i];
        if (t->rank < 1 || t->rank > GRAPH_RANK || !tensor_bytes(t)) abort();
        for (int k = 0; k < t->rank; k++)
            if (t->dim[k] < 1) abort();
    }
    for (int i = 0; !st && i < g->op_count; i++) {
        char line[256];
        op_describe(g, &g->ops[i], line, sizeof line);
        if (!(op_flops(g, &g->ops[i]) >= 0)) abort();
    }
    graph_free(g);
}

static void read_unet(struct mem *m, const json_t *json, int64_t side) {
    struct unet_config c;
    kadr_error err = {0};
    if (unet_read_config(json, &c, &err)) {
        if (err.status != KADR_EMODEL || !err.message[0]) abort();
        return;
    }
    const struct unet_shape shape = {.n = 2, .h = side, .w = side, .prompt = CLIP_TOKENS};
    struct graph g;
    graph_init(&g, m, "conditioning", DTYPE_F32);
    unet_conditioning_graph(&g, &c, &shape);
    check(&g, graph_status);
    graph_init(&g, m, "unet", DTYPE_BF16);
    unet_graph(&g, &c, &shape);
    check(&g, graph_status);
}

static int64_t read_vae(struct mem *m, const json_t *json) {
    struct vae_config c;
    kadr_error err = {0};
    if (vae_read_config(json, &c, &err)) {
        if (err.status != KADR_EMODEL || !err.message[0]) abort();
        return SIDE / 8;
    }
    int64_t side = SIDE / vae_scale(&c);
    struct graph g;
    graph_init(&g, m, "decoder", DTYPE_F32);
    vae_decode_graph(&g, &c, 1, side, side);
    check(&g, graph_status);
    graph_init(&g, m, "encoder", DTYPE_F32);
    vae_encode_graph(&g, &c, 1, SIDE, SIDE);
    check(&g, graph_status);
    return side;
}

static void read_text(struct mem *m, const json_t *json, const char *name) {
    struct clip_text_config c;
    kadr_error err = {0};
    if (clip_text_read_config(json, name, &c, &err)) {
        if (err.status != KADR_EMODEL || !err.message[0]) abort();
        return;
    }
    const struct clip_text_shape shape = {.samples = 2, .extra_rows = 1, .clip_skip = 1};
    struct graph g;
    graph_init(&g, m, name, DTYPE_F32);
    clip_text_graph(&g, &c, name, &shape);
    check(&g, graph_status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *json;
    struct noise_training training;
    if (json_parse((const char *)data, size, "input", KADR_EMODEL, &json, NULL)) return 0;
    struct mem *m = mem_open((size_t)256 << 20);
    kadr_error err = {0};
    int64_t side = read_vae(m, json_object_get(json, "vae"));
    read_unet(m, json_object_get(json, "unet"), side);
    read_text(m, json_object_get(json, "text_encoder"), "text_encoder");
    read_text(m, json_object_get(json, "text_encoder_2"), "text_encoder_2");
    noise_training_read(json_object_get(json, "scheduler"), &training, &err);
    json_decref(json);
    if (mem_close(m)) abort();
    return 0;
}
