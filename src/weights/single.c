/* single.c: models in one file: an SDXL checkpoint in the original layout (UNet and VAE named as in
 * the LDM code, the second text encoder as in OpenCLIP), and files that hold one component. */
#include "weights/names.h"
#include "weights/set.h"

#include <stdio.h>
#include <string.h>

#define UNET "model.diffusion_model."
#define VAE "first_stage_model."
#define TEXT_1 "conditioner.embedders.0.transformer."
#define TEXT_2 "conditioner.embedders.1.model."

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static bool has_prefix(const struct safetensors *file, const char *prefix) {
    for (size_t i = 0; i < file->count; i++)
        if (starts(file->tensors[i].name, prefix)) return true;
    return false;
}

struct prefixed {
    const struct safetensors *file;
    const char *prefix;
};

static bool has_tensor(void *user, const char *name) {
    const struct prefixed *p = user;
    char full[NAMES_SIZE + 64];
    snprintf(full, sizeof full, "%s%s", p->prefix, name);
    return safetensors_find(p->file, full) != NULL;
}

/* ---- UNet ---- */

static kadr_status add_unet(struct weights *w, const struct safetensors *file, kadr_error *err) {
    struct unet_layout layout = names_layout_original(has_tensor, &(struct prefixed){file, UNET});
    struct name_rules rules = names_unet(&w->arena, &layout);
    if (!rules.rule) return err_nomem(err, "names of tensors", 0);
    char name[sizeof "unet." + NAMES_SIZE] = "unet.";
    for (size_t i = 0; i < file->count; i++) {
        const struct safetensors_tensor *t = &file->tensors[i];
        if (!starts(t->name, UNET)) continue;
        if (!names_to_diffusers(&rules, t->name + strlen(UNET), name + strlen("unet.")))
            return err_set(err, KADR_EMODEL, "%s: tensor %s: not a part of an SDXL UNet",
                           file->file.path, t->name);
        kadr_status st = set_add(w, file, t, name, NULL, err);
        if (st) return st;
    }
    return KADR_OK;
}

/* ---- VAE ---- */

/* What the original layout has besides (losses, averages) is left out: what is missing is found
 * when the network asks for it. */
static kadr_status add_vae(struct weights *w, const struct safetensors *file, const char *prefix,
                           kadr_error *err) {
    struct prefixed p = {file, prefix};
    int levels = 0;
    char name[sizeof "vae." + NAMES_SIZE] = "vae.", first[64];
    for (; levels < NAMES_LEVELS; levels++) {
        snprintf(first, sizeof first, "decoder.up.%d.block.0.norm1.weight", levels);
        if (!has_tensor(&p, first)) break;
    }
    struct name_rules rules = names_vae(levels);
    for (size_t i = 0; i < file->count; i++) {
        const struct safetensors_tensor *t = &file->tensors[i];
        if (!starts(t->name, prefix) ||
            !names_to_diffusers(&rules, t->name + strlen(prefix), name + strlen("vae.")))
            continue;
        kadr_status st = set_add(w, file, t, name, NULL, err);
        if (st) return st;
    }
    return KADR_OK;
}

/* ---- Text encoders ---- */

static kadr_status add_text_1(struct weights *w, const struct safetensors *file, kadr_error *err) {
    for (size_t i = 0; i < file->count; i++) {
        const struct safetensors_tensor *t = &file->tensors[i];
        if (!starts(t->name, TEXT_1 "text_model.") || strstr(t->name, "position_ids")) continue;
        char *name = arena_printf(&w->arena, "text_encoder.%s", t->name + strlen(TEXT_1));
        kadr_status st = name ? set_add(w, file, t, name, NULL, err)
                              : err_nomem(err, "names of tensors", strlen(t->name));
        if (st) return st;
    }
    return KADR_OK;
}

