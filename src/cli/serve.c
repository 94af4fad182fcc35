/* serve.c: kadr serve: the page and the APIs, until Ctrl-C. */
#include "cli/cli.h"

#include "base/file.h"
#include "hub/hub.h"
#include "serve/serve.h"
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define TOKEN_LEAST 16

/* Finds the model of a request from outside: "mini", the name that the program was started with, or
 * one in the model folder or the Hugging Face cache; never a path. */
static kadr_status prepare(void *user, kadr_request *rq, kadr_error *err) {
    const struct cli *cli = user;
    const char *own = cli->rq->model;
    struct cli each = *cli; /* with an arena of its own: this runs in several threads */
    arena_init(&each.arena, cli->mem);
    kadr_status st = request_read_configuration(rq, KADR_FOR_GENERATE, err);
    if (!st && !rq->model && own) st = kadr_request_set(rq, "model", own, err);
    bool named = rq->model && strcmp(rq->model, "mini") != 0 && (!own || strcmp(rq->model, own));
    if (!st && named && file_is_there(rq->model))
        st = err_set(err, KADR_EMODEL, "%s: no such model", rq->model);
    if (!st) st = cli_find_model(&each, rq, err);
    arena_free(&each.arena);
    return st;
}

/* The names that clients are offered. */
static char *model_names(struct cli *cli) {
    char **names, *list = arena_strdup(&cli->arena, cli->rq->model ? cli->rq->model : "mini");
    size_t count = 0;
    if (list && cli->rq->model) list = arena_printf(&cli->arena, "%s\nmini", list);
    char *folder = hub_model_folder(cli->mem);
    if (folder && file_is_folder(folder) && !file_list(&cli->arena, folder, &names, &count, NULL))
        for (size_t i = 0; list && i < count; i++)
            list = arena_printf(&cli->arena, "%s\n%s", list, names[i]);
    mem_free(folder);
    return list;
}

static kadr_status check_token(const kadr_request *rq, kadr_error *err) {
    if (!rq->token) return KADR_OK;
    size_t n = strlen(rq->token);
    if (n < TOKEN_LEAST || strspn(rq->token, "0123456789abcdefghijklmnopqrstuvwxyz"
                                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.~") != n)
        return err_set(err, KADR_EUSAGE, "token: expected at least %d letters, digits or -_.~",
                       TOKEN_LEAST);
    return KADR_OK;
}

static kadr_status run(struct cli *cli, struct store *store, const sigset_t *ends,
                       kadr_error *err) {
    const kadr_request *rq = cli->rq;
    const struct serve_config config = {
        .mem = cli->mem,
        .store = store,
        .port = (uint16_t)rq->port,
        .bind = rq->bind,
        .token = rq->token,
        .draw = {.memory = rq->memory,
                 .threads = (int)rq->threads,
                 .log_level = KADR_LOG_WARN,
                 .log = console_log,
                 .user = &cli->console,
                 .machine =
                     file_place(&cli->arena, "XDG_CACHE_HOME", ".cache", "kadr/machine.json")},
        .models = model_names(cli),
        .user = cli,
        .prepare = prepare};
    struct serve *s = NULL;
    int number;
    if (!config.models) return err_nomem(err, "names", 0);
    kadr_status st = serve_open(&s, &config, err);
    if (st) return st;
    const char *host = rq->bind ? rq->bind : "127.0.0.1";
    struct buf said;
    buf_init(&said, cli->mem);
    buf_printf(&said, strchr(host, ':') ? "http://[%s]:%u/\n" : "http://%s:%u/\n", host,
               serve_port(s));
    st = cli_print_buf(&said, err);
    while (!st && sigwait(ends, &number)) continue;
    console_say(&cli->console, "kadr: ending");
    serve_close(s);
    return st;
}

kadr_status command_serve(struct cli *cli, kadr_error *err) {
    struct store *store = NULL;
    sigset_t ends, before;
    kadr_status st = cli_configure(cli, err);
    const char *folder = cli->rq->store;
    if (!folder) folder = file_place(&cli->arena, "XDG_DATA_HOME", ".local/share", "kadr/serve");
    if (!st) st = check_token(cli->rq, err);
    if (!st && !folder)
        st = err_set(err, KADR_EUSAGE, "store: expected a folder, there is no home");
    /* Before any thread is started, which inherits it. */
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, &before);
    if (!st) st = file_make_folders(folder, err);
    if (!st) st = store_open(&store, cli->mem, folder, err);
    if (!st) st = run(cli, store, &ends, err);
    store_close(store);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return st;
}
