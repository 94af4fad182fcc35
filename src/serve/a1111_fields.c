/* a1111_fields.c: a request of A1111's as one of kadr's. What kadr knows another word for is
 * translated, what would change the picture and is not known here is refused, the rest is not
 * looked at; the table in docs/serve.md says which is which. */
#include "serve/a1111.h"

#include "sample/sample.h"
#include "serve/routes.h"
#include <math.h>
#include <string.h>
#include <strings.h>

/* ---- Types and ranges ------------------------------------------------------------------------ */
enum kind { TEXT, WHOLE, NUMBER, TRUTH, OBJECT, LIST };
#define OWN 0, -1 /* the range of the option of that name */
/* What pydantic would refuse, and what is out of kadr's reach. */
static const struct field {
    const char *name;
    enum kind kind;
    double low, high;
} fields[] = {
    {"prompt", TEXT, 0, 0},
    {"negative_prompt", TEXT, 0, 0},
    {"seed", WHOLE, -1, 9007199254740991.0},
    {"sampler_name", TEXT, 0, 0},
    {"sampler_index", TEXT, 0, 0},
    {"scheduler", TEXT, 0, 0},
    {"batch_size", WHOLE, 1, JOBS_COUNT_MOST},
    {"n_iter", WHOLE, 1, JOBS_COUNT_MOST},
    {"steps", WHOLE, OWN},
    {"cfg_scale", NUMBER, 0, 100},
    {"width", WHOLE, OWN},
    {"height", WHOLE, OWN},
    {"denoising_strength", NUMBER, 0, 1},
    {"eta", NUMBER, OWN},
    {"send_images", TRUTH, 0, 0},
    {"save_images", TRUTH, 0, 0},
    {"override_settings", OBJECT, 0, 0},
    {"alwayson_scripts", OBJECT, 0, 0},
    {"script_name", TEXT, 0, 0},
    {"styles", LIST, 0, 0},
    {"init_images", LIST, 0, 0},
    {"include_init_images", TRUTH, 0, 0},
    {"mask", TEXT, 0, 0},
    {"mask_blur", NUMBER, 0, 64},
    {"mask_blur_x", NUMBER, 0, 64},
    {"mask_blur_y", NUMBER, 0, 64},
    {"mask_round", TRUTH, 0, 0},
    {"resize_mode", WHOLE, 0, 3},
    {"inpainting_fill", WHOLE, 0, 1},
    {"inpainting_mask_invert", WHOLE, 0, 1},
    {"inpaint_full_res", TRUTH, 0, 0},
    {"inpaint_full_res_padding", WHOLE, 0, 16384},
    /* Refused but in the form in which they change nothing. */
    {"enable_hr", TRUTH, 0, 0},
    {"tiling", TRUTH, 0, 0},
    {"restore_faces", TRUTH, 0, 0},
    {"subseed_strength", NUMBER, 0, 0},
    {"seed_resize_from_w", NUMBER, -1, 0},
    {"seed_resize_from_h", NUMBER, -1, 0},
    {"s_churn", NUMBER, 0, 0},
    {"s_noise", NUMBER, 1, 1},
    {"s_min_uncond", NUMBER, 0, 0},
    {"initial_noise_multiplier", NUMBER, 1, 1},
};

bool a1111_truth(const json_t *theirs, const char *name) {
    const json_t *v = json_object_get(theirs, name);
    return json_is_true(v) || json_integer_value(v) != 0;
}

static bool is_kind(const json_t *v, enum kind kind) {
    switch (kind) {
    case TEXT: return json_is_string(v);
    case WHOLE:
        return json_is_integer(v) ||
               (json_is_real(v) && trunc(json_real_value(v)) == json_real_value(v));
    case NUMBER: return json_is_number(v);
    case TRUTH: return json_is_boolean(v) || json_is_integer(v);
    case OBJECT: return json_is_object(v);
    case LIST: return json_is_array(v);
    }
    return false;
}

