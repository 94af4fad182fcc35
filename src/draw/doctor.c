/* doctor.c: kadr_doctor: what this machine can do, and what machines of other sizes would. Plans
 * pictures of every preset without drawing one; without a model of the user's, with SDXL on paper.
 */
#include "base/buf.h"
#include "base/sys.h"
#include "draw/choose.h"
#include "draw/paint.h"

#define GB ((uint64_t)1000000000)

/* The classes of machines that people own. What other programs take there is a guess. */
static const struct {
    const char *name;
    uint64_t memory;
} classes[] = {{"8 GB", 8 * GB}, {"16 GB", 16 * GB}, {"24 GB", 24 * GB}};
#define OTHERS (3 * GB)

struct doctor {
    kadr_context *ctx;
    struct draw_model *model;
    const kadr_request *rq;
};

/* A picture of that preset, planned for a budget, as JSON; NULL when memory was refused. */
static json_t *picture_json(const struct doctor *d, const char *preset, uint64_t budget) {
    struct job job = {.model = d->model, .rq = kadr_request_copy(d->rq)};
    struct jobs jobs = {.ctx = d->ctx, .job = &job, .count = 1, .pictures = 1, .budget = budget};
    json_t *out = NULL;
    job.text = (struct text_request){.used = {true, true}, .zeros = {true, false}, .chunks = 1};
    job.text.prompt[BRANCH_POSITIVE].chunks = 1;
    jobs.idle = (size_t)sys_memory_now();
    jobs.growth = context_growth(d->ctx, jobs.idle);
    bool ok = job.rq && !request_resolve(job.rq, NULL, preset, NULL);
    if (ok) {
        job.text.used[BRANCH_NEGATIVE] = job.rq->guidance > 1;
        job.host = paint_bytes(job.model, job.rq, &job.text);
        ok = !choose_plan(&jobs, 0, NULL);
    }
    if (ok)
        out = json_pack(
            "{s:s,s:i,s:i,s:i,s:s,s:I,s:I,s:b,s:f,s:f}", "preset", preset, "width",
            (int)job.rq->width, "height", (int)job.rq->height, "steps", (int)job.rq->steps,
            "precision", dtype_name(job.stages->shape.dtype), "budget_bytes", (json_int_t)budget,
            "peak_bytes", (json_int_t)job.planned, "fits", choose_fits(&jobs, &job), "seconds",
            stages_seconds(&job.time, &job.stages->shape, 1), "seconds_per_step", job.time.step);
    if (job.stages) choose_drop(&jobs, 0);
    kadr_request_free(job.rq);
    return out;
}

static json_t *class_json(const struct doctor *d, const char *name, uint64_t memory,
                          uint64_t budget) {
    json_t *out = picture_json(d, request_preset_for(memory), budget);
    if (out) json_object_set_new(out, "machine", json_string(name));
    if (out) json_object_set_new(out, "memory_bytes", json_integer((json_int_t)memory));
    return out;
}

static json_t *machine_json(const struct doctor *d, double disk) {
    kadr_context *ctx = d->ctx;
    char flags[128];
    cpu_flags_text(cpu_flags(), flags, sizeof flags);
    const struct machine_tools tools = context_machine_tools(ctx);
    double gflops[2];
    for (int i = 0; i < 2; i++)
        gflops[i] = machine_measure(&ctx->machine, &tools, i ? DTYPE_BF16 : DTYPE_F32,
                                    draw_model_scale(d->model)) *
                    1e-9;
    return json_pack("{s:s,s:s,s:i,s:s,s:I,s:I,s:f,s:f,s:f}", "processor", ctx->machine.processor,
                     "multiplier", ctx->backend->multiplier(ctx->state), "threads",
                     pool_threads(ctx->pool), "instructions", flags, "memory_total",
                     (json_int_t)sys_memory_total(), "memory_free", (json_int_t)sys_memory_free(),
                     "f32_gflop_per_second", gflops[0], "bf16_gflop_per_second", gflops[1],
                     "disk_bytes_per_second", disk);
}

static json_t *report(const struct doctor *d) {
    kadr_context *ctx = d->ctx;
    const struct machine_tools tools = context_machine_tools(ctx);
    const uint64_t total = sys_memory_total();
    const char *why;
    uint64_t budget = context_budget(ctx, &why);
    double disk = machine_measure_disk(&ctx->machine, &tools);
    json_t *machine = machine_json(d, disk);
    json_t *rows = json_array(), *presets = json_array();
    json_array_append_new(rows, class_json(d, "this machine", total, budget));
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        uint64_t memory = classes[i].memory;
        json_array_append_new(rows,
                              class_json(d, classes[i].name, memory, (memory - OTHERS) / 10 * 7));
    }
    size_t count;
    const struct request_preset *list = request_presets(&count);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(presets, picture_json(d, list[i].name, budget));
    json_t *all =
        json_pack("{s:o,s:s,s:s,s:s,s:I,s:o,s:o}", "machine", machine, "model",
                  d->model->weights ? weights_path(d->model->weights) : "SDXL", "recommended",
                  request_preset_for(total), "budget_from", why, "budget_bytes", (json_int_t)budget,
                  "classes", rows, "presets", presets);
    if (all)
        json_object_update_new(all, json_pack("{s:f,s:i}", "prediction_error", ctx->machine.error,
                                              "predictions", ctx->machine.judged));
    return all;
}

kadr_status kadr_doctor(kadr_context *ctx, const kadr_request *rq, char **json, kadr_error *err) {
    struct doctor d = {.ctx = ctx, .rq = rq};
    kadr_status st = request_model_path(rq)
                         ? draw_model_open(ctx->mem, &ctx->log, rq, NULL, &d.model, err)
                         : draw_model_on_paper(ctx->mem, &d.model, err);
    if (st) return st;
    json_t *all = report(&d);
    struct buf b;
    buf_init(&b, ctx->mem);
    bool ok = json_put(&b, all, JSON_COMPACT);
    *json = ok ? buf_take(&b) : NULL;
    buf_free(&b);
    json_decref(all);
    draw_model_close(d.model);
    context_remember(ctx);
    return *json ? KADR_OK : err_nomem(err, "report", 4096);
}
