/* request.h: what is to be drawn. One list (options.def) makes the fields below; each value
 * remembers where it came from, and a value never replaces one from a more specific place:
 *
 *     kadr_request *rq = kadr_request_new();
 *     kadr_request_set(rq, "width", "512", err);              // as a flag does
 *     request_read_configuration(rq, KADR_FOR_GENERATE, err); // environment, ./kadr.ini, the
 * user's request_resolve(rq, model_defaults, preset, err);               // presets, model,
 * fallbacks, checks use(rq->width, rq->guidance, rq->prompt);
 *
 * After request_resolve every field is set that has a preset, a default of the model or a fallback;
 * the rest (prompt, negative, init, ...) is NULL, 0 or empty when unset: request_has tells.
 *
 * A request takes its memory from a ledger of its own and is used by one thread at a time.
 */
#ifndef KADR_REQUEST_REQUEST_H
#define KADR_REQUEST_REQUEST_H

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

/* Where a value came from, the less specific first: a value replaces those of its own and of lesser
 * places. */
enum request_source {
    SOURCE_UNSET,
    SOURCE_FALLBACK,       /* options.def */
    SOURCE_DEFAULT_PRESET, /* preset balanced, when nobody named one */
    SOURCE_BOARD,          /* what a board takes unless told otherwise */
    SOURCE_MODEL,          /* kadr.json of the model */
    SOURCE_PRESET,         /* --preset */
    SOURCE_USER,           /* kadr.ini of the user */
    SOURCE_PROJECT,        /* ./kadr.ini */
    SOURCE_ENVIRONMENT,    /* KADR_... */
    SOURCE_PICTURE,        /* --from */
    SOURCE_FLAG,           /* the command line, or kadr_request_set */
    SOURCE_SCRIPT,         /* what a board's script says about one panel */
};

struct request_origin {
    enum request_source source;
    const char *file; /* NULL when it is no file; owned by the request where it is stored */
    int line;         /* from 1; 0: none */
};

struct request_list {
    size_t count;
    char **item;
};

#define REQUEST_C_TEXT const char *
#define REQUEST_C_FILE const char *
#define REQUEST_C_CHOICE const char *
#define REQUEST_C_INT int64_t
#define REQUEST_C_REAL double
#define REQUEST_C_BOOL bool
#define REQUEST_C_BYTES uint64_t
#define REQUEST_C_LIST struct request_list

enum option_id {
#define X(type, field, ...) OPTION_##field,
#include "request/options.def"
#undef X
    OPTIONS
};

enum request_shaped { SHAPED_WIDTH = 1, SHAPED_HEIGHT = 2 };

struct kadr_request {
    struct mem *mem;
#define X(type, field, ...) REQUEST_C_##type field;
#include "request/options.def"
#undef X
    struct request_origin origin[OPTIONS];
    char *model_path; /* see request_model_path */
    char *text;       /* what kadr_request_get gave last */
    unsigned shaped;  /* SHAPED_...: worked out from aspect */
};

/* ---- Options --------------------------------------------------------------------------------- */
/* The id of a name, or -1. */
int request_option(const char *name);
const kadr_option *request_option_at(enum option_id id);
/* The nearest of `count` words to one that was not found, or NULL when none is near. */
const char *request_nearest(const char *word, const char *const *words, size_t count);
/* The option among those with any of the bits `use` whose name is nearest, or NULL. */
const char *request_nearest_option(const char *name, unsigned use);

/* ---- Values ---------------------------------------------------------------------------------- */
static inline bool request_has(const kadr_request *rq, enum option_id id) {
    return rq->origin[id].source != SOURCE_UNSET;
}

/* As kadr_request_set, from a named place. What is there from a more specific place stays, which is
 * no error (but the value is still checked). `origin->file` is copied. */
kadr_status request_set_from(kadr_request *rq, enum option_id id, const char *value,
                             const struct request_origin *origin, kadr_error *err);

/* The file where the model was found, kept apart from the name in `model` by which it was asked for
 * and which goes into the settings: a picture must not depend on where a model lies. */
