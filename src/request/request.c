/* request.c: requests made, copied, set and read by name. */
#include "request/request.h"

#include "base/buf.h"
#include "request/value.h"
#include <inttypes.h>
#include <string.h>

static const size_t field_offset[OPTIONS] = {
#define X(type, field, ...) offsetof(kadr_request, field),
#include "request/options.def"
#undef X
};

static void *field_at(const kadr_request *rq, enum option_id id) {
    return (char *)rq + field_offset[id];
}

static char **text_at(const kadr_request *rq, enum option_id id) {
    return field_at(rq, id);
}

static bool is_text(kadr_option_type type) {
    return type == KADR_TEXT || type == KADR_FILE || type == KADR_CHOICE;
}

/* ---- Making and freeing ---------------------------------------------------------------------- */
kadr_request *kadr_request_new(void) {
    struct mem *m = mem_open(0);
    if (!m) return NULL;
    kadr_request *rq = mem_alloc(m, sizeof *rq);
    if (!rq) {
        mem_close(m);
        return NULL;
    }
    rq->mem = m;
    return rq;
}

static void free_list(struct request_list *list) {
    for (size_t i = 0; i < list->count; i++) mem_free(list->item[i]);
    mem_free(list->item);
    *list = (struct request_list){0};
}

/* Back to unset. */
static void clear(kadr_request *rq, enum option_id id) {
    kadr_option_type type = request_option_at(id)->type;
    if (is_text(type)) {
        mem_free(*text_at(rq, id));
        *text_at(rq, id) = NULL;
    } else if (type == KADR_LIST) free_list(field_at(rq, id));
    else if (type == KADR_INT) *(int64_t *)field_at(rq, id) = 0;
    else if (type == KADR_REAL) *(double *)field_at(rq, id) = 0;
    else if (type == KADR_BYTES) *(uint64_t *)field_at(rq, id) = 0;
    else *(bool *)field_at(rq, id) = false;
    mem_free((char *)rq->origin[id].file);
    rq->origin[id] = (struct request_origin){0};
}

void kadr_request_free(kadr_request *rq) {
    if (!rq) return;
    for (int i = 0; i < OPTIONS; i++) clear(rq, i);
    mem_free(rq->model_path);
    mem_free(rq->text);
    struct mem *m = rq->mem;
    mem_free(rq);
    mem_close(m);
}

static bool copy_text(struct mem *m, const char *from, char **to) {
    *to = from ? mem_strdup(m, from) : NULL;
    return !from || *to;
}

static bool copy_list(struct mem *m, const struct request_list *from, struct request_list *to) {
    if (!from->count) return true;
    to->item = mem_array(m, from->count, sizeof *to->item);
    if (!to->item) return false;
    for (; to->count < from->count; to->count++)
        if (!copy_text(m, from->item[to->count], &to->item[to->count])) return false;
    return true;
}

static bool copy_option(const kadr_request *from, kadr_request *to, enum option_id id) {
    static const size_t size[] = {[KADR_INT] = sizeof(int64_t),
                                  [KADR_REAL] = sizeof(double),
                                  [KADR_BOOL] = sizeof(bool),
                                  [KADR_BYTES] = sizeof(uint64_t)};
    kadr_option_type type = request_option_at(id)->type;
    char *file;
    if (!copy_text(to->mem, from->origin[id].file, &file)) return false;
    to->origin[id] = from->origin[id];
    to->origin[id].file = file;
    if (is_text(type)) return copy_text(to->mem, *text_at(from, id), text_at(to, id));
    if (type == KADR_LIST) return copy_list(to->mem, field_at(from, id), field_at(to, id));
    memcpy(field_at(to, id), field_at(from, id), size[type]);
    return true;
}

kadr_request *kadr_request_copy(const kadr_request *rq) {
    kadr_request *copy = kadr_request_new();
    if (!copy) return NULL;
    bool ok = copy_text(copy->mem, rq->model_path, &copy->model_path);
    for (int i = 0; ok && i < OPTIONS; i++) ok = copy_option(rq, copy, i);
    copy->shaped = rq->shaped;
    if (ok) return copy;
    kadr_request_free(copy);
    return NULL;
}

/* ---- Setting --------------------------------------------------------------------------------- */
static bool append(struct mem *m, struct request_list *list, const char *text) {
    char **grown = mem_resize(m, list->item, (list->count + 1) * sizeof *grown);
    if (!grown) return false;
    list->item = grown;
    if (!(grown[list->count] = mem_strdup(m, text))) return false;
    list->count++;
    return true;
}

