/* settings.c: option values read from JSON and written as JSON. */
#include "request/settings.h"

#include "base/buf.h"
#include "request/value.h"
#include <string.h>

static const char *expected_type(kadr_option_type type) {
    switch (type) {
    case KADR_INT: return "a whole number";
    case KADR_REAL: return "a number";
    case KADR_BOOL: return "true or false";
    case KADR_LIST: return "an array of texts";
    default: return "a text";
    }
}

static bool fits(kadr_option_type type, const json_t *value) {
    switch (type) {
    case KADR_INT: return json_is_integer(value);
    case KADR_REAL: return json_is_number(value);
    case KADR_BOOL: return json_is_boolean(value);
    case KADR_BYTES: return json_is_string(value) || json_is_integer(value);
    case KADR_LIST: return json_is_array(value);
    default: return json_is_string(value);
    }
}

static kadr_status set_scalar(kadr_request *rq, enum option_id id, const json_t *value,
                              const struct request_origin *origin, kadr_error *err) {
    struct buf text;
    kadr_status status;
    buf_init(&text, rq->mem);
    if (json_is_string(value)) {
        buf_add(&text, json_string_value(value), json_string_length(value));
        if (strlen(json_string_value(value)) != json_string_length(value))
            return buf_free(&text), err_set(err, KADR_EUSAGE, "%s: expected text without a byte 0",
                                            request_option_at(id)->name);
    } else if (json_is_boolean(value)) buf_puts(&text, json_is_true(value) ? "true" : "false");
    else if (json_is_integer(value))
        buf_printf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else value_print_real(&text, json_real_value(value));
    if (!buf_ok(&text)) status = err_nomem(err, "a value of a request", text.size);
    else status = request_set_from(rq, id, text.data, origin, err);
    buf_free(&text);
    return status;
}

kadr_status request_set_json(kadr_request *rq, enum option_id id, const json_t *value,
                             const struct request_origin *origin, kadr_error *err) {
    const kadr_option *o = request_option_at(id);
    if (json_is_null(value)) return KADR_OK;
    if (!fits(o->type, value))
        return err_set(err, KADR_EUSAGE, "%s: expected %s", o->name, expected_type(o->type));
    if (o->type != KADR_LIST) return set_scalar(rq, id, value, origin, err);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        if (!json_is_string(item))
            return err_set(err, KADR_EUSAGE, "%s: expected an array of texts", o->name);
        kadr_status status = set_scalar(rq, id, item, origin, err);
        if (status != KADR_OK) return status;
    }
    return KADR_OK;
}

kadr_status request_from_json(kadr_request *rq, const json_t *settings,
                              const struct request_origin *origin, kadr_status bad,
                              kadr_error *err) {
    const char *key;
    json_t *value;
    if (!json_is_object(settings)) return err_set(err, bad, "settings: expected an object");
    json_object_foreach((json_t *)settings, key, value) {
        int id = request_option(key);
        if (id < 0 || !(request_option_at(id)->use & KADR_IN_SETTINGS)) {
            const char *near = request_nearest_option(key, KADR_IN_SETTINGS);
            return err_set(err, bad, "unknown setting \"%.100s\"%s%s%s", key,
                           near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
        }
        kadr_status status = request_set_json(rq, id, value, origin, err);
        if (status == KADR_EUSAGE && err) err->status = bad;
        if (status != KADR_OK) return status == KADR_EUSAGE ? bad : status;
    }
    return KADR_OK;
}

static json_t *list_to_json(const struct request_list *list) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < list->count; i++)
        if (json_array_append_new(array, json_string(list->item[i]))) {
            json_decref(array);
            return NULL;
        }
    return array;
}

#define TO_JSON_TEXT(field) json_string(rq->field)
#define TO_JSON_FILE(field) json_string(rq->field)
#define TO_JSON_CHOICE(field) json_string(rq->field)
#define TO_JSON_INT(field) json_integer(rq->field)
#define TO_JSON_REAL(field) json_real(rq->field)
#define TO_JSON_BOOL(field) json_boolean(rq->field)
#define TO_JSON_BYTES(field) json_integer((json_int_t)rq->field)
#define TO_JSON_LIST(field) list_to_json(&rq->field)

static json_t *option_to_json(const kadr_request *rq, enum option_id id) {
    switch (id) {
#define X(type, field, ...)                                                                        \
    case OPTION_##field:                                                                           \
        return TO_JSON_##type(field);
#include "request/options.def"
#undef X
    case OPTIONS: break;
    }
    return NULL;
}

/* Sizes that follow from the picture's: they shall follow again where that is changed. */
static bool is_derived(const kadr_request *rq, enum option_id id) {
    return id >= OPTION_original_width && id <= OPTION_target_height &&
           rq->origin[id].source == SOURCE_FALLBACK;
}

json_t *request_to_json(const kadr_request *rq) {
    json_t *settings = json_object();
    for (int id = 0; settings && id < OPTIONS; id++) {
        const kadr_option *o = request_option_at(id);
        if (!(o->use & KADR_IN_SETTINGS) || !request_has(rq, id) || is_derived(rq, id)) continue;
        if (json_object_set_new(settings, o->name, option_to_json(rq, id))) {
            json_decref(settings);
            return NULL;
        }
    }
    return settings;
}
