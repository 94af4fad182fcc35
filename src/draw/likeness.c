/* likeness.c: kadr_cast_likeness: how near what is in a picture comes to a cast's references, as
 * the image encoder sees both. A character fills little of a scene, so the picture is looked at
 * through square windows of three sizes; the one that shows most of it counts.
 */
#include "draw/cast.h"
#include "draw/cast_parts.h"
#include "image/pixels.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Sides of the windows in shares of the picture's shorter side; they overlap by half or more. */
static const double sides[] = {1, 0.75, 0.5};

struct comparing {
    struct cast_parts parts;
    struct graph graph;
    struct program program;
    struct cast_run cast_run;
    struct run *run;
    struct cast cast;
    float *references; /* [count, cells, width] */
    float *look;       /* [cells, width], of a window */
    int64_t count, cells, width;
};

/* The cast's own looks; they mean something to the encoder that made them alone. */
static kadr_status read_references(struct comparing *c, kadr_error *err) {
    const struct safetensors_tensor *t = safetensors_find(&c->cast.file, "looks");
    const char *path = c->cast.file.file.path, *made = cast_text(&c->cast, "encoder");
    struct mem *m = c->parts.ctx->mem;
    char sum[20];
    uint64_t encoder;
    c->cells = cast_cells(&c->parts);
    c->width = c->parts.encoder.width;
    if (!t || t->dtype != SAFETENSORS_F16 || t->rank != 2 || t->dim[0] < 1 ||
        t->dim[0] % c->cells || t->dim[1] != c->width)
        return err_set(err, KADR_EMODEL,
                       "%s: expected looks of F16 [references x %d, %d]; make the cast again", path,
                       (int)c->cells, (int)c->width);
    kadr_status st = weights_fingerprint(c->parts.weights, "image_encoder", &encoder, err);
    if (st) return st;
    snprintf(sum, sizeof sum, "%016" PRIx64, encoder);
    if (!made || !strstr(made, sum))
        return err_set(err, KADR_EMODEL,
                       "%s: made with another image encoder (%s) than this one (%s); name that one "
                       "with --image-encoder",
                       path, made ? made : "?", sum);
    c->count = t->dim[0] / c->cells;
    c->references = mem_array(m, (size_t)(t->dim[0] * c->width), sizeof *c->references);
    c->look = mem_array(m, (size_t)(c->cells * c->width), sizeof *c->look);
    if (!c->references || !c->look) return err_nomem(err, "cast", (size_t)t->size);
    return safetensors_read_f32(&c->cast.file, t, 0, (size_t)(t->dim[0] * c->width), c->references,
                                err);
}

/* The mean, over the cells of a reference, of the largest cosine to a cell of the window: how much
 * of the character is found there, wherever in it and whatever else there is. */
static double found(const struct comparing *c, const float *reference) {
    double sum = 0;
    for (int64_t i = 0; i < c->cells; i++) {
        float best = -1;
        for (int64_t j = 0; j < c->cells; j++) {
            float dot = 0;
            for (int64_t n = 0; n < c->width; n++)
                dot += reference[i * c->width + n] * c->look[j * c->width + n];
            if (dot > best) best = dot;
        }
        sum += best;
    }
    return sum / (double)c->cells;
}

/* One window against every reference. */
static kadr_status look(struct comparing *c, const struct image *im, int x, int y, int side,
                        double *best, kadr_error *err) {
    struct mem *m = c->parts.ctx->mem;
    const struct clip_vision_config *e = &c->parts.encoder;
    struct image window;
    kadr_status st = image_crop(im, m, x, y, side, side, &window, err);
    if (st) return st;
    st = pixels_prepare_clip(&window, m, (int)e->image,
                             run_buffer(c->run, "image_encoder.pixels", 0), err);
    image_free(&window);
    if (st) return st;
    int32_t *ids = run_buffer(c->run, "image_encoder.ids", 0);
    for (int32_t i = 0; i < clip_vision_tokens(e); i++) ids[i] = i;
    st = run_segment(c->run, 0, 0, true, err);
    if (st) return st;
    cast_look(&c->parts, run_buffer(c->run, "image_encoder.hidden", 0), c->look);
    for (int64_t i = 0; i < c->count; i++) {
        double now = found(c, c->references + i * c->cells * c->width);
        if (now > *best) *best = now;
    }
    return KADR_OK;
}

static kadr_status look_at_all(struct comparing *c, const char *path, double *best,
                               kadr_error *err) {
    struct image im;
    kadr_status st = image_read(&im, c->parts.ctx->mem, path, IMAGE_OVER_WHITE, NULL, err);
    if (st) return st;
    int less = im.width < im.height ? im.width : im.height;
    *best = -1;
    for (size_t s = 0; s < sizeof sides / sizeof *sides && !st; s++) {
        int side = (int)(less * sides[s]);
        if (side < 1) side = 1;
        int across = im.width - side, down = im.height - side;
        int columns = (int)ceil(across / (side * 0.5)), rows = (int)ceil(down / (side * 0.5));
        for (int i = 0; i < (columns + 1) * (rows + 1) && !st; i++) {
            int x = columns ? across * (i % (columns + 1)) / columns : 0;
            int y = rows ? down * (i / (columns + 1)) / rows : 0;
            st = look(c, &im, x, y, side, best, err);
        }
    }
    image_free(&im);
    return st;
}

static kadr_status open_comparing(struct comparing *c, kadr_context *ctx, const kadr_request *rq,
                                  const char *cast, kadr_error *err) {
    kadr_status st = cast_parts_open(&c->parts, ctx, rq, err);
    graph_init(&c->graph, ctx->mem, "image encoder", DTYPE_F32);
    program_init(&c->program, ctx->mem);
    if (!st) st = cast_open(&c->cast, ctx->mem, cast, err);
    if (!st) st = read_references(c, err);
    if (st) return st;
    clip_vision_graph(&c->graph, &c->parts.encoder, (struct clip_vision_wish){.hidden = true});
    if (program_add(&c->program, "compare", &c->graph, 1, 2, err) < 0)
        return graph_failed(&c->graph) ? c->graph.error.status : KADR_EMEMORY;
    return cast_run_open(&c->run, &c->cast_run, &c->parts, &c->program, 0, err);
}

kadr_status kadr_cast_likeness(kadr_context *ctx, const kadr_request *rq, const char *cast,
                               const char *const *pictures, size_t count, double *likeness,
                               kadr_error *err) {
    struct comparing c = {.count = 0};
    kadr_status st = open_comparing(&c, ctx, rq, cast, err);
    for (size_t i = 0; i < count && !st; i++) st = look_at_all(&c, pictures[i], &likeness[i], err);
    run_close(c.run);
    plan_free(&c.cast_run.plan);
    program_free(&c.program);
    graph_free(&c.graph);
    mem_free(c.references);
    mem_free(c.look);
    cast_close(&c.cast);
    cast_parts_close(&c.parts);
    ctx->interrupted = 0;
    return st;
}
