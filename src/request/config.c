/* config.c: options from the environment and from kadr.ini.
 *
 * inih reads lines of at most its own buffer (198 bytes where it is built as usual): a longer one
 * is refused with its place, and an indented line goes on the value above it. */
#include "request/request.h"

#include "base/buf.h"
#include "base/file.h"
#include <ctype.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#define INI_MOST ((size_t)1 << 20)

static const struct {
    const char *section;
    unsigned command;
} sections[] = {{"generate", KADR_FOR_GENERATE}, {"board", KADR_FOR_BOARD},
                {"tokens", KADR_FOR_TOKENS},     {"inspect", KADR_FOR_INSPECT},
                {"plan", KADR_FOR_PLAN},         {"pack", KADR_FOR_PACK}};
#define SECTIONS (sizeof sections / sizeof *sections)

struct reading {
    kadr_request *rq;
    const char *name; /* of the file */
    enum request_source source;
    unsigned command;
    const char *at, *end; /* what is left of the text */
    int line;             /* the one read last */
    bool indented;        /* that line begins with a space */
    bool too_long;
    /* The key whose value is being read. */
    struct buf key, value;
    int key_line;
    bool wanted; /* its section counts for this command */
    kadr_status status;
    kadr_error *err;
};

/* fgets from the text, counting lines. */
static char *read_line(char *to, int room, void *user) {
    struct reading *r = user;
    if (r->at == r->end || r->too_long || r->status != KADR_OK) return NULL;
    const char *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
    size_t size = (size_t)((newline ? newline + 1 : r->end) - r->at);
    r->line++;
    r->indented = isspace((unsigned char)*r->at);
    if (size >= (size_t)room) {
        r->too_long = true;
        r->status = err_set(r->err, KADR_EUSAGE,
                            "%s:%d: expected at most %d bytes in a line; a value goes on in the "
                            "next line when that is indented",
                            r->name, r->line, room - 2);
        return NULL;
    }
    memcpy(to, r->at, size);
    to[size] = 0;
    r->at += size;
    return to;
}

/* Sets the key that was read whole. */
static kadr_status set_key(struct reading *r) {
    const struct request_origin origin = {r->source, r->name, r->key_line};
    if (!buf_ok(&r->key) || !buf_ok(&r->value))
        return err_nomem(r->err, "a configuration", r->value.size);
    if (!r->key.size) return KADR_OK;
    int id = request_option(r->key.data);
    if (id < 0) {
        const char *near = request_nearest_option(r->key.data, KADR_IN_CONFIG);
        return err_set(r->err, KADR_EUSAGE, "%s:%d: unknown key \"%s\"%s%s%s", r->name, r->key_line,
                       r->key.data, near ? ", did you mean \"" : "", near ? near : "",
                       near ? "\"?" : "");
    }
    if (!(request_option_at(id)->use & KADR_IN_CONFIG))
        return err_set(r->err, KADR_EUSAGE, "%s:%d: %s may only be given as a flag", r->name,
                       r->key_line, r->key.data);
    /* What another command wants is checked all the same. */
    kadr_request *rq = r->wanted ? r->rq : kadr_request_new();
    if (!rq) return err_nomem(r->err, "a request", sizeof *rq);
    kadr_status status = request_set_from(rq, id, r->value.data, &origin, r->err);
    if (!r->wanted) kadr_request_free(rq);
    if (status != KADR_OK) err_context(r->err, "%s:%d", r->name, r->key_line);
    return status;
}

static kadr_status check_section(const struct reading *r, const char *section, bool *wanted) {
    *wanted = !*section;
    if (*wanted) return KADR_OK;
    const char *words[SECTIONS];
    for (size_t i = 0; i < SECTIONS; i++) {
        words[i] = sections[i].section;
        if (strcmp(words[i], section)) continue;
        *wanted = sections[i].command & r->command;
        return KADR_OK;
    }
    const char *near = request_nearest(section, words, SECTIONS);
    return err_set(r->err, KADR_EUSAGE,
                   "%s:%d: unknown section [%s]%s%s, expected one of generate, board, tokens, "
                   "inspect, plan",
                   r->name, r->line, section, near ? ", did you mean " : "", near ? near : "");
}

static int take_pair(void *user, const char *section, const char *name, const char *value) {
    struct reading *r = user;
    if (r->status != KADR_OK) return 0;
    if (r->indented && r->key.size && !strcmp(r->key.data, name)) {
        buf_putc(&r->value, ' ');
        buf_puts(&r->value, value);
        return 1;
    }
    r->status = set_key(r);
    if (r->status == KADR_OK) r->status = check_section(r, section, &r->wanted);
    buf_clear(&r->key);
    buf_clear(&r->value);
    buf_puts(&r->key, name);
    buf_puts(&r->value, value);
    r->key_line = r->line;
    return r->status == KADR_OK;
}

