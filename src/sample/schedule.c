/* schedule.c: see schedule.h. Karras: arXiv 2206.00364, equation 5 with rho 7. The names of
 * spacings are those of arXiv 2305.08891, table 2.
 */
#include "sample/schedule.h"

#include <math.h>
#include <string.h>

enum beta_schedule { BETA_LINEAR, BETA_SCALED_LINEAR, BETA_SQUARED_COS };
enum spacing { SPACING_LEADING, SPACING_TRAILING, SPACING_LINSPACE };
enum shape { SHAPE_TABLE, SHAPE_KARRAS, SHAPE_EXPONENTIAL, SHAPE_BETA, SHAPE_SGM };

static const struct sample_name schedule_names[] = {
    {"model", "", "the spacing that the model's scheduler names"},
    {"normal", "Normal", "the same, without Karras or other shapes that the model may name"},
    {"leading", "", "evenly spaced times from the start of each interval"},
    {"trailing", "", "evenly spaced times from the end of each interval"},
    {"linspace", "", "evenly spaced times with both ends"},
    {"karras", "Karras", "noise levels of Karras et al., more steps at low noise"},
    {"exponential", "Exponential", "noise levels in equal ratios"},
    {"beta", "Beta", "noise levels by a beta distribution, more steps at both ends"},
    {"sgm_uniform", "SGM Uniform", "even times from the last, not rounded; nearest to trailing"},
    {NULL, NULL, NULL},
};

const struct sample_name *sampler_schedule_names(void) {
    return schedule_names;
}

/* One of a list of words, NULL-terminated; what is not there is refused by name. */
static kadr_status read_word(const json_t *config, const char *key, const char *const *words,
                             int *out, kadr_error *err) {
    const char *word = NULL;
    kadr_status st = json_get_string(config, "scheduler", key, &word, err);
    if (st || !word) return st;
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], word) == 0) {
            *out = i;
            return KADR_OK;
        }
    return err_set(err, KADR_EMODEL, "scheduler: %s: \"%s\" is not known to kadr", key, word);
}

kadr_status noise_training_read(const json_t *config, struct noise_training *t, kadr_error *err) {
    static const char *const betas[] = {"linear", "scaled_linear", "squaredcos_cap_v2", NULL};
    static const char *const predictions[] = {"epsilon", "v_prediction", "sample", NULL};
    static const char *const spacings[] = {"leading", "trailing", "linspace", NULL};
    static const char *const finals[] = {"zero", "sigma_min", NULL};
    *t = (struct noise_training){.train_steps = 1000,
                                 .beta_start = 0.00085,
                                 .beta_end = 0.012,
                                 .beta_schedule = BETA_SCALED_LINEAR,
                                 .prediction = PREDICTION_EPSILON,
                                 .steps_offset = 1,
                                 .spacing = SPACING_LEADING};
    if (!config) return KADR_OK;
    int64_t steps = t->train_steps, offset = t->steps_offset;
    int prediction = PREDICTION_EPSILON, final = 0;
    bool karras = false, exponential = false, beta = false, to_one = true;
    const char *name = "scheduler";
    kadr_status st =
        json_get_int(config, name, "num_train_timesteps", 2, TRAIN_STEPS_MOST, &steps, err);
    if (!st) st = json_get_int(config, name, "steps_offset", 0, 1, &offset, err);
    if (!st) st = json_get_real(config, name, "beta_start", &t->beta_start, err);
    if (!st) st = json_get_real(config, name, "beta_end", &t->beta_end, err);
    if (!st) st = json_get_bool(config, name, "rescale_betas_zero_snr", &t->zero_terminal_snr, err);
    if (!st) st = read_word(config, "beta_schedule", betas, &t->beta_schedule, err);
    if (!st) st = read_word(config, "prediction_type", predictions, &prediction, err);
    if (!st) st = read_word(config, "timestep_spacing", spacings, &t->spacing, err);
    if (!st) st = read_word(config, "final_sigmas_type", finals, &final, err);
    if (!st) st = json_get_bool(config, name, "set_alpha_to_one", &to_one, err);
    if (!st) st = json_get_bool(config, name, "use_karras_sigmas", &karras, err);
    if (!st) st = json_get_bool(config, name, "use_exponential_sigmas", &exponential, err);
    if (!st) st = json_get_bool(config, name, "use_beta_sigmas", &beta, err);
    if (st) return st;
    if (!(t->beta_start > 0 && t->beta_start <= t->beta_end && t->beta_end < 1))
        return err_set(err, KADR_EMODEL,
                       "scheduler: betas: expected 0 < beta_start <= beta_end < 1");
    t->shape = karras ? SHAPE_KARRAS : exponential ? SHAPE_EXPONENTIAL : beta ? SHAPE_BETA : 0;
    t->final_sigma_min = final == 1;
    t->ends_at_first_alpha = !to_one;
    t->train_steps = (int)steps;
    t->steps_offset = (int)offset;
    t->prediction = (enum prediction)prediction;
    return KADR_OK;
}

