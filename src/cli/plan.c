/* plan.c: kadr plan: the memory that a drawing would take, as a table. */
#include "cli/cli.h"

#include <string.h>

/* A size, right-aligned in a column. */
static void put_size(struct buf *to, double bytes) {
    struct buf text;
    buf_init(&text, to->mem);
    cli_print_size(&text, bytes);
    buf_printf(to, "%12s", text.data);
    buf_free(&text);
}

static void put_seconds(struct buf *to, double seconds) {
    struct buf text;
    buf_init(&text, to->mem);
    cli_print_seconds(&text, seconds);
    buf_printf(to, "%14s", text.data);
    buf_free(&text);
}

static void put_line(struct buf *to, const char *what, double bytes) {
    buf_printf(to, "  %-36s", what);
    put_size(to, bytes);
    buf_putc(to, '\n');
}

/* One line a network: what of its weights stays and what passes through, and what else it takes. */
static void describe_stages(struct buf *to, const json_t *stages) {
    buf_printf(to, "  %-9s%-18s %12s%12s%12s%12s%12s%12s%8s%14s\n", "stage", "network", "resident",
               "read a run", "slots", "activations", "workspace", "peak", "TFLOP", "time a run");
    for (size_t i = 0; i < json_array_size(stages); i++) {
        const json_t *s = json_array_get(stages, i);
        buf_printf(to, "  %-9s%-18s ", cli_text(s, "stage"), cli_text(s, "network"));
        put_size(to, cli_number(s, "resident_bytes"));
        put_size(to, cli_number(s, "streamed_bytes"));
        put_size(to, cli_number(s, "ring_bytes"));
        put_size(to, cli_number(s, "activation_bytes"));
        put_size(to, cli_number(s, "workspace_bytes"));
        put_size(to, cli_number(s, "peak_bytes"));
        buf_printf(to, "%8.3g", cli_number(s, "tflop"));
        put_seconds(to, cli_number(s, "seconds"));
        buf_putc(to, '\n');
    }
}

static void describe_time(struct buf *to, const json_t *rq) {
    const json_t *t = json_object_get(rq, "time");
    double together = cli_number(rq, "together");
    buf_puts(to, "  about ");
    cli_print_seconds(to, cli_number(t, "seconds"));
    buf_puts(to, " in all");
    if (cli_number(t, "predictions") > 0)
        buf_printf(to, " (the last predictions here were off by %.0f %%)",
                   cli_number(t, "prediction_error") * 100);
    buf_puts(to, ": ");
    cli_print_seconds(to, cli_number(t, "seconds_load") + cli_number(t, "seconds_encode"));
    buf_puts(to, " before the first step, ");
    cli_print_seconds(to, cli_number(t, "seconds_per_step"));
    buf_puts(to, " a step, decoding ");
    cli_print_seconds(to, cli_number(t, "seconds_decode"));
    if (together > 1) buf_printf(to, "; %.0f pictures share each reading", together);
    buf_printf(to, "; a step waits for the %s%s\n",
               strcmp(cli_text(t, "bound"), "disk") ? "processor" : "disk",
               json_is_true(json_object_get(t, "measured")) ? "" : " (a guess, nothing measured)");
}

/* What was, beside what is. */
static void describe_before(struct buf *to, const json_t *rq) {
    const json_t *before = json_object_get(rq, "before");
    if (!before) return;
    buf_printf(to, "  %-36s%12s%12s\n", "", "all at once", "planned");
    buf_printf(to, "  %-36s", "weights in memory");
    put_size(to, cli_number(before, "weight_bytes"));
    double now = 0;
    const json_t *stages = json_object_get(rq, "stages");
    for (size_t i = 0; i < json_array_size(stages); i++) {
        const json_t *s = json_array_get(stages, i);
        double own = cli_number(s, "resident_bytes") + cli_number(s, "ring_bytes");
        now = own > now ? own : now;
    }
    put_size(to, now);
    buf_printf(to, "\n  %-36s", "peak");
    put_size(to, cli_number(before, "peak_bytes"));
    put_size(to, cli_number(rq, "peak_bytes"));
    buf_printf(to, "\n  %-36s%12.0f%12.0f\n", "seconds", cli_number(before, "seconds"),
               cli_number(json_object_get(rq, "time"), "seconds"));
}

static void describe_alternatives(struct buf *to, const json_t *list) {
    if (json_array_size(list)) buf_puts(to, "  what would fit:\n");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *a = json_array_get(list, i);
        put_line(to, cli_text(a, "options"), cli_number(a, "peak_bytes"));
    }
}

static void describe_request(struct buf *to, const json_t *rq) {
    double pictures = cli_number(rq, "pictures");
    buf_printf(to, "%.0fx%.0f, %.0f picture%s, %s, weights %s\n", cli_number(rq, "width"),
               cli_number(rq, "height"), pictures, pictures > 1 ? "s" : "",
               cli_text(rq, "precision"),
               json_is_true(json_object_get(rq, "weights_kept")) ? "kept between pictures"
                                                                 : "given up after use");
    describe_stages(to, json_object_get(rq, "stages"));
    put_line(to, "networks, all stages in one place", cli_number(rq, "arena_bytes"));
    if (json_object_get(rq, "cast_bytes"))
        put_line(to, "  of which casts", cli_number(rq, "cast_bytes"));
    put_line(to, "pictures, latents, embeddings", cli_number(rq, "host_bytes"));
    put_line(to, "the program itself", cli_number(rq, "program_bytes"));
    put_line(to, "peak", cli_number(rq, "peak_bytes"));
    describe_time(to, rq);
    describe_before(to, rq);
    describe_alternatives(to, json_object_get(rq, "alternatives"));
}

static void describe_plan(struct buf *to, const json_t *plan) {
    const json_t *requests = json_object_get(plan, "requests");
    for (size_t i = 0; i < json_array_size(requests); i++)
        describe_request(to, json_array_get(requests, i));
    buf_puts(to, json_is_true(json_object_get(plan, "fits")) ? "fits into " : "does not fit into ");
    cli_print_size(to, cli_number(plan, "budget_bytes"));
    buf_printf(to, " (%s)\n", cli_text(plan, "budget_from"));
}

kadr_status command_plan(struct cli *cli, kadr_error *err) {
    struct work w = {0};
    char *text = NULL;
    json_t *json = NULL;
    kadr_status status = cli_read_prompt(cli, err);
    if (status == KADR_OK) status = cli_prepare(cli, err);
    /* The memory depends on the prompt's length only where it is very long. */
    if (status == KADR_OK && !cli->rq->prompt)
        status = kadr_request_set(cli->rq, "prompt", "", err);
    if (status == KADR_OK) status = work_open(&w, cli, err);
    if (status == KADR_OK) status = kadr_plan(w.ctx, &cli->rq, 1, &text, err);
    if (status == KADR_OK) status = json_parse(text, strlen(text), "plan", KADR_EOTHER, &json, err);
    if (status == KADR_OK && cli->rq->json) status = cli_print_json(cli, json, err);
    else if (status == KADR_OK) {
        struct buf to;
        buf_init(&to, cli->mem);
        describe_plan(&to, json);
        status = cli_print_buf(&to, err);
    }
    if (status == KADR_OK && !json_is_true(json_object_get(json, "fits")))
        status = err_set(err, KADR_EMEMORY, "it would not fit; the report tells what would");
    json_decref(json);
    kadr_free(text);
    work_close(&w);
    return status;
}
