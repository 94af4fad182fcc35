/* model.c: see model.h. */
#include "draw/model.h"
#include "base/buf.h"
#include "base/file.h"

#include <stdio.h>
#include <string.h>

static const char *const text_names[2] = {"text_encoder", "text_encoder_2"};

static char *key_of(struct mem *m, const kadr_request *rq) {
    struct buf b;
    buf_init(&b, m);
    const char *path = request_model_path(rq);
    buf_printf(&b, "%s\n%s\n", path ? path : "", rq->vae ? rq->vae : "");
    for (size_t i = 0; i < rq->lora.count; i++) buf_printf(&b, "lora %s\n", rq->lora.item[i]);
    for (size_t i = 0; i < rq->embedding.count; i++)
        buf_printf(&b, "embedding %s\n", rq->embedding.item[i]);
    return buf_take(&b);
}

bool draw_model_serves(const struct draw_model *model, const kadr_request *rq) {
    char *key = key_of(model->mem, rq);
    bool same = key && strcmp(key, model->key) == 0;
    mem_free(key);
    return same;
}

static kadr_status need_config(const struct weights *w, const char *name, const json_t **out,
                               kadr_error *err) {
    *out = weights_config(w, name);
    if (*out) return KADR_OK;
    return err_set(
        err, KADR_EMODEL,
        "%s: no %s in this model; expected an SDXL model (a diffusers folder or a checkpoint)",
        weights_path(w), name);
}

static kadr_status read_configs(struct draw_model *model, kadr_error *err) {
    const json_t *json;
    kadr_status st = KADR_OK;
    for (int i = 0; i < 2 && !st; i++) {
        st = need_config(model->weights, text_names[i], &json, err);
        if (!st) st = clip_text_read_config(json, text_names[i], &model->text[i], err);
    }
    if (!st) st = need_config(model->weights, "unet", &json, err);
    if (!st) st = unet_read_config(json, &model->unet, err);
    if (!st) st = need_config(model->weights, "vae", &json, err);
    if (!st) st = vae_read_config(json, &model->vae, err);
    if (!st)
        st =
            noise_training_read(weights_config(model->weights, "scheduler"), &model->training, err);
    model->zeros_for_empty = true;
    json = weights_config(model->weights, "");
    if (!st && json)
        st = json_get_bool(json, "model_index.json", "force_zeros_for_empty_prompt",
                           &model->zeros_for_empty, err);
    if (st) err_context(err, "%s", weights_path(model->weights));
    return st;
}

/* What the parts say about each other must agree. */
static kadr_status check_fit(const struct draw_model *model, kadr_error *err) {
    const char *path = weights_path(model->weights);
    int64_t wide = model->text[0].width + model->text[1].width;
    if (wide != model->unet.cross)
        return err_set(
            err, KADR_EMODEL,
            "%s: the text encoders are %d wide together, but the unet's cross_attention_dim is %d",
            path, (int)wide, (int)model->unet.cross);
    if (model->text[1].projection != model->unet.pooled)
        return err_set(
            err, KADR_EMODEL,
            "%s: text_encoder_2 projects to %d, but the unet expects a pooled prompt of %d", path,
            (int)model->text[1].projection, (int)model->unet.pooled);
    if (model->unet.in_channels != model->vae.latent_channels ||
        model->unet.out_channels != model->vae.latent_channels)
        return err_set(err, KADR_EMODEL,
                       "%s: the unet has %d channels in and %d out, the vae %d; inpainting and "
                       "instruction models are not supported",
                       path, (int)model->unet.in_channels, (int)model->unet.out_channels,
                       (int)model->vae.latent_channels);
    return KADR_OK;
}

/* The word for a textual inversion is its file's name without the ending. */
static char *embedding_name(struct arena *a, const char *path) {
    const char *name = file_name(path), *dot = strrchr(name, '.');
    return arena_strndup(a, name, dot && dot != name ? (size_t)(dot - name) : strlen(name));
}

/* Appends the vectors of one file behind those that are there. */
static kadr_status add_embedding(struct draw_model *model, const char *path, kadr_error *err) {
    struct weights_embedding e;
    const int64_t width[2] = {model->text[0].width, model->text[1].width};
    kadr_status st = weights_embedding_read(model->mem, path, width, &e, err);
    if (st) return st;
    struct prompt_embedding *p = &model->embedding[model->embeddings++];
    p->name = embedding_name(&model->arena, path);
    p->vectors = (int32_t)e.count;
    if (!p->name) st = err_nomem(err, path, strlen(path));
    for (int i = 0; i < 2 && !st; i++) {
        size_t old = (size_t)(model->extra_rows * width[i]), more = (size_t)(e.count * width[i]);
        float *grown = arena_array(&model->arena, old + more, sizeof *grown);
        p->first[i] = (int32_t)(model->text[i].vocab_size + model->extra_rows);
        if (!e.vector[i])
            st = err_set(err, KADR_EMODEL,
                         "%s: no vectors for %s; expected an SDXL embedding with clip_l and clip_g",
                         path, text_names[i]);
        else if (!grown) st = err_nomem(err, path, (old + more) * sizeof *grown);
        if (st) break;
        if (old) memcpy(grown, model->extra[i], old * sizeof *grown);
        memcpy(grown + old, e.vector[i], more * sizeof *grown);
        model->extra[i] = grown;
    }
    model->extra_rows += e.count;
    weights_embedding_free(&e);
    return st;
}