/* As torch spaces float32 numbers: from both ends, each a fused sum. The table is made in float32
 * because 1 - alpha at low noise keeps only half of its digits, and the digits lost must be the
 * same ones. */
static float linspace(double from, double to, int n, int i) {
    float a = (float)from, b = (float)to, step = n > 1 ? (b - a) / (float)(n - 1) : 0;
    return i < n / 2 || n == 1 ? fmaf(step, (float)i, a) : fmaf(-step, (float)(n - 1 - i), b);
}

static float beta_at(const struct noise_training *t, int i) {
    int n = t->train_steps;
    if (t->beta_schedule == BETA_LINEAR) return linspace(t->beta_start, t->beta_end, n, i);
    if (t->beta_schedule == BETA_SCALED_LINEAR) {
        float root = linspace(sqrt(t->beta_start), sqrt(t->beta_end), n, i);
        return root * root;
    }
    const double quarter = 1.5707963267948966;
    double from = cos(((double)i / n + 0.008) / 1.008 * quarter),
           to = cos(((double)(i + 1) / n + 0.008) / 1.008 * quarter);
    return (float)fmin(1 - (to * to) / (from * from), 0.999);
}

/* Products of alphas with zero terminal SNR (arXiv 2305.08891, algorithm 1). */
static void end_in_noise(double *alphas, int n) {
    float first = sqrtf((float)alphas[0]), last = sqrtf((float)alphas[n - 1]);
    float by = first / (first - last), before = 1;
    double product = 1;
    for (int i = 0; i < n; i++) {
        float root = (sqrtf((float)alphas[i]) - last) * by, bar = root * root;
        float beta = 1 - bar / before;
        product *= (float)(1 - beta);
        alphas[i] = (float)product;
        before = bar;
    }
}

/* Sigma by training step. Where the last step is pure noise its sigma is infinite; diffusers caps
 * it for samplers that step between sigmas. */
static void fill_table(const struct noise_training *t, bool capped, double *table) {
    double product = 1;
    int n = t->train_steps;
    for (int i = 0; i < n; i++) {
        product *= (float)(1 - beta_at(t, i));
        table[i] = (float)product;
    }
    if (t->zero_terminal_snr) {
        end_in_noise(table, n);
        table[n - 1] = capped ? 0x1p-24 : 0;
    }
    for (int i = 0; i < n; i++) {
        float alpha = (float)table[i];
        table[i] = sqrtf((1 - alpha) / alpha);
    }
}

double schedule_alpha(const struct schedule *s, int time) {
    if (time < 0 && s->ends_clean) return 1;
    if (time < 0) time = 0;
    double sigma = s->table[time < s->train_steps ? time : s->train_steps - 1];
    return 1 / (sigma * sigma + 1);
}

/* Sigma at a time that need not be whole. */
static double sigma_at(const struct schedule *s, double time) {
    if (time <= 0) return s->table[0];
    int i = (int)time;
    if (i >= s->train_steps - 1) return s->table[s->train_steps - 1];
    return s->table[i] + (s->table[i + 1] - s->table[i]) * (time - i);
}

