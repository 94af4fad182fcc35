/* models.c: kadr models: what models are here by name, and what each would take. */
#include "cli/cli.h"

#include "hub/hub.h"
#include <stdio.h>
#include <string.h>

/* Budgets under which the least is looked for: what fits under none of them gets told by the first
 * that lets the plan itself be made. */
static const uint64_t small_budgets[] = {(uint64_t)12 << 20, (uint64_t)40 << 20,
                                         (uint64_t)128 << 20};
#define EVERYTHING ((uint64_t)1 << 40)

/* ---- What a model would take ----------------------------------------------------------------- */
/* The plan of its default picture within `memory`. */
static kadr_status plan(const char *path, uint64_t memory, json_t **out, kadr_error *err) {
    const kadr_config config = {.memory = memory};
    kadr_context *ctx = NULL;
    char *text = NULL;
    kadr_request *rq = kadr_request_new();
    kadr_status st = rq ? KADR_OK : err_nomem(err, "a request", sizeof *rq);
    if (!st) st = kadr_open(&config, &ctx, err);
    if (!st) st = kadr_request_set(rq, "model", path, err);
    if (!st) st = kadr_request_set(rq, "prompt", "", err);
    if (!st) st = kadr_plan(ctx, &rq, 1, &text, err);
    if (!st) st = json_parse(text, strlen(text), "plan", KADR_EOTHER, out, err);
    kadr_free(text);
    kadr_close(ctx);
    kadr_request_free(rq);
    return st;
}

static double peak_of(const json_t *plan) {
    return cli_number(json_array_get(json_object_get(plan, "requests"), 0), "peak_bytes");
}

static kadr_status least(const char *path, double *bytes, kadr_error *err) {
    kadr_status st = KADR_EMEMORY;
    for (size_t i = 0; i < sizeof small_budgets / sizeof *small_budgets && st; i++) {
        json_t *json = NULL;
        st = plan(path, small_budgets[i], &json, err);
        if (!st) *bytes = peak_of(json);
        json_decref(json);
        if (st && st != KADR_EMEMORY) return st;
    }
    return st;
}

static kadr_status inspect(const char *path, json_t **out, kadr_error *err) {
    kadr_context *ctx = NULL;
    char *text = NULL;
    kadr_status st = kadr_open(NULL, &ctx, err);
    if (!st) st = kadr_inspect(ctx, path, &text, err);
    if (!st) st = json_parse(text, strlen(text), "report", KADR_EOTHER, out, err);
    kadr_free(text);
    kadr_close(ctx);
    return st;
}

/* Adds kind, picture and memory to what is told of a model. */
static kadr_status measure(const char *path, json_t *model, kadr_error *err) {
    json_t *found = NULL, *whole = NULL;
    double bytes = 0;
    kadr_status st = inspect(path, &found, err);
    if (!st) st = plan(path, EVERYTHING, &whole, err);
    if (!st) st = least(path, &bytes, err);
    if (!st) {
        const json_t *rq = json_array_get(json_object_get(whole, "requests"), 0);
        json_t *more =
            json_pack("{s:s, s:O, s:O, s:O, s:I, s:I}", "kind", cli_text(found, "kind"), "width",
                      json_object_get(rq, "width"), "height", json_object_get(rq, "height"),
                      "precision", json_object_get(rq, "precision"), "least_bytes",
                      (json_int_t)bytes, "whole_bytes", (json_int_t)peak_of(whole));
        if (!more || json_object_update(model, more)) st = err_nomem(err, "the list of models", 0);
        json_decref(more);
    }
    json_decref(found);
    json_decref(whole);
    return st;
}

/* One model of the list. What cannot be drawn with is told with the reason. */
static kadr_status tell(json_t *list, const char *name, const struct hub_model *m, bool measured,
                        kadr_error *err) {
    kadr_error why = {0};
    json_t *model =
        json_pack("{s:s, s:s*, s:I}", "name", name, "path", m->path, "bytes", (json_int_t)m->bytes);
    kadr_status st = model ? KADR_OK : err_nomem(err, "the list of models", 0);
    kadr_status can = KADR_OK;
    if (!st && m->unfinished) can = err_set(&why, KADR_EMODEL, "its download was broken off");
    else if (!st && measured) can = measure(m->path, model, &why);
    bool failed = !st && ((measured && json_object_set_new(model, "usable", json_boolean(!can))) ||
                          (can && json_object_set_new(model, "why", json_string(why.message))) ||
                          (m->unfinished && json_object_set_new(model, "unfinished", json_true())));
    if (!st && (failed || json_array_append(list, model)))
        st = err_nomem(err, "the list of models", 0);
    json_decref(model);
    return st;
}

