/* macos.c: JSON as the dependency-free rooms see it when they are linked for macOS without
 * libraries: configurations that say nothing. */
#include "base/json.h"

kadr_status json_get_int(const json_t *o, const char *name, const char *key, int64_t low,
                         int64_t high, int64_t *out, kadr_error *err) {
    (void)o, (void)name, (void)key, (void)low, (void)high, (void)out, (void)err;
    return KADR_OK;
}

kadr_status json_get_real(const json_t *o, const char *name, const char *key, double *out,
                          kadr_error *err) {
    (void)o, (void)name, (void)key, (void)out, (void)err;
    return KADR_OK;
}

kadr_status json_get_bool(const json_t *o, const char *name, const char *key, bool *out,
                          kadr_error *err) {
    (void)o, (void)name, (void)key, (void)out, (void)err;
    return KADR_OK;
}

kadr_status json_get_string(const json_t *o, const char *name, const char *key, const char **out,
                            kadr_error *err) {
    (void)o, (void)name, (void)key, (void)out, (void)err;
    return KADR_OK;
}
