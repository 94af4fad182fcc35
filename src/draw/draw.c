/* draw.c: kadr_draw. First everything that could go wrong is looked at: models, pictures, prompts,
 * and the plan of every run against the memory allowed. Only then is anything computed.
 */
#include "base/sys.h"
#include "draw/jobs.h"
#include "draw/paint.h"
#include "draw/picture.h"

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

static kadr_status draw_one(struct session *s, const struct job *job, size_t index,
                            kadr_error *err) {
    kadr_status st = use_stages(s, job, err);
    if (st) return st;
    const struct paint p = {.ctx = s->ctx,
                            .model = job->model,
                            .stages = job->stages,
                            .run = s->run,
                            .rq = job->rq,
                            .text = &job->text,
                            .init = job->init.data ? &job->init : NULL,
                            .mask = job->mask.data ? &job->mask : NULL,
                            .seed = (uint64_t)job->rq->seed + index,
                            .index = index,
                            .progress = &s->progress};
    struct painted out;
    uint64_t read_before = run_bytes_read(s->run);
    st = paint(&p, &out, err);
    if (st) return st;
    const struct picture_facts facts = {.planned = job->planned,
                                        .budget = s->jobs->budget,
                                        .bytes_read = run_bytes_read(s->run) - read_before,
                                        .dtype = job->stages->shape.dtype};
    st = picture_deliver(&p, &out, job->request, &facts, s->observer, err);
    painted_free(&out);
    s->progress.picture++;
    return st;
}

kadr_status kadr_draw(kadr_context *ctx, kadr_request *const *requests, size_t count,
                      const kadr_observer *observer, kadr_error *err) {
    struct jobs jobs;
    kadr_status st = jobs_prepare(&jobs, ctx, requests, count, err);
    struct session s = {.ctx = ctx, .jobs = &jobs, .observer = observer};
    s.progress = (struct progress){.ctx = ctx, .observer = observer, .pictures = jobs.pictures};
    for (size_t i = 0; i < jobs.count && !st; i++)
        for (int64_t j = 0; j < jobs.job[i].rq->count && !st; j++)
            st = draw_one(&s, &jobs.job[i], (size_t)j, err);
    run_close(s.run);
    jobs_close(&jobs);
    ctx->interrupted = 0;
    return st;
}
