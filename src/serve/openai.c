/* openai.c: /v1/images/generations and /v1/images/edits as OpenAI's clients ask for them. "model"
 * is a name that GET /v1/models lists, and what names OpenAI's own models (dall-e-*, gpt-image-*)
 * means the default. The answer comes when the pictures are drawn, or as a stream
 * (openai_stream.c). */
#include "serve/openai.h"

#include "serve/routes.h"
#include "serve/send.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SEED_MOST (((int64_t)1 << 53) - 1)

/* ---- Their request --------------------------------------------------------------------------- */
/* Forms have numbers and truths as text. */
static json_t *number_of(const json_t *theirs, const char *name, int64_t least, int64_t most) {
    json_t *value = json_object_get(theirs, name);
    const char *text = json_string_value(value);
    size_t n = text ? strlen(text) : 0;
    if (!value || json_is_null(value)) return json_null();
    if (n && n < 17 && strspn(text, "0123456789") == n)
        value = json_integer(strtoll(text, NULL, 10));
    else json_incref(value);
    if (json_is_integer(value) && json_integer_value(value) >= least &&
        json_integer_value(value) <= most)
        return value;
    json_decref(value);
    return NULL;
}

/* Theirs as one of ours, where they say it; false: it is out of range. */
static bool set_number(const json_t *theirs, const char *name, int64_t least, int64_t most,
                       json_t *ours, const char *as) {
    json_t *value = number_of(theirs, name, least, most);
    if (json_is_integer(value)) json_object_set(ours, as, value);
    json_decref(value);
    return value != NULL;
}

static bool truth_of(const json_t *theirs, const char *name) {
    const json_t *value = json_object_get(theirs, name);
    const char *text = json_string_value(value);
    return json_is_true(value) || (text && !strcasecmp(text, "true"));
}

static bool read_style(const json_t *theirs, struct image_style *style) {
    const char *format = json_string_value(json_object_get(theirs, "output_format"));
    json_t *quality = number_of(theirs, "output_compression", 0, 100);
    style->quality = json_is_integer(quality) ? (int)json_integer_value(quality) : 100;
    if (style->quality == 0) style->quality = 1;
    if (!format || !strcmp(format, "png")) style->format = IMAGE_PNG;
    else if (!strcmp(format, "jpeg")) style->format = IMAGE_JPEG;
    else if (!strcmp(format, "webp")) style->format = IMAGE_WEBP;
    else style->format = IMAGE_UNKNOWN;
    bool ok = quality && style->format != IMAGE_UNKNOWN;
    json_decref(quality);
    return ok;
}

/* How they want the answer; false: it is made. */
static bool read_wishes(struct call *c, const json_t *theirs, bool edit) {
    const char *format = json_string_value(json_object_get(theirs, "response_format"));
    struct openai *o = c->own = mem_alloc(c->serve->mem, sizeof *o);
    if (!o) return call_fail(c, 500, "no memory"), false;
    *o = (struct openai){.edit = edit, .stream = truth_of(theirs, "stream")};
    o->url = format && !strcmp(format, "url");
    if (format && !o->url && strcmp(format, "b64_json") != 0)
        return call_fail(c, 400, "response_format: expected url or b64_json"), false;
    if (!read_style(theirs, &o->style))
        return call_fail(c, 400,
                         "output_format: expected png, jpeg or webp, and "
                         "output_compression from 0 to 100"),
               false;
    json_t *partials = number_of(theirs, "partial_images", 0, OPENAI_PARTIALS);
    if (!partials)
        return call_fail(c, 400, "partial_images: expected 0 to %d", OPENAI_PARTIALS), false;
    o->partials = (int)json_integer_value(partials);
    json_decref(partials);
    return true;
}

