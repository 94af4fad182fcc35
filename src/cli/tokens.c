/* tokens.c: kadr tokens. */
#include "cli/cli.h"

#include <string.h>

/* One encoder: ids with the weights that are not 1, a bar where a chunk ends. */
static void describe_encoder(struct buf *to, size_t number, const json_t *encoder) {
    const json_t *ids = json_object_get(encoder, "ids");
    const json_t *weights = json_object_get(encoder, "weights");
    const json_t *chunks = json_object_get(encoder, "chunks");
    const char *cut = json_string_value(json_object_get(encoder, "cut"));
    size_t count = json_array_size(ids), chunk = 0;
    buf_printf(to, "encoder %zu: %zu token%s\n ", number, count, count == 1 ? "" : "s");
    for (size_t i = 0; i < count; i++) {
        const json_t *weight = json_array_get(weights, i), *end = json_array_get(chunks, chunk);
        if (end && json_integer_value(end) == (json_int_t)i && i > 0) {
            buf_puts(to, " |");
            chunk++;
        }
        buf_printf(to, " %" JSON_INTEGER_FORMAT, json_integer_value(json_array_get(ids, i)));
        if (weight && json_number_value(weight) != 1)
            buf_printf(to, ":%.4g", json_number_value(weight));
    }
    buf_putc(to, '\n');
    if (cut && *cut) buf_printf(to, "  a limit of 77 tokens would have cut: %s\n", cut);
}

kadr_status command_tokens(struct cli *cli, kadr_error *err) {
    struct work w = {0};
    char *text = NULL;
    json_t *json = NULL;
    kadr_status status = cli_prepare(cli, err);
    if (status == KADR_OK) status = work_open(&w, cli, err);
    if (status == KADR_OK)
        status = kadr_tokens(w.ctx, cli->rq, cli->word[0], cli->rq->plain, &text, err);
    if (status == KADR_OK)
        status = json_parse(text, strlen(text), "tokens", KADR_EOTHER, &json, err);
    if (status == KADR_OK && cli->rq->json) status = cli_print_json(cli, json, err);
    else if (status == KADR_OK) {
        const json_t *encoders = json_object_get(json, "encoders");
        struct buf to;
        buf_init(&to, cli->mem);
        for (size_t i = 0; i < json_array_size(encoders); i++)
            describe_encoder(&to, i + 1, json_array_get(encoders, i));
        status = cli_print_buf(&to, err);
    }
    json_decref(json);
    kadr_free(text);
    work_close(&w);
    return status;
}
