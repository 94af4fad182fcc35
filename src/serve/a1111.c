/* a1111.c: /sdapi/v1/txt2img and img2img: AUTOMATIC1111's request becomes a job like any other, and
 * the answer has the form of theirs: pictures in base64, the request with all its fields, and
 * "info", a JSON text inside the JSON. */
#include "serve/a1111.h"

#include "image/parameters.h"
#include "serve/routes.h"
#include "serve/send.h"
#include <string.h>

/* ---- The answer ------------------------------------------------------------------------------ */
struct paste_user {
    struct serve *s;
    const struct a1111 *a;
};

static kadr_status put_back(void *user, struct image *im, kadr_error *err) {
    const struct paste_user *p = user;
    return a1111_put_back(p->s, &p->a->paste, im, err);
}

/* One picture as a JSON text, appended. */
static kadr_status put_picture(struct call *c, int64_t id, kadr_error *err) {
    const struct a1111 *a = c->own;
    struct mem *m = c->serve->mem;
    struct paste_user user = {c->serve, a};
    bool pasted = *a->paste.overlay;
    char *data = NULL;
    size_t size = 0;
    struct buf other;
    buf_init(&other, m);
    kadr_status st = send_read(c->serve, id, &data, &size, err);
    if (!st && (pasted || a->style.format != IMAGE_PNG))
        st = send_convert(m, a->style, data, size, pasted ? put_back : NULL, &user, &other, err);
    buf_putc(&c->reply, '"');
    if (!st && other.size) buf_base64(&c->reply, other.data, other.size);
    else if (!st) buf_base64(&c->reply, data, size);
    buf_putc(&c->reply, '"');
    buf_free(&other);
    mem_free(data);
    return st;
}

/* What the picture's file says of its settings, with the prompt as they sent it. */
static json_t *infotext(struct mem *m, const json_t *picture, const char *prompt) {
    const char *text = json_string_value(json_object_get(picture, "parameters"));
    struct parameters p;
    struct arena a;
    struct buf b;
    arena_init(&a, m);
    buf_init(&b, m);
    json_t *made = NULL;
    if (!parameters_read(&a, text ? text : "", &p, NULL)) {
        p.prompt = prompt;
        parameters_write(&p, &b);
        if (buf_ok(&b)) made = json_stringn(b.data, b.size);
    }
    buf_free(&b);
    arena_free(&a);
    return made ? made : json_string("");
}

static json_t *repeated(json_t *value, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) json_array_append(list, value);
    return list;
}

/* Processed.js() of theirs. */
static json_t *info_of(struct call *c, const json_t *job) {
    const struct a1111 *a = c->own;
    static const char *const same[] = {"width",
                                       "height",
                                       "cfg_scale",
                                       "steps",
                                       "batch_size",
                                       "restore_faces",
                                       "seed_resize_from_w",
                                       "seed_resize_from_h",
                                       "subseed_strength",
                                       "denoising_strength"};
    json_t *pictures = json_object_get(job, "pictures"), *picture;
    json_t *prompt = json_object_get(a->parameters, "prompt"), *info = json_object();
    json_t *negative = json_object_get(a->parameters, "negative_prompt");
    json_t *seeds = json_array(), *texts = json_array();
    size_t i, n = json_array_size(pictures);
    json_array_foreach(pictures, i, picture) {
        json_array_append(seeds, json_object_get(picture, "seed"));
        json_array_append_new(texts, infotext(c->serve->mem, picture, json_string_value(prompt)));
    }
    json_t *sampler = json_object_get(a->parameters, "sampler_name");
    if (!json_is_string(sampler)) sampler = json_object_get(a->parameters, "sampler_index");
    json_object_set(info, "prompt", prompt);
    json_object_set_new(info, "all_prompts", repeated(prompt, n));
    json_object_set(info, "negative_prompt", negative);
    json_object_set_new(info, "all_negative_prompts", repeated(negative, n));
    json_object_set(info, "seed", n ? json_array_get(seeds, 0) : json_null());
    json_object_set_new(info, "all_seeds", seeds);
    json_object_set(info, "subseed", n ? json_array_get(seeds, 0) : json_null());
    json_object_set(info, "all_subseeds", seeds);
    for (i = 0; i < sizeof same / sizeof *same; i++)
        json_object_set(info, same[i], json_object_get(a->parameters, same[i]));
    json_object_set(info, "sampler_name", sampler);
    json_object_set_new(info, "face_restoration_model", json_null());
    json_object_set_new(info, "sd_model_name", json_string(a->model));
    json_object_set_new(info, "sd_model_hash", json_null());
    json_object_set_new(info, "sd_vae_name", json_null());
    json_object_set_new(info, "sd_vae_hash", json_null());
    json_object_set_new(info, "extra_generation_params", json_object());
    json_object_set_new(info, "index_of_first_image", json_integer(0));
    json_object_set_new(info, "infotexts", texts);
    json_object_set_new(info, "styles", json_array());
    json_object_set_new(info, "job_timestamp", json_string("0"));
    json_object_set_new(info, "clip_skip", json_integer(1));
    json_object_set_new(info, "is_using_inpainting_conditioning", json_false());
    json_object_set_new(info, "version", json_sprintf("kadr %s", kadr_version()));
    return info;
}