static bool set_size(struct call *c, const char *size, json_t *ours) {
    int width, height;
    char end;
    if (!size || !strcmp(size, "auto")) return true;
    if (strlen(size) > 12 || sscanf(size, "%5dx%5d%c", &width, &height, &end) != 2)
        return call_fail(c, 400, "size: expected WIDTHxHEIGHT"), false;
    json_object_set_new(ours, "width", json_integer(width));
    json_object_set_new(ours, "height", json_integer(height));
    return true;
}

/* kadr's request for theirs; NULL when the answer is made. */
static json_t *translate(struct call *c, const json_t *theirs) {
    const char *model = json_string_value(json_object_get(theirs, "model"));
    json_t *ours = json_object();
    if (!ours) return call_fail(c, 500, "no memory"), NULL;
    if (!set_number(theirs, "n", 1, 64, ours, "count") ||
        !set_number(theirs, "seed", 0, SEED_MOST, ours, "seed")) {
        json_decref(ours);
        return call_fail(c, 400, "expected n from 1 to 64, and seed from 0 to %" PRId64, SEED_MOST),
               NULL;
    }
    json_object_set(ours, "prompt", json_object_get(theirs, "prompt"));
    if (model && strncmp(model, "dall-e", 6) != 0 && strncmp(model, "gpt-", 4) != 0)
        json_object_set_new(ours, "model", json_string(model));
    if (set_size(c, json_string_value(json_object_get(theirs, "size")), ours)) return ours;
    json_decref(ours);
    return NULL;
}

/* ---- Our answer ------------------------------------------------------------------------------ */
const char *openai_format(const struct openai *o) {
    return o->style.format == IMAGE_PNG ? "png" : o->style.format == IMAGE_JPEG ? "jpeg" : "webp";
}

kadr_status openai_put_file(struct call *c, const json_t *picture, struct buf *to,
                            kadr_error *err) {
    const struct openai *o = c->own;
    struct mem *m = c->serve->mem;
    char *data = NULL;
    size_t size = 0;
    struct buf other;
    buf_init(&other, m);
    kadr_status st =
        send_read(c->serve, json_integer_value(json_object_get(picture, "id")), &data, &size, err);
    if (!st && o->style.format == IMAGE_PNG) buf_base64(to, data, size);
    else if (!st) {
        st = send_convert(m, o->style, data, size, NULL, NULL, &other, err);
        if (!st) buf_base64(to, other.data, other.size);
    }
    buf_free(&other);
    mem_free(data);
    return st;
}

static kadr_status put_picture(struct call *c, const json_t *picture, kadr_error *err) {
    const struct openai *o = c->own;
    int64_t id = json_integer_value(json_object_get(picture, "id"));
    if (o->url) {
        const char *host = MHD_lookup_connection_value(c->http, MHD_HEADER_KIND, "Host");
        buf_printf(&c->reply, "{\"url\":\"http://%s/api/v1/pictures/%" PRId64 "\"}", host, id);
        return KADR_OK;
    }
    buf_puts(&c->reply, "{\"b64_json\":\"");
    kadr_status st = openai_put_file(c, picture, &c->reply, err);
    buf_puts(&c->reply, "\"}");
    return st;
}

static void finish(struct call *c, const json_t *job) {
    const json_t *pictures = json_object_get(job, "pictures");
    const char *error = json_string_value(json_object_get(job, "error"));
    kadr_error err;
    kadr_status st = KADR_OK;
    if (strcmp(json_string_value(json_object_get(job, "state")), "done") != 0)
        return call_fail(c, 422, "%s", error ? error : "the drawing was cancelled");
    buf_printf(&c->reply,
               "{\"created\":%" JSON_INTEGER_FORMAT ",\"output_format\":\"%s\",\"data\":[",
               json_integer_value(json_object_get(job, "created")) / 1000, openai_format(c->own));
    for (size_t i = 0; !st && i < json_array_size(pictures); i++) {
        if (i) buf_putc(&c->reply, ',');
        st = put_picture(c, json_array_get(pictures, i), &err);
    }
    buf_puts(&c->reply, "]}");
    if (st) call_error(c, st, &err);
    else c->code = 200;
}

