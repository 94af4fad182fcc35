/* inspect.c: kadr inspect and kadr plan: what the library says as JSON, shown to people. */
#include "cli/cli.h"

#include <string.h>

/* Prints the library's JSON, or the same for people. Frees `text`. */
static kadr_status show(struct cli *cli, char *text, kadr_error *err) {
    json_t *json;
    kadr_status status = json_parse(text, strlen(text), "report", KADR_EOTHER, &json, err);
    kadr_free(text);
    if (status != KADR_OK) return status;
    if (cli->rq->json) status = cli_print_json(cli, json, err);
    else {
        struct buf to;
        buf_init(&to, cli->mem);
        cli_describe(&to, json, 0);
        status = cli_print_buf(&to, err);
    }
    json_decref(json);
    return status;
}

kadr_status command_inspect(struct cli *cli, kadr_error *err) {
    struct work w = {0};
    char *text = NULL;
    const char *path = cli_model_file(cli, cli->word[0]);
    kadr_status status = cli_configure(cli, err);
    if (status == KADR_OK) status = work_open(&w, cli, err);
    if (status == KADR_OK) status = kadr_inspect(w.ctx, path ? path : cli->word[0], &text, err);
    if (status == KADR_OK) status = show(cli, text, err);
    work_close(&w);
    return status;
}

kadr_status command_plan(struct cli *cli, kadr_error *err) {
    struct work w = {0};
    char *text = NULL;
    kadr_status status = cli_read_prompt(cli, err);
    if (status == KADR_OK) status = cli_prepare(cli, err);
    if (status == KADR_OK) status = work_open(&w, cli, err);
    if (status == KADR_OK) status = kadr_plan(w.ctx, &cli->rq, 1, &text, err);
    if (status == KADR_OK) status = show(cli, text, err);
    work_close(&w);
    return status;
}
