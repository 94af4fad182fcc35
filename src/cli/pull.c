/* pull.c: kadr pull: a model from a hub. Ctrl-C is looked for between two looks at the network:
 * what has come stays, so there is nothing to be undone. */
#include "cli/cli.h"

#include "base/sys.h"
#include "hub/pull.h"
#include <math.h>
#include <signal.h>
#include <string.h>

/* ---- While it runs --------------------------------------------------------------------------- */
static void show(struct cli *cli, const struct pull_progress *p) {
    struct buf line;
    buf_init(&line, cli->mem);
    buf_puts(&line, p->stage);
    if (p->bytes) {
        buf_printf(&line, "  %zu of %zu files  ", p->files_done, p->files);
        cli_print_size(&line, (double)p->bytes_done);
        buf_puts(&line, " of ");
        cli_print_size(&line, (double)p->bytes);
    }
    if (p->rate >= 1) {
        buf_puts(&line, "  ");
        cli_print_size(&line, p->rate);
        buf_puts(&line, "/s");
    }
    if (p->seconds_left >= 0) {
        buf_puts(&line, "  ");
        cli_print_seconds(&line, ceil(p->seconds_left));
        buf_puts(&line, " left");
    }
    if (buf_ok(&line)) console_line(&cli->console, line.data);
    buf_free(&line);
}

static bool on_progress(void *user, const struct pull_progress *p) {
    sigset_t waiting;
    show(user, p);
    sigpending(&waiting);
    return sigismember(&waiting, SIGINT) == 1 || sigismember(&waiting, SIGTERM) == 1;
}

/* ---- The end --------------------------------------------------------------------------------- */
static json_t *result_json(const struct pull_result *r, double seconds) {
    json_t *files = json_array();
    for (size_t i = 0; i < r->files; i++) {
        const struct pull_file *f = &r->file[i];
        json_array_append_new(files, json_pack("{s:s, s:s, s:I, s:s, s:b}", "name", f->name, "path",
                                               f->path, "bytes", (json_int_t)f->size,
                                               strlen(f->sum) == 64 ? "sha256" : "git_sha1", f->sum,
                                               "fetched", f->fetched));
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:f, s:o}", "name", r->name, "revision",
                     r->revision, "commit", r->commit, "path", r->path, "fetched_bytes",
                     (json_int_t)r->fetched, "seconds", seconds, "files", files);
}

static void say(struct cli *cli, const struct pull_result *r, double seconds) {
    struct buf text;
    double bytes = 0;
    bool plain = !strcmp(r->revision, "main");
    for (size_t i = 0; i < r->files; i++) bytes += (double)r->file[i].size;
    buf_init(&text, cli->mem);
    if (r->fetched) {
        buf_puts(&text, "downloaded ");
        cli_print_size(&text, (double)r->fetched);
        buf_puts(&text, " in ");
        cli_print_seconds(&text, seconds);
    } else buf_puts(&text, "all of it was here");
    if (r->files) {
        buf_printf(&text, "; %zu file%s, ", r->files, r->files == 1 ? "" : "s");
        cli_print_size(&text, bytes);
    }
    if (!cli->rq->file.count)
        buf_printf(&text, "; draw with it: -m %s%s%s", r->name, plain ? "" : "@",
                   plain ? "" : r->revision);
    if (buf_ok(&text)) console_say(&cli->console, "kadr: %s", text.data);
    buf_free(&text);
}

static kadr_status tell(struct cli *cli, const struct pull_result *r, double seconds,
                        kadr_error *err) {
    console_clear(&cli->console);
    if (cli->rq->json) {
        json_t *json = result_json(r, seconds);
        kadr_status st =
            json ? cli_print_json(cli, json, err) : err_nomem(err, "the report", r->files);
        json_decref(json);
        return st;
    }
    say(cli, r, seconds);
    const char *line = arena_printf(&cli->arena, "%s\n", r->path);
    return line ? cli_print(line, err) : err_nomem(err, "a path", strlen(r->path));
}

kadr_status command_pull(struct cli *cli, kadr_error *err) {
    const struct request_list *files = &cli->rq->file;
    struct pull_result result;
    sigset_t ends;
    double begun = sys_seconds();
    kadr_status st = cli_configure(cli, err);
    char *name = arena_strdup(&cli->arena, cli->word[0]), *at = name ? strchr(name, '@') : NULL;
    if (!st && !name) st = err_nomem(err, "a name", strlen(cli->word[0]));
    if (st) return st;
    if (at) *at++ = 0;
    const struct pull_request rq = {.name = name,
                                    .revision = at,
                                    .files = (const char *const *)files->item,
                                    .file_count = files->count,
                                    .progress = on_progress,
                                    .user = cli};
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    st = pull(&cli->arena, &rq, &result, err);
    console_clear(&cli->console);
    if (!st) st = tell(cli, &result, sys_seconds() - begun, err);
    return st; /* the mask stays: what was seen here must not end the program as well */
}
