/* casting.c: see casting.h. */
#include "draw/casting.h"
#include "base/buf.h"
#include "base/file.h"
#include "image/pixels.h"
#include "model/describe.h"

#include <inttypes.h>
#include <string.h>

/* ---- Casts that are open */

struct shelved {
    char *path;
    struct cast cast;
    struct shelved *next;
};

static kadr_status shelf_open(struct cast_shelf *shelf, const char *path, const struct cast **out,
                              kadr_error *err) {
    for (struct shelved *s = shelf->first; s; s = s->next)
        if (strcmp(s->path, path) == 0) {
            *out = &s->cast;
            return KADR_OK;
        }
    struct shelved *s = mem_alloc(shelf->mem, sizeof *s);
    if (s) s->path = mem_strdup(shelf->mem, path);
    kadr_status st = s && s->path ? cast_open(&s->cast, shelf->mem, path, err)
                                  : err_nomem(err, "cast", sizeof *s);
    if (st) {
        if (s) mem_free(s->path);
        mem_free(s);
        return st;
    }
    s->next = shelf->first;
    shelf->first = s;
    *out = &s->cast;
    return KADR_OK;
}

void cast_shelf_close(struct cast_shelf *shelf) {
    for (struct shelved *s = shelf->first, *next; s; s = next) {
        next = s->next;
        cast_close(&s->cast);
        mem_free(s->path);
        mem_free(s);
    }
    shelf->first = NULL;
}

/* ---- Reading an entry */

static const struct {
    const char *name, *json;
} targets[] = {
    /* What blocks of SDXL do is InstantStyle's finding (arXiv 2404.02733). */
    {"style", "{\"up\": {\"block_0\": [0, 1, 0]}}"},
    {"layout", "{\"down\": {\"block_2\": [0, 1]}}"},
    {"subject", "{\"down\": {\"block_1\": 1, \"block_2\": [1, 0]}, \"mid\": 1, "
                "\"up\": {\"block_0\": [1, 0, 1], \"block_1\": 1}}"},
};

static const struct {
    const char *name;
    double box[4];
} regions[] = {{"left", {0, 0, 0.5, 1}},       {"right", {0.5, 0, 1, 1}},
               {"center", {0.25, 0, 0.75, 1}}, {"centre", {0.25, 0, 0.75, 1}},
               {"top", {0, 0, 1, 0.5}},        {"bottom", {0, 0.5, 1, 1}}};

/* "a,b,c,d" or "a-b": `count` numbers between separators. */
static bool numbers(char *text, char separator, double *out, int count) {
    for (int i = 0; i < count; i++) {
        char *end = i + 1 < count ? strchr(text, separator) : NULL;
        if (i + 1 < count && !end) return false;
        if (end) *end = 0;
        bool ok = request_parse_real(text, &out[i]);
        if (end) *end = separator;
        if (!ok) return false;
        if (end) text = end + 1;
    }
    return true;
}

static kadr_status read_region(struct casting *c, struct mem *m, char *text, kadr_error *err) {
    c->masked = true;
    for (size_t i = 0; i < sizeof regions / sizeof *regions; i++)
        if (strcmp(text, regions[i].name) == 0) {
            memcpy(c->box, regions[i].box, sizeof c->box);
            return KADR_OK;
        }
    if (numbers(text, ',', c->box, 4)) {
        if (c->box[0] >= 0 && c->box[0] < c->box[2] && c->box[2] <= 1 && c->box[1] >= 0 &&
            c->box[1] < c->box[3] && c->box[3] <= 1)
            return KADR_OK;
        return err_set(err, KADR_EUSAGE,
                       "cast: region %s: expected X0,Y0,X1,Y1 in shares of the picture, as "
                       "0.5,0,1,1",
                       text);
    }
    if (!file_exists(text))
        return err_set(err, KADR_EUSAGE,
                       "cast: region %s: expected left, right, center, top, bottom, four numbers "
                       "or a picture",
                       text);
    return image_read(&c->mask, m, text, IMAGE_OVER_WHITE, NULL, err);
}

