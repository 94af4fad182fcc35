/* choose.c: see choose.h.
 *
 * Invariant: a program that two jobs share is owned by the first job that has it.
 */
#include "draw/choose.h"
#include "draw/paint.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Pictures are drawn in groups where that is predicted to save at least this share of the time:
 * the first one is seen later. */
#define GROUP_SAVES 0.1
#define GROUP_MOST 16

/* ---- What is to be planned */

/* For one picture whose branches are a batch, unless one of them sits out some turns. */
static struct stages_shape shape_of(const struct job *job) {
    struct stages_shape s;
    memset(&s, 0, sizeof s); /* compared as bytes */
    if (!dtype_named(job->rq->precision, &s.dtype)) s.dtype = draw_model_precision(job->model);
    s.width = job->rq->width;
    s.height = job->rq->height;
    s.branches = job->text.used[BRANCH_NEGATIVE] ? 2 : 1;
    s.pictures = 1;
    s.steps = (int)job->rq->steps;
    s.guide_to = 1;
    if (job->rq->guidance_interval)
        request_parse_interval(job->rq->guidance_interval, &s.guide_from, &s.guide_to);
    s.serial = stages_alternate(&s);
    s.cache = (int)job->rq->step_cache;
    s.chunks = job->text.chunks;
    s.text_samples = text_samples(&job->text);
    s.extra_rows = job->model->extra_rows;
    s.clip_skip = (int)job->rq->clip_skip;
    s.init = job->init.data != NULL;
    castings_shape(&job->castings, &s);
    return s;
}

static bool same_shape(const struct job *a, const struct job *b) {
    const struct stages_shape x = shape_of(a), y = shape_of(b);
    return a->model == b->model && memcmp(&x, &y, sizeof x) == 0;
}

/* Bytes of the process beside the arena while so many pictures of the job are drawn together. */
static size_t beside(const struct jobs *j, const struct job *job, int pictures) {
    return j->idle + j->growth + job->host * (size_t)pictures + paint_bytes_once(job->rq);
}

bool choose_fits(const struct jobs *j, const struct job *job) {
    return j->budget == 0 || job->planned <= j->budget;
}

/* ---- One candidate */

static void close_stages(struct stages *s) {
    if (!s) return;
    stages_close(s);
    mem_free(s);
}

/* Plans the job in that shape: fills in its stages, planned and time. */
static kadr_status plan_shape(const struct jobs *j, struct job *job, size_t pictures,
                              const struct stages_shape *shape, kadr_error *err) {
    kadr_context *ctx = j->ctx;
    size_t other = beside(j, job, shape->pictures);
    struct plan_options options = {.keep = pictures > (size_t)shape->pictures,
                                   .record = job->rq->svg != NULL};
    /* At least one byte: nothing fits, and the smallest plan is what is told. */
    if (j->budget) options.budget = j->budget > other ? (size_t)(j->budget - other) : 1;
    struct stages *s = mem_alloc(ctx->mem, sizeof *s);
    if (!s) return err_nomem(err, "program", sizeof *s);
    kadr_status st =
        stages_open(s, ctx->mem, job->model, shape, &options, ctx->backend, ctx->state, err);
    if (st) {
        mem_free(s);
        return st;
    }
    job->stages = s;
    job->planned = other + s->plan.bytes;
    context_predict(ctx, job->model, s, &job->time);
    return KADR_OK;
}

/* Seconds of one of `pictures`. */
static double seconds_each(const struct job *job, size_t pictures) {
    return stages_seconds(&job->time, &job->stages->shape, pictures) / (double)pictures;
}

/* Tries the job in another shape and keeps it when it is better: it fits and the other does not,
 * or is smaller where neither does, or takes less than `share` of the other's time. */
static kadr_status try_shape(const struct jobs *j, struct job *job, size_t pictures,
                             const struct stages_shape *shape, double share, kadr_error *err) {
    struct job other = *job;
    kadr_status st = plan_shape(j, &other, pictures, shape, err);
    if (st) return st;
    bool was = choose_fits(j, job), is = choose_fits(j, &other);
    bool better = is != was ? is
                  : is      ? seconds_each(&other, pictures) < share * seconds_each(job, pictures)
                            : other.planned < job->planned;
    close_stages(better ? job->stages : other.stages);
    if (better) *job = other;
    return KADR_OK;
}

/* ---- The choice */

static size_t pictures_like(const struct jobs *j, const struct job *job) {
    size_t n = 0;
    for (size_t i = 0; i < j->count; i++)
        if (same_shape(&j->job[i], job)) n += (size_t)j->job[i].rq->count;
    return n;
}

static kadr_status choose_group(const struct jobs *j, struct job *job, size_t pictures,
                                kadr_error *err) {
    struct stages_shape shape = job->stages->shape;
    size_t most = pictures < GROUP_MOST ? pictures : GROUP_MOST;
    for (size_t group = most; group > 1; group = group > 4 ? group * 2 / 3 : group - 1) {
        int before = job->stages->shape.pictures;
        shape.pictures = (int)group;
        kadr_status st = try_shape(j, job, pictures, &shape, 1 - GROUP_SAVES, err);
        if (st || job->stages->shape.pictures != before) return st;
    }
    return KADR_OK;
}

