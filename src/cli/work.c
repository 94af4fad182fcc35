/* work.c: what every drawing command does before it draws: configuration, settings of an older
 * picture, the model; and a context that Ctrl-C interrupts. */
#include "cli/cli.h"

#include "base/file.h"
#include "image/image.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define SETTINGS_MOST ((size_t)1 << 20)

/* ---- Requests -------------------------------------------------------------------------------- */
/* The settings inside the picture of --from. */
static kadr_status read_from(struct cli *cli, const char *path, kadr_error *err) {
    const struct request_origin origin = {.source = SOURCE_PICTURE, .file = path};
    struct image_text *texts;
    size_t count;
    json_t *settings = NULL;
    kadr_status status = image_read_texts(&cli->arena, path, &texts, &count, err);
    if (status != KADR_OK) return status;
    const char *text = image_text_find(texts, count, "kadr");
    if (!text)
        return err_set(err, KADR_EUSAGE,
                       "%s: expected a picture with kadr's settings inside, found none", path);
    status = json_parse(text, strlen(text), path, KADR_EUSAGE, &settings, err);
    if (status == KADR_OK) status = request_from_json(cli->rq, settings, &origin, KADR_EUSAGE, err);
    if (status != KADR_OK) err_context(err, "settings in %s", path);
    json_decref(settings);
    return status;
}

kadr_status cli_configure(struct cli *cli, kadr_error *err) {
    /* `kadr config` takes the options of several commands and reads the sections of the first. */
    unsigned use = cli->command->use;
    kadr_status status = request_read_configuration(cli->rq, use & -use, err);
    cli->console.quiet = cli->rq->quiet;
    return status;
}

kadr_status cli_read_prompt(struct cli *cli, kadr_error *err) {
    if (!cli->words) return KADR_OK;
    if (cli->rq->prompt)
        return err_set(err, KADR_EUSAGE, "expected one prompt, got --prompt and an argument");
    return kadr_request_set(cli->rq, "prompt", cli->word[0], err);
}

/* Models that were trained for few steps say so in their names. */
static void warn_of_few_steps(struct cli *cli) {
    static const char *const marks[] = {"turbo", "lightning", "lcm", "hyper", "dmd", "few"};
    const kadr_request *rq = cli->rq;
    if (!rq->preset || strcmp(rq->preset, "ultra-fast") || rq->lora.count) return;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (strcasestr(rq->model, marks[i])) return;
    console_log(&cli->console, KADR_LOG_WARN,
                "preset ultra-fast draws 4 steps without guidance, for a few-step model or LoRA "
                "(--lora); others stay blurred with it");
}

kadr_status cli_prepare(struct cli *cli, kadr_error *err) {
    kadr_status status = KADR_OK;
    if (cli->rq->from) status = read_from(cli, cli->rq->from, err);
    if (status == KADR_OK) status = cli_configure(cli, err);
    if (status == KADR_OK) status = cli_find_model(cli, cli->rq, err);
    if (status == KADR_OK) warn_of_few_steps(cli);
    return status;
}

/* ---- Ctrl-C ---------------------------------------------------------------------------------- */
/* A thread waits for the signals, which all other threads block: so interrupting needs neither a
 * handler nor a global. SIGUSR1 ends it. */
struct watch {
    pthread_t thread;
    sigset_t set, before;
    kadr_context *ctx;
    struct console *console;
};

static void *wait_for_signals(void *user) {
    static const char ending[] = "\nkadr: ending (again: at once)\n";
    struct watch *w = user;
    bool asked = false;
    int number;
    for (;;) {
        if (sigwait(&w->set, &number)) continue;
        if (number == SIGUSR1) return NULL;
        if (asked) _exit(KADR_EINTERRUPTED);
        asked = true;
        kadr_interrupt(w->ctx);
        if (w->console->terminal && write(STDERR_FILENO, ending, sizeof ending - 1) < 0) continue;
    }
}

static kadr_status watch_start(struct watch *w, kadr_error *err) {
    int wrong = pthread_create(&w->thread, NULL, wait_for_signals, w);
    if (!wrong) return KADR_OK;
    errno = wrong;
    return err_errno(err, "starting", "a thread");
}

kadr_status work_open(struct work *w, struct cli *cli, kadr_error *err) {
    const kadr_config config = {
        .memory = cli->rq->memory,
        .threads = (int)cli->rq->threads,
        .log_level = KADR_LOG_INFO,
        .log = console_log,
        .user = &cli->console,
        .machine = file_place(&cli->arena, "XDG_CACHE_HOME", ".cache", "kadr/machine.json")};
    *w = (struct work){0};
    struct watch *watch = arena_alloc(&cli->arena, sizeof *watch);
    if (!watch) return err_nomem(err, "a thread", sizeof *watch);
    watch->console = &cli->console;
    sigemptyset(&watch->set);
    sigaddset(&watch->set, SIGINT);
    sigaddset(&watch->set, SIGTERM);
    sigaddset(&watch->set, SIGUSR1);
    /* Before the context starts its threads, which inherit it. */
    pthread_sigmask(SIG_BLOCK, &watch->set, &watch->before);
    kadr_status status = cli->ctx ? KADR_OK : kadr_open(&config, &cli->ctx, err);
    w->ctx = watch->ctx = cli->ctx;
    if (status == KADR_OK) status = watch_start(watch, err);
    if (status == KADR_OK) w->watch = watch;
    else {
        pthread_sigmask(SIG_SETMASK, &watch->before, NULL);
        work_close(w);
    }
    return status;
}

void work_close(struct work *w) {
    if (w->watch) {
        pthread_kill(w->watch->thread, SIGUSR1);
        pthread_join(w->watch->thread, NULL);
        pthread_sigmask(SIG_SETMASK, &w->watch->before, NULL);
    }
    *w = (struct work){0};
}
