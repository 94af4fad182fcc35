/* stages.c: see stages.h. */
#include "draw/stages.h"
#include "draw/source.h"

#include <math.h>
#include <string.h>

static const char *const stage_names[STAGE_COUNT] = {
    [STAGE_TEXT] = "encode",      [STAGE_TEXT_2] = "encode",   [STAGE_ENCODE] = "encode",
    [STAGE_CONDITION] = "encode", [STAGE_DENOISE] = "denoise", [STAGE_DECODE] = "decode",
};

static const char *const graph_names[STAGE_COUNT] = {
    [STAGE_TEXT] = "text_encoder",  [STAGE_TEXT_2] = "text_encoder_2",
    [STAGE_ENCODE] = "vae encoder", [STAGE_CONDITION] = "unet conditioning",
    [STAGE_DENOISE] = "unet",       [STAGE_DECODE] = "vae decoder",
};

static void describe(struct graph *g, enum stage stage, const struct draw_model *model,
                     const struct stages_shape *s) {
    int64_t scale = vae_scale(&model->vae);
    struct unet_shape unet = {.n = stages_rows(s),
                              .h = s->height / scale,
                              .w = s->width / scale,
                              .prompt = s->chunks * CLIP_TOKENS,
                              .int8 = s->dtype == DTYPE_I8,
                              .cut = s->cache > 1,
                              .casts = s->casts};
    for (int i = 0; i < s->casts; i++) {
        unet.cast[i].tokens = s->cast_tokens[i];
        unet.cast[i].masked = s->cast_masked[i];
    }
    const struct clip_text_shape text = {
        .samples = s->text_samples, .extra_rows = s->extra_rows, .clip_skip = s->clip_skip};
    switch (stage) {
    case STAGE_TEXT: clip_text_graph(g, &model->text[0], "text_encoder", &text); break;
    case STAGE_TEXT_2: clip_text_graph(g, &model->text[1], "text_encoder_2", &text); break;
    case STAGE_ENCODE: vae_encode_graph(g, &model->vae, 1, s->height, s->width); break;
    case STAGE_CONDITION: unet_conditioning_graph(g, &model->unet, &unet); break;
    case STAGE_DENOISE: unet_graph(g, &model->unet, &unet); break;
    case STAGE_DECODE: vae_decode_graph(g, &model->vae, 1, unet.h, unet.w); break;
    case STAGE_COUNT: break;
    }
}

/* Pictures that are drawn together share one run of the encoders and of the UNet; each is decoded
 * on its own. */
static int lanes_of(enum stage stage, const struct stages_shape *s) {
    if (stage == STAGE_TEXT || stage == STAGE_TEXT_2) return s->pictures;
    return stage == STAGE_CONDITION || stage == STAGE_DENOISE ? stages_lanes(s) : 1;
}

kadr_status stages_open(struct stages *s, struct mem *m, const struct draw_model *model,
                        const struct stages_shape *shape, const struct plan_options *options,
                        const struct backend *backend, void *state, kadr_error *err) {
    memset(s, 0, sizeof *s);
    s->shape = *shape;
    program_init(&s->program, m);
    const struct run_source source = draw_source(model->weights);
    kadr_status st = KADR_OK;
    for (int i = 0; i < STAGE_COUNT; i++) {
        graph_init(&s->graphs[i], m, graph_names[i], stages_values(shape));
        s->segment[i] = -1;
        if (i == STAGE_ENCODE && !shape->init) continue;
        describe(&s->graphs[i], (enum stage)i, model, shape);
        s->segment[i] =
            program_add(&s->program, stage_names[i], &s->graphs[i], lanes_of((enum stage)i, shape),
                        i == STAGE_DENOISE ? shape->steps : 1, err);
        if (s->segment[i] < 0) {
            st = graph_failed(&s->graphs[i]) ? s->graphs[i].error.status : KADR_EMEMORY;
            goto fail;
        }
    }
    st = run_prepare(backend, state, &source, &s->program, err);
    if (!st) st = plan_make(&s->plan, m, &s->program, options, err);
    if (st) goto fail;
    return KADR_OK;
fail:
    stages_close(s);
    return st;
}

