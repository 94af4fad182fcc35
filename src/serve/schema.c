/* schema.c: bodies against the description that is told of them: what api.json says is what is
 * taken. Of JSON Schema it knows what stands there: $ref, anyOf, type, enum, ranges, items,
 * properties, required, additionalProperties. */
#include "serve/inside.h"

#include <stdio.h>
#include <string.h>

#define PLACE 200

struct checking {
    const json_t *schemas; /* by name */
    char place[PLACE];     /* "panel.cast[2]" */
    kadr_error *err;
};

static kadr_status wrong(const struct checking *c, const char *what) {
    const char *place = *c->place ? c->place : "body";
    return err_set(c->err, KADR_EUSAGE, "%s: expected %s", place, what);
}

static bool is_type(const json_t *v, const char *type) {
    if (!strcmp(type, "string")) return json_is_string(v);
    if (!strcmp(type, "object")) return json_is_object(v);
    if (!strcmp(type, "array")) return json_is_array(v);
    if (!strcmp(type, "boolean")) return json_is_boolean(v);
    if (!strcmp(type, "null")) return json_is_null(v);
    if (!strcmp(type, "number")) return json_is_number(v);
    return json_is_integer(v); /* "integer" */
}

/* "string or null" */
static kadr_status check_type(const struct checking *c, const json_t *type, const json_t *v) {
    char said[PLACE] = "";
    size_t i;
    json_t *one;
    if (json_is_string(type))
        return is_type(v, json_string_value(type)) ? KADR_OK : wrong(c, json_string_value(type));
    json_array_foreach((json_t *)type, i, one) {
        size_t used = strlen(said);
        if (is_type(v, json_string_value(one))) return KADR_OK;
        snprintf(said + used, sizeof said - used, "%s%s", i ? " or " : "", json_string_value(one));
    }
    return type ? wrong(c, said) : KADR_OK;
}

static kadr_status check_range(const struct checking *c, const json_t *schema, const json_t *v) {
    const json_t *low = json_object_get(schema, "minimum"),
                 *high = json_object_get(schema, "maximum");
    char said[PLACE];
    double n = json_number_value(v);
    if (!json_is_number(v) || !low || !high) return KADR_OK;
    if (n >= json_number_value(low) && n <= json_number_value(high)) return KADR_OK;
    snprintf(said, sizeof said, "a number from %.15g to %.15g", json_number_value(low),
             json_number_value(high));
    return wrong(c, said);
}

static kadr_status check_choice(const struct checking *c, const json_t *choices, const json_t *v) {
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)choices, i, one) if (json_equal(one, (json_t *)v)) return KADR_OK;
    return choices ? wrong(c, "one of those that the description lists") : KADR_OK;
}

static kadr_status check(struct checking *c, const json_t *schema, const json_t *v);

/* What lies inside, told by its place. */
static kadr_status check_inside(struct checking *c, const json_t *schema, const json_t *v,
                                const char *key, size_t index) {
    size_t used = strlen(c->place);
    if (key) snprintf(c->place + used, PLACE - used, "%s%.100s", used ? "." : "", key);
    else snprintf(c->place + used, PLACE - used, "[%zu]", index);
    kadr_status st = schema ? check(c, schema, v) : wrong(c, "nothing: there is no such field");
    c->place[used] = 0;
    return st;
}

static kadr_status check_items(struct checking *c, const json_t *schema, const json_t *v) {
    const json_t *items = json_object_get(schema, "items");
    const json_t *least = json_object_get(schema, "minItems"),
                 *most = json_object_get(schema, "maxItems");
    size_t i, n = json_array_size(v);
    json_t *one;
    kadr_status st = KADR_OK;
    if (least && n < (size_t)json_integer_value(least)) return wrong(c, "more of them");
    if (most && n > (size_t)json_integer_value(most)) return wrong(c, "fewer of them");
    json_array_foreach((json_t *)v, i, one) {
        if (!st && items) st = check_inside(c, items, one, NULL, i);
    }
    return st;
}

static kadr_status check_fields(struct checking *c, const json_t *schema, const json_t *v) {
    const json_t *properties = json_object_get(schema, "properties"), *required, *field;
    bool closed = json_is_false(json_object_get(schema, "additionalProperties"));
    const char *key;
    json_t *one;
    size_t i;
    kadr_status st = KADR_OK;
    required = json_object_get(schema, "required");
    json_array_foreach((json_t *)required, i, one) {
        key = json_string_value(one);
        if (!st && !json_object_get(v, key)) st = err_set(c->err, KADR_EUSAGE, "%s: expected", key);
    }
    json_object_foreach((json_t *)v, key, one) {
        field = json_object_get(properties, key);
        if (!st && (field || closed)) st = check_inside(c, field, one, key, 0);
    }
    return st;
}

static kadr_status check_any(struct checking *c, const json_t *any, const json_t *v) {
    size_t i;
    json_t *one;
    kadr_status st = KADR_OK;
    json_array_foreach((json_t *)any, i, one) {
        st = check(c, one, v);
        if (!st) break;
    }
    return st;
}

static kadr_status check(struct checking *c, const json_t *schema, const json_t *v) {
    const char *reference = json_string_value(json_object_get(schema, "$ref"));
    if (reference) schema = json_object_get(c->schemas, strrchr(reference, '/') + 1);
    kadr_status st = check_any(c, json_object_get(schema, "anyOf"), v);
    if (!st) st = check_type(c, json_object_get(schema, "type"), v);
    if (!st) st = check_choice(c, json_object_get(schema, "enum"), v);
    if (!st) st = check_range(c, schema, v);
    if (!st && json_is_array(v)) st = check_items(c, schema, v);
    if (!st && json_is_object(v)) st = check_fields(c, schema, v);
    return st;
}

kadr_status schema_check(const json_t *api, const char *name, const json_t *value,
                         kadr_error *err) {
    struct checking c = {.schemas = json_object_get(json_object_get(api, "components"), "schemas"),
                         .err = err};
    const json_t *schema = json_object_get(c.schemas, name);
    return schema ? check(&c, schema, value) : KADR_OK;
}