/* As a text inside the JSON. */
static bool put_info(struct buf *to, json_t *info, struct mem *m) {
    struct buf b;
    buf_init(&b, m);
    json_t *text = json_put(&b, info, REQUEST_JSON_FLAGS) ? json_stringn(b.data, b.size) : NULL;
    bool done = text && json_put(to, text, JSON_ENCODE_ANY);
    json_decref(text);
    json_decref(info);
    buf_free(&b);
    return done;
}

/* Interrupted jobs give what there is, as theirs do. */
static void finish(struct call *c, const json_t *job) {
    const struct a1111 *a = c->own;
    const json_t *pictures = json_object_get(job, "pictures");
    const char *state = json_string_value(json_object_get(job, "state"));
    const char *error = json_string_value(json_object_get(job, "error"));
    kadr_error err;
    kadr_status st = KADR_OK;
    if (!strcmp(state, "failed"))
        return call_fail(c, 422, "%s", error ? error : "the drawing failed");
    buf_puts(&c->reply, "{\"images\":[");
    for (size_t i = 0; a->send && !st && i < json_array_size(pictures); i++) {
        if (i) buf_putc(&c->reply, ',');
        st = put_picture(c, json_integer_value(json_object_get(json_array_get(pictures, i), "id")),
                         &err);
    }
    buf_puts(&c->reply, "],\"parameters\":");
    bool whole = json_put(&c->reply, a->parameters, REQUEST_JSON_FLAGS);
    buf_puts(&c->reply, ",\"info\":");
    whole = whole && put_info(&c->reply, info_of(c, job), c->serve->mem);
    buf_putc(&c->reply, '}');
    if (st) call_error(c, st, &err);
    else if (!whole || !buf_ok(&c->reply)) call_fail(c, 500, "no memory for the answer");
    else c->code = 200;
}

/* ---- The request ----------------------------------------------------------------------------- */
/* All their fields: what was said, else the default; what they do not know is forgotten. */
static json_t *complete(const json_t *theirs, const char *kind) {
    json_t *all = a1111_data(kind), *value;
    const char *key;
    json_object_foreach((json_t *)theirs, key, value) {
        if (json_object_get(all, key) && !json_is_null(value)) json_object_set(all, key, value);
    }
    return all;
}

static void free_own(void *own) {
    struct a1111 *a = own;
    json_decref(a->parameters);
}

static void submit(struct call *c, const char *kind, bool from_picture) {
    struct a1111 *a = c->own = mem_alloc(c->serve->mem, sizeof *a);
    json_t *theirs = a ? call_body(c) : NULL, *ours = NULL;
    kadr_error err;
    int64_t job;
    if (!a) return call_fail(c, 500, "no memory");
    if (!theirs) return;
    c->free_own = free_own;
    call_free_body(c);
    a->parameters = complete(theirs, kind);
    json_decref(theirs);
    kadr_status st = a->parameters ? KADR_OK : err_nomem(&err, "a request", 0);
    if (!st) st = a1111_translate(c->serve, a->parameters, from_picture, a, &ours, &err);
    if (!a1111_truth(a->parameters, "include_init_images")) {
        json_object_del(a->parameters, "init_images");
        json_object_del(a->parameters, "mask");
    }
    const char *model = json_string_value(json_object_get(ours, "model"));
    snprintf(a->model, sizeof a->model, "%s", model ? model : "");
    if (st) call_error(c, st, &err);
    else if (call_submit(c, ours, &job)) call_job(c, job, finish);
    json_decref(ours);
}

void a1111_txt2img(struct call *c) {
    submit(c, "txt2img", false);
}

void a1111_img2img(struct call *c) {
    submit(c, "img2img", true);
}
