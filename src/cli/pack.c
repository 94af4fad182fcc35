/* pack.c: kadr pack and kadr verify. */
#include "cli/cli.h"

#include "base/file.h"
#include "base/sys.h"
#include <string.h>

static int on_progress(void *user, const kadr_progress *p) {
    console_progress(&((struct cli *)user)->console, p);
    return 0;
}

/* "NAME.kadr" in this folder, after the model's file or folder. */
static const char *packed_name(struct arena *a, const char *model) {
    size_t n = strlen(model);
    while (n > 1 && model[n - 1] == '/') n--;
    const char *whole = arena_strndup(a, model, n), *name = whole ? file_name(whole) : NULL;
    if (!name) return NULL;
    const char *dot = strcmp(file_extension(name), "safetensors") == 0 ? strrchr(name, '.') : NULL;
    return arena_printf(a, "%.*s.kadr", (int)(dot ? (size_t)(dot - name) : strlen(name)), name);
}

kadr_status command_pack(struct cli *cli, kadr_error *err) {
    struct work w = {0};
    const kadr_observer observer = {.user = cli, .progress = on_progress};
    double began = sys_seconds();
    kadr_status status = kadr_request_set(cli->rq, "model", cli->word[0], err);
    if (status == KADR_OK) status = cli_configure(cli, err);
    if (status == KADR_OK) status = cli_find_model(cli, cli->rq, err);
    if (status != KADR_OK) return status;
    const char *path = cli->rq->output ? cli->rq->output : packed_name(&cli->arena, cli->rq->model);
    if (!path) return err_nomem(err, "a path", 64);
    status = work_open(&w, cli, err);
    if (status == KADR_OK) status = kadr_pack(w.ctx, cli->rq, path, &observer, err);
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

kadr_status command_verify(struct cli *cli, kadr_error *err) {
    struct work w = {0};
    const kadr_observer observer = {.user = cli, .progress = on_progress};
    const char *path = NULL;
    kadr_status status = cli_configure(cli, err);
    if (status == KADR_OK) status = cli_model_file(cli, cli->word[0], &path, err);
    if (status == KADR_OK) status = work_open(&w, cli, err);
    if (status == KADR_OK) status = kadr_verify(w.ctx, path, &observer, err);
    work_close(&w);
    console_clear(&cli->console);
    if (status == KADR_OK) console_say(&cli->console, "%s: all checksums agree", path);
    return status;
}
