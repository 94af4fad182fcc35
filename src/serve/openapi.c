/* openapi.c: the description of the API (OpenAPI 3.1), made of what decides: schemas that are
 * written down (api.json), that of a drawing's request from the list of options, paths from the
 * table of routes. */
#include "serve/openapi.h"

#include "sample/sample.h"
#include "serve/routes.h"
#include <math.h>
#include <string.h>
#include <strings.h>

extern const char web_api[];
extern const size_t web_api_size;

/* ---- A drawing's request --------------------------------------------------------------------- */
static json_t *words(const char *choices) {
    json_t *list = json_array();
    for (const char *at = choices; *at;) {
        size_t n = strcspn(at, "|");
        json_array_append_new(list, json_stringn(at, n));
        at += n + (at[n] == '|');
    }
    return list;
}

static json_t *sampler_names(void) {
    json_t *list = json_array();
    struct sample_name s;
    for (size_t i = 0; sampler_at(i, &s); i++) json_array_append_new(list, json_string(s.name));
    return list;
}

static json_t *schedule_names(void) {
    json_t *list = json_array();
    for (const struct sample_name *s = sampler_schedule_names(); s->name; s++)
        json_array_append_new(list, json_string(s->name));
    return list;
}

/* What the list of options has no words for. */
static json_t *special(enum option_id id) {
    switch (id) {
    case OPTION_prompt: return json_pack("{s:s, s:i}", "type", "string", "minLength", 1);
    case OPTION_sampler: return json_pack("{s:o}", "enum", sampler_names());
    case OPTION_schedule: return json_pack("{s:o}", "enum", schedule_names());
    case OPTION_model:
        return json_pack("{s:s, s:s}", "type", "string", "pattern", "^[A-Za-z0-9_-]{1,100}$");
    case OPTION_aspect:
        return json_pack("{s:s, s:s}", "type", "string", "pattern", "^[1-9]:[1-9]$");
    case OPTION_guidance_interval:
        return json_pack("{s:s, s:s}", "type", "string", "pattern", "^0\\.[0-4],0\\.[5-9]$");
    case OPTION_lora:
    case OPTION_cast:
        return json_pack("{s:s, s:{s:s}}", "type", "array", "items", "type", "string");
    case OPTION_init:
    case OPTION_mask:
        return json_pack("{s:[{s:s, s:s}, {s:s}]}", "anyOf", "type", "string", "pattern",
                         "^[0-9a-f]{32}$", "$ref", "#/components/schemas/Number");
    default: return NULL;
    }
}

static json_t *number(const kadr_option *o, const char *type, double high) {
    json_t *schema = json_pack("{s:s}", "type", type);
    bool whole = !strcmp(type, "integer");
    json_object_set_new(schema, "minimum",
                        whole ? json_integer((json_int_t)o->low) : json_real(o->low));
    json_object_set_new(schema, "maximum",
                        whole ? json_integer((json_int_t)high) : json_real(high));
    return schema;
}

static json_t *plain(enum option_id id, const kadr_option *o) {
    json_t *schema;
    switch (o->type) {
    case KADR_INT:
        schema = number(o, "integer", id == OPTION_count ? JOBS_COUNT_MOST : o->high);
        if (id == OPTION_width || id == OPTION_height)
            json_object_set_new(schema, "multipleOf", json_integer(8));
        return schema;
    case KADR_REAL: return number(o, "number", o->high);
    case KADR_BOOL: return json_pack("{s:s}", "type", "boolean");
    case KADR_CHOICE: return json_pack("{s:o}", "enum", words(o->choices));
    default: return json_pack("{s:s}", "type", "string");
    }
}

/* A null is as good as nothing said. */
static void allow_null(json_t *schema) {
    json_t *type = json_object_get(schema, "type"), *choices = json_object_get(schema, "enum");
    json_t *any = json_object_get(schema, "anyOf");
    if (json_is_string(type))
        json_object_set_new(schema, "type", json_pack("[O, s]", type, "null"));
    if (choices) json_array_append_new(choices, json_null());
    if (any) json_array_append_new(any, json_pack("{s:s}", "type", "null"));
}

static json_t *request_schema(void) {
    json_t *properties = json_object();
    for (int id = 0; id < OPTIONS; id++) {
        const kadr_option *o = request_option_at((enum option_id)id);
        if (!jobs_allowed(id)) continue;
        json_t *schema = special((enum option_id)id);
        if (!schema) schema = plain((enum option_id)id, o);
        if (id != OPTION_prompt) allow_null(schema);
        json_object_set_new(schema, "description", json_string(o->help));
        json_object_set_new(properties, o->name, schema);
    }
    return json_pack("{s:s, s:[s], s:b, s:{s:[s], s:[s]}, s:o}", "type", "object", "required",
                     "prompt", "additionalProperties", 0, "dependentRequired", "strength", "init",
                     "mask", "init", "properties", properties);
}

