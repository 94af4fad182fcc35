/* cast.c: kadr cast: characters kept as files NAME.cast in one folder. */
#include "cli/cli.h"

#include "base/file.h"
#include "base/sys.h"
#include "draw/cast.h"
#include "hub/hub.h"
#include <stdio.h>
#include <string.h>

kadr_status cli_find_casts(struct cli *cli, kadr_request *rq, kadr_error *err) {
    static const struct request_origin origin = {.source = SOURCE_FALLBACK};
    if (rq->cast_folder) return KADR_OK;
    char *folder = hub_cast_folder(cli->mem);
    if (!folder) return KADR_OK; /* whoever names a cast is told */
    kadr_status status = request_set_from(rq, OPTION_cast_folder, folder, &origin, err);
    mem_free(folder);
    return status;
}

/* A name is a file's name and stands before ":" and "@" in options. */
static kadr_status cast_path(struct cli *cli, const char *name, char **path, kadr_error *err) {
    if (!*name || *name == '.' || strpbrk(name, "/:@ \\") || strlen(name) > 100)
        return err_set(err, KADR_EUSAGE, "cast: \"%s\": expected a name without spaces, /, : and @",
                       name);
    if (!cli->rq->cast_folder)
        return err_set(err, KADR_EUSAGE, "no home folder; say where casts are with --cast-folder");
    *path = arena_printf(&cli->arena, "%s/%s." CAST_EXTENSION, cli->rq->cast_folder, name);
    return *path ? KADR_OK : err_nomem(err, "a path", strlen(name));
}

/* The path of one that is there. */
static kadr_status existing(struct cli *cli, const char *name, char **path, kadr_error *err) {
    kadr_status status = cast_path(cli, name, path, err);
    if (status != KADR_OK || file_exists(*path)) return status;
    return err_set(err, KADR_EUSAGE, "%s: no such cast; `kadr cast list` shows what there is",
                   *path);
}

static int on_progress(void *user, const kadr_progress *p) {
    console_progress(&((struct cli *)user)->console, p);
    return 0;
}

static kadr_status add(struct cli *cli, kadr_error *err) {
    struct work w = {0};
    const kadr_observer observer = {.user = cli, .progress = on_progress};
    double began = sys_seconds();
    char *path;
    if (cli->words < 3)
        return err_set(err, KADR_EUSAGE, "expected NAME PICTURE... after `kadr cast add`");
    kadr_status status = cast_path(cli, cli->word[1], &path, err);
    if (status == KADR_OK && file_is_there(path))
        status = err_set(err, KADR_EUSAGE,
                         "%s: there is such a cast; remove it first or take another name", path);
    if (status == KADR_OK) status = cli_find_model(cli, cli->rq, err);
    if (status == KADR_OK) status = file_make_folders(cli->rq->cast_folder, err);
    if (status == KADR_OK) status = work_open(&w, cli, err);
    if (status == KADR_OK)
        status = kadr_cast_make(w.ctx, cli->rq, cli->word[1], (const char *const *)cli->word + 2,
                                (size_t)cli->words - 2, path, &observer, err);
    work_close(&w);
    console_clear(&cli->console);
    if (status != KADR_OK) return status;
    struct buf to;
    buf_init(&to, cli->mem);
    buf_printf(&to, "%s in ", path);
    cli_print_seconds(&to, sys_seconds() - began);
    if (buf_ok(&to)) console_say(&cli->console, "%s", to.data);
    buf_free(&to);
    return KADR_OK;
}

/* What the library says of one; NULL and the error: it is damaged. */
static json_t *look(struct cli *cli, const char *path, kadr_error *err) {
    struct work w = {0};
    char *text = NULL;
    json_t *json = NULL;
    kadr_status status = work_open(&w, cli, err);
    if (status == KADR_OK) status = kadr_inspect(w.ctx, path, &text, err);
    if (status == KADR_OK) json_parse(text, strlen(text), path, KADR_EOTHER, &json, err);
    kadr_free(text);
    work_close(&w);
    return json;
}

static kadr_status show(struct cli *cli, kadr_error *err) {
    char *path;
    kadr_status status = existing(cli, cli->word[1], &path, err);
    json_t *json = status == KADR_OK ? look(cli, path, err) : NULL;
    if (!json) return status == KADR_OK ? err->status : status;
    if (cli->rq->json) status = cli_print_json(cli, json, err);
    else {
        struct buf to;
        buf_init(&to, cli->mem);
        buf_printf(&to, "%s: ", path);
        cli_print_size(&to, json_number_value(json_object_get(json, "bytes")));
        buf_printf(&to, ", %.0f tokens\n", json_number_value(json_object_get(json, "tokens")));
        cli_describe(&to, json_object_get(json, "texts"), 2);
        status = cli_print_buf(&to, err);
    }
    json_decref(json);
    return status;
}

static kadr_status list(struct cli *cli, kadr_error *err) {
    char **names = NULL;
    size_t count = 0;
    const char *folder = cli->rq->cast_folder;
    struct buf to;
    json_t *all = json_array();
    kadr_status status = KADR_OK;
    if (folder && file_is_folder(folder))
        status = file_list(&cli->arena, folder, &names, &count, err);
    buf_init(&to, cli->mem);
    for (size_t i = 0; i < count && status == KADR_OK; i++) {
        if (strcmp(file_extension(names[i]), CAST_EXTENSION) != 0) continue;
        size_t stem = strlen(names[i]) - strlen("." CAST_EXTENSION);
        const char *name = arena_strndup(&cli->arena, names[i], stem);
        kadr_error damage = {0};
        json_t *json = look(cli, file_join(&cli->arena, folder, names[i]), &damage);
        const json_t *texts = json_object_get(json, "texts");
        const char *kind = json_string_value(json_object_get(texts, "kind"));
        const char *model = json_string_value(json_object_get(texts, "model"));
        json_array_append_new(all, json_pack("{s:s?,s:o?}", "name", name, "cast", json));
        if (json)
            buf_printf(&to, "%-20s %-8s for %s\n", name, kind ? kind : "?", model ? model : "?");
        else buf_printf(&to, "%-20s damaged: %s\n", name, damage.message);
    }
    if (status == KADR_OK)
        status = cli->rq->json ? cli_print_json(cli, all, err) : cli_print_buf(&to, err);
    else buf_free(&to);
    json_decref(all);
    return status;
}

