/* single.c: checkpoints in one file. */
#include "weights/set.h"

kadr_status single_open(struct weights *w, const char *path, kadr_error *err) {
    const struct safetensors *file;
    kadr_status st = set_source(w, path, &file, err);
    return st ? st
              : err_set(err, KADR_EMODEL, "%s: expected the folder of a diffusers model", path);
}

kadr_status single_open_component(struct weights *w, const char *path, const char *component,
                                  kadr_error *err) {
    const struct safetensors *file;
    kadr_status st = set_source(w, path, &file, err);
    if (!st) st = folder_add_file(w, component, file, err);
    return st;
}

kadr_status lora_merge(const struct weights *w, const struct entry *e, int64_t row, int64_t rows,
                       float *to, kadr_error *err) {
    (void)w, (void)e, (void)row, (void)rows, (void)to, (void)err;
    return KADR_OK;
}

kadr_status weights_add_lora(struct weights *w, const char *path, double strength,
                             kadr_error *err) {
    (void)w, (void)strength;
    return err_set(err, KADR_EUSAGE, "%s: LoRA files cannot be read yet", path);
}
