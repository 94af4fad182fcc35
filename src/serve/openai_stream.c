/* openai_stream.c: pictures of a job as OpenAI streams them: previews while a picture emerges (of
 * the picture's size, as theirs are), then the picture, each one server-sent event with the base64
 * inside. A failure is an event as well: the status has been sent by then. */
#include "serve/openai.h"

#include "image/scale.h"
#include <string.h>
#include <time.h>

#define LATENT 8 /* pixels of a picture for one of a preview */

static void put_head(struct call *c, const char *what, int width, int height) {
    const struct openai *o = c->own;
    const char *kind = o->edit ? "image_edit" : "image_generation";
    buf_printf(&c->reply,
               "event: %s.%s\ndata: {\"type\":\"%s.%s\",\"created_at\":%lld,\"size\":\"%dx%d\","
               "\"quality\":\"auto\",\"background\":\"opaque\",\"output_format\":\"%s\",",
               kind, what, kind, what, (long long)time(NULL), width, height, openai_format(o));
}

static kadr_status put_partial(struct call *c, const struct partial *part, kadr_error *err) {
    const struct openai *o = c->own;
    int width = part->im.width * LATENT, height = part->im.height * LATENT;
    struct image full = {0};
    struct buf file;
    buf_init(&file, c->serve->mem);
    kadr_status st =
        image_scale(&part->im, c->serve->mem, width, height, SCALE_BICUBIC, &full, err);
    if (!st) st = image_encode(&full, c->serve->mem, o->style, NULL, 0, &file, err);
    put_head(c, "partial_image", width, height);
    buf_printf(&c->reply, "\"partial_image_index\":%d,\"b64_json\":\"", part->index);
    if (!st) buf_base64(&c->reply, file.data, file.size);
    buf_puts(&c->reply, "\"}\n\n");
    image_free(&full);
    buf_free(&file);
    return st;
}

static kadr_status put_picture(struct call *c, const json_t *picture, kadr_error *err) {
    put_head(c, "completed", (int)json_integer_value(json_object_get(picture, "width")),
             (int)json_integer_value(json_object_get(picture, "height")));
    buf_puts(&c->reply, "\"usage\":{\"total_tokens\":0,\"input_tokens\":0,\"output_tokens\":0,"
                        "\"input_tokens_details\":{\"text_tokens\":0,\"image_tokens\":0}},"
                        "\"b64_json\":\"");
    kadr_status st = openai_put_file(c, picture, &c->reply, err);
    buf_puts(&c->reply, "\"}\n\n");
    return st;
}

static void put_error(struct call *c, const char *message) {
    json_t *error =
        json_pack("{s:{s:s, s:s}}", "error", "message", message, "type", "server_error");
    buf_clear(&c->reply);
    buf_puts(&c->reply, "event: error\ndata: ");
    json_put(&c->reply, error, JSON_COMPACT);
    buf_puts(&c->reply, "\n\n");
    json_decref(error);
}

/* What has come about since the last time, appended to the empty reply; or the call waits. */
static void fill(struct call *c) {
    struct openai *o = c->own;
    struct serve *s = c->serve;
    kadr_error err = {0};
    json_t *job = NULL;
    pthread_mutex_lock(&s->mutex);
    struct partial *part = watch_take(c);
    kadr_status st = store_job(s->store, c->job, &job, &err);
    const json_t *pictures = json_object_get(job, "pictures");
    bool more = o->told < json_array_size(pictures), ended = st || !job || job_ended(job);
    bool wait = !part && !more && !ended && !s->stopping;
    if (wait) call_wait(c);
    pthread_mutex_unlock(&s->mutex);
    if (!st && part) st = put_partial(c, part, &err);
    else if (!st && more) st = put_picture(c, json_array_get(pictures, o->told++), &err);
    else if (!wait) {
        const char *error = json_string_value(json_object_get(job, "error"));
        o->over = true;
        if (job && strcmp(json_string_value(json_object_get(job, "state")), "done") != 0)
            put_error(c, error ? error : "the drawing was ended");
    }
    if (st) {
        put_error(c, err.message);
        o->over = true;
    }
    partial_free(part);
    json_decref(job);
}

static ssize_t stream_read(void *user, uint64_t pos, char *to, size_t room) {
    struct call *c = user;
    struct openai *o = c->own;
    (void)pos;
    if (c->offset == c->reply.size) {
        buf_clear(&c->reply);
        c->offset = 0;
        if (!o->over) fill(c);
        if (!buf_ok(&c->reply)) return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t n = c->reply.size - c->offset;
    if (!n) return o->over ? MHD_CONTENT_READER_END_OF_STREAM : 0;
    if (n > room) n = room;
    memcpy(to, c->reply.data + c->offset, n);
    c->offset += n;
    return (ssize_t)n;
}

void openai_stream(struct call *c) {
    const struct openai *o = c->own;
    call_free_body(c);
    watch_begin(c, o->partials);
    c->stream = stream_read;
    c->code = 200;
    c->type = "text/event-stream";
}
