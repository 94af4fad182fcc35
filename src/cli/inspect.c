/* inspect.c: kadr inspect: what the library finds in a model or a picture. */
#include "cli/cli.h"

#include <string.h>

static double number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

/* "f16", or "f16 (1680), f32 (12)" */
static void put_formats(struct buf *to, const json_t *formats) {
    const char *name;
    json_t *count;
    bool several = json_object_size(formats) > 1, first = true;
    json_object_foreach((json_t *)formats, name, count) {
        buf_printf(to, "%s%s", first ? "" : ", ", name);
        if (several) buf_printf(to, " (%" JSON_INTEGER_FORMAT ")", json_integer_value(count));
        first = false;
    }
}

static void put_component(struct buf *to, const char *name, double tensors, double parameters,
                          double bytes, const json_t *formats) {
    size_t before = to->size;
    buf_printf(to, "  %-16s %7.0f  %9.2f M  ", name, tensors, parameters * 1e-6);
    cli_print_size(to, bytes);
    for (size_t n = to->size - before; n < 52; n++) buf_putc(to, ' ');
    put_formats(to, formats);
    buf_putc(to, '\n');
}

static void describe_model(struct buf *to, const json_t *model) {
    const json_t *components = json_object_get(model, "components");
    const char *name;
    json_t *c;
    double tensors = 0, parameters = 0, bytes = 0;
    buf_printf(to, "%s: %s\n  %-16s %7s  %11s  %-10s formats\n",
               json_string_value(json_object_get(model, "path")),
               json_string_value(json_object_get(model, "kind")), "component", "tensors",
               "parameters", "size");
    json_object_foreach((json_t *)components, name, c) {
        put_component(to, name, number(c, "tensors"), number(c, "parameters"), number(c, "bytes"),
                      json_object_get(c, "dtypes"));
        tensors += number(c, "tensors");
        parameters += number(c, "parameters");
        bytes += number(c, "bytes");
    }
    put_component(to, "together", tensors, parameters, bytes, NULL);
}

static void describe_picture(struct buf *to, const json_t *picture) {
    const json_t *settings = json_object_get(picture, "kadr");
    buf_printf(to, "%s: %.0fx%.0f\n", json_string_value(json_object_get(picture, "path")),
               number(picture, "width"), number(picture, "height"));
    cli_describe(to, json_is_object(settings) ? settings : json_object_get(picture, "texts"), 2);
}

kadr_status command_inspect(struct cli *cli, kadr_error *err) {
    struct work w = {0};
    char *text = NULL;
    json_t *json = NULL;
    const char *path = NULL;
    kadr_status status = cli_configure(cli, err);
    if (status == KADR_OK) status = cli_model_file(cli, cli->word[0], &path, err);
    if (status == KADR_OK) status = work_open(&w, cli, err);
    if (status == KADR_OK) status = kadr_inspect(w.ctx, path, &text, err);
    if (status == KADR_OK)
        status = json_parse(text, strlen(text), "report", KADR_EOTHER, &json, err);
    if (status == KADR_OK && cli->rq->json) status = cli_print_json(cli, json, err);
    else if (status == KADR_OK) {
        struct buf to;
        buf_init(&to, cli->mem);
        if (json_object_get(json, "components")) describe_model(&to, json);
        else describe_picture(&to, json);
        status = cli_print_buf(&to, err);
    }
    json_decref(json);
    kadr_free(text);
    work_close(&w);
    return status;
}
