/* config.c: kadr config show, path and check. */
#include "cli/cli.h"

#include "base/file.h"
#include "base/sys.h"
#include <string.h>

extern char **environ;

/* The request as it would be drawn. */
static kadr_status resolve(struct cli *cli, kadr_error *err) {
    json_t *defaults = NULL;
    kadr_status status = cli_prepare(cli, err);
    if (status == KADR_OK)
        status = request_model_defaults(request_model_path(cli->rq), &defaults, err);
    if (status == KADR_OK)
        status = request_resolve(cli->rq, defaults, request_preset_for(sys_memory_total()), err);
    json_decref(defaults);
    return status;
}

/* A seed that nobody gave is another one each time. */
static const char *value_of(struct cli *cli, const kadr_option *o, enum option_id id) {
    if (id == OPTION_seed && cli->rq->origin[id].source == SOURCE_FALLBACK) return "random";
    return kadr_request_get(cli->rq, o->name);
}

static kadr_status show_json(struct cli *cli, kadr_error *err) {
    json_t *all = json_object();
    for (int id = 0; all && id < OPTIONS; id++) {
        const kadr_option *o = request_option_at(id);
        const char *value = value_of(cli, o, id);
        if (!value || !(o->use & (KADR_IN_CONFIG | KADR_IN_SETTINGS))) continue;
        json_object_set_new(all, o->name,
                            json_pack("{s:s, s:s}", "value", value, "from",
                                      request_origin_text(cli->rq, id, &cli->arena)));
    }
    if (!all) return err_nomem(err, "the configuration", 0);
    kadr_status status = cli_print_json(cli, all, err);
    json_decref(all);
    return status;
}

static kadr_status show(struct cli *cli, kadr_error *err) {
    kadr_status status = resolve(cli, err);
    if (status != KADR_OK) return status;
    if (cli->rq->json) return show_json(cli, err);
    struct buf to;
    const char *group = "";
    buf_init(&to, cli->mem);
    for (int id = 0; id < OPTIONS; id++) {
        const kadr_option *o = request_option_at(id);
        const char *value = value_of(cli, o, id);
        if (!value || !(o->use & (KADR_IN_CONFIG | KADR_IN_SETTINGS))) continue;
        if (strcmp(group, o->group)) buf_printf(&to, "%s%s\n", *group ? "\n" : "", o->group);
        group = o->group;
        buf_printf(&to, "  %-18s%-14s  %s\n", o->name, value,
                   request_origin_text(cli->rq, id, &cli->arena));
    }
    return cli_print_buf(&to, err);
}

static kadr_status show_paths(struct cli *cli, kadr_error *err) {
    const char *paths[] = {REQUEST_PROJECT_INI, request_user_ini(&cli->arena)};
    struct buf to;
    buf_init(&to, cli->mem);
    for (size_t i = 0; i < 2; i++)
        if (paths[i])
            buf_printf(&to, "%s%s\n", paths[i], file_exists(paths[i]) ? "" : " (does not exist)");
    return cli_print_buf(&to, err);
}

/* Variables that look like kadr's and are not. */
static void warn_of_variables(struct cli *cli) {
    static const char *const others[] = {"CPU", "TEST_DATA"};
    for (char **v = environ; *v; v++) {
        if (strncmp(*v, "KADR_", 5)) continue;
        char *name = arena_strndup(&cli->arena, *v + 5, strcspn(*v + 5, "="));
        bool known = !name;
        for (size_t i = 0; name && i < sizeof others / sizeof *others; i++)
            known |= !strcmp(name, others[i]);
        for (char *c = name; c && *c; c++)
            *c = *c == '_' ? '-' : *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
        int id = known ? -1 : request_option(name);
        if (known || (id >= 0 && (request_option_at(id)->use & KADR_IN_CONFIG))) continue;
        const char *line =
            arena_printf(&cli->arena, "%.*s in the environment means nothing to kadr",
                         (int)strcspn(*v, "="), *v);
        if (line) console_log(&cli->console, KADR_LOG_WARN, line);
    }
}

static kadr_status check_files(const kadr_request *rq, kadr_error *err) {
    const char *files[] = {rq->vae, rq->init, rq->mask, rq->noise};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i] && !file_exists(files[i]) && !file_is_folder(files[i]))
            return err_set(err, KADR_EIO, "%s: no such file", files[i]);
    const struct request_list *lists[] = {&rq->lora, &rq->embedding};
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < lists[i]->count; k++) {
            double weight;
            const char *entry = lists[i]->item[k];
            size_t n = i == 0 ? request_weighted(entry, &weight) : strlen(entry);
            char *path = mem_alloc(rq->mem, n + 1);
            if (!path) return err_nomem(err, "a path", n);
            memcpy(path, entry, n);
            bool there = file_exists(path);
            mem_free(path);
            if (!there) return err_set(err, KADR_EIO, "%.*s: no such file", (int)n, entry);
        }
    return KADR_OK;
}

static kadr_status check(struct cli *cli, kadr_error *err) {
    struct work w = {0};
    char *plan = NULL;
    kadr_status status = resolve(cli, err);
    warn_of_variables(cli);
    if (status == KADR_OK) status = check_files(cli->rq, err);
    if (status == KADR_OK && !cli->rq->prompt)
        status = kadr_request_set(cli->rq, "prompt", "", err);
    /* The plan reads the model's headers and finds the sampler: what it accepts can be drawn. */
    if (status == KADR_OK) status = work_open(&w, cli, err);
    if (status == KADR_OK) status = kadr_plan(w.ctx, &cli->rq, 1, &plan, err);
    kadr_free(plan);
    work_close(&w);
    if (status == KADR_OK) console_say(&cli->console, "the configuration is right");
    return status;
}

kadr_status command_config(struct cli *cli, kadr_error *err) {
    const char *what = cli->words ? cli->word[0] : "show";
    if (!strcmp(what, "show")) return show(cli, err);
    if (!strcmp(what, "path")) return show_paths(cli, err);
    if (!strcmp(what, "check")) return check(cli, err);
    return err_set(err, KADR_EUSAGE, "expected show, path or check, got \"%.100s\"", what);
}