static kadr_status export(struct cli *cli, kadr_error *err) {
    char *path, *data = NULL;
    size_t size;
    const char *name = cli->word[1];
    const char *to = cli->rq->output;
    if (!to) to = arena_printf(&cli->arena, "%s." CAST_EXTENSION, name);
    kadr_status status = existing(cli, name, &path, err);
    if (status != KADR_OK) return status;
    if (!to) return err_nomem(err, "a path", strlen(name));
    if (strcmp(file_extension(to), "png") == 0) {
        struct cast cast;
        struct image small = {0};
        status = cast_open(&cast, cli->mem, path, err);
        if (status == KADR_OK) status = cast_thumbnail(&cast, cli->mem, &small, err);
        if (status == KADR_OK) status = image_write_png(&small, cli->mem, to, NULL, 0, err);
        image_free(&small);
        cast_close(&cast);
    } else {
        status = file_read_all(cli->mem, path, (size_t)1 << 30, KADR_EIO, &data, &size, err);
        if (status == KADR_OK) status = file_write_atomic(cli->mem, to, data, size, err);
        mem_free(data);
    }
    if (status == KADR_OK) console_say(&cli->console, "%s", to);
    return status;
}

/* The cast's own threshold, or what was measured with the mini model. */
static double threshold_of(const json_t *cast) {
    const char *own =
        json_string_value(json_object_get(json_object_get(cast, "texts"), "threshold"));
    double value;
    return own && request_parse_real(own, &value) ? value : CAST_THRESHOLD;
}

kadr_status cli_likeness(struct cli *cli, const char *cast, const char *const *pictures,
                         size_t count, double *likeness, double *threshold, kadr_error *err) {
    struct work w = {0};
    json_t *json = look(cli, cast, err);
    if (!json) return err->status;
    *threshold = threshold_of(json);
    json_decref(json);
    kadr_status status = work_open(&w, cli, err);
    if (status == KADR_OK)
        status = kadr_cast_likeness(w.ctx, cli->rq, cast, pictures, count, likeness, err);
    work_close(&w);
    return status;
}

static kadr_status check(struct cli *cli, kadr_error *err) {
    char *path;
    double threshold = 0;
    if (cli->words < 3)
        return err_set(err, KADR_EUSAGE, "expected NAME PICTURE... after `kadr cast check`");
    const char *const *pictures = (const char *const *)cli->word + 2;
    size_t count = (size_t)cli->words - 2;
    double *likeness = arena_array(&cli->arena, count, sizeof *likeness);
    kadr_status status = existing(cli, cli->word[1], &path, err);
    if (status == KADR_OK && !likeness) status = err_nomem(err, "a list", count);
    if (status == KADR_OK) status = cli_find_model(cli, cli->rq, err);
    if (status == KADR_OK)
        status = cli_likeness(cli, path, pictures, count, likeness, &threshold, err);
    if (status != KADR_OK) return status;
    struct buf to;
    json_t *all = json_array();
    buf_init(&to, cli->mem);
    for (size_t i = 0; i < count; i++) {
        bool drifted = likeness[i] < threshold;
        buf_printf(&to, "%.3f  %s%s\n", likeness[i], pictures[i], drifted ? "  (drifted)" : "");
        json_array_append_new(all, json_pack("{s:s,s:f,s:b}", "path", pictures[i], "likeness",
                                             likeness[i], "drifted", drifted));
    }
    if (cli->rq->json) status = cli_print_json(cli, all, err);
    else status = cli_print_buf(&to, err);
    if (cli->rq->json) buf_free(&to);
    json_decref(all);
    return status;
}

static kadr_status take_away(struct cli *cli, kadr_error *err) {
    char *path;
    kadr_status status = existing(cli, cli->word[1], &path, err);
    if (status == KADR_OK && remove(path)) status = err_errno(err, "cannot remove", path);
    if (status == KADR_OK) console_say(&cli->console, "removed %s", path);
    return status;
}

kadr_status command_cast(struct cli *cli, kadr_error *err) {
    static const struct {
        const char *name;
        int words; /* that it takes, itself included; 0: it looks itself */
        kadr_status (*run)(struct cli *cli, kadr_error *err);
    } ways[] = {{"add", 0, add},   {"check", 0, check},      {"list", 1, list},
                {"show", 2, show}, {"remove", 2, take_away}, {"export", 2, export}};
    kadr_status status = cli_configure(cli, err);
    if (status == KADR_OK) status = cli_find_casts(cli, cli->rq, err);
    for (size_t i = 0; i < sizeof ways / sizeof *ways && status == KADR_OK; i++) {
        if (strcmp(cli->word[0], ways[i].name) != 0) continue;
        if (ways[i].words && cli->words != ways[i].words)
            return err_set(err, KADR_EUSAGE, "expected %s after `kadr cast %s`",
                           ways[i].words == 2 ? "one name" : "nothing", ways[i].name);
        return ways[i].run(cli, err);
    }
    if (status != KADR_OK) return status;
    return err_set(err, KADR_EUSAGE, "cast %s: expected add, list, show, check, remove or export",
                   cli->word[0]);
}
