/* resolve.c: what nobody said is filled in from presets, the model and the fallbacks; then the
 * whole is checked. Order does not matter here: request_set_from lets no value replace one from a
 * more specific place. */
#include "request/request.h"

#include "base/file.h"
#include "request/settings.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>

#define KADR_JSON_MOST ((size_t)1 << 20)

kadr_status request_model_defaults(const char *model_path, json_t **out, kadr_error *err) {
    kadr_status status = KADR_OK;
    struct arena a;
    *out = NULL;
    struct mem *m = mem_open(0);
    if (!m) return err_nomem(err, "a ledger", 0);
    arena_init(&a, m);
    char *path = file_join(&a, model_path, "kadr.json");
    if (!path) status = err_nomem(err, "a path", strlen(model_path));
    else if (file_exists(path)) status = json_read(m, path, KADR_JSON_MOST, KADR_EMODEL, out, err);
    if (*out && !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        status = err_set(err, KADR_EMODEL, "%s: expected an object", path);
    }
    arena_free(&a);
    mem_close(m);
    return status;
}

/* A model may not make kadr open or write files. */
static bool model_may_set(const kadr_option *o) {
    return (o->use & KADR_IN_SETTINGS) && o->type != KADR_FILE && o->type != KADR_LIST;
}

static kadr_status apply_model(kadr_request *rq, const json_t *defaults, kadr_error *err) {
    static const struct request_origin origin = {.source = SOURCE_MODEL};
    for (int id = 0; id < OPTIONS; id++) {
        const kadr_option *o = request_option_at(id);
        const json_t *value = json_object_get(defaults, o->name);
        if (!value || !model_may_set(o)) continue;
        kadr_status status = request_set_json(rq, id, value, &origin, err);
        if (status == KADR_OK) continue;
        if (status == KADR_EUSAGE) status = KADR_EMODEL;
        if (err) err->status = status;
        err_context(err, "kadr.json of the model");
        return status;
    }
    return KADR_OK;
}

static kadr_status apply_preset(kadr_request *rq, const char *name, enum request_source source,
                                kadr_error *err) {
    const struct request_origin origin = {.source = source};
    const struct request_preset *preset = request_preset(name);
    for (size_t i = 0; preset->value[i].value; i++) {
        kadr_status status =
            request_set_from(rq, preset->value[i].id, preset->value[i].value, &origin, err);
        if (status != KADR_OK) return status;
    }
    return KADR_OK;
}

static const struct request_origin fallback_origin = {.source = SOURCE_FALLBACK};

static kadr_status set_number(kadr_request *rq, enum option_id id, int64_t number,
                              const struct request_origin *origin, kadr_error *err) {
    json_t *value = json_integer(number);
    if (!value) return err_nomem(err, "a number", sizeof number);
    kadr_status status = request_set_json(rq, id, value, origin, err);
    json_decref(value);
    return status;
}

/* Whether a size was said at least as specifically as the shape. A board's usual shape gives way to
 * the model's own size, but not to a preset. */
static bool size_is_said(const kadr_request *rq, enum option_id id) {
    enum request_source shape = rq->origin[OPTION_aspect].source, size = rq->origin[id].source;
    if (shape == SOURCE_BOARD && size == SOURCE_PRESET) return false;
    return size >= shape;
}

/* A side that follows from the shape takes the place of the one that was there. */
static kadr_status set_side(kadr_request *rq, enum option_id id, enum request_shaped shaped,
                            double side, kadr_error *err) {
    enum request_source shape = rq->origin[OPTION_aspect].source, was = rq->origin[id].source;
    const struct request_origin origin = {.source = was > shape ? was : shape};
    kadr_status status = set_number(rq, id, 8 * (int64_t)fmax(1, round(side / 8)), &origin, err);
    if (status == KADR_OK) rq->shaped |= shaped;
    return status;
}

