/* doctor.c: kadr doctor: what this machine can do, as a table. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/* What `put` writes, right-aligned in a column. */
static void put_column(struct buf *to, void (*put)(struct buf *, double), double value, int width) {
    struct buf text;
    buf_init(&text, to->mem);
    put(&text, value);
    buf_printf(to, "%*s", width, buf_ok(&text) ? text.data : "?");
    buf_free(&text);
}

static void describe_machine(struct buf *to, const json_t *m) {
    buf_printf(to, "%s, %.0f thread%s (%s)\n", cli_text(m, "processor"), cli_number(m, "threads"),
               cli_number(m, "threads") > 1 ? "s" : "", cli_text(m, "instructions"));
    buf_puts(to, "  memory       ");
    cli_print_size(to, cli_number(m, "memory_total"));
    buf_puts(to, ", free ");
    cli_print_size(to, cli_number(m, "memory_free"));
    buf_printf(to, "\n  arithmetic   %.0f GFLOP/s in f32, %.0f in bf16\n",
               cli_number(m, "f32_gflop_per_second"), cli_number(m, "bf16_gflop_per_second"));
    if (strcmp(cli_text(m, "multiplier"), "kadr") != 0)
        buf_printf(to, "  f32 products by %s\n", cli_text(m, "multiplier"));
    if (cli_number(m, "disk_bytes_per_second") > 0)
        buf_printf(to, "  disk         %.2f GB/s\n", cli_number(m, "disk_bytes_per_second") * 1e-9);
}

static void describe_rows(struct buf *to, const json_t *rows, const char *first) {
    buf_printf(to, "  %-14s%-12s%-11s%6s  %-5s%10s%10s%16s\n", first, "preset", "size", "steps", "",
               "allowed", "peak", "a picture");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *r = json_array_get(rows, i);
        char size[32];
        snprintf(size, sizeof size, "%.0fx%.0f", cli_number(r, "width"), cli_number(r, "height"));
        buf_printf(to, "  %-14s%-12s%-11s%6.0f  %-5s", cli_text(r, "machine"),
                   cli_text(r, "preset"), size, cli_number(r, "steps"), cli_text(r, "precision"));
        put_column(to, cli_print_size, cli_number(r, "budget_bytes"), 10);
        put_column(to, cli_print_size, cli_number(r, "peak_bytes"), 10);
        if (json_is_true(json_object_get(r, "fits")))
            put_column(to, cli_print_seconds, cli_number(r, "seconds"), 16);
        else buf_printf(to, "%16s", "does not fit");
        buf_putc(to, '\n');
    }
}

static void describe(struct buf *to, const json_t *all) {
    describe_machine(to, json_object_get(all, "machine"));
    buf_printf(to, "\n%s on machines of several sizes, times by this machine's processor:\n",
               cli_text(all, "model"));
    describe_rows(to, json_object_get(all, "classes"), "machine");
    buf_printf(to, "\nEach preset here (%s):\n", cli_text(all, "budget_from"));
    describe_rows(to, json_object_get(all, "presets"), "");
    if (cli_number(all, "predictions") > 0)
        buf_printf(to, "\nThe last drawings here took other than predicted by %.0f %%.\n",
                   cli_number(all, "prediction_error") * 100);
    else buf_puts(to, "\nNothing was drawn here yet that would tell how good these times are.\n");
    buf_printf(
        to,
        "\nRecommended: %s, by the memory of the machine. It is what is taken when no preset "
        "is named.\n",
        cli_text(all, "recommended"));
}

kadr_status command_doctor(struct cli *cli, kadr_error *err) {
    struct work w = {0};
    char *text = NULL;
    json_t *json = NULL;
    kadr_status status = KADR_OK;
    if (kadr_request_get(cli->rq, "model")) status = cli_prepare(cli, err);
    if (status == KADR_OK) status = work_open(&w, cli, err);
    if (status == KADR_OK) status = kadr_doctor(w.ctx, cli->rq, &text, err);
    if (status == KADR_OK)
        status = json_parse(text, strlen(text), "report", KADR_EOTHER, &json, err);
    if (status == KADR_OK && cli->rq->json) status = cli_print_json(cli, json, err);
    else if (status == KADR_OK) {
        struct buf to;
        buf_init(&to, cli->mem);
        describe(&to, json);
        status = cli_print_buf(&to, err);
    }
    json_decref(json);
    kadr_free(text);
    work_close(&w);
    return status;
}
