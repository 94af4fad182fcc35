/* draw.c: kadr_draw. First everything that could go wrong is looked at: models, pictures, prompts,
 * and the plan of every run against the memory allowed. Only then is anything computed.
 */
#include "base/sys.h"
#include "draw/jobs.h"
#include "draw/paint.h"
#include "draw/picture.h"
#include "draw/start.h"

#include <string.h>

/* Runs are opened when the first picture needs them and closed when the next needs another. */
struct session {
    kadr_context *ctx;
    const struct jobs *jobs;
    struct progress progress;
    const kadr_observer *observer;
    struct run_source source;
    const struct stages *stages;
    struct run *run;
};

static bool interrupted(void *user) {
    const kadr_context *ctx = user;
    return ctx->interrupted;
}

static kadr_status use_stages(struct session *s, const struct job *job, kadr_error *err) {
    if (s->stages == job->stages) return KADR_OK;
    run_close(s->run);
    s->run = NULL;
    s->stages = NULL;
    s->source = draw_source(job->model->weights);
    const struct run_config config = {.backend = s->ctx->backend,
                                      .state = s->ctx->state,
                                      .source = &s->source,
                                      .program = &job->stages->program,
                                      .plan = &job->stages->plan,
                                      .cancelled = interrupted,
                                      .user = s->ctx};
    kadr_status st = run_open(&s->run, s->ctx->mem, &config, err);
    if (!st) s->stages = job->stages;
    return st;
}

/* Pictures that are drawn together: as many of what is left as the plan has room for, and of those
 * the ones that have the same plan. */
struct group {
    const struct job **job;
    struct paint *paint;
    size_t count;
};

/* The next picture of all jobs; false when there is none. */
struct cursor {
    size_t job;
    int64_t index;
};
static bool next_picture(const struct jobs *jobs, struct cursor *at) {
    if (at->job >= jobs->count) return false;
    if (++at->index < jobs->job[at->job].rq->count) return true;
    at->index = 0;
    return ++at->job < jobs->count;
}

static struct paint paint_of(const struct job *job, int64_t index) {
    return (struct paint){.rq = job->rq,
                          .text = &job->text,
                          .init = job->init.data ? &job->init : NULL,
                          .mask = job->mask.data ? &job->mask : NULL,
                          .start = start_is_latents(job->rq->init) ? job->rq->init : NULL,
                          .castings = &job->castings,
                          .seed = (uint64_t)job->rq->seed + (uint64_t)index,
                          .index = (size_t)index};
}

/* Whether both take the same way through the UNet. */
static bool together(const struct job *a, const struct job *b) {
    return a->stages == b->stages && strcmp(a->rq->sampler, b->rq->sampler) == 0 &&
           a->rq->steps == b->rq->steps && (a->rq->init != NULL) == (b->rq->init != NULL) &&
           a->rq->strength == b->rq->strength;
}

/* Fills the group from `at` on, which then stands at the first picture that is left. */
static void gather(const struct session *s, struct group *g, struct cursor *at, bool *more) {
    const struct job *first = &s->jobs->job[at->job];
    size_t room = (size_t)first->stages->shape.pictures;
    g->count = 0;
    while (*more && g->count < room && together(&s->jobs->job[at->job], first)) {
        g->job[g->count] = &s->jobs->job[at->job];
        g->paint[g->count++] = paint_of(&s->jobs->job[at->job], at->index);
        *more = next_picture(s->jobs, at);
    }
}

static kadr_status deliver(struct session *s, struct painting *painting, const struct group *g,
                           size_t i, uint64_t bytes_read, kadr_error *err) {
    struct painted out;
    kadr_status st = painting_decode(painting, i, &out, err);
    if (st) return st;
    const struct stages_shape *shape = &g->job[i]->stages->shape;
    size_t together = (size_t)shape->pictures;
    const struct picture_facts facts = {
        .ctx = s->ctx,
        .model = g->job[i]->model,
        .planned = g->job[i]->planned,
        .predicted = stages_seconds(&g->job[i]->time, shape, together) / (double)together,
        .budget = s->jobs->budget,
        .bytes_read = bytes_read,
        .dtype = g->job[i]->stages->shape.dtype};
    st = picture_deliver(&g->paint[i], &out, g->job[i]->request, &facts, s->observer, err);
    if (!st) painting_delivered(painting, i);
    painted_free(&out);
    s->progress.picture++;
    return st;
}