static kadr_status check_fields(const json_t *theirs, kadr_error *err) {
    static const char *const names[] = {"a text",  "a whole number", "a number",
                                        "a truth", "an object",      "a list"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const struct field *f = &fields[i];
        const json_t *v = json_object_get(theirs, f->name);
        if (!v || json_is_null(v)) continue;
        if (!is_kind(v, f->kind))
            return err_set(err, KADR_EUSAGE, "%s: expected %s", f->name, names[f->kind]);
        double n = json_number_value(v), low = f->low, high = f->high;
        if (high < low) {
            const kadr_option *own = request_option_at((enum option_id)request_option(f->name));
            low = own->low, high = own->high;
        }
        if (json_is_number(v) && f->kind != TRUTH && !(n >= low && n <= high))
            return err_set(err, KADR_EUSAGE, "%s: expected %s from %.15g to %.15g", f->name,
                           names[f->kind], low, high);
    }
    static const char *const none[] = {"enable_hr", "tiling", "restore_faces"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (a1111_truth(theirs, none[i]))
            return err_set(err, KADR_EUSAGE, "%s: not available", none[i]);
    static const char *const unsaid[] = {"refiner_checkpoint", "infotext", "latent_mask"};
    for (size_t i = 0; i < sizeof unsaid / sizeof *unsaid; i++) {
        const json_t *v = json_object_get(theirs, unsaid[i]);
        if (v && !json_is_null(v) && (!json_is_string(v) || json_string_length(v)))
            return err_set(err, KADR_EUSAGE, "%s: not available", unsaid[i]);
    }
    const char *script = json_string_value(json_object_get(theirs, "script_name"));
    if (script && *script) return err_set(err, KADR_EUSAGE, "Script '%.100s' not found", script);
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(theirs, "alwayson_scripts"), key, value) {
        return err_set(err, KADR_EUSAGE, "always on script %.100s not found", key);
    }
    return KADR_OK;
}

/* ---- LoRAs in prompts ------------------------------------------------------------------------ */
/* "NAME:WEIGHT" of what stands between "<lora:" and ">". */
static kadr_status add_lora(struct mem *m, const char *at, size_t size, json_t *loras,
                            kadr_error *err) {
    struct buf b;
    double weight;
    buf_init(&b, m);
    buf_add(&b, at, size);
    kadr_status st = KADR_OK;
    if (!strchr(b.data, ':')) buf_puts(&b, ":1");
    size_t name = request_weighted(b.data, &weight);
    if (!buf_ok(&b)) st = err_nomem(err, "a prompt", size);
    else if (!name || name == b.size || memchr(b.data, ':', name) || !(fabs(weight) <= 10))
        st = err_set(err, KADR_EUSAGE, "<lora:%.100s>: expected <lora:NAME:WEIGHT>", b.data);
    else if (json_array_append_new(loras, json_string(b.data)))
        st = err_set(err, KADR_EUSAGE, "prompt: expected UTF-8");
    buf_free(&b);
    return st;
}

kadr_status a1111_take_loras(struct mem *m, const char *prompt, json_t *loras, char **rest,
                             kadr_error *err) {
    struct buf b;
    kadr_status st = KADR_OK;
    buf_init(&b, m);
    for (const char *end; *prompt && !st; prompt = end) {
        size_t n = strcspn(prompt, "<");
        buf_add(&b, prompt, n);
        end = prompt + n;
        if (!*end) break;
        const char *close = strchr(end, '>');
        if (close && !strncmp(end, "<lora:", 6)) {
            st = add_lora(m, end + 6, (size_t)(close - end - 6), loras, err);
            end = close + 1;
        } else if (close && (!strncmp(end, "<hypernet:", 10) || !strncmp(end, "<lyco:", 6)))
            st = err_set(err, KADR_EUSAGE, "%.*s: not available",
                         (int)(close - end < 100 ? close - end + 1 : 100), end);
        else buf_putc(&b, *end++);
    }
    if (!st && !buf_ok(&b)) st = err_nomem(err, "a prompt", b.size);
    *rest = st ? NULL : buf_take(&b);
    buf_free(&b);
    return st;
}

