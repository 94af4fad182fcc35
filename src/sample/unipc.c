/* unipc.c: UniPC of order 2, B2(h), predicting clean latents (arXiv 2302.04867): each evaluation
 * first corrects the step that led to it, then predicts the next.
 *
 * history: [0] the clean latents predicted at the step before, [1] at the one before that, [2] the
 * (corrected) latents from which the last step was made. scalar[0]: order of the last step.
 */
#include "sample/sampler.h"

#include <math.h>
#include <string.h>

static double lambda(double sigma) {
    return -log(sigma);
}

static double signal_of(double sigma) {
    return 1 / sqrt(sigma * sigma + 1);
}

/* One step between two levels: of_x x + of_m m0 - of_d (terms of differences). */
struct solver {
    double h, of_x, of_m, of_d, phi1, phi2; /* phi_k: h phi_{k+1}(h) as in the paper, over B(h) */
};

static struct solver between(double from, double to) {
    struct solver v;
    double a = signal_of(to);
    v.h = lambda(to) - lambda(from);
    double hh = -v.h, e = expm1(hh);
    v.of_x = to * a / (from * signal_of(from));
    v.of_m = -a * e;
    v.of_d = a * e;
    double k = e / hh - 1; /* first b, then the second by the recurrence */
    v.phi1 = k / e;
    v.phi2 = (k / hh - 0.5) * 2 / e;
    return v;
}

/* The latents at the present level again, now that the model has been asked there. */
static void correct(struct sampler *s) {
    double to = sampler_sigma(s, 0), from = sampler_sigma(s, -1);
    struct solver v = between(from, to);
    double rho_old = 0, rho_new = 0.5, r = 1;
    if (s->scalar[0] >= 2) {
        r = (lambda(sampler_sigma(s, -2)) - lambda(from)) / v.h;
        /* rho_old + rho_new = phi1;  r rho_old + rho_new = phi2 */
        rho_old = (v.phi2 - v.phi1) / (r - 1);
        rho_new = v.phi1 - rho_old;
    }
    const float *m0 = s->history[0], *m1 = s->history[1], *start = s->history[2];
    for (size_t i = 0; i < s->count; i++) {
        double d = rho_new * (s->denoised[i] - m0[i]);
        if (rho_old != 0) d += rho_old * (m1[i] - m0[i]) / r;
        s->x[i] = (float)(v.of_x * start[i] + v.of_m * m0[i] - v.of_d * d);
    }
}

static void predict_next(struct sampler *s, int order) {
    double from = sampler_sigma(s, 0), to = sampler_sigma(s, 1);
    struct solver v = between(from, to);
    double by = 0;
    if (order >= 2) by = 0.5 * v.of_d / ((lambda(sampler_sigma(s, -1)) - lambda(from)) / v.h);
    const float *m0 = s->history[0], *m1 = s->history[1];
    for (size_t i = 0; i < s->count; i++) {
        double x = v.of_x * s->x[i] + v.of_m * m0[i];
        if (by != 0) x -= by * (m1[i] - m0[i]);
        s->x[i] = (float)x;
    }
}

static void unipc(struct sampler *s, const float *out) {
    (void)out;
    size_t bytes = s->count * sizeof(float);
    if (s->given > 0) correct(s);
    memcpy(s->history[1], s->history[0], bytes);
    memcpy(s->history[0], s->denoised, bytes);
    memcpy(s->history[2], s->x, bytes);
    int left = s->schedule.steps - s->step, order = left < 2 ? left : 2;
    if (order > s->given + 1) order = s->given + 1;
    predict_next(s, order);
    s->scalar[0] = order;
}

const struct sampler_kind sampler_unipc = {.name = "unipc",
                                           .a1111 = "UniPC",
                                           .about = "predictor and corrector of second order",
                                           .space = SPACE_VARIANCE,
                                           .timing = TIMING_UNIPC,
                                           .evaluations = 1,
                                           .history = 3,
                                           .advance = unipc};