kadr_status request_set_model_path(kadr_request *rq, const char *path, kadr_error *err);
/* What is to be opened: that path, or `model` itself; NULL when there is neither. */
const char *request_model_path(const kadr_request *rq);

/* Splits an entry of `lora`: returns how many of its bytes are the path, and the weight. */
size_t request_weighted(const char *entry, double *weight);

/* Numbers as they stand in options, whatever the locale: decimal, at most 15 digits count. */
bool request_parse_real(const char *text, double *out);
/* 512M, 1.5G, 8GiB, bytes without a unit; units are binary. */
bool request_parse_bytes(const char *text, uint64_t *out);

/* "0.2,0.8" -> both, 0 <= *from <= *to <= 1. */
bool request_parse_interval(const char *text, double *from, double *to);

/* "16:9", "2.39:1", "1.5" -> width / height; false when it is none or outside 1:16..16:1. */
bool request_parse_aspect(const char *text, double *out);

/* ---- Configuration --------------------------------------------------------------------------- */
/* Reads the environment, ./kadr.ini and the user's kadr.ini into what is not set more specifically.
 * Keys before any section count for all commands; [generate], [board], ... for that one (a
 * KADR_FOR_ bit). A missing file is no error; a wrong line is, with its place. */
kadr_status request_read_configuration(kadr_request *rq, unsigned command, kadr_error *err);

/* One file or one text of that form. */
kadr_status request_read_ini(kadr_request *rq, const char *path, enum request_source source,
                             unsigned command, kadr_error *err);
kadr_status request_parse_ini(kadr_request *rq, const char *text, size_t size, const char *name,
                              enum request_source source, unsigned command, kadr_error *err);

/* The files that request_read_configuration looks for. The user's is NULL when there is no home. */
#define REQUEST_PROJECT_INI "kadr.ini"
char *request_user_ini(struct arena *a);

/* ---- Settings as JSON ------------------------------------------------------------------------ */
/* Everything set that decides the pixels, in the order of options.def; `count` pictures differ only
 * in `seed`. NULL when memory is refused. Dump it with REQUEST_JSON_FLAGS: the same request gives
 * the same bytes, and numbers come back as they were. */
#define REQUEST_JSON_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(15))
json_t *request_to_json(const kadr_request *rq);

/* Sets every option named in an object; keys that do not decide pixels or are unknown are refused
 * (`bad`: the status of that), so a newer picture is not half understood. */
kadr_status request_from_json(kadr_request *rq, const json_t *settings,
                              const struct request_origin *origin, kadr_status bad,
                              kadr_error *err);

/* ---- Resolving ------------------------------------------------------------------------------- */
/* Defaults that a model folder carries in its kadr.json ({"width": 192, "steps": 20, ...}: options
 * that decide pixels and name no file; other keys are left alone). NULL in *out when there are
 * none. The caller owns *out. */
kadr_status request_model_defaults(const char *model_path, json_t **out, kadr_error *err);

/* Gives what is unset of the options for `use` its fallback: for commands that draw nothing of
 * their own. */
kadr_status request_fill(kadr_request *rq, unsigned use, kadr_error *err);
/* Fills what is unset (see enum request_source for the order), works out --aspect, the sizes that
 * SDXL is told and a random seed, and checks what must fit together. `model_defaults` may be NULL.
 * `preset`: the one for a machine as this, for what neither a preset that is named nor the model
 * says. A second call changes nothing but what depends on values set since. */
kadr_status request_resolve(kadr_request *rq, const json_t *model_defaults, const char *preset,
                            kadr_error *err);

/* Presets, for `kadr config show`. */
struct request_preset {
    const char *name;
    struct request_preset_value {
        enum option_id id;
        const char *value;
    } value[12]; /* ends with value NULL */
};
const struct request_preset *request_presets(size_t *count);
const struct request_preset *request_preset(const char *name);
/* The preset that suits a machine with so many bytes of memory. */
const char *request_preset_for(uint64_t memory); /* NULL: unknown */

/* "flag --width", "/home/x/.config/kadr/kadr.ini:3", "environment KADR_WIDTH", ... */
char *request_origin_text(const kadr_request *rq, enum option_id id, struct arena *a);

#endif
