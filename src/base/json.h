/* json.h: JSON from outside, through jansson, with errors that name file, line and column.
 * Duplicate keys and nesting deeper than 100 are refused. In a text with a whole number that 64
 * bits cannot hold (Python writes such, for "no limit") every number is a real one. */
#ifndef KADR_BASE_JSON_H
#define KADR_BASE_JSON_H

#include "base/buf.h"
#include "base/err.h"
#include <jansson.h>

/* `name` is used in messages only. `bad` is the status of an error of form. The caller owns *out
 * (json_decref). */
kadr_status json_parse(const char *text, size_t size, const char *name, kadr_status bad,
                       json_t **out, kadr_error *err);

/* Reads and parses a file of at most `most` bytes. */
kadr_status json_read(struct mem *m, const char *path, size_t most, kadr_status bad, json_t **out,
                      kadr_error *err);

/* Appends `json` as text, with jansson's flags; false (and nothing more) when it is NULL or memory
 * is refused. */
bool json_put(struct buf *to, const json_t *json, size_t flags);

/* Typed look-ups in an object: absent or null keeps the default in *out; another type or a value
 * outside [low, high] is an error that names `name` and the key. */
kadr_status json_get_int(const json_t *o, const char *name, const char *key, int64_t low,
                         int64_t high, int64_t *out, kadr_error *err);
kadr_status json_get_real(const json_t *o, const char *name, const char *key, double *out,
                          kadr_error *err);
kadr_status json_get_bool(const json_t *o, const char *name, const char *key, bool *out,
                          kadr_error *err);
/* Borrowed from `o`. */
kadr_status json_get_string(const json_t *o, const char *name, const char *key, const char **out,
                            kadr_error *err);

#endif
