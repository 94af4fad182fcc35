/* cli.h: what the commands of the program share. main.c has the table of commands; each command is
 * one file with one function. Nothing here draws: that is done through kadr.h. */
#ifndef KADR_CLI_CLI_H
#define KADR_CLI_CLI_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "cli/console.h"
#include "request/request.h"

struct cli;

struct command {
    const char *name;
    const char *arguments; /* "PROMPT", as help shows them */
    int least, most;       /* how many arguments; most -1: any number */
    unsigned use;          /* KADR_FOR_...: whose options it takes */
    const char *summary;   /* one line */
    const char *about;     /* paragraphs for help and manual */
    kadr_status (*run)(struct cli *cli, kadr_error *err);
};

struct cli {
    struct mem *mem;
    struct arena arena;  /* lives as long as the program */
    const char *program; /* argv[0] */
    const struct command *command;
    kadr_request *rq; /* what the flags said */
    char **word;      /* the command's arguments */
    int words;
    bool help, version;
    struct console console;
    kadr_context *ctx; /* of all that the command does; NULL: not needed yet */
};

/* ---- main.c */
const struct command *cli_commands(size_t *count);
const struct command *cli_command(const char *name); /* NULL: unknown */

/* ---- flags.c: argv (without program and command) into cli->rq, cli->word, cli->help. */
kadr_status cli_read_flags(struct cli *cli, int argc, char **argv, kadr_error *err);

/* ---- help.c */
void help_program(struct buf *to);
void help_command(const struct command *command, struct buf *to);
void help_manual(struct buf *to); /* kadr(1), roff */

/* ---- model.c: where the model of a request lies. Sets its path; a name that was not given is
 * "mini", the model that comes with kadr. */
kadr_status cli_find_model(struct cli *cli, kadr_request *rq, kadr_error *err);
/* Where casts are kept, unless that was said: the user's data folder. Part of cli_find_model. */
kadr_status cli_find_casts(struct cli *cli, kadr_request *rq, kadr_error *err);
/* How near pictures come to the cast in a file, and below what they have drifted. cast.c */
kadr_status cli_likeness(struct cli *cli, const char *cast, const char *const *pictures,
                         size_t count, double *likeness, double *threshold, kadr_error *err);
/* The file or folder that a name means, in cli->arena or `name` itself; KADR_EMODEL: none. */
kadr_status cli_model_file(struct cli *cli, const char *name, const char **path, kadr_error *err);

/* ---- models.c: the models that are here, the one of cli's request first, as `kadr models --json`
 * tells them; without `measured` only by name, path and bytes. The caller owns *list. */
kadr_status cli_models(struct cli *cli, bool measured, json_t **list, kadr_error *err);

/* ---- pages.c */
/* Ends in a slash; NULL when it cannot be told. */
const char *cli_program_folder(struct cli *cli);
/* Has `kadr-pages KIND BOARD TO FIRST SECOND` run (src/pages/main.c); what it fails with is the
 * error, what it remarks is said. */
kadr_status cli_pages(struct cli *cli, const char *kind, const char *board, const char *to,
                      const char *first, const char *second, kadr_error *err);

/* ---- work.c: what drawing commands share */
/* What configuration files and environment say. */
kadr_status cli_configure(struct cli *cli, kadr_error *err);
/* That, --from and the model; after this the request may be drawn. */
kadr_status cli_prepare(struct cli *cli, kadr_error *err);
/* The argument, if there is one, as the request's prompt. */
kadr_status cli_read_prompt(struct cli *cli, kadr_error *err);
/* The command's context, with the request's memory and threads; from opening to closing Ctrl-C
 * interrupts what it does. */
struct work {
    kadr_context *ctx;
    struct watch *watch;
};
kadr_status work_open(struct work *w, struct cli *cli, kadr_error *err);
void work_close(struct work *w); /* idempotent */

/* ---- print.c
 * Writes to standard output and makes sure that it got there. */