static void submit(struct call *c, json_t *ours) {
    const struct openai *o = c->own;
    int64_t job;
    if (!call_submit(c, ours, &job)) return;
    if (!o->stream) return call_job(c, job, finish);
    c->job = job;
    openai_stream(c);
}

void openai_generate(struct call *c) {
    json_t *theirs = call_body(c), *ours = NULL;
    if (!theirs) return;
    if (read_wishes(c, theirs, false)) ours = translate(c, theirs);
    if (ours) submit(c, ours);
    json_decref(ours);
    json_decref(theirs);
}

/* ---- Edits ----------------------------------------------------------------------------------- */
/* Theirs is redrawn where it is transparent, ours where it is white. False: nothing is. */
static bool turn_mask(struct image *im) {
    bool any = false;
    size_t pixels = (size_t)im->width * (size_t)im->height;
    if (im->channels != 4) return false;
    for (size_t i = 0; i < pixels; i++) {
        uint8_t *p = im->data + 4 * i, redraw = (uint8_t)(255 - p[3]);
        any |= redraw != 0;
        p[0] = p[1] = p[2] = redraw;
        p[3] = 255;
    }
    return any;
}

/* The picture, its mask (of its own, or where the picture is transparent) and how far to go. */
static kadr_status set_pictures(struct serve *s, struct form *form, json_t *ours, kadr_error *err) {
    const struct buf *image = form_file(form, "image"), *mask = form_file(form, "mask");
    struct image im = {0}, hole = {0};
    if (!image) image = form_file(form, "image[]");
    if (!image) return err_set(err, KADR_EUSAGE, "image: expected one picture");
    kadr_status st = upload_decode(s, image->data, image->size, "image", &im, err);
    if (!st && mask) st = upload_decode(s, mask->data, mask->size, "mask", &hole, err);
    if (!st && !json_object_get(ours, "width")) {
        json_object_set_new(ours, "width", json_integer(im.width < 8 ? 8 : im.width / 8 * 8));
        json_object_set_new(ours, "height", json_integer(im.height < 8 ? 8 : im.height / 8 * 8));
    }
    if (!st && !mask && im.channels == 4)
        st = image_crop(&im, s->mem, 0, 0, im.width, im.height, &hole, err);
    bool masked = !st && turn_mask(&hole);
    if (!st && mask && !masked)
        st = err_set(err, KADR_EUSAGE, "mask: expected a picture that is transparent somewhere");
    /* What lies under the transparency is the picture's; draw composes it over white. */
    for (size_t i = 3; !st && im.channels == 4 && i < image_bytes(&im); i += 4) im.data[i] = 255;
    if (!st) st = upload_name(s, &im, ours, "init", err);
    if (!st && masked) st = upload_name(s, &hole, ours, "mask", err);
    image_free(&im);
    image_free(&hole);
    return st;
}

/* "strength" is ours: theirs is drawn anew under a mask, and as this model says without one. */
static kadr_status set_strength(const json_t *theirs, json_t *ours, kadr_error *err) {
    const char *text = json_string_value(json_object_get(theirs, "strength"));
    double strength = 1;
    if (text && (!request_parse_real(text, &strength) || strength < 0 || strength > 1))
        return err_set(err, KADR_EUSAGE, "strength: expected a number from 0 to 1");
    if (text || json_object_get(ours, "mask"))
        json_object_set_new(ours, "strength", json_real(strength));
    return KADR_OK;
}

void openai_edit(struct call *c) {
    struct form form;
    kadr_error err;
    json_t *ours = NULL;
    if (!form_read(&form, c)) return;
    if (read_wishes(c, form.fields, true)) ours = translate(c, form.fields);
    kadr_status st = ours ? set_pictures(c->serve, &form, ours, &err) : KADR_OK;
    if (ours && !st) st = set_strength(form.fields, ours, &err);
    if (st) call_error(c, st, &err);
    form_free(&form);
    if (ours && !st) submit(c, ours);
    json_decref(ours);
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
