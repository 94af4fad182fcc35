/* schedule.c: see schedule.h. Karras: arXiv 2206.00364, equation 5 with rho 7. The names of
 * spacings are those of arXiv 2305.08891, table 2.
 */
#include "sample/schedule.h"

#include <math.h>
#include <string.h>

enum beta_schedule { BETA_LINEAR, BETA_SCALED_LINEAR, BETA_SQUARED_COS };
enum spacing { SPACING_LEADING, SPACING_TRAILING, SPACING_LINSPACE };
enum shape { SHAPE_TABLE, SHAPE_KARRAS, SHAPE_EXPONENTIAL };

static const struct sample_name schedule_names[] = {
    {"model", "", "the spacing that the model's scheduler names"},
    {"normal", "Normal", "the same, without Karras or other shapes that the model may name"},
    {"leading", "", "evenly spaced times from the start of each interval"},
    {"trailing", "", "evenly spaced times from the end of each interval"},
    {"linspace", "", "evenly spaced times with both ends"},
    {"karras", "Karras", "noise levels of Karras et al., more steps at low noise"},
    {"exponential", "Exponential", "noise levels in equal ratios"},
    {"sgm_uniform", "SGM Uniform", "as trailing"},
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
    *t = (struct noise_training){.train_steps = 1000,
                                 .beta_start = 0.00085,
                                 .beta_end = 0.012,
                                 .beta_schedule = BETA_SCALED_LINEAR,
                                 .prediction = PREDICTION_EPSILON,
                                 .steps_offset = 1,
                                 .spacing = SPACING_LEADING};
    if (!config) return KADR_OK;
    int64_t steps = t->train_steps, offset = t->steps_offset;
    int prediction = PREDICTION_EPSILON;
    const char *name = "scheduler";
    kadr_status st =
        json_get_int(config, name, "num_train_timesteps", 1, TRAIN_STEPS_MOST, &steps, err);
    if (!st) st = json_get_int(config, name, "steps_offset", 0, 1, &offset, err);
    if (!st) st = json_get_real(config, name, "beta_start", &t->beta_start, err);
    if (!st) st = json_get_real(config, name, "beta_end", &t->beta_end, err);
    if (!st) st = json_get_bool(config, name, "rescale_betas_zero_snr", &t->zero_terminal_snr, err);
    if (!st) st = read_word(config, "beta_schedule", betas, &t->beta_schedule, err);
    if (!st) st = read_word(config, "prediction_type", predictions, &prediction, err);
    if (!st) st = read_word(config, "timestep_spacing", spacings, &t->spacing, err);
    if (st) return st;
    if (!(t->beta_start > 0 && t->beta_start <= t->beta_end && t->beta_end < 1))
        return err_set(err, KADR_EMODEL,
                       "scheduler: betas: expected 0 < beta_start <= beta_end < 1");
    t->train_steps = (int)steps;
    t->steps_offset = (int)offset;
    t->prediction = (enum prediction)prediction;
    return KADR_OK;
}

static double beta_at(const struct noise_training *t, int i) {
    double n = t->train_steps, at = n > 1 ? i / (n - 1) : 0;
    if (t->beta_schedule == BETA_LINEAR) return t->beta_start + (t->beta_end - t->beta_start) * at;
    if (t->beta_schedule == BETA_SCALED_LINEAR) {
        double a = sqrt(t->beta_start), b = sqrt(t->beta_end), root = a + (b - a) * at;
        return root * root;
    }
    const double quarter = 1.5707963267948966;
    double from = cos((i / n + 0.008) / 1.008 * quarter),
           to = cos(((i + 1) / n + 0.008) / 1.008 * quarter);
    return fmin(1 - (to * to) / (from * from), 0.999);
}

/* Sigma by training step. With zero terminal SNR (arXiv 2305.08891, algorithm 1) the last is capped
 * where diffusers caps it, so that it stays finite. */
static void fill_table(const struct noise_training *t, double *table) {
    double alpha = 1;
    int n = t->train_steps;
    for (int i = 0; i < n; i++) {
        alpha *= 1 - beta_at(t, i);
        table[i] = alpha;
    }
    if (t->zero_terminal_snr) {
        double first = sqrt(table[0]), last = sqrt(table[n - 1]);
        for (int i = 0; i < n; i++) {
            double root = (sqrt(table[i]) - last) * first / (first - last);
            table[i] = root * root;
        }
        table[n - 1] = 0x1p-24;
    }
    for (int i = 0; i < n; i++) table[i] = sqrt((1 - table[i]) / table[i]);
}