static double log_level(const struct schedule *s, int i) {
    return (float)log(s->table[i]);
}

/* The inverse, between logarithms. */
static double time_at(const struct schedule *s, double sigma) {
    double l = log(fmax(sigma, 1e-10));
    int low = 0, high = s->train_steps - 1;
    while (high - low > 1) {
        int mid = (low + high) / 2;
        if (log_level(s, mid) <= l) low = mid;
        else high = mid;
    }
    double a = log_level(s, low), b = log_level(s, high);
    double w = fmin(fmax((a - l) / (a - b), 0), 1);
    return (1 - w) * low + w * high;
}

/* Half to even, as numpy rounds. */
static double nearest(double x) {
    return nearbyint(x);
}

/* Families that step between sigmas, and may follow any. */
static bool by_sigma(enum timing timing) {
    return timing != TIMING_DDIM && timing != TIMING_DISTILLED;
}

static bool multistep(enum timing timing) {
    return timing == TIMING_DPM || timing == TIMING_UNIPC;
}

/* The i-th of n numbers from a to b, as numpy computes it: a product with the step. */
static double even(double a, double b, int n, int i) {
    return i > 0 && i == n - 1 ? b : a + (n > 1 ? i * ((b - a) / (n - 1)) : 0);
}

static void space_times(struct schedule *s, const struct sampler_config *c, enum spacing spacing,
                        enum timing timing) {
    int n = s->steps, train = s->train_steps;
    int of = multistep(timing) ? n + 1 : n;
    double apart = (train - (double)train / n) - train; /* numpy's arange: the first difference */
    for (int i = 0; i < n; i++) {
        int back = of - 1 - i;
        double t;
        if (spacing == SPACING_LINSPACE) t = even(0, train - 1, of, back);
        else if (spacing == SPACING_LEADING) t = train / of * back + c->training.steps_offset;
        else t = nearest(train + i * apart) - 1;
        bool whole =
            (timing != TIMING_EULER && timing != TIMING_HEUN) || spacing != SPACING_LINSPACE;
        s->time[i] = whole ? nearest(t) : (double)(float)t;
    }
}

/* Every k-th of the 50 steps that the distillation was trained on. */
static void distilled_times(struct schedule *s) {
    int original = s->train_steps < 50 ? s->train_steps : 50, k = s->train_steps / original;
    for (int i = 0; i < s->steps; i++) {
        int at = (int)floor((double)original * i / s->steps);
        s->time[i] = (original - at) * k - 1;
    }
}

/* Continued fraction of the incomplete beta function I_x(a, a), by Lentz's method; x <= 1/2. */
static double incomplete_beta(double a, double x) {
    if (x <= 0) return 0;
    double f = 1, c = 1, d = 0;
    for (int i = 0; i < 300; i++) {
        int half = i / 2;
        double k = half, term;
        if (i == 0) term = 1;
        else if (i % 2) term = -(a + k) * (2 * a + k) * x / ((a + 2 * k) * (a + 2 * k + 1));
        else term = k * (a - k) * x / ((a + 2 * k - 1) * (a + 2 * k));
        d = 1 / (1 + term * d);
        c = 1 + term / c;
        f *= c * d;
        if (i > 0 && fabs(c * d - 1) < 1e-15) break;
    }
    double whole = tgamma(a) * tgamma(a) / tgamma(2 * a);
    return pow(x * (1 - x), a) / (a * whole) * (f - 1);
}

/* Where the Beta(0.6, 0.6) distribution (arXiv 2407.12173) reaches p; symmetric about 1/2. */
static double beta_quantile(double p) {
    if (p > 0.5) return 1 - beta_quantile(1 - p);
    double low = 0, high = 0.5;
    for (int i = 0; i < 200 && high - low > 1e-17; i++) {
        double mid = (low + high) / 2;
        if (incomplete_beta(0.6, mid) < p) low = mid;
        else high = mid;
    }
    return (low + high) / 2;
}

