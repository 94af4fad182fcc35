/* serve.c: kadr serve: the page and the APIs, until Ctrl-C; kadr work: what a machine does that
 * only draws from the store of another's. */
#include "cli/cli.h"

#include "base/file.h"
#include "serve/openapi.h"
#include "serve/serve.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEASE 30 /* seconds */
#define TOKEN_LEAST 16
#define TOKEN_MOST 4096 /* bytes of its file */

/* Finds the model of a request from outside: "mini", the name that the program was started with, or
 * one in the model folder or the Hugging Face cache; never a path. */
static kadr_status prepare(void *user, bool board, kadr_request *rq, kadr_error *err) {
    const struct cli *cli = user;
    const char *own = cli->rq->model;
    struct cli each = *cli; /* with an arena of its own: this runs in several threads */
    arena_init(&each.arena, cli->mem);
    kadr_status st =
        request_read_configuration(rq, board ? KADR_FOR_BOARD : KADR_FOR_GENERATE, err);
    if (!st && !rq->model && own) st = kadr_request_set(rq, "model", own, err);
    bool named = rq->model && strcmp(rq->model, "mini") != 0 && (!own || strcmp(rq->model, own));
    if (!st && named && file_is_there(rq->model))
        st = err_set(err, KADR_EMODEL, "%s: no such model", rq->model);
    if (!st) st = cli_find_model(&each, rq, err);
    arena_free(&each.arena);
    return st;
}

static kadr_status models(void *user, bool measured, json_t **list, kadr_error *err) {
    struct cli each = *(struct cli *)user;
    arena_init(&each.arena, each.mem);
    kadr_status st = cli_models(&each, measured, list, err);
    arena_free(&each.arena);
    return st;
}

static kadr_status pages(void *user, const char *kind, const char *board, const char *to,
                         const char *first, const char *second, kadr_error *err) {
    struct cli each = *(struct cli *)user;
    arena_init(&each.arena, each.mem);
    kadr_status st = cli_pages(&each, kind, board, to, first, second, err);
    arena_free(&each.arena);
    return st;
}