/* in_proj: query, key and value one below the other. */
static kadr_status add_fused(struct weights *w, const struct safetensors *file,
                             const struct safetensors_tensor *t, kadr_error *err) {
    static const char parts[3] = {'q', 'k', 'v'};
    int layer, end = 0;
    const char *kind = t->name + strlen(TEXT_2);
    if (sscanf(kind, "transformer.resblocks.%4d.attn.in_proj_%n", &layer, &end) != 1 || !end)
        return err_set(err, KADR_EMODEL, "%s: tensor %s: expected transformer.resblocks.N.attn.",
                       file->file.path, t->name);
    if (t->rank < 1 || t->dim[0] % 3)
        return err_set(err, KADR_EMODEL,
                       "%s: tensor %s: expected query, key and value fused into it (a first "
                       "dimension that is a multiple of 3)",
                       file->file.path, t->name);
    for (int i = 0; i < 3; i++) {
        char name[128];
        struct entry *e;
        snprintf(name, sizeof name,
                 "text_encoder_2.text_model.encoder.layers.%d.self_attn.%c_proj.%.16s", layer,
                 parts[i], kind + end);
        kadr_status st = set_add(w, file, t, name, &e, err);
        if (st) return st;
        e->t.dim[0] = t->dim[0] / 3;
        e->begin = t->begin + t->size / 3 * (uint64_t)i;
    }
    return KADR_OK;
}

static kadr_status add_text_2(struct weights *w, const struct safetensors *file, kadr_error *err) {
    struct name_rules rules = names_openclip();
    char name[sizeof "text_encoder_2." + NAMES_SIZE] = "text_encoder_2.";
    for (size_t i = 0; i < file->count; i++) {
        const struct safetensors_tensor *t = &file->tensors[i];
        if (!starts(t->name, TEXT_2)) continue;
        const char *key = t->name + strlen(TEXT_2);
        kadr_status st = KADR_OK;
        if (strstr(key, ".attn.in_proj_")) {
            st = add_fused(w, file, t, err);
        } else if (strcmp(key, "text_projection") == 0 && t->rank == 2) {
            struct entry *e;
            st = set_add(w, file, t, "text_encoder_2.text_projection.weight", &e, err);
            if (st) return st;
            e->transposed = true;
            e->t.dim[0] = t->dim[1];
            e->t.dim[1] = t->dim[0];
        } else if (names_to_diffusers(&rules, key, name + strlen("text_encoder_2."))) {
            st = set_add(w, file, t, name, NULL, err);
        }
        if (st) return st;
    }
    return KADR_OK;
}

/* ---- What kind of file ---- */

static bool is_lora(const struct safetensors *file) {
    for (size_t i = 0; i < file->count; i++)
        if (strstr(file->tensors[i].name, "lora")) return true;
    return false;
}

static kadr_status check_kind(const struct safetensors *file, kadr_error *err) {
    const char *path = file->file.path;
    static const char expected[] =
        "expected an SDXL checkpoint (tensors model.diffusion_model.*, conditioner.embedders.*, "
        "first_stage_model.*)";
    for (size_t i = 0; i < file->count; i++) {
        const char *name = file->tensors[i].name;
        if (strcmp(name, "scaled_fp8") == 0 || strstr(name, ".scale_weight"))
            return err_set(err, KADR_EMODEL,
                           "%s: tensor %s: 8-bit floats with scales of their own are not "
                           "supported; expected plain F8, F16, BF16 or F32",
                           path, name);
        if (starts(name, "edm_"))
            return err_set(err, KADR_EMODEL,
                           "%s: tensor %s: a model of the EDM kind; expected epsilon or "
                           "v-prediction",
                           path, name);
    }
    if (!has_prefix(file, UNET)) {
        const char *is = is_lora(file)                                           ? "a LoRA file"
                         : has_prefix(file, "decoder.") || has_prefix(file, VAE) ? "a VAE alone"
                         : has_prefix(file, "down_blocks.") ? "a diffusers UNet alone"
                                                            : NULL;
        return err_set(err, KADR_EMODEL, "%s: %s%s%s", path, is ? is : "", is ? "; " : "",
                       expected);
    }
    if (has_prefix(file, "cond_stage_model."))
        return err_set(err, KADR_EMODEL, "%s: a Stable Diffusion 1 or 2 checkpoint; %s", path,
                       expected);
    if (has_prefix(file, "conditioner.embedders.0.model."))
        return err_set(err, KADR_EMODEL, "%s: an SDXL refiner; expected the base model", path);
    return KADR_OK;
}