kadr_status choose_plan(struct jobs *j, size_t i, kadr_error *err) {
    struct job *job = &j->job[i];
    for (size_t k = 0; k < i; k++)
        if (same_shape(&j->job[k], job)) {
            job->stages = j->job[k].stages;
            job->time = j->job[k].time;
            job->planned = beside(j, job, job->stages->shape.pictures) + job->stages->plan.bytes;
            return KADR_OK;
        }
    struct stages_shape shape = shape_of(job);
    size_t pictures = pictures_like(j, job);
    kadr_status st = plan_shape(j, job, pictures, &shape, err);
    /* Branches of guidance in turn take less memory, and are no quicker where both fit. */
    bool serial = shape.serial;
    shape.serial = true;
    bool roomy = !st && choose_fits(j, job) && !job->stages->plan.scratch;
    if (!st && shape.branches > 1 && !serial && !roomy)
        st = try_shape(j, job, pictures, &shape, 0.98, err);
    bool waits =
        !st && choose_fits(j, job) && job->time.step_compute < (1 - GROUP_SAVES) * job->time.step;
    if (waits && pictures > 1) st = choose_group(j, job, pictures, err);
    return st;
}

void choose_drop(struct jobs *j, size_t i) {
    struct job *job = &j->job[i];
    bool owner = true;
    for (size_t k = 0; k < i; k++) owner = owner && j->job[k].stages != job->stages;
    if (owner) close_stages(job->stages);
    job->stages = NULL;
}

/* ---- What would fit */

/* The job at another size or precision; false when that does not fit either. */
static bool try_other(const struct jobs *j, const struct job *job, int64_t width, int64_t height,
                      enum dtype dtype, struct alternative *out) {
    kadr_request *rq = kadr_request_copy(job->rq);
    if (!rq) return false;
    rq->width = width;
    rq->height = height;
    struct job other = *job;
    other.rq = rq;
    other.stages = NULL;
    other.host = paint_bytes(other.model, rq, &other.text) + castings_bytes(&other.castings, rq);
    struct stages_shape shape = shape_of(&other);
    shape.dtype = dtype;
    shape.serial = shape.branches > 1;
    bool fits = !plan_shape(j, &other, 1, &shape, NULL) && choose_fits(j, &other);
    if (fits)
        *out = (struct alternative){.width = width,
                                    .height = height,
                                    .dtype = dtype,
                                    .planned = other.planned,
                                    .memory = j->budget};
    close_stages(other.stages);
    kadr_request_free(rq);
    return fits;
}

/* The largest of some usual sizes, of the same aspect, that fits. */
static bool try_smaller(const struct jobs *j, const struct job *job, enum dtype dtype,
                        struct alternative *out) {
    static const int sides[] = {1536, 1280, 1024, 896, 768, 640, 512, 384, 256};
    double side = sqrt((double)job->rq->width * (double)job->rq->height);
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        double scale = sides[i] / side;
        if (scale > 0.95) continue;
        int64_t step = vae_scale(&job->model->vae) * 8;
        int64_t width = (int64_t)lround((double)job->rq->width * scale / (double)step) * step;
        int64_t height = (int64_t)lround((double)job->rq->height * scale / (double)step) * step;
        if (width > 0 && height > 0 && try_other(j, job, width, height, dtype, out)) return true;
    }
    return false;
}

static uint64_t whole_mib(size_t bytes) {
    return ((uint64_t)bytes + (1 << 20) - 1) >> 20;
}

size_t choose_alternatives(const struct jobs *j, const struct job *job,
                           struct alternative list[ALTERNATIVES]) {
    const enum dtype asked = job->stages->shape.dtype;
    const int64_t width = job->rq->width, height = job->rq->height;
    const char *layout;
    enum dtype packed;
    bool free = !weights_packing(job->model->weights, &layout, &packed);
    bool wide = free && asked == DTYPE_F32;
    size_t n = 0;
    if (wide && try_other(j, job, width, height, DTYPE_BF16, &list[n]))
        snprintf(list[n++].options, sizeof list->options, "--precision bf16");
    if (free && asked != DTYPE_I8 && try_other(j, job, width, height, DTYPE_I8, &list[n]))
        snprintf(list[n++].options, sizeof list->options, "--precision int8");
    if (try_smaller(j, job, asked, &list[n])) {
        snprintf(list[n].options, sizeof list->options, "--width %d --height %d",
                 (int)list[n].width, (int)list[n].height);
        n++;
    }
    if (wide && try_smaller(j, job, DTYPE_BF16, &list[n])) {
        snprintf(list[n].options, sizeof list->options, "--precision bf16 --width %d --height %d",
                 (int)list[n].width, (int)list[n].height);
        n++;
    }
    /* The process is not the same to the page each time, a server with its threads even less. */
    uint64_t need = whole_mib(job->planned) + (j->ctx->config.reserve ? 3 : 1);
    list[n] = (struct alternative){.width = job->rq->width,
                                   .height = job->rq->height,
                                   .dtype = asked,
                                   .planned = job->planned,
                                   .memory = need << 20};
    snprintf(list[n++].options, sizeof list->options, "--memory %dM", (int)need);
    return n;
}

kadr_status choose_refuse(const struct jobs *j, const struct job *job, kadr_error *err) {
    struct alternative list[ALTERNATIVES];
    size_t n = choose_alternatives(j, job, list), used = 0;
    char text[512] = "";
    for (size_t i = 0; i < n && used < sizeof text; i++)
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s%s (%llu MiB)", i ? ", or " : "",
                             list[i].options, (unsigned long long)whole_mib(list[i].planned));
    return err_set(err, KADR_EMEMORY,
                   "%dx%d in %s takes at least %llu MiB, but %s is %.0f MiB; what would fit: %s",
                   (int)job->rq->width, (int)job->rq->height, dtype_name(job->stages->shape.dtype),
                   (unsigned long long)whole_mib(job->planned), j->why,
                   (double)j->budget / (1 << 20), text);
}