static kadr_status read_embeddings(struct draw_model *model, const kadr_request *rq,
                                   kadr_error *err) {
    if (!rq->embedding.count) return KADR_OK;
    model->embedding = arena_array(&model->arena, rq->embedding.count, sizeof *model->embedding);
    if (!model->embedding) return err_nomem(err, "embeddings", rq->embedding.count);
    kadr_status st = KADR_OK;
    for (size_t i = 0; i < rq->embedding.count && !st; i++)
        st = add_embedding(model, rq->embedding.item[i], err);
    return st;
}

/* A file of a tokenizer in a packed model. */
struct packed_files {
    const struct weights *weights;
    const char *tokenizer;
};
static kadr_status read_packed_file(void *user, struct mem *m, const char *name, char **text,
                                    size_t *size, kadr_error *err) {
    const struct packed_files *f = user;
    char full[64];
    snprintf(full, sizeof full, "%s.%s", f->tokenizer, name);
    return weights_read_text(f->weights, m, full, text, size, err);
}

/* From the model's folder or packed file; else the one that is built in. */
static kadr_status open_tokenizer(struct draw_model *model, int i, kadr_error *err) {
    static const char *const names[2] = {"tokenizer", "tokenizer_2"};
    const struct weights *w = model->weights;
    char inside[64];
    snprintf(inside, sizeof inside, "%s.vocab.json", names[i]);
    struct packed_files packed = {w, names[i]};
    const struct tokenizer_files files = {weights_path(w), read_packed_file, &packed};
    const char *folder = weights_tokenizer_folder(w, names[i]);
    const struct tokenizer *like = i ? model->tokenizer[0] : NULL;
    if (folder) return tokenizer_open(model->mem, folder, like, &model->tokenizer[i], err);
    if (weights_find(w, inside) ||
        (snprintf(inside, sizeof inside, "%s.tokenizer.json", names[i]) > 0 &&
         weights_find(w, inside)))
        return tokenizer_open_files(model->mem, &files, like, &model->tokenizer[i], err);
    return tokenizer_open_shipped(model->mem, i ? TOKENIZER_SDXL_2 : TOKENIZER_SDXL_1, like,
                                  &model->tokenizer[i], err);
}

static kadr_status open_parts(struct draw_model *model, const struct log *log,
                              const kadr_request *rq, struct weights **opened, kadr_error *err) {
    const char *path = request_model_path(rq);
    kadr_status st = KADR_OK;
    if (!path) return err_set(err, KADR_EUSAGE, "no model is named");
    if (opened && *opened) {
        model->weights = *opened;
        *opened = NULL;
    } else st = weights_open(model->mem, log, path, &model->weights, err);
    if (!st && rq->vae) st = weights_replace(model->weights, "vae", rq->vae, err);
    for (size_t i = 0; i < rq->lora.count && !st; i++) {
        double weight;
        size_t length = request_weighted(rq->lora.item[i], &weight);
        struct buf b;
        buf_init(&b, model->mem);
        buf_add(&b, rq->lora.item[i], length);
        st = buf_ok(&b) ? weights_add_lora(model->weights, b.data, weight, err)
                        : err_nomem(err, "path", length);
        buf_free(&b);
    }
    if (!st) st = read_configs(model, err);
    if (!st) st = check_fit(model, err);
    if (!st) st = read_embeddings(model, rq, err);
    for (int i = 0; i < 2 && !st; i++) st = open_tokenizer(model, i, err);
    return st;
}

kadr_status draw_model_open(struct mem *m, const struct log *log, const kadr_request *rq,
                            struct weights **opened, struct draw_model **out, kadr_error *err) {
    struct draw_model *model = mem_alloc(m, sizeof *model);
    if (!model) return err_nomem(err, "model", sizeof *model);
    model->mem = m;
    arena_init(&model->arena, m);
    model->key = key_of(m, rq);
    kadr_status st =
        model->key ? open_parts(model, log, rq, opened, err) : err_nomem(err, "model", 64);
    if (st) {
        draw_model_close(model);
        return st;
    }
    *out = model;
    return KADR_OK;
}