/* The same as settings of a board or a panel, which become a drawing's only with the rest. */
static json_t *overrides_schema(const json_t *request) {
    json_t *properties = json_deep_copy(json_object_get(request, "properties")), *one;
    static const char *const whole[] = {"pattern", "multipleOf", "minLength"};
    const char *key;
    json_object_del(properties, "prompt");
    for (int i = 0; i < 2; i++)
        json_object_set_new(properties, i ? "mask" : "init",
                            json_pack("{s:[s, s, s], s:i, s:I}", "type", "string", "integer",
                                      "null", "minimum", 0, "maximum",
                                      (json_int_t)9007199254740991));
    json_object_foreach(properties, key, one) for (size_t i = 0; i < 3; i++)
        json_object_del(one, whole[i]);
    return json_pack("{s:s, s:b, s:o}", "type", "object", "additionalProperties", 0, "properties",
                     properties);
}

/* ---- Paths ----------------------------------------------------------------------------------- */
static json_t *reference(const char *kind, const char *name) {
    return json_pack("{s:o}", "$ref", json_sprintf("#/components/%s/%s", kind, name));
}

/* "/api/v1/jobs/{number}" of "/api/v1/jobs/" and a star. */
static json_t *path_text(const char *path) {
    struct mem *m = mem_open(0);
    struct buf b;
    buf_init(&b, m);
    for (; *path; path++) {
        if (*path == '*') buf_puts(&b, "{number}");
        else if (*path == '~') buf_puts(&b, "{name}");
        else buf_putc(&b, *path);
    }
    json_t *text = json_stringn(b.data, b.size);
    buf_free(&b);
    mem_close(m);
    return text;
}

static json_t *parameters(const struct route *r) {
    json_t *list = json_array();
    char name[64];
    if (strchr(r->path, '*')) json_array_append_new(list, reference("parameters", "number"));
    if (strchr(r->path, '~')) json_array_append_new(list, reference("parameters", "name"));
    for (const char *at = r->query ? r->query : ""; *at;) {
        size_t n = strcspn(at, " ");
        snprintf(name, sizeof name, "%.*s", (int)n, at);
        json_array_append_new(list, reference("parameters", name));
        at += n + (at[n] == ' ');
    }
    return list;
}

static json_t *body(const struct route *r) {
    static const char *const pictures[] = {"image/png", "image/jpeg", "image/webp"};
    json_t *content = json_object();
    if (r->body == BODY_PICTURE)
        for (size_t i = 0; i < 3; i++) json_object_set_new(content, pictures[i], json_object());
    else if (r->body == BODY_FORM)
        json_object_set_new(content, "multipart/form-data",
                            json_pack("{s:{s:s}}", "schema", "type", "object"));
    else
        json_object_set_new(
            content, "application/json",
            json_pack("{s:o}", "schema", reference("schemas", r->takes ? r->takes : "Any")));
    return json_pack("{s:b, s:o}", "required", 1, "content", content);
}

/* Content types, apart by blanks. */
static json_t *types(const char *names) {
    json_t *content = json_object();
    char name[64];
    for (const char *at = names; *at;) {
        size_t n = strcspn(at, " ");
        snprintf(name, sizeof name, "%.*s", (int)n, at);
        json_object_set_new(content, name, json_object());
        at += n + (at[n] == ' ');
    }
    return content;
}

static json_t *responses(const struct route *r) {
    const char *gives = r->gives ? r->gives : "Any";
    char code[16];
    json_t *content = strchr(gives, '/') ? types(gives)
                                         : json_pack("{s:{s:o}}", "application/json", "schema",
                                                     reference("schemas", gives));
    json_t *error = json_pack("{s:s, s:{s:{s:o}}}", "description", "why not", "content",
                              "application/json", "schema", reference("schemas", "Error"));
    snprintf(code, sizeof code, "%u", r->code ? r->code : 200);
    return json_pack("{s:{s:s, s:o}, s:o}", code, "description", "done", "content", content,
                     "default", error);
}

static json_t *operation(const struct route *r) {
    json_t *o = json_pack("{s:s, s:o, s:o}", "summary", r->about, "parameters", parameters(r),
                          "responses", responses(r));
    if (r->body != BODY_NONE) json_object_set_new(o, "requestBody", body(r));
    if (r->how & ROUTE_OPEN) json_object_set_new(o, "security", json_array());
    return o;
}

json_t *openapi(void) {
    const struct route *r;
    json_t *all = json_loadb(web_api, web_api_size, 0, NULL), *paths = json_object();
    json_t *schemas = json_object_get(json_object_get(all, "components"), "schemas");
    for (size_t i = 0; (r = route_at(i)); i++) {
        json_t *path = path_text(r->path);
        json_t *methods = json_object_get(paths, json_string_value(path));
        char method[8] = "";
        if (!methods) {
            methods = json_object();
            json_object_set_new(paths, json_string_value(path), methods);
        }
        for (size_t k = 0; r->method[k] && k < sizeof method - 1; k++)
            method[k] = (char)(r->method[k] | 0x20), method[k + 1] = 0;
        json_object_set_new(methods, method, operation(r));
        json_decref(path);
    }
    json_t *request = request_schema();
    json_object_set_new(schemas, "Overrides", overrides_schema(request));
    json_object_set_new(schemas, "Request", request);
    json_object_set_new(json_object_get(all, "info"), "version", json_string(kadr_version()));
    json_object_set_new(all, "paths", paths);
    return all;
}

void openapi_get(struct call *c) {
    call_json(c, 200, openapi());
}
