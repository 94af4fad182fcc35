/* json.c: see json.h. Depth and strings are checked before jansson sees the text, because jansson
 * recurses. */
#include "base/json.h"
#include "base/file.h"

#include <string.h>

#define DEPTH 100

static bool too_deep(const char *text, size_t size) {
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\') i++;
            else if (c == '"') quoted = false;
        } else if (c == '"') quoted = true;
        else if (c == '{' || c == '[') {
            if (++depth > DEPTH) return true;
        } else if (c == '}' || c == ']') depth--;
    }
    return false;
}

kadr_status json_parse(const char *text, size_t size, const char *name, kadr_status bad,
                       json_t **out, kadr_error *err) {
    if (too_deep(text, size))
        return err_set(err, bad, "%s: JSON nested deeper than %d", name, DEPTH);
    json_error_t e = {0}; /* without memory jansson does not set the error's code */
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
    if (!json && json_error_code(&e) == json_error_numeric_overflow) /* reals hold more */
        json = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &e);
    if (!json) {
        /* Jansson does not always say that it had no memory; then it says nothing. */
        if (json_error_code(&e) == json_error_out_of_memory || !e.text[0])
            return err_nomem(err, name, size);
        return err_set(err, bad, "%s:%d:%d: not valid JSON: %s", name, e.line, e.column, e.text);
    }
    *out = json;
    return KADR_OK;
}

kadr_status json_read(struct mem *m, const char *path, size_t most, kadr_status bad, json_t **out,
                      kadr_error *err) {
    char *text;
    size_t size;
    kadr_status st = file_read_all(m, path, most, bad, &text, &size, err);
    if (st) return st;
    st = json_parse(text, size, path, bad, out, err);
    mem_free(text);
    return st;
}

static const json_t *get(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v) ? v : NULL;
}

static int put_bytes(const char *bytes, size_t size, void *user) {
    struct buf *to = user;
    buf_add(to, bytes, size);
    return buf_ok(to) ? 0 : -1;
}

bool json_put(struct buf *to, const json_t *json, size_t flags) {
    return json && json_dump_callback(json, put_bytes, to, flags) == 0;
}

kadr_status json_get_int(const json_t *o, const char *name, const char *key, int64_t low,
                         int64_t high, int64_t *out, kadr_error *err) {
    const json_t *v = get(o, key);
    if (!v) return KADR_OK;
    if (!json_is_integer(v) || json_integer_value(v) < low || json_integer_value(v) > high)
        return err_set(err, KADR_EMODEL, "%s: %s: expected a whole number from %lld to %lld", name,
                       key, (long long)low, (long long)high);
    *out = json_integer_value(v);
    return KADR_OK;
}

kadr_status json_get_real(const json_t *o, const char *name, const char *key, double *out,
                          kadr_error *err) {
    const json_t *v = get(o, key);
    if (!v) return KADR_OK;
    if (!json_is_number(v))
        return err_set(err, KADR_EMODEL, "%s: %s: expected a number", name, key);
    *out = json_number_value(v);
    return KADR_OK;
}

kadr_status json_get_bool(const json_t *o, const char *name, const char *key, bool *out,
                          kadr_error *err) {
    const json_t *v = get(o, key);
    if (!v) return KADR_OK;
    if (!json_is_boolean(v))
        return err_set(err, KADR_EMODEL, "%s: %s: expected true or false", name, key);
    *out = json_is_true(v);
    return KADR_OK;
}

kadr_status json_get_string(const json_t *o, const char *name, const char *key, const char **out,
                            kadr_error *err) {
    const json_t *v = get(o, key);
    if (!v) return KADR_OK;
    if (!json_is_string(v)) return err_set(err, KADR_EMODEL, "%s: %s: expected a text", name, key);
    *out = json_string_value(v);
    return KADR_OK;
}