/* The first line of the token's file. */
static kadr_status read_token(struct cli *cli, kadr_request *rq, kadr_error *err) {
    static const struct request_origin origin = {.source = SOURCE_FLAG};
    char *text;
    size_t size;
    if (rq->token || !rq->token_file) return KADR_OK;
    kadr_status st =
        file_read_all(cli->mem, rq->token_file, TOKEN_MOST, KADR_EUSAGE, &text, &size, err);
    if (st) return st;
    text[strcspn(text, "\r\n")] = 0;
    st = request_set_from(rq, OPTION_token, text, &origin, err);
    mem_free(text);
    return st;
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

/* What it is found by: the page's address, or the worker's name. */
static kadr_status say_started(struct cli *cli, const struct serve *s, struct store *store,
                               bool listens, kadr_error *err) {
    const char *host = cli->rq->bind ? cli->rq->bind : "127.0.0.1";
    struct buf said;
    buf_init(&said, cli->mem);
    if (!listens) buf_printf(&said, "%s draws from %s\n", serve_worker(s), store_name(store));
    else
        buf_printf(&said, strchr(host, ':') ? "http://[%s]:%u/\n" : "http://%s:%u/\n", host,
                   serve_port(s));
    return cli_print_buf(&said, err);
}

/* Of a part of a job, in seconds. Only tests say another. */
static int64_t lease(void) {
    const char *said = getenv("KADR_TEST_LEASE");
    return said && *said >= '1' && *said <= '9' ? strtoll(said, NULL, 10) : LEASE;
}

static kadr_status run(struct cli *cli, struct store *store, bool listens, const sigset_t *ends,
                       kadr_error *err) {
    const kadr_request *rq = cli->rq;
    const struct serve_config config = {
        .mem = cli->mem,
        .store = store,
        .listens = listens,
        .port = (uint16_t)rq->port,
        .bind = rq->bind,
        .token = rq->token,
        .hosts = (const char *const *)rq->host.item,
        .host_count = rq->host.count,
        .origins = (const char *const *)rq->cors.item,
        .origin_count = rq->cors.count,
        .loras = rq->lora_folder
                     ? rq->lora_folder
                     : file_place(&cli->arena, "XDG_DATA_HOME", ".local/share", "kadr/loras"),
        .rate = rq->rate,
        .draws = !listens || rq->draw,
        .lease = lease(),
        .idle = rq->idle,
        .draw = {.memory = rq->memory,
                 .threads = (int)rq->threads,
                 .log_level = KADR_LOG_WARN,
                 .log = console_log,
                 .user = &cli->console,
                 .machine =
                     file_place(&cli->arena, "XDG_CACHE_HOME", ".cache", "kadr/machine.json")},
        .user = cli,
        .models = models,
        .pages = pages,
        .prepare = prepare};
    struct serve *s = NULL;
    int number;
    kadr_status st = serve_open(&s, &config, err);
    if (st) return st;
    st = say_started(cli, s, store, listens, err);
    while (!st && sigwait(ends, &number)) continue;
    console_say(&cli->console, "kadr: ending");
    serve_close(s);
    return st;
}

static kadr_status open_store(struct cli *cli, struct store **store, kadr_error *err) {
    struct store_place place = {
        .where = cli->rq->store,
        .pictures = cli->rq->pictures,
        .cache = file_place(&cli->arena, "XDG_CACHE_HOME", ".cache", "kadr/stores")};
    if (!place.where)
        place.where = file_place(&cli->arena, "XDG_DATA_HOME", ".local/share", "kadr/serve");
    if (!place.where)
        return err_set(err, KADR_EUSAGE, "store: expected a folder, there is no home");
    return store_open(store, cli->mem, &place, err);
}

static kadr_status open_and_run(struct cli *cli, bool listens, kadr_error *err) {
    struct store *store = NULL;
    sigset_t ends, before;
    /* Before any thread is started, which inherits it. */
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, &before);
    kadr_status st = open_store(cli, &store, err);
    if (!st) st = run(cli, store, listens, &ends, err);
    store_close(store);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return st;
}

/* Pages are named one by one: all of them are nobody's wish. */
static kadr_status check_origins(const kadr_request *rq, kadr_error *err) {
    for (size_t i = 0; i < rq->cors.count; i++) {
        const char *origin = rq->cors.item[i], *rest = strstr(origin, "://");
        bool web = !strncmp(origin, "http://", 7) || !strncmp(origin, "https://", 8);
        if (!web || !rest[3] || strpbrk(rest + 3, "/*?# "))
            return err_set(err, KADR_EUSAGE, "cors: expected an origin such as %s, got \"%.100s\"",
                           "https://tool.example", origin);
    }
    return KADR_OK;
}

static kadr_status print_description(struct cli *cli, kadr_error *err) {
    json_t *all = openapi();
    kadr_status st = all ? cli_print_json(cli, all, err) : err_nomem(err, "the description", 0);
    json_decref(all);
    return st;
}

kadr_status command_serve(struct cli *cli, kadr_error *err) {
    if (cli->rq->openapi) return print_description(cli, err);
    kadr_status st = cli_configure(cli, err);
    if (!st) st = request_fill(cli->rq, KADR_FOR_SERVE, err);
    if (!st) st = read_token(cli, cli->rq, err);
    if (!st) st = check_token(cli->rq, err);
    if (!st) st = check_origins(cli->rq, err);
    return st ? st : open_and_run(cli, true, err);
}

kadr_status command_work(struct cli *cli, kadr_error *err) {
    kadr_status st = cli_configure(cli, err);
    if (!st) st = request_fill(cli->rq, KADR_FOR_WORK, err);
    if (!st && (!cli->rq->store || !strstr(cli->rq->store, "://")))
        st =
            err_set(err, KADR_EUSAGE,
                    "store: expected postgresql://..., where the queue is that `kadr serve` fills");
    return st ? st : open_and_run(cli, false, err);
}