double schedule_alpha(const struct schedule *s, int time) {
    if (time < 0) return 1;
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

/* The inverse, between logarithms. */
static double time_at(const struct schedule *s, double sigma) {
    double l = log(fmax(sigma, 1e-10));
    int low = 0, high = s->train_steps - 1;
    while (high - low > 1) {
        int mid = (low + high) / 2;
        if (log(s->table[mid]) <= l) low = mid;
        else high = mid;
    }
    if (high == low) return low;
    double a = log(s->table[low]), b = log(s->table[high]);
    return low + fmin(fmax((l - a) / (b - a), 0), 1) * (high - low);
}

/* Half to even, as numpy rounds. */
static double nearest(double x) {
    return nearbyint(x);
}

static void space_times(struct schedule *s, const struct sampler_config *c, enum spacing spacing,
                        enum timing timing) {
    int n = s->steps, train = s->train_steps;
    int of = timing == TIMING_MULTISTEP ? n + 1 : n;
    for (int i = 0; i < n; i++) {
        double back = of - 1 - i, t;
        if (spacing == SPACING_LINSPACE) t = of > 1 ? (train - 1) * back / (of - 1) : 0;
        else if (spacing == SPACING_LEADING)
            t = floor((double)train / of) * back + c->training.steps_offset;
        else t = nearest(train - (double)train / n * i) - 1;
        bool whole = timing != TIMING_EULER || spacing != SPACING_LINSPACE;
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

static void shape_levels(struct schedule *s, enum shape shape, enum timing timing) {
    int n = s->steps;
    double high = s->sigma[0], low = s->sigma[n - 1];
    if (timing == TIMING_MULTISTEP) high = s->table[s->train_steps - 1], low = s->table[0];
    for (int i = 0; i < n; i++) {
        double at = n > 1 ? (double)i / (n - 1) : 0;
        if (shape == SHAPE_KARRAS) {
            double a = pow(high, 1 / 7.0), b = pow(low, 1 / 7.0);
            s->sigma[i] = pow(a + at * (b - a), 7);
        } else s->sigma[i] = exp(log(high) + at * (log(low) - log(high)));
        s->time[i] = time_at(s, s->sigma[i]);
        if (timing != TIMING_MULTISTEP) continue;
        /* Diffusers cuts exponential times off, and its f32 falls just short of whole ones. */
        s->time[i] =
            shape == SHAPE_KARRAS ? nearest(s->time[i]) : floor(fmax(s->time[i] - 1e-4, 0));
    }
}

static void choose(const struct sampler_config *c, enum spacing *spacing, enum shape *shape) {
    const char *name = c->schedule ? c->schedule : "model";
    *spacing = (enum spacing)c->training.spacing;
    *shape = SHAPE_TABLE;
    if (strcmp(name, "leading") == 0) *spacing = SPACING_LEADING;
    if (strcmp(name, "trailing") == 0 || strcmp(name, "sgm_uniform") == 0)
        *spacing = SPACING_TRAILING;
    if (strcmp(name, "linspace") == 0) *spacing = SPACING_LINSPACE;
    if (strcmp(name, "karras") == 0) *shape = SHAPE_KARRAS;
    if (strcmp(name, "exponential") == 0) *shape = SHAPE_EXPONENTIAL;
}

kadr_status schedule_make(struct schedule *s, struct mem *m, const struct sampler_config *c,
                          enum timing timing, kadr_error *err) {
    enum spacing spacing;
    enum shape shape;
    *s = (struct schedule){.steps = c->steps, .train_steps = c->training.train_steps};
    int most = timing == TIMING_DISTILLED ? (s->train_steps < 50 ? s->train_steps : 50)
                                          : s->train_steps - 1;
    if (c->steps < 1 || c->steps > most)
        return err_set(err, KADR_EUSAGE, "%d steps: this sampler takes 1 to %d", c->steps, most);
    s->sigma = mem_array(m, (size_t)s->steps + 1, sizeof *s->sigma);
    s->time = mem_array(m, (size_t)s->steps, sizeof *s->time);
    s->table = mem_array(m, (size_t)s->train_steps, sizeof *s->table);
    if (!s->sigma || !s->time || !s->table) {
        schedule_free(s);
        return err_nomem(err, "schedule", (size_t)s->train_steps * sizeof *s->table);
    }
    fill_table(&c->training, s->table);
    choose(c, &spacing, &shape);
    if (timing == TIMING_DISTILLED) distilled_times(s);
    else space_times(s, c, spacing, timing);
    for (int i = 0; i < s->steps; i++) s->sigma[i] = sigma_at(s, s->time[i]);
    if (shape != SHAPE_TABLE && (timing == TIMING_EULER || timing == TIMING_MULTISTEP))
        shape_levels(s, shape, timing);
    s->sigma[s->steps] = 0;
    double top = s->sigma[0];
    s->initial = spacing == SPACING_LEADING ? sqrt(top * top + 1) : top;
    return KADR_OK;
}

void schedule_free(struct schedule *s) {
    mem_free(s->sigma);
    mem_free(s->time);
    mem_free(s->table);
    s->sigma = s->time = s->table = NULL;
}
