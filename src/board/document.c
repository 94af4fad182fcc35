/* document.c: boards read, checked, saved, and the questions asked of them. See document.h. */
#include "board/document.h"
#include "base/file.h"
#include "request/request.h"
#include <stdio.h>
#include <string.h>

/* ---- Looking --------------------------------------------------------------------------------- */
size_t document_count(const json_t *doc) {
    return json_array_size(json_object_get(doc, "boards"));
}

json_t *document_panel(const json_t *doc, size_t i) {
    return json_array_get(json_object_get(doc, "boards"), i);
}

const char *document_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

const char *document_number(const json_t *panel, char text[24]) {
    const json_t *number = json_object_get(panel, "number");
    if (json_is_string(number)) return json_string_value(number);
    snprintf(text, 24, "%" JSON_INTEGER_FORMAT, json_integer_value(number));
    return text;
}

json_t *document_find(const json_t *doc, const char *number, size_t *at) {
    char text[24];
    for (size_t i = 0; i < document_count(doc); i++) {
        json_t *panel = document_panel(doc, i);
        if (strcmp(document_number(panel, text), number) != 0) continue;
        if (at) *at = i;
        return panel;
    }
    return NULL;
}

double document_seconds(const json_t *doc, const json_t *panel) {
    double ms = json_number_value(json_object_get(panel, "duration"));
    if (!(ms > 0)) ms = json_number_value(json_object_get(doc, "defaultBoardTiming"));
    return (ms > 0 ? ms : DOCUMENT_TIMING) / 1000;
}

const char *document_picture(const json_t *panel) {
    const json_t *versions = json_object_get(panel, "versions");
    json_int_t approved = json_integer_value(json_object_get(panel, "approved"));
    const json_t *shown = json_array_get(versions, json_array_size(versions) - 1);
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)versions, i,
                       one) if (approved && json_integer_value(json_object_get(one, "version")) ==
                                                approved) shown = one;
    return json_string_value(json_object_get(shown, "url"));
}

/* ---- Checking -------------------------------------------------------------------------------- */
/* The text that is checked, to tell lines; NULL: there is none. */
struct check {
    const char *text, *name;
    size_t size;
    kadr_error *err;
};

/* Where the nth object of the array "boards" begins, or the text's beginning. */
static struct board_place place_of(const struct check *c, size_t nth) {
    struct board_place at = {1, 1}, found = {1, 1};
    int depth = 0;
    bool quoted = false, boards = false;
    size_t begun = 0, key = 0, count = 0;
    for (size_t i = 0; i < c->size; i++, at.column++) {
        char b = c->text[i];
        if (b == '\n') at = (struct board_place){at.line + 1, 0};
        else if ((b & 0xC0) == 0x80) at.column--;
        if (quoted) {
            if (b == '\\') i++, at.column++;
            else if (b == '"') quoted = false, key = i;
        } else if (b == '"') quoted = true, begun = i + 1;
        else if (b == ':' && depth == 1)
            boards = key - begun == 6 && !memcmp(c->text + begun, "boards", 6);
        else if (b == '{' || b == '[') {
            if (++depth == 3 && boards && b == '{' && count++ == nth) return at;
        } else if (b == '}' || b == ']') depth--;
    }
    return found;
}

static kadr_status wrong(const struct check *c, size_t i, const char *what) {
    if (!c->text) return err_set(c->err, KADR_EUSAGE, "%s: panel %zu: %s", c->name, i + 1, what);
    struct board_place at = place_of(c, i);
    return err_set(c->err, KADR_EUSAGE, "%s:%d:%d: panel %zu: %s", c->name, at.line, at.column,
                   i + 1, what);
}

static bool good_number(const json_t *number) {
    if (json_is_integer(number))
        return json_integer_value(number) >= 0 && json_integer_value(number) < 1000000000;
    const char *text = json_string_value(number);
    size_t size = json_string_length(number);
    return text && size && size <= 16 &&
           strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-") == size;
}

/* A picture lies in the board's folder: names that leave it are refused. */
static bool good_path(const char *path) {
    return *path != '/' && strncmp(path, "../", 3) != 0 && !strstr(path, "/../");
}

static bool good_versions(const json_t *versions) {
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)versions, i, one) {
        const char *url = json_string_value(json_object_get(one, "url"));
        if (json_integer_value(json_object_get(one, "version")) < 1 || !url || !good_path(url))
            return false;
    }
    return json_is_array(versions);
}

static bool is_time(const json_t *v) {
    return json_is_number(v) && json_number_value(v) >= 0 &&
           json_number_value(v) <= BOARD_SECONDS * 1000;
}

static bool is_texts(const json_t *v) {
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)v, i, one) if (!json_is_string(one)) return false;
    return json_is_array(v) || json_is_string(v);
}

static bool is_text(const json_t *v) {
    return json_is_string(v);
}
static bool is_object(const json_t *v) {
    return json_is_object(v);
}
static bool is_seed(const json_t *v) {
    return json_is_integer(v) && json_integer_value(v) >= 0;
}
static bool is_version(const json_t *v) {
    return json_is_integer(v) && json_integer_value(v) >= 1;
}