kadr_status request_parse_ini(kadr_request *rq, const char *text, size_t size, const char *name,
                              enum request_source source, unsigned command, kadr_error *err) {
    struct reading r = {.rq = rq,
                        .name = name,
                        .source = source,
                        .command = command,
                        .at = text,
                        .end = text + size,
                        .err = err};
    if (memchr(text, 0, size))
        return err_set(err, KADR_EUSAGE, "%s: expected text, found a byte 0", name);
    buf_init(&r.key, rq->mem);
    buf_init(&r.value, rq->mem);
    int wrong = ini_parse_stream(read_line, &r, take_pair, &r);
    if (r.status == KADR_OK) r.status = set_key(&r);
    if (r.status == KADR_OK && wrong)
        r.status =
            err_set(err, KADR_EUSAGE, "%s:%d: expected NAME = VALUE or [SECTION]", name, wrong);
    buf_free(&r.key);
    buf_free(&r.value);
    return r.status;
}

kadr_status request_read_ini(kadr_request *rq, const char *path, enum request_source source,
                             unsigned command, kadr_error *err) {
    char *text;
    size_t size;
    kadr_status status = file_read_all(rq->mem, path, INI_MOST, KADR_EIO, &text, &size, err);
    if (status != KADR_OK) return status;
    status = request_parse_ini(rq, text, size, path, source, command, err);
    mem_free(text);
    return status;
}

char *request_user_ini(struct arena *a) {
    return file_place(a, "XDG_CONFIG_HOME", ".config", "kadr/kadr.ini");
}

/* "clip-skip" -> "KADR_CLIP_SKIP" */
static void variable_name(const char *option, struct buf *to) {
    buf_puts(to, "KADR_");
    for (const char *c = option; *c; c++)
        buf_putc(to, *c == '-' ? '_' : (char)toupper((unsigned char)*c));
}

/* A list's entries are lines. */
static kadr_status set_lines(kadr_request *rq, enum option_id id, char *value,
                             const struct request_origin *origin, kadr_error *err) {
    kadr_status status = KADR_OK;
    for (char *next; value && status == KADR_OK; value = next) {
        next = strchr(value, '\n');
        if (next) *next++ = 0;
        if (*value) status = request_set_from(rq, id, value, origin, err);
    }
    return status;
}

static kadr_status read_variable(kadr_request *rq, enum option_id id, kadr_error *err) {
    struct buf name;
    kadr_status status = KADR_OK;
    char *copy = NULL;
    buf_init(&name, rq->mem);
    variable_name(request_option_at(id)->name, &name);
    const char *value = buf_ok(&name) ? getenv(name.data) : NULL;
    if (!buf_ok(&name) || (value && !(copy = mem_strdup(rq->mem, value))))
        status = err_nomem(err, "the environment", name.size);
    else if (value && *value) {
        const struct request_origin origin = {SOURCE_ENVIRONMENT, name.data, 0};
        status = request_option_at(id)->type == KADR_LIST
                     ? set_lines(rq, id, copy, &origin, err)
                     : request_set_from(rq, id, copy, &origin, err);
        if (status != KADR_OK) err_context(err, "%s", name.data);
    }
    mem_free(copy);
    buf_free(&name);
    return status;
}

kadr_status request_read_configuration(kadr_request *rq, unsigned command, kadr_error *err) {
    kadr_status status = KADR_OK;
    struct arena a;
    arena_init(&a, rq->mem);
    for (int id = 0; id < OPTIONS && status == KADR_OK; id++)
        if (request_option_at(id)->use & KADR_IN_CONFIG) status = read_variable(rq, id, err);
    if (status == KADR_OK && file_is_there(REQUEST_PROJECT_INI))
        status = request_read_ini(rq, REQUEST_PROJECT_INI, SOURCE_PROJECT, command, err);
    const char *user = request_user_ini(&a);
    if (status == KADR_OK && user && file_is_there(user))
        status = request_read_ini(rq, user, SOURCE_USER, command, err);
    arena_free(&a);
    return status;
}

char *request_origin_text(const kadr_request *rq, enum option_id id, struct arena *a) {
    const struct request_origin *o = &rq->origin[id];
    const char *name = request_option_at(id)->name;
    if ((id == OPTION_width && rq->shaped & SHAPED_WIDTH) ||
        (id == OPTION_height && rq->shaped & SHAPED_HEIGHT))
        return arena_printf(a, "aspect %s", rq->aspect);
    switch (o->source) {
    case SOURCE_UNSET: return arena_strdup(a, "unset");
    case SOURCE_FALLBACK: return arena_strdup(a, "fallback");
    case SOURCE_DEFAULT_PRESET:
        return arena_strdup(a, "the preset for this machine, as none is named");
    case SOURCE_BOARD: return arena_strdup(a, "usual for a board");
    case SOURCE_MODEL: return arena_strdup(a, "the model");
    case SOURCE_PRESET: return arena_printf(a, "preset %s", rq->preset ? rq->preset : "?");
    case SOURCE_ENVIRONMENT: return arena_printf(a, "environment %s", o->file);
    case SOURCE_PICTURE: return arena_printf(a, "picture %s", o->file ? o->file : "?");
    case SOURCE_FLAG: return arena_printf(a, "flag --%s", name);
    case SOURCE_USER:
    case SOURCE_PROJECT:
    case SOURCE_SCRIPT: break;
    }
    if (!o->file) return arena_strdup(a, "script");
    return o->line ? arena_printf(a, "%s:%d", o->file, o->line) : arena_strdup(a, o->file);
}
