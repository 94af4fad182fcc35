/* openai.c: /v1/images/generations as OpenAI's clients ask for it: prompt, n, size and
 * response_format; "model" is a name that GET /v1/models lists, and what names OpenAI's own models
 * (dall-e-*, gpt-image-*) means the default. The answer comes when the pictures are drawn. */
#include "serve/routes.h"

#include "base/file.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void put_base64(struct buf *to, const uint8_t *data, size_t size) {
    static const char letter[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        uint32_t v = (uint32_t)data[i] << 16;
        if (i + 1 < size) v |= (uint32_t)data[i + 1] << 8;
        if (i + 2 < size) v |= data[i + 2];
        char four[4] = {letter[v >> 18], letter[v >> 12 & 63], letter[v >> 6 & 63], letter[v & 63]};
        if (i + 1 >= size) four[2] = '=';
        if (i + 2 >= size) four[3] = '=';
        buf_add(to, four, 4);
    }
}

/* kadr's request for theirs; NULL when the answer is made. */
static json_t *translate(struct call *c, const json_t *theirs) {
    const char *size = json_string_value(json_object_get(theirs, "size"));
    const char *model = json_string_value(json_object_get(theirs, "model"));
    json_t *n = json_object_get(theirs, "n"), *ours = json_object();
    int width, height;
    char end;
    if (!ours) return call_fail(c, 500, "no memory"), NULL;
    json_object_set(ours, "prompt", json_object_get(theirs, "prompt"));
    if (n && !json_is_null(n)) json_object_set(ours, "count", n);
    if (model && strncmp(model, "dall-e", 6) != 0 && strncmp(model, "gpt-", 4) != 0)
        json_object_set_new(ours, "model", json_string(model));
    if (!size || !strcmp(size, "auto")) return ours;
    if (strlen(size) > 12 || sscanf(size, "%5dx%5d%c", &width, &height, &end) != 2) {
        json_decref(ours);
        return call_fail(c, 400, "size: expected WIDTHxHEIGHT"), NULL;
    }
    json_object_set_new(ours, "width", json_integer(width));
    json_object_set_new(ours, "height", json_integer(height));
    return ours;
}

static kadr_status put_picture(struct call *c, const json_t *picture, bool url, kadr_error *err) {
    int64_t id = json_integer_value(json_object_get(picture, "id"));
    char *path = NULL, *data = NULL;
    size_t size = 0;
    if (url) {
        const char *host = MHD_lookup_connection_value(c->http, MHD_HEADER_KIND, "Host");
        buf_printf(&c->reply, "{\"url\":\"http://%s/api/v1/pictures/%" PRId64 "\"}", host, id);
        return KADR_OK;
    }
    kadr_status st = store_picture_file(c->serve->store, id, &path, err);
    if (!st && !path) st = err_set(err, KADR_EIO, "picture %" PRId64 " was deleted", id);
    if (!st) st = file_read_all(c->serve->mem, path, (size_t)1 << 30, KADR_EIO, &data, &size, err);
    if (!st) {
        buf_puts(&c->reply, "{\"b64_json\":\"");
        put_base64(&c->reply, (const uint8_t *)data, size);
        buf_puts(&c->reply, "\"}");
    }
    mem_free(data);
    mem_free(path);
    return st;
}

static void finish(struct call *c, const json_t *job, bool url) {
    const json_t *pictures = json_object_get(job, "pictures");
    const char *error = json_string_value(json_object_get(job, "error"));
    kadr_error err;
    kadr_status st = KADR_OK;
    if (strcmp(json_string_value(json_object_get(job, "state")), "done") != 0)
        return call_fail(c, 422, "%s", error ? error : "the drawing was cancelled");
    buf_printf(&c->reply, "{\"created\":%" JSON_INTEGER_FORMAT ",\"data\":[",
               json_integer_value(json_object_get(job, "created")) / 1000);
    for (size_t i = 0; !st && i < json_array_size(pictures); i++) {
        if (i) buf_putc(&c->reply, ',');
        st = put_picture(c, json_array_get(pictures, i), url, &err);
    }
    buf_puts(&c->reply, "]}");
    if (st) call_error(c, st, &err);
    else c->code = 200;
}

static bool ended(const json_t *job) {
    const char *state = json_string_value(json_object_get(job, "state"));
    return state && strcmp(state, "queued") != 0 && strcmp(state, "running") != 0;
}

/* Asked again after every event until the job is at its end. */
static void wait_or_finish(struct call *c, bool url) {
    kadr_error err;
    json_t *job = NULL;
    struct serve *s = c->serve;
    pthread_mutex_lock(&s->mutex);
    kadr_status st = store_job(s->store, c->job, &job, &err);
    bool wait = !st && job && !ended(job) && !s->stopping;
    if (wait) call_wait(c);
    pthread_mutex_unlock(&s->mutex);
    if (!wait) {
        if (st) call_error(c, st, &err);
        else if (!job || !ended(job)) call_fail(c, 503, "the server ends");
        else finish(c, job, url);
    }
    json_decref(job);
}

void openai_generate(struct call *c) {
    kadr_error err;
    json_t *theirs = call_body(c), *ours = NULL;
    if (!theirs) return;
    const char *format = json_string_value(json_object_get(theirs, "response_format"));
    bool url = format && !strcmp(format, "url");
    if (!c->job) {
        if (json_is_true(json_object_get(theirs, "stream")))
            call_fail(c, 400, "stream: not offered; /api/v1/events tells the progress");
        else ours = translate(c, theirs);
        kadr_status st = ours ? jobs_submit(c->serve, ours, &c->job, &err) : KADR_OK;
        if (st) call_error(c, st, &err);
    }
    if (c->job) wait_or_finish(c, url);
    json_decref(ours);
    json_decref(theirs);
}

void openai_models(struct call *c) {
    json_t *names = routes_models(c->serve), *list = json_array(), *name;
    size_t i;
    json_array_foreach(names, i, name) {
        json_array_append_new(list, json_pack("{s:O, s:s, s:i, s:s}", "id", name, "object", "model",
                                              "created", 0, "owned_by", "kadr"));
    }
    json_decref(names);
    call_json(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", list));
}
