/* a1111_state.c: what AUTOMATIC1111's API tells of the program and of the drawing at hand: lists,
 * options, progress, interrupt, settings inside a picture. Files and folders are told by name. */
#include "serve/a1111.h"

#include "base/sys.h"
#include "image/parameters.h"
#include "sample/sample.h"
#include "serve/routes.h"
#include <string.h>

extern const char web_a1111[];
extern const size_t web_a1111_size;

json_t *a1111_data(const char *what) {
    json_t *all = json_loadb(web_a1111, web_a1111_size, 0, NULL);
    json_t *part = json_incref(json_object_get(all, what));
    json_decref(all);
    return part;
}

/* ---- Lists ----------------------------------------------------------------------------------- */
void a1111_samplers(struct call *c) {
    json_t *list = json_array();
    struct sample_name s;
    for (size_t i = 0; sampler_at(i, &s); i++)
        if (*s.a1111)
            json_array_append_new(list, json_pack("{s:s, s:[s], s:{}}", "name", s.a1111, "aliases",
                                                  s.name, "options"));
    call_json(c, 200, list);
}

void a1111_schedulers(struct call *c) {
    call_json(c, 200, a1111_data("schedulers"));
}

void a1111_models(struct call *c) {
    json_t *names = routes_models(c->serve), *list = json_array(), *name;
    size_t i;
    json_array_foreach(names, i, name) {
        json_array_append_new(list, json_pack("{s:O, s:O, s:n, s:n, s:O, s:n}", "title", name,
                                              "model_name", name, "hash", "sha256", "filename",
                                              name, "config"));
    }
    json_decref(names);
    call_json(c, 200, list);
}

void a1111_loras(struct call *c) {
    kadr_error err;
    json_t *names, *list = json_array(), *name;
    size_t i;
    kadr_status st = loras_list(c->serve, &names, &err);
    if (st) return json_decref(list), call_error(c, st, &err);
    json_array_foreach(names, i, name) {
        json_array_append_new(list, json_pack("{s:O, s:O, s:O, s:{}}", "name", name, "alias", name,
                                              "path", name, "metadata"));
    }
    json_decref(names);
    call_json(c, 200, list);
}

void a1111_upscalers(struct call *c) {
    call_json(c, 200,
              json_pack("[{s:s, s:n, s:n, s:n, s:i}]", "name", "None", "model_name", "model_path",
                        "model_url", "scale", 4));
}

void a1111_scripts(struct call *c) {
    call_json(c, 200, json_pack("{s:[], s:[]}", "txt2img", "img2img"));
}

void a1111_embeddings(struct call *c) {
    call_json(c, 200, json_pack("{s:{}, s:{}}", "loaded", "skipped"));
}

/* Of what kadr has none: VAEs beside the models', hypernetworks, styles, extensions, ... */
void a1111_empty_list(struct call *c) {
    call_json(c, 200, json_array());
}

/* Nothing has to be looked for again, loaded or given up. */
void a1111_done(struct call *c) {
    call_json(c, 200, json_object());
}

/* ---- Options --------------------------------------------------------------------------------- */
#define OPTIONS_KIND "sdapi"
#define OPTIONS_NAME "options"
#define MODEL "sd_model_checkpoint"

/* What was set, and the version of the document that holds it. */
static json_t *read_set(struct serve *s, int64_t *version) {
    json_t *found = NULL;
    *version = 0;
    if (store_get(s->store, OPTIONS_KIND, OPTIONS_NAME, &found, NULL) || !found)
        return json_object();
    json_t *set = json_incref(json_object_get(found, "body"));
    *version = json_integer_value(json_object_get(found, "version"));
    json_decref(found);
    return set;
}

json_t *a1111_options(struct serve *s) {
    int64_t version;
    json_t *options = a1111_data("options"), *set = read_set(s, &version);
    json_object_update_existing(options, set);
    json_decref(set);
    return options;
}

void a1111_get_options(struct call *c) {
    json_t *options = a1111_options(c->serve), *model = models_default(c->serve);
    if (model) json_object_set_new(options, MODEL, model);
    call_json(c, 200, options);
}