static kadr_status set_prompt(struct serve *s, const json_t *theirs, json_t *ours,
                              kadr_error *err) {
    const char *said = json_string_value(json_object_get(theirs, "prompt"));
    json_t *loras = json_array();
    char *prompt = NULL;
    kadr_status st = a1111_take_loras(s->mem, said ? said : "", loras, &prompt, err);
    /* Theirs draws without a prompt, too. */
    if (!st && json_object_set_new(ours, "prompt", json_string(*prompt ? prompt : " ")))
        st = err_nomem(err, "a request", 0);
    if (!st && json_array_size(loras)) json_object_set(ours, "lora", loras);
    json_decref(loras);
    mem_free(prompt);
    return st;
}

/* ---- Samplers and schedulers ----------------------------------------------------------------- */
/* Their schedulers, with kadr's schedules. */
static const struct scheduler {
    const char *name, *label, *ours;
} schedulers[] = {
    {"automatic", "Automatic", NULL},
    {"uniform", "Uniform", "linspace"},
    {"karras", "Karras", "karras"},
    {"exponential", "Exponential", "exponential"},
    {"sgm_uniform", "SGM Uniform", "sgm_uniform"},
    {"sgm_uniform", "SGMUniform", "sgm_uniform"},
    {"normal", "Normal", "linspace"},
    {"beta", "Beta", "beta"},
};

/* What their "Automatic" means for a sampler. */
static const char *own_schedule(const char *sampler) {
    static const struct {
        const char *sampler, *schedule;
    } own[] = {{"DPM++ 2M", "karras"}, {"DPM++ 2M SDE", "exponential"},
               {"DDIM", "leading"},    {"UniPC", "model"},
               {"LCM", "model"},       {"TCD", "model"}};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(own[i].sampler, sampler)) return own[i].schedule;
    return "linspace";
}

static const struct scheduler *scheduler_named(const char *name, size_t n) {
    for (size_t i = 0; i < sizeof schedulers / sizeof *schedulers; i++) {
        const struct scheduler *k = &schedulers[i];
        if ((strlen(k->name) == n && !strncasecmp(k->name, name, n)) ||
            (strlen(k->label) == n && !strncasecmp(k->label, name, n)))
            return k;
    }
    return NULL;
}

/* "DPM++ 2M Karras" is a sampler and a scheduler: how long the former is. */
static size_t split_name(const char *name, const struct scheduler **scheduler) {
    for (const char *blank = strchr(name, ' '); blank; blank = strchr(blank + 1, ' ')) {
        const struct scheduler *k = scheduler_named(blank + 1, strlen(blank + 1));
        if (!k) continue;
        *scheduler = k;
        return (size_t)(blank - name);
    }
    return strlen(name);
}

static kadr_status set_sampler(const json_t *theirs, json_t *ours, kadr_error *err) {
    const char *name = json_string_value(json_object_get(theirs, "sampler_name"));
    const char *said = json_string_value(json_object_get(theirs, "scheduler"));
    if (!name || !*name) name = json_string_value(json_object_get(theirs, "sampler_index"));
    if (!name || !*name) name = "Euler";
    const struct scheduler *scheduler = &schedulers[0];
    if (said && *said && !(scheduler = scheduler_named(said, strlen(said))))
        return err_set(err, KADR_EUSAGE, "Scheduler not found: %.100s", said);
    size_t n = split_name(name, &scheduler);
    struct sample_name s;
    for (size_t i = 0; sampler_at(i, &s); i++) {
        if (strlen(s.a1111) != n || strncasecmp(s.a1111, name, n) != 0) continue;
        const char *schedule = scheduler->ours ? scheduler->ours : own_schedule(s.a1111);
        json_object_set_new(ours, "sampler", json_string(s.name));
        json_object_set_new(ours, "schedule", json_string(schedule));
        const json_t *eta = json_object_get(theirs, "eta");
        if (json_is_number(eta) && !strcmp(s.name, "ddim"))
            json_object_set_new(ours, "eta", json_real(json_number_value(eta)));
        return KADR_OK;
    }
    return err_set(err, KADR_EUSAGE, "Sampler not found: %.100s", name);
}