static kadr_status check_panel(const struct check *c, size_t i, const json_t *panel) {
    static const struct {
        const char *key;
        bool (*good)(const json_t *);
        const char *want;
    } fields[] = {{"prompt", is_text, "prompt: expected a text"},
                  {"negative", is_text, "negative: expected a text"},
                  {"action", is_text, "action: expected a text"},
                  {"dialogue", is_text, "dialogue: expected a text"},
                  {"notes", is_text, "notes: expected a text"},
                  {"shot", is_text, "shot: expected a text"},
                  {"camera", is_text, "camera: expected a text"},
                  {"uid", is_text, "uid: expected a text"},
                  {"duration", is_time, "duration: expected milliseconds, at most an hour"},
                  {"seed", is_seed, "seed: expected a whole number from 0"},
                  {"cast", is_texts, "cast: expected a text or a list of texts"},
                  {"overrides", is_object, "overrides: expected an object of settings"},
                  {"versions", good_versions, "versions: expected a list of {version, url, ...}"},
                  {"approved", is_version, "approved: expected the number of a version"}};
    if (!json_is_object(panel)) return wrong(c, i, "expected an object");
    if (!good_number(json_object_get(panel, "number")))
        return wrong(c, i, "number: expected 1 to 16 of A-Z, a-z, 0-9 and -");
    for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
        const json_t *v = json_object_get(panel, fields[k].key);
        if (v && !json_is_null(v) && !fields[k].good(v)) return wrong(c, i, fields[k].want);
    }
    return KADR_OK;
}

static kadr_status check_numbers(const struct check *c, const json_t *doc) {
    char text[24], message[64];
    kadr_status status = KADR_OK;
    json_t *seen = json_object();
    if (!seen) return err_nomem(c->err, "a board", 0);
    for (size_t i = 0; status == KADR_OK && i < document_count(doc); i++) {
        const char *number = document_number(document_panel(doc, i), text);
        const json_t *first = json_object_get(seen, number);
        snprintf(message, sizeof message, "a second panel of number %.16s, as panel %d", number,
                 (int)json_integer_value(first));
        if (first) status = wrong(c, i, message);
        else if (json_object_set_new(seen, number, json_integer((json_int_t)i + 1)))
            status = err_nomem(c->err, "a board", 0);
    }
    json_decref(seen);
    return status;
}

static kadr_status check(const struct check *c, const json_t *doc) {
    const json_t *form = json_object_get(doc, "kadr_board");
    const json_t *boards = json_object_get(doc, "boards");
    const json_t *glossary = json_object_get(doc, "glossary");
    kadr_status status = KADR_OK;
    if (!json_is_object(doc) || !json_is_array(boards))
        return err_set(c->err, KADR_EUSAGE, "%s:1:1: expected a board: an object with \"boards\"",
                       c->name);
    if (form && (!json_is_integer(form) || json_integer_value(form) > DOCUMENT_FORM))
        return err_set(c->err, KADR_EUSAGE,
                       "%s:1:1: a board of form %" JSON_INTEGER_FORMAT
                       ", written by a newer kadr; this one knows %d",
                       c->name, json_integer_value(form), DOCUMENT_FORM);
    if (glossary && !json_is_object(glossary))
        return err_set(c->err, KADR_EUSAGE, "%s:1:1: glossary: expected an object", c->name);
    size_t count = json_array_size(boards);
    if (!count || count > BOARD_PANELS)
        return err_set(c->err, KADR_EUSAGE, "%s:1:1: %zu panels; expected 1 to %d", c->name, count,
                       BOARD_PANELS);
    for (size_t i = 0; status == KADR_OK && i < count; i++)
        status = check_panel(c, i, json_array_get(boards, i));
    return status == KADR_OK ? check_numbers(c, doc) : status;
}

kadr_status document_check(const json_t *doc, const char *name, kadr_error *err) {
    return check(&(struct check){.name = name, .err = err}, doc);
}

/* ---- Reading and saving ---------------------------------------------------------------------- */
static kadr_status parse_script(json_t **doc, struct mem *m, const char *text, size_t size,
                                const char *name, kadr_error *err) {
    struct board b;
    kadr_status status = board_parse(&b, m, text, size, name, err);
    if (status != KADR_OK) return status;
    *doc = document_of_board(&b, file_name(name));
    board_free(&b);
    return *doc ? KADR_OK : err_nomem(err, "a board", size);
}