/* Those that kadr knows are kept, others are not looked at. */
static json_t *known_options(const json_t *said) {
    json_t *known = a1111_data("options"), *kept = json_object(), *value;
    const char *key;
    json_object_foreach((json_t *)said, key, value) {
        const json_t *usual = json_object_get(known, key);
        bool same = usual && (json_typeof(usual) == json_typeof(value) ||
                              (json_is_boolean(usual) && json_is_boolean(value)));
        if (same && strcmp(key, MODEL) != 0) json_object_set(kept, key, value);
    }
    json_decref(known);
    return kept;
}

void a1111_set_options(struct call *c) {
    struct serve *s = c->serve;
    int64_t version;
    kadr_error err;
    struct buf b;
    json_t *said = call_body(c);
    if (!said) return;
    json_t *model = json_object_get(said, MODEL), *set = read_set(s, &version);
    json_t *more = known_options(said);
    json_object_update(set, more);
    buf_init(&b, s->mem);
    kadr_status st = json_is_string(model) ? models_keep(s, model, &err) : KADR_OK;
    if (!st && !json_put(&b, set, REQUEST_JSON_FLAGS)) st = err_nomem(&err, "options", 0);
    if (!st && json_object_size(more))
        st = store_put(s->store, OPTIONS_KIND, OPTIONS_NAME, b.data, version, &version, &err);
    if (st) call_error(c, st, &err);
    else call_json(c, 200, json_object());
    buf_free(&b);
    json_decref(more);
    json_decref(set);
    json_decref(said);
}

void a1111_flags(struct call *c) {
    json_t *flags = a1111_data("cmd_flags");
    json_object_set_new(flags, "port", json_integer(c->serve->port));
    json_object_set_new(flags, "listen", json_boolean(c->serve->rules.beyond));
    call_json(c, 200, flags);
}

void a1111_memory(struct call *c) {
    double used = (double)sys_memory_now(), free = (double)sys_memory_free();
    call_json(c, 200,
              json_pack("{s:{s:f, s:f, s:f}, s:{s:s}}", "ram", "free", free, "used", used, "total",
                        (double)sys_memory_total(), "cuda", "error", "unavailable"));
}

/* ---- Progress -------------------------------------------------------------------------------- */
static json_t *base64_of(struct serve *s, const struct image *im) {
    struct buf file, text;
    json_t *made = NULL;
    buf_init(&file, s->mem);
    buf_init(&text, s->mem);
    if (!image_encode(im, s->mem, (struct image_style){IMAGE_PNG, 0}, NULL, 0, &file, NULL)) {
        buf_base64(&text, file.data, file.size);
        if (buf_ok(&text)) made = json_stringn(text.data, text.size);
    }
    buf_free(&file);
    buf_free(&text);
    return made ? made : json_null();
}

/* What is at work, or comes first. */
static const struct share *share_at_work(const struct now *n) {
    for (size_t i = 0; i < n->count; i++)
        if (n->share[i].picture >= 0 && !n->share[i].over) return &n->share[i];
    return now_draws(n) ? &n->share[0] : NULL; /* what is over is not told as being drawn */
}

void a1111_progress(struct call *c) {
    struct serve *s = c->serve;
    struct image im = {0};
    const char *skip = call_query(c, "skip_current_image");
    bool with_image = !skip || !strcasecmp(skip, "false") || !strcmp(skip, "0");
    if (!with_image && strcasecmp(skip, "true") != 0 && strcmp(skip, "1") != 0)
        return call_fail(c, 400, "skip_current_image: expected true or false");
    pthread_mutex_lock(&s->mutex);
    const struct now *n = &s->now;
    const struct share *one = share_at_work(n);
    int64_t pictures = one ? one->pictures : 0, at = one && one->picture >= 0 ? one->picture : 0;
    int step = one ? n->step : 0, steps = one ? n->steps : 0;
    double part = steps > 0 ? (double)step / steps : 0;
    double progress = one ? 0.01 + ((double)at + part) / (double)pictures : 0;
    json_t *state =
        json_pack("{s:b, s:b, s:b, s:s, s:I, s:s, s:I, s:i, s:i}", "skipped", n->skip != 0,
                  "interrupted", n->count && !now_draws(n), "stopping_generation", 0, "job",
                  one ? "kadr" : "", "job_count", (json_int_t)pictures, "job_timestamp", "0",
                  "job_no", (json_int_t)at, "sampling_step", step, "sampling_steps", steps);
    double left = one ? n->seconds_left : 0;
    bool seen = one && with_image && now_look(s, one, &im);
    pthread_mutex_unlock(&s->mutex);
    call_json(c, 200,
              json_pack("{s:f, s:f, s:o, s:o, s:n}", "progress", progress > 1 ? 1 : progress,
                        "eta_relative", left, "state", state, "current_image",
                        seen ? base64_of(s, &im) : json_null(), "textinfo"));
    image_free(&im);
}