static double shaped(enum shape shape, double high, double low, int n, int i) {
    double at = even(0, 1, n, i);
    if (shape == SHAPE_BETA) return low + beta_quantile(1 - at) * (high - low);
    if (shape == SHAPE_EXPONENTIAL) return exp(even(log(high), log(low), n, i));
    double a = pow(high, 1 / 7.0), b = pow(low, 1 / 7.0);
    return pow(a + at * (b - a), 7);
}

static void shape_levels(struct schedule *s, const struct noise_training *t, enum shape shape,
                         enum timing timing) {
    int n = s->steps;
    double high = s->sigma[0], low = s->sigma[n - 1];
    if (multistep(timing)) high = s->table[s->train_steps - 1], low = s->table[0];
    /* Diffusers rounds Karras times, cuts the others; DPM++ cuts for cosine betas. */
    bool rounded =
        shape == SHAPE_KARRAS && !(timing == TIMING_DPM && t->beta_schedule == BETA_SQUARED_COS);
    for (int i = 0; i < n; i++) {
        s->sigma[i] = shaped(shape, high, low, n, i);
        double time = time_at(s, s->sigma[i]);
        if (multistep(timing)) time = rounded ? nearest(time) : floor(time);
        s->time[i] = (float)time;
    }
}

/* A1111's and ComfyUI's: the first n of n + 1 even times from the last training step to the first,
 * logarithms of sigma between whole times. */
static void sgm_levels(struct schedule *s) {
    for (int i = 0; i < s->steps; i++) {
        double t = even(s->train_steps - 1, 0, s->steps + 1, i);
        int low = (int)t < s->train_steps - 2 ? (int)t : s->train_steps - 2;
        double a = log(s->table[low]), b = log(s->table[low + 1]);
        s->time[i] = (float)t;
        s->sigma[i] = exp(a + (b - a) * (t - low));
    }
}

/* What a name means for a model and a family of samplers. */
static kadr_status choose(const struct sampler_config *c, enum timing timing, enum spacing *spacing,
                          enum shape *shape, kadr_error *err) {
    static const struct {
        const char *name;
        int spacing, shape; /* -1: the model's own */
    } meanings[] = {{"model", -1, -1},
                    {"normal", -1, SHAPE_TABLE},
                    {"leading", SPACING_LEADING, SHAPE_TABLE},
                    {"trailing", SPACING_TRAILING, SHAPE_TABLE},
                    {"linspace", SPACING_LINSPACE, SHAPE_TABLE},
                    {"karras", -1, SHAPE_KARRAS},
                    {"exponential", -1, SHAPE_EXPONENTIAL},
                    {"beta", -1, SHAPE_BETA},
                    {"sgm_uniform", SPACING_TRAILING, SHAPE_SGM}};
    const char *name = c->schedule ? c->schedule : "model";
    size_t i = 0, n = sizeof meanings / sizeof *meanings;
    while (i < n && strcmp(meanings[i].name, name) != 0) i++;
    if (i == n) return err_set(err, KADR_EUSAGE, "unknown schedule \"%s\"", name);
    bool own = i < 2, plain = meanings[i].shape <= SHAPE_TABLE;
    if ((timing == TIMING_DISTILLED && !own) || (timing == TIMING_DDIM && !plain))
        return err_set(err, KADR_EUSAGE, "sampler %s cannot follow schedule %s, expected %s",
                       c->sampler, name,
                       timing == TIMING_DDIM ? "model, leading, trailing or linspace" : "model");
    *spacing = (enum spacing)(meanings[i].spacing < 0 ? c->training.spacing : meanings[i].spacing);
    *shape = (enum shape)(meanings[i].shape < 0 ? c->training.shape : meanings[i].shape);
    return KADR_OK;
}

/* Diffusers takes more of some pairs of sampler and schedule, and of others gives no numbers or an
 * index out of range: all of ours keep to what is good for each. A multistep sampler divides by
 * what lies between two steps, and leading times of one a training step begin with the last one
 * twice. */