void stages_close(struct stages *s) {
    plan_free(&s->plan);
    program_free(&s->program);
    for (int i = 0; i < STAGE_COUNT; i++) graph_free(&s->graphs[i]);
}

enum machine_work stages_work(const struct stages *s, int segment) {
    if (segment == s->segment[STAGE_DENOISE]) return MACHINE_DENOISE;
    return segment == s->segment[STAGE_DECODE] ? MACHINE_DECODE : MACHINE_ENCODE;
}

static bool is_guided(const struct stages_shape *s, int step, int steps) {
    return (int)(s->guide_from * steps) <= step && step < (int)(s->guide_to * steps);
}

struct turn stages_turn(const struct stages_shape *s, int step, int steps, int evaluation) {
    struct turn turn = {.guided = is_guided(s, step, steps)};
    bool begins = turn.guided && step > 0 && !is_guided(s, step - 1, steps);
    turn.reuse = s->cache > 1 && evaluation % s->cache != 0 && !begins;
    return turn;
}

struct segment_part stages_part(const struct stages_shape *s, struct turn turn) {
    struct segment_part part = {.reuse = turn.reuse};
    if (s->branches == 2 && !turn.guided) part.first = 1, part.every = 2;
    return part;
}

bool stages_alternate(const struct stages_shape *s) {
    bool plain = false;
    for (int i = 0; i < s->steps; i++) plain = plain || !is_guided(s, i, s->steps);
    return plain && s->branches == 2;
}

/* An evaluation of the UNet: the mean of all turns. */
static struct plan_cost mean_step(const struct stages *s, const struct plan_rates *rates) {
    struct plan_cost mean = {0};
    int turns[4] = {0};
    for (int i = 0; i < s->shape.steps; i++) {
        const struct turn turn = stages_turn(&s->shape, i, s->shape.steps, i);
        turns[turn.guided + 2 * turn.reuse]++;
    }
    for (int i = 0; i < 4; i++) {
        if (!turns[i]) continue;
        const struct turn turn = {.guided = i % 2, .reuse = i / 2};
        const struct segment_part part = stages_part(&s->shape, turn);
        const double share = (double)turns[i] / s->shape.steps;
        const struct plan_cost c =
            plan_cost(&s->plan, &s->program, s->segment[STAGE_DENOISE], part, rates);
        mean.compute += c.compute * share;
        mean.read += c.read * share;
        mean.seconds += c.seconds * share;
        mean.first += c.first * share;
    }
    return mean;
}

void stages_predict(const struct stages *s, const struct machine_speed *speed, double disk,
                    struct stages_time *out) {
    *out = (struct stages_time){.kept = s->plan.keep};
    for (int i = 0; i < STAGE_COUNT; i++) {
        if (s->segment[i] < 0) continue;
        const struct segment_part all = {0};
        const enum machine_work work = stages_work(s, s->segment[i]);
        const struct plan_rates rates = machine_rates(speed, work, disk);
        const struct plan_cost c =
            i == STAGE_DENOISE ? mean_step(s, &rates)
                               : plan_cost(&s->plan, &s->program, s->segment[i], all, &rates);
        const double measured = c.compute / speed->slower[work];
        out->load += c.first - c.seconds;
        if (i == STAGE_DENOISE) {
            out->step = c.seconds;
            out->step_compute = c.compute;
            out->step_read = c.read;
            out->denoise_compute = measured;
        } else if (i == STAGE_DECODE) {
            out->decode = c.seconds;
            out->decode_compute = measured;
        } else if (i == STAGE_ENCODE) out->init = c.seconds;
        else {
            out->encode += c.seconds;
            out->encode_compute += measured;
        }
    }
}

double stages_seconds(const struct stages_time *t, const struct stages_shape *shape,
                      size_t pictures) {
    double groups = ceil((double)pictures / shape->pictures);
    return t->load * (t->kept ? 1 : groups) + groups * (t->encode + t->step * shape->steps) +
           (double)pictures * (t->init + t->decode);
}