/* ---- As a table ------------------------------------------------------------------------------ */
static void put_size(struct buf *to, double bytes) {
    struct buf text;
    buf_init(&text, to->mem);
    cli_print_size(&text, bytes);
    buf_printf(to, "%12s", buf_ok(&text) ? text.data : "?");
    buf_free(&text);
}

static void put_row(struct buf *to, const json_t *m, int widest) {
    char size[32];
    snprintf(size, sizeof size, "%.0fx%.0f", cli_number(m, "width"), cli_number(m, "height"));
    buf_printf(to, "%-*s  %-20s", widest, cli_text(m, "name"), cli_text(m, "kind"));
    put_size(to, cli_number(m, "bytes"));
    buf_printf(to, "%12s", size);
    put_size(to, cli_number(m, "least_bytes"));
    put_size(to, cli_number(m, "whole_bytes"));
    buf_putc(to, '\n');
}

static void describe(struct buf *to, const json_t *list) {
    size_t others = 0;
    int widest = 4;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i);
        int n = (int)strlen(cli_text(m, "name"));
        if (json_is_true(json_object_get(m, "usable"))) widest = n > widest ? n : widest;
    }
    buf_printf(to, "%-*s  %-20s%12s%12s%12s%12s\n", widest, "name", "kind", "on disk", "draws",
               "needs", "or for all");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i);
        if (json_is_true(json_object_get(m, "usable"))) put_row(to, m, widest);
        else if (!json_object_get(m, "unfinished")) others++;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i);
        if (json_object_get(m, "unfinished"))
            buf_printf(to, "%s: its download was broken off; kadr pull %s goes on with it\n",
                       cli_text(m, "name"), cli_text(m, "name"));
    }
    if (others) buf_printf(to, "%zu more that kadr cannot draw with; --json tells why\n", others);
}

static kadr_status tell_named(struct cli *cli, json_t *list, const char *name, bool measured,
                              kadr_error *err) {
    struct hub_model model = {0};
    if (cli_model_file(cli, name, &model.path, NULL)) return KADR_OK;
    hub_measure(&cli->arena, &model);
    return tell(list, name, &model, measured, err);
}

kadr_status cli_models(struct cli *cli, bool measured, json_t **out, kadr_error *err) {
    struct hub_model *models;
    size_t count = 0;
    const char *own = cli->rq->model;
    json_t *list = *out = json_array();
    kadr_status st = list ? KADR_OK : err_nomem(err, "the list of models", 0);
    if (!st && own) st = tell_named(cli, list, own, measured, err);
    if (!st && (!own || strcmp(own, "mini") != 0))
        st = tell_named(cli, list, "mini", measured, err);
    if (!st) st = hub_list(&cli->arena, &models, &count, err);
    for (size_t i = 0; i < count && !st; i++)
        if (!own || strcmp(own, models[i].name) != 0)
            st = tell(list, models[i].name, &models[i], measured, err);
    if (st) {
        json_decref(list);
        *out = NULL;
    }
    return st;
}

kadr_status command_models(struct cli *cli, kadr_error *err) {
    json_t *list = NULL;
    kadr_status st = cli_configure(cli, err);
    kadr_request_set(cli->rq, "model", NULL, NULL); /* all are told, in their order */
    if (!st) st = cli_models(cli, true, &list, err);
    if (!st && cli->rq->json) {
        json_t *all = json_pack("{s:O}", "models", list);
        st = all ? cli_print_json(cli, all, err) : err_nomem(err, "the list of models", 0);
        json_decref(all);
    } else if (!st) {
        struct buf to;
        buf_init(&to, cli->mem);
        describe(&to, list);
        st = cli_print_buf(&to, err);
    }
    json_decref(list);
    return st;
}