/* ---- Interrupt ------------------------------------------------------------------------------- */
/* Ends what is being drawn for this client; what others draw is not its to end. */
static void interrupt(struct call *c) {
    kadr_error err;
    bool was;
    int64_t jobs[CLIENT_DRAWN];
    kadr_status st = KADR_OK;
    size_t count = client_drawn(c, jobs);
    for (size_t i = 0; i < count && !st; i++) st = jobs_cancel(c->serve, jobs[i], &was, &err);
    if (st) call_error(c, st, &err);
    else call_json(c, 200, json_object());
}

void a1111_interrupt(struct call *c) {
    c->step = interrupt;
    c->desk = true;
}

/* Of several pictures of one job the one at work is left out, and the next begun. */
static void skip(struct call *c) {
    int64_t jobs[CLIENT_DRAWN];
    if (client_drawn(c, jobs)) jobs_skip(c->serve, jobs[0]);
    call_json(c, 200, json_object());
}

void a1111_skip(struct call *c) {
    c->step = skip;
    c->desk = true;
}

/* ---- Settings inside a picture --------------------------------------------------------------- */
/* "512x768" as "Size-1" and "Size-2", as theirs does. */
static void add_parameter(json_t *to, const struct image_text *t) {
    int w, h;
    char end;
    if (strlen(t->value) < 12 && sscanf(t->value, "%dx%d%c", &w, &h, &end) == 2) {
        json_object_set_new(to, "Size-1", json_sprintf("%d", w));
        json_object_set_new(to, "Size-2", json_sprintf("%d", h));
    } else json_object_set_new(to, t->key, json_string(t->value));
}

static kadr_status read_settings(struct arena *a, const void *data, size_t size, json_t **out,
                                 kadr_error *err) {
    struct image_text *texts;
    struct parameters p;
    size_t count;
    kadr_status st = image_decode_texts(a, data, size, "image", &texts, &count, err);
    if (st) return st;
    const char *info = image_text_find(texts, count, "parameters");
    json_t *items = json_object(), *parameters = json_object();
    for (size_t i = 0; i < count; i++)
        json_object_set_new(items, texts[i].key, json_string(texts[i].value));
    st = parameters_read(a, info ? info : "", &p, err);
    if (!st && info) {
        json_object_set_new(parameters, "Prompt", json_string(p.prompt));
        json_object_set_new(parameters, "Negative prompt", json_string(p.negative));
        for (size_t i = 0; i < p.count; i++) add_parameter(parameters, &p.list[i]);
    }
    *out = json_pack("{s:s, s:o, s:o}", "info", info ? info : "", "items", items, "parameters",
                     parameters);
    return st;
}

void a1111_png_info(struct call *c) {
    struct mem *m = c->serve->mem;
    struct arena a;
    kadr_error err;
    json_t *body = call_body(c), *told = NULL;
    uint8_t *data = NULL;
    size_t size = 0;
    if (!body) return;
    struct mem *unpacked = mem_open(SERVE_UNPACK);
    if (!unpacked) return json_decref(body), call_fail(c, 500, "no memory");
    arena_init(&a, unpacked);
    kadr_status st = a1111_bytes(m, json_object_get(body, "image"), "image", &data, &size, &err);
    if (!st) st = read_settings(&a, data, size, &told, &err);
    if (st == KADR_EIO) st = KADR_EUSAGE; /* damaged: the sender's fault */
    if (st) json_decref(told), call_error(c, st, &err);
    else call_json(c, 200, told);
    mem_free(data);
    arena_free(&a);
    mem_close(unpacked);
    json_decref(body);
}