/* The parts of the configurations that decide shapes, by component. */
static const struct {
    const char *component, *config;
} on_paper[] = {
    {"text_encoder",
     "{\"hidden_size\":768,\"intermediate_size\":3072,\"num_hidden_layers\":12,"
     "\"num_attention_heads\":12,\"vocab_size\":49408,\"max_position_embeddings\":77,"
     "\"hidden_act\":\"quick_gelu\",\"projection_dim\":768}"},
    {"text_encoder_2",
     "{\"hidden_size\":1280,\"intermediate_size\":5120,\"num_hidden_layers\":32,"
     "\"num_attention_heads\":20,\"vocab_size\":49408,\"max_position_embeddings\":77,"
     "\"hidden_act\":\"gelu\",\"projection_dim\":1280,"
     "\"architectures\":[\"CLIPTextModelWithProjection\"]}"},
    {"unet",
     "{\"in_channels\":4,\"out_channels\":4,\"block_out_channels\":[320,640,1280],"
     "\"layers_per_block\":2,\"down_block_types\":[\"DownBlock2D\",\"CrossAttnDownBlock2D\","
     "\"CrossAttnDownBlock2D\"],\"up_block_types\":[\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\","
     "\"UpBlock2D\"],\"transformer_layers_per_block\":[1,2,10],\"attention_head_dim\":[5,10,20],"
     "\"cross_attention_dim\":2048,\"use_linear_projection\":true,"
     "\"addition_embed_type\":\"text_time\",\"addition_time_embed_dim\":256,"
     "\"projection_class_embeddings_input_dim\":2816,\"norm_num_groups\":32}"},
    {"vae", "{\"in_channels\":3,\"out_channels\":3,\"latent_channels\":4,"
            "\"block_out_channels\":[128,256,512,512],\"layers_per_block\":2,"
            "\"norm_num_groups\":32,\"scaling_factor\":0.13025}"},
};

kadr_status draw_model_on_paper(struct mem *m, struct draw_model **out, kadr_error *err) {
    struct draw_model *model = mem_alloc(m, sizeof *model);
    if (!model) return err_nomem(err, "model", sizeof *model);
    model->mem = m;
    arena_init(&model->arena, m);
    kadr_status st = KADR_OK;
    for (size_t i = 0; i < sizeof on_paper / sizeof *on_paper && !st; i++) {
        json_t *json = NULL;
        const char *name = on_paper[i].component, *text = on_paper[i].config;
        st = json_parse(text, strlen(text), name, KADR_EOTHER, &json, err);
        if (!st && i < 2) st = clip_text_read_config(json, name, &model->text[i], err);
        if (!st && i == 2) st = unet_read_config(json, &model->unet, err);
        if (!st && i == 3) st = vae_read_config(json, &model->vae, err);
        json_decref(json);
    }
    model->zeros_for_empty = true;
    if (st) draw_model_close(model);
    else *out = model;
    return st;
}

void draw_model_close(struct draw_model *model) {
    if (!model) return;
    for (int i = 0; i < 2; i++) tokenizer_close(model->tokenizer[i]);
    weights_close(model->weights);
    arena_free(&model->arena);
    mem_free(model->key);
    mem_free(model);
}

enum machine_scale draw_model_scale(const struct draw_model *model) {
    size_t parameters = 0;
    if (!model->weights) return MACHINE_LARGE;
    for (size_t i = 0; i < weights_count(model->weights); i++) {
        const struct weights_tensor *t = weights_at(model->weights, i);
        size_t n = 1;
        for (int d = 0; d < t->rank; d++) n *= (size_t)t->dim[d];
        parameters += n;
    }
    return parameters < (size_t)1 << 28 ? MACHINE_SMALL : MACHINE_LARGE;
}

enum dtype draw_model_precision(const struct draw_model *model) {
    const char *layout;
    enum dtype packed;
    if (model->weights && weights_packing(model->weights, &layout, &packed)) return packed;
    return draw_model_scale(model) == MACHINE_LARGE ? DTYPE_I8 : DTYPE_BF16;
}

kadr_status draw_model_defaults(struct mem *m, const struct log *log, const char *path,
                                struct weights **opened, json_t **out, kadr_error *err) {
    char *text = NULL;
    size_t size;
    *opened = NULL;
    if (strcmp(file_extension(path), "kadr") != 0) return request_model_defaults(path, out, err);
    *out = NULL;
    kadr_status st = weights_open(m, log, path, opened, err);
    if (st) return st;
    st = weights_read_text(*opened, m, "kadr.json", &text, &size, err);
    if (!st && text) st = json_parse(text, size, path, KADR_EMODEL, out, err);
    mem_free(text);
    return st;
}