static kadr_status read_blocks(struct casting *c, const struct draw_model *model, const char *text,
                               kadr_error *err) {
    for (size_t i = 0; text && i < sizeof targets / sizeof *targets; i++)
        if (strcmp(text, targets[i].name) == 0) text = targets[i].json;
    double number = 1;
    if (!text || request_parse_real(text, &number)) {
        c->blocks = json_real(number);
        return c->blocks ? KADR_OK : err_nomem(err, "cast", sizeof number);
    }
    kadr_status st = json_parse(text, strlen(text), "cast: blocks", KADR_EUSAGE, &c->blocks, err);
    return st ? st : unet_scale_check(&model->unet, c->blocks, err);
}

static kadr_status read_entry(struct casting *c, struct arena *a, struct cast_shelf *shelf,
                              const kadr_request *rq, const struct draw_model *model,
                              const char *text, kadr_error *err) {
    char *entry = arena_strdup(a, text);
    if (!entry) return err_nomem(err, "cast", strlen(text));
    *c = (struct casting){.scale = rq->identity_scale, .to = 1};
    struct cast_entry e = cast_split(entry);
    double share[2] = {0, 1};
    if (e.steps &&
        (!numbers(e.steps, '-', share, 2) || share[0] < 0 || share[0] >= share[1] || share[1] > 1))
        return err_set(err, KADR_EUSAGE,
                       "cast: steps=%s: expected two shares of the steps, as steps=0.2-0.8",
                       e.steps);
    c->from = share[0];
    c->to = share[1];
    if (e.has_scale && !(e.scale >= 0 && e.scale <= 2))
        return err_set(err, KADR_EUSAGE, "cast: %s: expected a scale from 0 to 2", text);
    if (e.has_scale) c->scale = e.scale;
    const char *path;
    kadr_status st = cast_find(a, rq->cast_folder, e.name, &path, err);
    if (!st) st = shelf_open(shelf, path, &c->cast, err);
    if (!st) st = cast_check(c->cast, &model->unet, weights_path(model->weights), err);
    if (!st) st = read_blocks(c, model, e.blocks, err);
    if (!st && e.region) st = read_region(c, shelf->mem, e.region, err);
    return st;
}

kadr_status castings_open(struct castings *c, struct cast_shelf *shelf, const kadr_request *rq,
                          const struct draw_model *model, kadr_error *err) {
    c->count = 0;
    if (rq->identity_lock && strcmp(rq->identity_lock, "off") == 0) return KADR_OK;
    if (rq->cast.count > UNET_CASTS)
        return err_set(err, KADR_EUSAGE, "cast: %zu casts in one picture; expected at most %d",
                       rq->cast.count, UNET_CASTS);
    struct arena a;
    arena_init(&a, shelf->mem);
    kadr_status st = KADR_OK;
    for (size_t i = 0; i < rq->cast.count && !st; i++)
        st = read_entry(&c->list[c->count++], &a, shelf, rq, model, rq->cast.item[i], err);
    arena_free(&a);
    return st;
}

void castings_close(struct castings *c) {
    for (int i = 0; i < c->count; i++) {
        json_decref(c->list[i].blocks);
        image_free(&c->list[i].mask);
    }
    c->count = 0;
}

size_t castings_bytes(const struct castings *c, const kadr_request *rq) {
    size_t bytes = 0;
    bool masked = false;
    for (int i = 0; i < c->count; i++) {
        bytes += image_bytes(&c->list[i].mask);
        masked = masked || c->list[i].masked;
    }
    /* The region in the picture's size, and what it is resized through. */
    return bytes + (masked ? (size_t)(rq->width * rq->height) * (sizeof(float) + 3) : 0);
}

void castings_describe(const struct castings *c, struct buf *out) {
    for (int i = 0; i < c->count; i++) {
        const struct file *f = &c->list[i].cast->file.file;
        buf_printf(out, "|%s %" PRIu64 " %" PRId64, f->path, f->size, f->change);
    }
}

