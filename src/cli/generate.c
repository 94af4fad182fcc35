/* generate.c: kadr generate. */
#include "cli/cli.h"

#include "base/file.h"
#include "base/sys.h"
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* "DIR/kadr-7.png", or kadr-7-2.png and so on where that is taken. */
static char *new_path(struct arena *a, const char *folder, uint64_t seed) {
    char *path = arena_printf(a, "%skadr-%" PRIu64 ".png", folder, seed);
    for (int n = 2; path && file_exists(path); n++)
        path = arena_printf(a, "%skadr-%" PRIu64 "-%d.png", folder, seed, n);
    return path;
}

static char *picture_path(struct cli *cli, const kadr_picture *p) {
    struct arena *a = &cli->arena;
    const char *output = cli->rq->output;
    if (!output) return new_path(a, "", p->seed);
    size_t n = strlen(output);
    if (output[n - 1] == '/') return new_path(a, output, p->seed);
    if (file_is_folder(output)) {
        const char *folder = arena_printf(a, "%s/", output);
        return folder ? new_path(a, folder, p->seed) : NULL;
    }
    if (cli->rq->count <= 1) return arena_strdup(a, output);
    size_t stem = n - strlen(file_extension(output)) - 1;
    return arena_printf(a, "%.*s-%zu.png", (int)stem, output, p->index + 1);
}

/* What can be known to be wrong with -o before hours of drawing. */
static kadr_status check_output(struct cli *cli, kadr_error *err) {
    const char *output = cli->rq->output ? cli->rq->output : ".";
    bool is_folder = file_is_folder(output);
    const char *name = is_folder ? "" : file_name(output);
    char *folder = arena_strndup(&cli->arena, output, strlen(output) - strlen(name));
    if (!folder) return err_nomem(err, "a path", strlen(output));
    if (*folder && !file_is_folder(folder))
        return err_set(err, KADR_EIO, "%s: expected a folder that exists", folder);
    if (access(*folder ? folder : ".", W_OK)) return err_errno(err, "cannot write into", folder);
    if (*name && file_is_there(output) && !file_exists(output))
        return err_set(err, KADR_EIO, "%s: expected a regular file or nothing there", output);
    const char *const more[] = {cli->rq->save_latents, cli->rq->save_embeds};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (*name && more[i] && !strcmp(more[i], output))
            return err_set(err, KADR_EUSAGE, "%s: expected another file than the picture's",
                           output);
    if (*name && strcasecmp(file_extension(name), "png"))
        return err_set(err, KADR_EUSAGE, "-o: expected a name that ends in .png, got \"%s\"", name);
    return KADR_OK;
}

/* What was drawn first. */
struct drawn {
    const char *path;
    uint64_t seed;
    struct drawn *next;
};

static kadr_status deliver(struct drawing *d, const kadr_picture *p) {
    struct cli *cli = d->cli;
    const char *path = picture_path(cli, p);
    struct drawn **list = d->user, *one = arena_alloc(&cli->arena, sizeof *one);
    if (!path || !one) return err_nomem(&d->error, "a path", 0);
    *one = (struct drawn){path, p->seed, *list};
    *list = one;
    return result_write(cli, p, path, d->pictures, &d->error);
}

kadr_status command_generate(struct cli *cli, kadr_error *err) {
    double began = sys_seconds();
    kadr_status status = cli_read_prompt(cli, err);
    if (status == KADR_OK) status = cli_prepare(cli, err);
    if (status == KADR_OK && !cli->rq->prompt)
        status = err_set(err, KADR_EUSAGE, "expected a prompt: kadr generate \"a red fox\"");
    if (status == KADR_OK) status = check_output(cli, err);
    if (status != KADR_OK) return status;
    struct drawn *first = NULL;
    struct drawing d = {.cli = cli, .pictures = json_array(), .deliver = deliver, .user = &first};
    json_t *result = json_pack("{s:O?}", "pictures", d.pictures);
    if (!d.pictures || !result) status = err_nomem(err, "the report", 0);
    else status = drawing_run(&d, &cli->rq, 1, err);
    bool locked =
        cli->rq->cast.count && (!cli->rq->identity_lock || strcmp(cli->rq->identity_lock, "off"));
    for (; first && locked && cli->rq->retry_drift && status == KADR_OK; first = first->next)
        status = cli_retry_drift(cli, first->path, first->seed, d.pictures, err);
    if (status == KADR_OK) status = result_finish(cli, result, sys_seconds() - began, err);
    json_decref(result);
    json_decref(d.pictures);
    return status;
}