static int steps_most(const struct noise_training *t, enum timing timing, enum spacing spacing,
                      enum shape shape) {
    if (timing == TIMING_DISTILLED) return t->train_steps < 50 ? t->train_steps : 50;
    bool twice = multistep(timing) && spacing == SPACING_LEADING && shape == SHAPE_TABLE;
    return t->train_steps - 1 - (twice ? t->steps_offset : 0);
}

static kadr_status check(const struct sampler_config *c, enum timing timing, enum spacing spacing,
                         enum shape shape, kadr_error *err) {
    int most = steps_most(&c->training, timing, spacing, shape);
    bool sigmas = by_sigma(timing);
    if (c->steps < 1 || c->steps > most)
        return err_set(err, KADR_EUSAGE, "steps: expected 1 to %d with sampler %s, got %d", most,
                       c->sampler, c->steps);
    if (c->training.zero_terminal_snr && !sigmas && c->training.prediction == PREDICTION_EPSILON)
        return err_set(
            err, KADR_EMODEL,
            "scheduler: rescale_betas_zero_snr: sampler %s then expects a prediction_type "
            "other than epsilon",
            c->sampler);
    return KADR_OK;
}

static kadr_status choose_good(const struct sampler_config *c, enum timing timing,
                               enum spacing *spacing, enum shape *shape, kadr_error *err) {
    kadr_status st = choose(c, timing, spacing, shape, err);
    return st ? st : check(c, timing, *spacing, *shape, err);
}

kadr_status schedule_check(const struct sampler_config *c, enum timing timing, kadr_error *err) {
    enum spacing spacing;
    enum shape shape;
    return choose_good(c, timing, &spacing, &shape, err);
}

static void fill(struct schedule *s, const struct sampler_config *c, enum timing timing,
                 enum spacing spacing, enum shape shape) {
    bool sigmas = by_sigma(timing);
    s->ends_clean = !c->training.ends_at_first_alpha;
    fill_table(&c->training, sigmas, s->table);
    if (timing == TIMING_DISTILLED) distilled_times(s);
    else space_times(s, c, spacing, timing);
    for (int i = 0; i < s->steps; i++) s->sigma[i] = sigma_at(s, s->time[i]);
    if (sigmas && shape == SHAPE_SGM) sgm_levels(s);
    else if (sigmas && shape != SHAPE_TABLE) shape_levels(s, &c->training, shape, timing);
    for (int i = 0; i < s->steps; i++) s->sigma[i] = (float)s->sigma[i];
    bool stops = sigmas && c->training.final_sigma_min && timing != TIMING_HEUN;
    bool own_last = timing == TIMING_UNIPC && shape != SHAPE_TABLE && shape != SHAPE_SGM;
    s->sigma[s->steps] = !stops ? 0 : own_last ? s->sigma[s->steps - 1] : s->table[0];
    double top = s->sigma[0];
    s->initial = spacing == SPACING_LEADING ? sqrt(top * top + 1) : top;
}

kadr_status schedule_make(struct schedule *s, struct mem *m, const struct sampler_config *c,
                          enum timing timing, kadr_error *err) {
    *s = (struct schedule){.steps = c->steps, .train_steps = c->training.train_steps};
    enum spacing spacing;
    enum shape shape;
    kadr_status st = choose_good(c, timing, &spacing, &shape, err);
    if (st) return st;
    s->sigma = mem_array(m, (size_t)s->steps + 1, sizeof *s->sigma);
    s->time = mem_array(m, (size_t)s->steps, sizeof *s->time);
    s->table = mem_array(m, (size_t)s->train_steps, sizeof *s->table);
    if (!s->sigma || !s->time || !s->table)
        st = err_nomem(err, "schedule", (size_t)s->train_steps * sizeof *s->table);
    else fill(s, c, timing, spacing, shape);
    if (st) schedule_free(s);
    return st;
}

void schedule_free(struct schedule *s) {
    mem_free(s->sigma);
    mem_free(s->time);
    mem_free(s->table);
    s->sigma = s->time = s->table = NULL;
}