/* Marks of v-prediction: tensors as ComfyUI reads them, or the metadata of modelspec. */
static kadr_status add_scheduler(struct weights *w, const struct safetensors *file,
                                 kadr_error *err) {
    const char *spec = safetensors_metadata(file, "modelspec.prediction_type");
    bool v = safetensors_find(file, "v_pred") || (spec && strcmp(spec, "v") == 0);
    json_t *json = json_pack("{s:s, s:s, s:f, s:f, s:i, s:s, s:b, s:s, s:i}", "_class_name",
                             "EulerDiscreteScheduler", "beta_schedule", "scaled_linear",
                             "beta_start", 0.00085, "beta_end", 0.012, "num_train_timesteps", 1000,
                             "prediction_type", v ? "v_prediction" : "epsilon",
                             "rescale_betas_zero_snr", safetensors_find(file, "ztsnr") != NULL,
                             "timestep_spacing", "leading", "steps_offset", 1);
    return set_config(w, "scheduler", json, err);
}

kadr_status single_open(struct weights *w, const char *path, kadr_error *err) {
    const struct safetensors *file;
    kadr_status st = set_source(w, path, &file, err);
    if (!st) st = check_kind(file, err);
    if (!st) st = add_unet(w, file, err);
    if (!st) st = add_vae(w, file, VAE, err);
    if (!st) st = add_text_1(w, file, err);
    if (!st) st = add_text_2(w, file, err);
    if (!st) st = set_sort(w, err);
    if (!st) st = infer_text(w, 0, err);
    if (!st) st = infer_text(w, 1, err);
    if (!st) st = infer_unet(w, err);
    if (!st) st = infer_vae(w, NULL, err);
    if (!st) st = add_scheduler(w, file, err);
    if (!st)
        st = set_config(w, "",
                        json_pack("{s:s, s:b}", "_class_name", "StableDiffusionXLPipeline",
                                  "force_zeros_for_empty_prompt", 1),
                        err);
    return st;
}

/* ---- One component ---- */

/* config.json in the folder of a file that has diffusers' keys. */
static kadr_status config_beside(struct weights *w, const char *path, const char *component,
                                 bool *found, kadr_error *err) {
    size_t folder = (size_t)(file_name(path) - path);
    char *name = arena_printf(&w->arena, "%.*sconfig.json", (int)folder, path);
    if (!name) return err_nomem(err, "path", folder);
    *found = file_exists(name);
    if (!*found) return KADR_OK;
    json_t *json = NULL;
    kadr_status st = json_read(w->mem, name, (size_t)1 << 20, KADR_EMODEL, &json, err);
    return st ? st : set_config(w, component, json, err);
}

kadr_status single_open_component(struct weights *w, const char *path, const char *component,
                                  kadr_error *err) {
    const struct safetensors *file;
    bool is_vae = strcmp(component, "vae") == 0, found = false;
    bool is_adapter = strcmp(component, "ip_adapter") == 0;
    kadr_status st = set_source(w, path, &file, err);
    if (st) return st;
    const char *original = !is_vae                             ? NULL
                           : has_prefix(file, VAE)             ? VAE
                           : has_prefix(file, "decoder.up.0.") ? ""
                                                               : NULL;
    if (original) {
        st = add_vae(w, file, original, err);
    } else if (is_vae && !has_prefix(file, "decoder.up_blocks.")) {
        st = err_set(err, KADR_EMODEL,
                     "%s: no VAE; expected tensors decoder.up_blocks.*, decoder.up.* or " VAE "*",
                     path);
    } else {
        st = folder_add_file(w, component, file, err);
        if (!st && !is_adapter) st = config_beside(w, path, component, &found, err);
    }
    if (!st) st = set_sort(w, err);
    if (!st && is_vae && !found) st = infer_vae(w, weights_config(w, "vae"), err);
    if (!st && is_adapter) st = infer_ip_adapter(w, path, err);
    if (!st && !found && strcmp(component, "image_encoder") == 0)
        st = infer_image_encoder(w, path, err);
    return st;
}