static kadr_status apply_aspect(kadr_request *rq, kadr_error *err) {
    double ratio;
    if (rq->shaped || !request_has(rq, OPTION_aspect)) return KADR_OK;
    bool width = size_is_said(rq, OPTION_width), height = size_is_said(rq, OPTION_height);
    if (width && height) {
        if (rq->origin[OPTION_aspect].source < SOURCE_FLAG) return KADR_OK;
        return err_set(err, KADR_EUSAGE,
                       "aspect: expected at most two of width, height and aspect");
    }
    if (!request_parse_aspect(rq->aspect, &ratio)) ratio = 1;
    double area = (double)rq->width * (double)rq->height;
    double wide = width    ? (double)rq->width
                  : height ? (double)rq->height * ratio
                           : sqrt(area * ratio);
    double high = height ? (double)rq->height : wide / ratio;
    kadr_status status = KADR_OK;
    if (!width) status = set_side(rq, OPTION_width, SHAPED_WIDTH, wide, err);
    if (!height && status == KADR_OK)
        status = set_side(rq, OPTION_height, SHAPED_HEIGHT, high, err);
    return status;
}

/* What SDXL is told about sizes, unless told otherwise: those of the picture. */
static kadr_status apply_told_sizes(kadr_request *rq, kadr_error *err) {
    const struct {
        enum option_id id;
        int64_t size;
    } told[] = {{OPTION_original_width, rq->width},
                {OPTION_original_height, rq->height},
                {OPTION_target_width, rq->width},
                {OPTION_target_height, rq->height}};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        kadr_status status = set_number(rq, told[i].id, told[i].size, &fallback_origin, err);
        if (status != KADR_OK) return status;
    }
    return KADR_OK;
}

static kadr_status apply_seed(kadr_request *rq, kadr_error *err) {
    uint32_t seed;
    if (request_has(rq, OPTION_seed)) return KADR_OK;
    if (getentropy(&seed, sizeof seed)) return err_errno(err, "random seed", "getentropy");
    return set_number(rq, OPTION_seed, seed, &fallback_origin, err);
}

static kadr_status check_side(const char *name, int64_t side, kadr_error *err) {
    if (side % 8 == 0) return KADR_OK;
    return err_set(err, KADR_EUSAGE,
                   "%s: expected a multiple of 8, such as %" PRId64 ", got %" PRId64, name,
                   side < 4 ? 8 : (side + 4) / 8 * 8, side);
}

static kadr_status check(const kadr_request *rq, kadr_error *err) {
    kadr_status status = check_side("width", rq->width, err);
    if (status == KADR_OK) status = check_side("height", rq->height, err);
    if (status != KADR_OK) return status;
    if (rq->mask && !rq->init)
        return err_set(err, KADR_EUSAGE, "mask: expected together with init, the picture to mask");
    if (!rq->init && rq->origin[OPTION_strength].source >= SOURCE_FLAG)
        return err_set(err, KADR_EUSAGE,
                       "strength: expected together with init, the picture to begin from");
    return KADR_OK;
}

kadr_status request_fill(kadr_request *rq, unsigned use, kadr_error *err) {
    kadr_status status = KADR_OK;
    for (int id = 0; status == KADR_OK && id < OPTIONS; id++) {
        const kadr_option *o = request_option_at(id);
        if (o->fallback && o->use & use && !request_has(rq, id))
            status = request_set_from(rq, id, o->fallback, &fallback_origin, err);
    }
    return status;
}

kadr_status request_resolve(kadr_request *rq, const json_t *model_defaults, const char *preset,
                            kadr_error *err) {
    kadr_status status = KADR_OK;
    if (rq->preset) status = apply_preset(rq, rq->preset, SOURCE_PRESET, err);
    if (status == KADR_OK && model_defaults) status = apply_model(rq, model_defaults, err);
    if (status == KADR_OK) status = apply_preset(rq, preset, SOURCE_DEFAULT_PRESET, err);
    if (status == KADR_OK) status = request_fill(rq, ~0u, err);
    if (status == KADR_OK) status = apply_aspect(rq, err);
    if (status == KADR_OK) status = apply_told_sizes(rq, err);
    if (status == KADR_OK) status = apply_seed(rq, err);
    return status == KADR_OK ? check(rq, err) : status;
}