/* What the drawing of a group teaches about this machine. */
static void learn(const struct session *s, const struct job *job, const struct painting *painting,
                  const struct run_stats *before) {
    struct machine *m = &s->ctx->machine;
    enum dtype dtype = job->stages->shape.dtype;
    enum machine_scale scale = draw_model_scale(job->model);
    const struct stages_time *t = &job->time;
    struct painting_time took;
    struct run_stats after;
    painting_get_time(painting, &took);
    run_get_stats(s->run, &after);
    bool packed = context_reads_packed(job->model);
    /* What stays was read in this group, or the prediction was of another. */
    if (!job->rq->init && before->bytes_read == 0 &&
        context_speed(s->ctx, job->model, dtype)->measured)
        machine_judge(m, t->load + t->encode + t->step * took.evaluations + t->decode,
                      took.encode + took.denoise + took.decode);
    machine_learn_reading(m, packed, (double)(after.bytes_read - before->bytes_read),
                          after.seconds_reading - before->seconds_reading);
    if (!job->rq->init)
        machine_learn(m, dtype, scale, MACHINE_ENCODE, t->encode_compute, took.encode,
                      took.encode_waited);
    machine_learn(m, dtype, scale, MACHINE_DENOISE, t->denoise_compute * took.evaluations,
                  took.denoise, took.denoise_waited);
    machine_learn(m, dtype, scale, MACHINE_DECODE, t->decode_compute, took.decode,
                  took.decode_waited);
}

/* Until something is measured, what was predicted is told, if not guessed. */
static void predict(struct session *s, const struct job *job) {
    const struct stages_time *t = &job->time;
    if (!context_speed(s->ctx, job->model, job->stages->shape.dtype)->measured) return;
    s->progress.per_evaluation = t->step;
    s->progress.outside = t->encode / job->stages->shape.pictures + t->init + t->decode;
}

static kadr_status draw_group(struct session *s, const struct group *g, kadr_error *err) {
    kadr_status st = use_stages(s, g->job[0], err);
    if (st) return st;
    const struct paint_config config = {.ctx = s->ctx,
                                        .model = g->job[0]->model,
                                        .stages = g->job[0]->stages,
                                        .run = s->run,
                                        .progress = &s->progress};
    struct run_stats before, after;
    struct painting *painting = NULL;
    run_get_stats(s->run, &before);
    s->progress.run = s->run;
    s->progress.group = g->count;
    if (!s->progress.measured) predict(s, g->job[0]);
    st = painting_open(&painting, &config, g->paint, g->count, err);
    if (!st) st = painting_denoise(painting, err);
    for (size_t i = 0; i < g->count && !st; i++) {
        run_get_stats(s->run, &after);
        st = deliver(s, painting, g, i, (after.bytes_read - before.bytes_read) / g->count, err);
    }
    if (!st) learn(s, g->job[0], painting, &before);
    painting_close(painting);
    return st;
}

static kadr_status draw_all(struct session *s, kadr_error *err) {
    size_t room = 1;
    for (size_t i = 0; i < s->jobs->count; i++)
        if ((size_t)s->jobs->job[i].stages->shape.pictures > room)
            room = (size_t)s->jobs->job[i].stages->shape.pictures;
    struct mem *m = s->ctx->mem;
    struct group g = {.job = mem_array(m, room, sizeof *g.job),
                      .paint = mem_array(m, room, sizeof *g.paint)};
    kadr_status st = g.job && g.paint ? KADR_OK : err_nomem(err, "pictures", room * sizeof *g.job);
    struct cursor at = {.index = -1};
    bool more = next_picture(s->jobs, &at);
    while (more && !st) {
        gather(s, &g, &at, &more);
        st = draw_group(s, &g, err);
    }
    mem_free((void *)g.job);
    mem_free(g.paint);
    return st;
}

kadr_status kadr_draw(kadr_context *ctx, kadr_request *const *requests, size_t count,
                      const kadr_observer *observer, kadr_error *err) {
    struct jobs jobs;
    kadr_status st = jobs_prepare(&jobs, ctx, requests, count, err);
    struct session s = {.ctx = ctx, .jobs = &jobs, .observer = observer};
    s.progress = (struct progress){.ctx = ctx, .observer = observer, .pictures = jobs.pictures};
    if (!st) st = draw_all(&s, err);
    run_close(s.run);
    jobs_close(&jobs);
    if (!st) context_grown(ctx, jobs.before);
    context_remember(ctx);
    ctx->interrupted = 0;
    return st;
}