/* Puts a checked value in; false (and nothing changed) when memory is refused. */
static bool store(kadr_request *rq, enum option_id id, const struct value *v,
                  const struct request_origin *origin) {
    kadr_option_type type = request_option_at(id)->type;
    struct request_origin where = *origin;
    struct request_list list = {0};
    char *text = NULL, *file = NULL;
    bool more = type == KADR_LIST && rq->origin[id].source == origin->source;
    if (!copy_text(rq->mem, origin->file, &file)) return false;
    where.file = file;
    if (is_text(type) && !copy_text(rq->mem, v->text, &text)) goto fail;
    if (type == KADR_LIST && !append(rq->mem, more ? field_at(rq, id) : &list, v->text)) goto fail;

    if (more) mem_free((char *)rq->origin[id].file);
    else clear(rq, id);
    if (is_text(type)) *text_at(rq, id) = text;
    else if (type == KADR_INT) *(int64_t *)field_at(rq, id) = v->integer;
    else if (type == KADR_REAL) *(double *)field_at(rq, id) = v->real;
    else if (type == KADR_BYTES) *(uint64_t *)field_at(rq, id) = v->bytes;
    else if (type == KADR_BOOL) *(bool *)field_at(rq, id) = v->truth;
    else if (!more) *(struct request_list *)field_at(rq, id) = list;
    rq->origin[id] = where;
    return true;

fail:
    mem_free(file);
    mem_free(list.item);
    return false;
}

kadr_status request_set_from(kadr_request *rq, enum option_id id, const char *value,
                             const struct request_origin *origin, kadr_error *err) {
    struct value v;
    kadr_status status = value_parse(request_option_at(id), value, &v, err);
    if (status != KADR_OK) return status;
    if (rq->origin[id].source > origin->source) return KADR_OK;
    if (!store(rq, id, &v, origin)) return err_nomem(err, "a value of a request", strlen(value));
    if (id == OPTION_model) request_set_model_path(rq, NULL, NULL);
    if (id == OPTION_aspect) rq->shaped = 0;
    if (id == OPTION_width) rq->shaped &= ~(unsigned)SHAPED_WIDTH;
    if (id == OPTION_height) rq->shaped &= ~(unsigned)SHAPED_HEIGHT;
    return KADR_OK;
}

kadr_status kadr_request_set(kadr_request *rq, const char *name, const char *value,
                             kadr_error *err) {
    static const struct request_origin flag = {.source = SOURCE_FLAG};
    int id = request_option(name);
    if (id < 0) {
        const char *near = request_nearest_option(name, ~0u);
        return err_set(err, KADR_EUSAGE, "unknown option \"%.100s\"%s%s%s", name,
                       near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    if (value) return request_set_from(rq, id, value, &flag, err);
    clear(rq, id);
    if (id == OPTION_model) return request_set_model_path(rq, NULL, err);
    return KADR_OK;
}

kadr_status request_set_model_path(kadr_request *rq, const char *path, kadr_error *err) {
    char *copy;
    if (!copy_text(rq->mem, path, &copy)) return err_nomem(err, "a model's path", strlen(path));
    mem_free(rq->model_path);
    rq->model_path = copy;
    return KADR_OK;
}

const char *request_model_path(const kadr_request *rq) {
    return rq->model_path ? rq->model_path : rq->model;
}

/* ---- Reading --------------------------------------------------------------------------------- */
const char *kadr_request_get(const kadr_request *rq, const char *name) {
    int id = request_option(name);
    if (id < 0 || !request_has(rq, id)) return NULL;
    struct buf b;
    buf_init(&b, rq->mem);
    const struct request_list *list = field_at(rq, id);
    switch (request_option_at(id)->type) {
    case KADR_TEXT:
    case KADR_FILE:
    case KADR_CHOICE: buf_puts(&b, *text_at(rq, id)); break;
    case KADR_INT: buf_printf(&b, "%" PRId64, *(int64_t *)field_at(rq, id)); break;
    case KADR_REAL: value_print_real(&b, *(double *)field_at(rq, id)); break;
    case KADR_BYTES: value_print_bytes(&b, *(uint64_t *)field_at(rq, id)); break;
    case KADR_BOOL: buf_puts(&b, *(bool *)field_at(rq, id) ? "true" : "false"); break;
    case KADR_LIST:
        for (size_t i = 0; i < list->count; i++) {
            if (i) buf_putc(&b, '\n');
            buf_puts(&b, list->item[i]);
        }
    }
    /* The text belongs to the request, whose values it does not change. */
    kadr_request *holder = (kadr_request *)rq;
    mem_free(holder->text);
    holder->text = buf_take(&b);
    return holder->text;
}