void castings_shape(const struct castings *c, struct stages_shape *shape) {
    shape->casts = c->count;
    for (int i = 0; i < c->count; i++) {
        shape->cast_tokens[i] = c->list[i].cast->tokens;
        shape->cast_masked[i] = c->list[i].masked;
    }
}

/* ---- Into the UNet's buffers */

static kadr_status put_keys(const struct castings *c, const struct draw_model *model,
                            enum dtype dtype, struct sample_place at, kadr_error *err) {
    struct unet_transformer t = {0};
    char attention[128], name[160];
    kadr_status st = KADR_OK;
    while (unet_next_transformer(&model->unet, &t))
        for (int i = 0; i < c->count * t.depth * 2 && !st; i++) {
            int cast = i / (t.depth * 2);
            char which = i % 2 ? 'v' : 'k';
            unet_attention_name(attention, sizeof attention, &t, i / 2 % t.depth);
            describe_label(name, sizeof name, "%s.cast%d.%c", attention, cast, which);
            const struct cast *file = c->list[cast].cast;
            size_t size = (size_t)(file->tokens * t.width) * dtype_size(dtype);
            char *to = (char *)run_buffer(at.run, name, at.lane) + (size_t)at.row * size;
            st = cast_read(file, attention, which, at.negative, t.width, dtype, to, err);
        }
    return st;
}

static kadr_status draw_region(const struct casting *c, struct mem *m, int width, int height,
                               float *mask, kadr_error *err) {
    if (c->mask.data) return pixels_prepare_mask(&c->mask, m, width, height, mask, err);
    for (int i = 0; i < width * height; i++) {
        double x = i % width, y = i / width;
        mask[i] = x >= c->box[0] * width && x < c->box[2] * width && y >= c->box[1] * height &&
                  y < c->box[3] * height;
    }
    return KADR_OK;
}

static kadr_status put_masks(const struct castings *c, struct mem *m,
                             const struct draw_model *model, const struct stages_shape *shape,
                             struct sample_place at, kadr_error *err) {
    char name[64];
    int64_t scale = vae_scale(&model->vae);
    size_t pixels = (size_t)(shape->width * shape->height);
    float *mask = mem_array(m, pixels, sizeof *mask);
    kadr_status st = mask ? KADR_OK : err_nomem(err, "region", pixels * sizeof *mask);
    for (int i = 0; i < c->count && !st; i++) {
        if (!c->list[i].masked) continue;
        st = draw_region(&c->list[i], m, (int)shape->width, (int)shape->height, mask, err);
        for (int level = 0; level < model->unet.levels && !st; level++) {
            describe_label(name, sizeof name, "unet.cast%d.mask%d", i, level);
            float *to = run_buffer(at.run, name, at.lane);
            int64_t count =
                unet_side(shape->height / scale, level) * unet_side(shape->width / scale, level);
            if (to)
                pixels_mask_to_tokens(mask, (int)shape->width, (int)shape->height, count,
                                      to + at.row * count);
        }
    }
    mem_free(mask);
    return st;
}

kadr_status castings_put(const struct castings *c, struct mem *m, const struct draw_model *model,
                         const struct stages_shape *shape, struct sample_place at,
                         kadr_error *err) {
    bool masked = false;
    for (int i = 0; i < c->count; i++) masked = masked || c->list[i].masked;
    kadr_status st = put_keys(c, model, stages_values(shape), at, err);
    return st || !masked ? st : put_masks(c, m, model, shape, at, err);
}

void castings_weigh(const struct castings *c, const struct draw_model *model,
                    struct sample_place at, double share) {
    struct unet_transformer t = {0};
    char name[128];
    while (c->count && unet_next_transformer(&model->unet, &t))
        for (int i = 0; i < c->count; i++) {
            const struct casting *one = &c->list[i];
            double strength = 0;
            unet_scale(&model->unet, one->blocks, &t, &strength, NULL);
            if (share < one->from || share >= one->to) strength = 0;
            describe_label(name, sizeof name, "%s.cast%d.gain", t.label, i);
            float *gain = run_buffer(at.run, name, at.lane);
            gain[at.row] = (float)(strength * one->scale);
        }
}
