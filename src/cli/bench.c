/* bench.c: kadr bench: how fast this machine draws. Either one picture and six, as a user waits for
 * them, or (--step) steps of the UNet alone, as programs are compared. Nothing is written.
 */
#include "cli/cli.h"

#include "base/sys.h"
#include <stdlib.h>
#include <string.h>

#define STEPS_USUAL "5"
#define BOARD "6" /* pictures of a small storyboard */

/* ---- Steps of the UNet alone */

#define KINDS 32 /* of operations; no more are told apart */

struct steps {
    struct mem *mem;
    double *seconds; /* of each after the first */
    size_t room, count;
    double last;                 /* when the step before ended; 0: none has */
    uint64_t bytes_first, bytes; /* read after the first step, and after the last */
    double reading_first, reading;
    kadr_operations kinds_first[KINDS], kinds[KINDS];
    size_t kind_count;
};

static void copy_kinds(struct steps *s, kadr_operations *to, const kadr_progress *p) {
    s->kind_count = p->operation_kinds < KINDS ? p->operation_kinds : KINDS;
    if (p->operations) memcpy(to, p->operations, s->kind_count * sizeof *to);
}

static int on_step(void *user, const kadr_progress *p) {
    struct steps *s = user;
    if (strcmp(p->stage, "denoise") != 0) return s->last > 0;
    double now = sys_seconds();
    if (s->last > 0 && s->count < s->room) s->seconds[s->count++] = now - s->last;
    else {
        s->bytes_first = p->bytes_read;
        s->reading_first = p->seconds_reading;
        copy_kinds(s, s->kinds_first, p);
    }
    copy_kinds(s, s->kinds, p);
    s->bytes = p->bytes_read;
    s->reading = p->seconds_reading;
    s->last = now;
    return s->count == s->room;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int longest_first(const void *a, const void *b) {
    double x = ((const kadr_operations *)a)->seconds, y = ((const kadr_operations *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The request as it is planned: size, precision, peak, operations of a step. */
static kadr_status plan_of(kadr_context *ctx, struct cli *cli, json_t **out, kadr_error *err) {
    char *text = NULL;
    json_t *plan = NULL;
    kadr_status status = kadr_plan(ctx, &cli->rq, 1, &text, err);
    if (status == KADR_OK) status = json_parse(text, strlen(text), "plan", KADR_EOTHER, &plan, err);
    if (status == KADR_OK) *out = json_incref(json_array_get(json_object_get(plan, "requests"), 0));
    json_decref(plan);
    kadr_free(text);
    return status;
}

static double tflop_of_step(const json_t *plan) {
    const json_t *stages = json_object_get(plan, "stages");
    double sum = 0;
    for (size_t i = 0; i < json_array_size(stages); i++) {
        const json_t *s = json_array_get(stages, i);
        if (!strcmp(json_string_value(json_object_get(s, "stage")), "denoise"))
            sum += cli_number(s, "tflop");
    }
    return sum;
}

/* What a step spends on each kind of operation, the longest first: {"kind", "seconds", "share",
 * "count", and of products "gflop_per_second"}. */
static json_t *kinds_of_step(struct steps *s) {
    double n = (double)s->count, all = 0;
    for (size_t i = 0; i < s->kind_count; i++) {
        s->kinds[i].seconds = (s->kinds[i].seconds - s->kinds_first[i].seconds) / n;
        s->kinds[i].flops = (s->kinds[i].flops - s->kinds_first[i].flops) / n;
        s->kinds[i].count = (s->kinds[i].count - s->kinds_first[i].count) / s->count;
        all += s->kinds[i].seconds;
    }
    qsort(s->kinds, s->kind_count, sizeof *s->kinds, longest_first);
    json_t *list = json_array();
    for (size_t i = 0; i < s->kind_count && s->kinds[i].count; i++) {
        const kadr_operations *k = &s->kinds[i];
        json_t *o = json_pack("{s:s,s:f,s:f,s:I}", "kind", k->kind, "seconds", k->seconds, "share",
                              k->seconds / all, "count", (json_int_t)k->count);
        if (k->flops > 0)
            json_object_set_new(o, "gflop_per_second", json_real(k->flops * 1e-9 / k->seconds));
        json_array_append_new(list, o);
    }
    return list;
}

static void print_kinds(struct buf *text, const json_t *kinds) {
    for (size_t i = 0; i < json_array_size(kinds); i++) {
        const json_t *o = json_array_get(kinds, i);
        buf_printf(text, "%7.1f %%  %-12s %4.0f taking ", cli_number(o, "share") * 100,
                   cli_text(o, "kind"), cli_number(o, "count"));
        cli_print_seconds(text, cli_number(o, "seconds"));
        double rate = cli_number(o, "gflop_per_second");
        if (rate > 0) buf_printf(text, ", %.1f GFLOP/s", rate);
        buf_puts(text, "\n");
    }
}

static kadr_status report_steps(struct cli *cli, struct steps *s, const json_t *plan,
                                kadr_error *err) {
    json_t *list = json_array();
    for (size_t i = 0; i < s->count; i++) json_array_append_new(list, json_real(s->seconds[i]));
    qsort(s->seconds, s->count, sizeof *s->seconds, ascending);
    double median = s->seconds[s->count / 2], tflop = tflop_of_step(plan);
    double reading = s->reading - s->reading_first, bytes = (double)(s->bytes - s->bytes_first);
    json_t *all = json_pack(
        "{s:O,s:O,s:O,s:f,s:o,s:f,s:f,s:f,s:f,s:I,s:O,s:o}", "width",
        json_object_get(plan, "width"), "height", json_object_get(plan, "height"), "precision",
        json_object_get(plan, "precision"), "seconds_per_step", median, "steps", list,
        "tflop_per_step", tflop, "gflop_per_second", tflop * 1e3 / median, "bytes_read_per_step",
        bytes / (double)s->count, "read_bytes_per_second", reading > 0 ? bytes / reading : 0.0,
        "peak_bytes", (json_int_t)sys_memory_peak(), "planned_peak_bytes",
        json_object_get(plan, "peak_bytes"), "operations", kinds_of_step(s));
    kadr_status status = all ? KADR_OK : err_nomem(err, "the report", 0);
    if (status == KADR_OK && cli->rq->json) status = cli_print_json(cli, all, err);
    else if (status == KADR_OK) {
        struct buf text;
        buf_init(&text, cli->mem);
        cli_print_seconds(&text, median);
        buf_printf(&text, " a step (median of %zu), %.1f GFLOP/s, peak memory ", s->count,
                   tflop * 1e3 / median);
        cli_print_size(&text, (double)sys_memory_peak());
        buf_puts(&text, " of ");
        cli_print_size(&text, cli_number(plan, "peak_bytes"));
        buf_puts(&text, " planned\n");
        print_kinds(&text, json_object_get(all, "operations"));
        status = cli_print_buf(&text, err);
    }
    json_decref(all);
    return status;
}

static kadr_status bench_steps(struct cli *cli, kadr_context *ctx, kadr_error *err) {
    json_t *plan = NULL;
    struct steps s = {.mem = cli->mem, .room = (size_t)cli->rq->steps};
    s.seconds = mem_array(cli->mem, s.room, sizeof *s.seconds);
    if (!s.seconds) return err_nomem(err, "times of steps", s.room * sizeof *s.seconds);
    /* One more: the first one also reads what stays in memory. */
    const char *steps = arena_printf(&cli->arena, "%zu", s.room + 1);
    const kadr_observer observer = {.user = &s, .progress = on_step};
    kadr_error drawing = {0};
    kadr_status status = kadr_request_set(cli->rq, "steps", steps, err);
    if (status == KADR_OK) status = plan_of(ctx, cli, &plan, err);
    if (status == KADR_OK) status = kadr_draw(ctx, &cli->rq, 1, &observer, &drawing);
    /* The bench itself ends the drawing before the decode. */
    if (status == KADR_EINTERRUPTED && s.count == s.room) status = KADR_OK;
    if (status != KADR_OK && drawing.status) *err = drawing;
    if (status == KADR_OK) status = report_steps(cli, &s, plan, err);
    json_decref(plan);
    mem_free(s.seconds);
    return status;
}

/* ---- Pictures */

static int on_picture(void *user, const kadr_picture *p) {
    json_t *report = NULL;
    if (json_parse(p->report, strlen(p->report), "report", KADR_EOTHER, &report, NULL)) return 1;
    return json_array_append_new(user, report) ? 1 : 0;
}

static int on_progress(void *user, const kadr_progress *p) {
    (void)user;
    (void)p;
    return 0;
}

/* Draws `count` pictures and tells how long all took; *first: the report of the first. */
static kadr_status draw(struct cli *cli, kadr_context *ctx, const char *count, double *seconds,
                        json_t **first, kadr_error *err) {
    json_t *reports = json_array();
    const kadr_observer observer = {
        .user = reports, .progress = on_progress, .picture = on_picture};
    kadr_status status = kadr_request_set(cli->rq, "count", count, err);
    double from = sys_seconds();
    if (status == KADR_OK) status = kadr_draw(ctx, &cli->rq, 1, &observer, err);
    *seconds = sys_seconds() - from;
    *first = status == KADR_OK ? json_incref(json_array_get(reports, 0)) : NULL;
    json_decref(reports);
    return status;
}

static kadr_status report_pictures(struct cli *cli, const json_t *all, kadr_error *err) {
    if (cli->rq->json) return cli_print_json(cli, all, err);
    const json_t *one = json_object_get(all, "one");
    struct buf text;
    buf_init(&text, cli->mem);
    buf_printf(&text, "%s, %.0f threads, %.0fx%.0f in %s, %.0f steps\n",
               json_string_value(json_object_get(all, "processor")), cli_number(one, "threads"),
               cli_number(all, "width"), cli_number(all, "height"),
               json_string_value(json_object_get(one, "precision")), cli_number(one, "steps"));
    buf_puts(&text, "one picture:  ");
    cli_print_seconds(&text, cli_number(all, "one_seconds"));
    buf_puts(&text, ", ");
    cli_print_seconds(&text, cli_number(one, "seconds_per_step"));
    buf_puts(&text, " a step\n" BOARD " pictures:   ");
    cli_print_seconds(&text, cli_number(all, "six_seconds"));
    buf_puts(&text, ", ");
    cli_print_seconds(&text, cli_number(all, "six_seconds") / 6);
    buf_puts(&text, " each\npeak memory:  ");
    cli_print_size(&text, cli_number(all, "peak_bytes"));
    buf_puts(&text, " of ");
    cli_print_size(&text, cli_number(all, "planned_peak_bytes"));
    buf_puts(&text, " planned\n");
    return cli_print_buf(&text, err);
}

static kadr_status bench_pictures(struct cli *cli, kadr_context *ctx, kadr_error *err) {
    double one, six;
    json_t *first = NULL, *sixth = NULL, *plan = NULL;
    char processor[96];
    sys_processor_name(processor, sizeof processor);
    kadr_status status = plan_of(ctx, cli, &plan, err);
    if (status == KADR_OK) status = draw(cli, ctx, "1", &one, &first, err);
    if (status == KADR_OK) status = draw(cli, ctx, BOARD, &six, &sixth, err);
    if (status == KADR_OK) {
        json_t *all =
            json_pack("{s:s,s:O,s:O,s:f,s:f,s:O,s:O,s:I,s:O}", "processor", processor, "width",
                      json_object_get(plan, "width"), "height", json_object_get(plan, "height"),
                      "one_seconds", one, "six_seconds", six, "one", first, "six", sixth,
                      "peak_bytes", (json_int_t)sys_memory_peak(), "planned_peak_bytes",
                      json_object_get(sixth, "planned_peak_bytes"));
        status = all ? report_pictures(cli, all, err) : err_nomem(err, "the report", 0);
        json_decref(all);
    }
    json_decref(plan);
    json_decref(first);
    json_decref(sixth);
    return status;
}

kadr_status command_bench(struct cli *cli, kadr_error *err) {
    struct work w = {0};
    kadr_status status = cli_read_prompt(cli, err);
    if (status == KADR_OK && !cli->rq->prompt)
        status = kadr_request_set(cli->rq, "prompt", "a red fox walks through a snowy forest", err);
    if (status == KADR_OK) status = cli_prepare(cli, err);
    if (status == KADR_OK && cli->rq->step && !kadr_request_get(cli->rq, "steps"))
        status = kadr_request_set(cli->rq, "steps", STEPS_USUAL, err);
    if (status == KADR_OK && !kadr_request_get(cli->rq, "seed"))
        status = kadr_request_set(cli->rq, "seed", "1", err);
    if (status == KADR_OK) status = work_open(&w, cli, err);
    if (status == KADR_OK)
        status = cli->rq->step ? bench_steps(cli, w.ctx, err) : bench_pictures(cli, w.ctx, err);
    work_close(&w);
    return status;
}