kadr_status cli_print(const char *text, kadr_error *err);
kadr_status cli_print_buf(struct buf *text, kadr_error *err);
/* One JSON text, indented, with a newline. */
void cli_dump_json(struct buf *to, const json_t *json);
kadr_status cli_print_json(struct cli *cli, const json_t *json, kadr_error *err);
/* A JSON value as indented text for people. */
void cli_describe(struct buf *to, const json_t *json, int indent);
/* A member of a report of the library: 0 and "" when it is not there. */
double cli_number(const json_t *object, const char *key);
const char *cli_text(const json_t *object, const char *key);
void cli_print_size(struct buf *to, double bytes);      /* "1.5 GiB" */
void cli_print_seconds(struct buf *to, double seconds); /* "1 min 20 s" */

/* ---- drawing.c: a drawing with what watches it */
struct drawing {
    struct cli *cli;
    json_t *pictures; /* reports of what was drawn */
    /* Takes one picture; a failure, told in `error`, ends the drawing. */
    kadr_status (*deliver)(struct drawing *d, const kadr_picture *picture);
    void *user;
    kadr_status status;
    kadr_error error;
    double previewed; /* when the last preview was shown */
};
kadr_status drawing_run(struct drawing *d, kadr_request *const *requests, size_t count,
                        kadr_error *err);

/* ---- drift.c */
struct likeness {
    double margin; /* above the threshold, of the cast that has the least; below 0 it has drifted */
    double likeness;
};
/* How near the picture comes to all casts of the request. */
kadr_status cli_measure(struct cli *cli, const kadr_request *rq, const char *path,
                        struct likeness *v, kadr_error *err);
/* Measures a picture against the casts of cli's request and, where it drifted, draws it again up to
 * --retry-drift times. */
kadr_status cli_retry_drift(struct cli *cli, const char *path, uint64_t seed, json_t *pictures,
                            kadr_error *err);

/* ---- result.c: what a drawing leaves */
/* Writes the picture and, beside it as NAME.kadr.json, what drawing it took; appends the latter to
 * `list`; shows the picture and says its path. */
kadr_status result_write(struct cli *cli, const kadr_picture *picture, const char *path,
                         json_t *list, kadr_error *err);
/* Into the terminal, when it can and nobody asked for silence. */
void result_show(struct cli *cli, const uint8_t *rgb, int width, int height);
/* The end of a drawing: time a picture and peak memory, or with --json all of `result`, an object
 * with "pictures" that gets both. */
kadr_status result_finish(struct cli *cli, json_t *result, double seconds, kadr_error *err);

/* ---- the commands */
kadr_status command_generate(struct cli *cli, kadr_error *err);
kadr_status command_board(struct cli *cli, kadr_error *err);
kadr_status command_tokens(struct cli *cli, kadr_error *err);
kadr_status command_inspect(struct cli *cli, kadr_error *err);
kadr_status command_pack(struct cli *cli, kadr_error *err);
kadr_status command_verify(struct cli *cli, kadr_error *err);
kadr_status command_plan(struct cli *cli, kadr_error *err);
kadr_status command_bench(struct cli *cli, kadr_error *err);
kadr_status command_doctor(struct cli *cli, kadr_error *err);
kadr_status command_cast(struct cli *cli, kadr_error *err);
kadr_status command_serve(struct cli *cli, kadr_error *err);
kadr_status command_work(struct cli *cli, kadr_error *err);
kadr_status command_pull(struct cli *cli, kadr_error *err);
kadr_status command_models(struct cli *cli, kadr_error *err);
kadr_status command_config(struct cli *cli, kadr_error *err);
kadr_status command_help(struct cli *cli, kadr_error *err);
kadr_status command_man(struct cli *cli, kadr_error *err);
kadr_status command_completion(struct cli *cli, kadr_error *err);
kadr_status command_version(struct cli *cli, kadr_error *err);

#endif