kadr_status document_parse(json_t **doc, struct mem *m, const char *text, size_t size,
                           const char *name, kadr_error *err) {
    const char *end = file_extension(name);
    size_t at = 0;
    *doc = NULL;
    if (size >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) at = 3;
    while (at < size && strchr(" \t\r\n", text[at])) at++;
    bool json = !strcmp(end, "json") || !strcmp(end, "storyboarder") ||
                (at < size && text[at] == '{' && strcmp(end, "fountain") != 0);
    if (!json) return parse_script(doc, m, text, size, name, err);
    if (at < 3) at = 0;
    json_t *file = NULL;
    kadr_status status = json_parse(text + at, size - at, name, KADR_EUSAGE, &file, err);
    if (status != KADR_OK) return status;
    if (!json_object_get(file, "kadr_board") && json_is_array(json_object_get(file, "boards")))
        *doc = document_from_storyboarder(file);
    else *doc = json_incref(file);
    json_decref(file);
    if (!*doc) return err_nomem(err, name, size);
    status = check(&(struct check){text, name, size, err}, *doc);
    if (status != KADR_OK) {
        json_decref(*doc);
        *doc = NULL;
    }
    return status;
}

kadr_status document_read(json_t **doc, struct mem *m, const char *path, kadr_error *err) {
    char *text = NULL;
    size_t size = 0;
    *doc = NULL;
    kadr_status status = file_read_all(m, path, BOARD_BYTES * 4, KADR_EIO, &text, &size, err);
    if (status == KADR_OK) status = document_parse(doc, m, text, size, path, err);
    mem_free(text);
    return status;
}

/* What lies at `path` also as PATH.bak. */
static kadr_status back_up(struct mem *m, const char *path, kadr_error *err) {
    char *text = NULL;
    size_t size = 0;
    struct buf name;
    if (!file_exists(path)) return KADR_OK;
    buf_init(&name, m);
    buf_printf(&name, "%s.bak", path);
    kadr_status status = buf_ok(&name) ? KADR_OK : err_nomem(err, path, 0);
    if (status == KADR_OK)
        status = file_read_all(m, path, BOARD_BYTES * 4, KADR_EIO, &text, &size, err);
    if (status == KADR_OK) status = file_write_atomic(m, name.data, text, size, err);
    mem_free(text);
    buf_free(&name);
    return status;
}

kadr_status document_save(const json_t *doc, struct mem *m, const char *path, bool backup,
                          kadr_error *err) {
    struct buf text;
    kadr_status status = backup ? back_up(m, path, err) : KADR_OK;
    if (status != KADR_OK) return status;
    buf_init(&text, m);
    json_put(&text, doc, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    buf_putc(&text, '\n');
    if (!buf_ok(&text) || text.size < 3) status = err_nomem(err, path, text.size);
    else status = file_write_atomic(m, path, text.data, text.size, err);
    buf_free(&text);
    return status;
}

/* ---- Working --------------------------------------------------------------------------------- */
kadr_status document_inherit(json_t *doc, const json_t *old, kadr_error *err) {
    static const char *const keys[] = {"versions", "approved", "pending", "url", "lastEdited"};
    char text[24];
    json_t *removed = json_object_get(old, "removed");
    removed = removed ? json_copy(removed) : json_array();
    for (size_t i = 0; i < document_count(old); i++) {
        json_t *was = document_panel(old, i), *is = NULL;
        const char *uid = document_text(was, "uid");
        for (size_t k = 0; *uid && !is && k < document_count(doc); k++)
            if (!strcmp(document_text(document_panel(doc, k), "uid"), uid))
                is = document_panel(doc, k);
        if (!is) is = document_find(doc, document_number(was, text), NULL);
        if (!is && document_picture(was)) json_array_append(removed, was);
        for (size_t k = 0; is && k < sizeof keys / sizeof *keys; k++)
            if (json_object_get(was, keys[k]))
                json_object_set(is, keys[k], json_object_get(was, keys[k]));
    }
    if (json_array_size(removed)) json_object_set(doc, "removed", removed);
    json_decref(removed);
    if (!json_object_get(doc, "seed") && json_object_get(old, "seed") &&
        json_object_set(doc, "seed", json_object_get(old, "seed")))
        return err_nomem(err, "a board", 0);
    return KADR_OK;
}

static kadr_status select_one(const json_t *doc, const char *text, size_t size, size_t *at,
                              kadr_error *err) {
    char number[24];
    snprintf(number, sizeof number, "%.*s", (int)(size < 23 ? size : 23), text);
    if (document_find(doc, number, at)) return KADR_OK;
    return err_set(err, KADR_EUSAGE, "panels: no panel of number \"%s\"", number);
}

kadr_status document_select(const json_t *doc, const char *panels, bool *chosen, kadr_error *err) {
    while (*panels) {
        size_t size = strcspn(panels, ","), first, last;
        kadr_status status = select_one(doc, panels, size, &first, NULL);
        last = first;
        if (status != KADR_OK) { /* no number that has a dash itself */
            const char *dash = memchr(panels, '-', size);
            size_t left = dash ? (size_t)(dash - panels) : size;
            status = select_one(doc, panels, left, &first, err);
            last = first;
            if (status == KADR_OK && dash)
                status = select_one(doc, dash + 1, size - left - 1, &last, err);
        }
        if (status != KADR_OK) return status;
        if (last < first)
            return err_set(err, KADR_EUSAGE, "panels: \"%.*s\" goes backwards", (int)size, panels);
        for (size_t i = first; i <= last; i++) chosen[i] = true;
        panels += size + (panels[size] == ',');
    }
    return KADR_OK;
}