/* ---- Settings -------------------------------------------------------------------------------- */
static kadr_status set_style(const json_t *options, struct a1111 *a, kadr_error *err) {
    const char *format = json_string_value(json_object_get(options, "samples_format"));
    const json_t *quality = json_object_get(options, "jpeg_quality");
    int q = json_is_integer(quality) ? (int)json_integer_value(quality) : 80;
    a->style = (struct image_style){IMAGE_PNG, q < 1 ? 1 : q > 100 ? 100 : q};
    if (!format || !strcasecmp(format, "png")) return KADR_OK;
    a->style.format = !strcasecmp(format, "webp") ? IMAGE_WEBP : IMAGE_JPEG;
    if (!strcasecmp(format, "webp") || !strcasecmp(format, "jpg") || !strcasecmp(format, "jpeg"))
        return KADR_OK;
    return err_set(err, KADR_EUSAGE, "samples_format: expected png, jpg or webp");
}

/* Their options, with those that this request overrides. */
static kadr_status set_options(struct serve *s, const json_t *theirs, struct a1111 *a, json_t *ours,
                               kadr_error *err) {
    json_t *options = a1111_options(s);
    const json_t *override = json_object_get(theirs, "override_settings");
    if (!options) return err_nomem(err, "a request", 0);
    if (json_is_object(override)) json_object_update_existing(options, (json_t *) override);
    const char *model = json_string_value(json_object_get(options, "sd_model_checkpoint"));
    const char *vae = json_string_value(json_object_get(options, "sd_vae"));
    const char *source = json_string_value(json_object_get(options, "randn_source"));
    if (model && *model) json_object_set_new(ours, "model", json_string(model));
    bool cpu = source && !strcmp(source, "CPU");
    json_object_set_new(ours, "rng", json_string(cpu ? "torch" : "philox"));
    json_object_set(ours, "crop-top", json_object_get(options, "sdxl_crop_top"));
    json_object_set(ours, "crop-left", json_object_get(options, "sdxl_crop_left"));
    kadr_status st = set_style(options, a, err);
    if (!st && vae && *vae && strcmp(vae, "Automatic") != 0 && strcmp(vae, "None") != 0)
        st = err_set(err, KADR_EMODEL, "sd_vae: there is no %.100s", vae);
    json_decref(options);
    return st;
}

/* ---- All of it ------------------------------------------------------------------------------- */
static int64_t whole(const json_t *theirs, const char *name) {
    return (int64_t)json_number_value(json_object_get(theirs, name));
}

static void set_number(json_t *ours, const char *name, const json_t *theirs, const char *their) {
    const json_t *v = json_object_get(theirs, their);
    if (json_is_number(v)) json_object_set_new(ours, name, json_real(json_number_value(v)));
}

kadr_status a1111_translate(struct serve *s, const json_t *theirs, bool from_picture,
                            struct a1111 *a, json_t **out, kadr_error *err) {
    json_t *ours = *out = json_object();
    if (!ours) return err_nomem(err, "a request", 0);
    kadr_status st = check_fields(theirs, err);
    if (st) return st;
    const json_t *negative = json_object_get(theirs, "negative_prompt");
    int64_t count = whole(theirs, "batch_size") * whole(theirs, "n_iter");
    if (count > JOBS_COUNT_MOST)
        return err_set(err, KADR_EUSAGE, "batch_size * n_iter: expected at most %d",
                       JOBS_COUNT_MOST);
    a->send = a1111_truth(theirs, "send_images");
    if (json_is_string(negative) && json_string_length(negative))
        json_object_set(ours, "negative", (json_t *)negative);
    json_object_set_new(ours, "empty", json_string("text"));
    json_object_set_new(ours, "count", json_integer(count));
    json_object_set_new(ours, "width", json_integer(whole(theirs, "width") / 8 * 8));
    json_object_set_new(ours, "height", json_integer(whole(theirs, "height") / 8 * 8));
    json_object_set_new(ours, "steps", json_integer(whole(theirs, "steps")));
    if (whole(theirs, "seed") >= 0)
        json_object_set_new(ours, "seed", json_integer(whole(theirs, "seed")));
    set_number(ours, "guidance", theirs, "cfg_scale");
    if (from_picture) set_number(ours, "strength", theirs, "denoising_strength");
    st = set_prompt(s, theirs, ours, err);
    if (!st) st = set_sampler(theirs, ours, err);
    if (!st) st = set_options(s, theirs, a, ours, err);
    if (!st && from_picture) st = a1111_pictures(s, theirs, a, ours, err);
    return st;
}
