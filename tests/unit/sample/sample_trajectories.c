/* Every sampler against its namesake in diffusers, over whole trajectories: latents after each
 * evaluation to 1e-4, times exactly (1e-4 of a step where they are no whole numbers). */
#include "base/rng.h"
#include "sample/sample.h"
#include "weights/safetensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT 64

static struct mem *m;
static struct safetensors file;

static int open_file(void **unused) {
    (void)unused;
    char path[512];
    kadr_error err;
    m = mem_open(0);
    snprintf(path, sizeof path, "%s/sample/trajectories.safetensors", getenv("KADR_TEST_DATA"));
    if (safetensors_open(&file, m, path, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    return 0;
}

static int close_file(void **unused) {
    (void)unused;
    safetensors_close(&file);
    return (int)mem_close(m);
}

static void read_floats(const char *name, float *to, size_t count) {
    const struct safetensors_tensor *t = safetensors_find(&file, name);
    assert_non_null(t);
    assert_int_equal(t->size, count * sizeof(float));
    assert_int_equal(file_read_at(&file.file, t->begin, to, count * sizeof(float), NULL), KADR_OK);
}

static void normals(void *user, uint32_t index, float *to, size_t count) {
    (void)user;
    rng_normals(RNG_TORCH, 100 + index, 0, count, to);
}

static void model(const struct sampler_eval *e, float *out) {
    for (int i = 0; i < COUNT; i++)
        out[i] = 0.6f * e->input[i] + 0.4f * sinf(0.01f * e->timestep + 0.37f * (float)i);
}

/* The name of a case is sampler/schedule/spacing/prediction/steps/strength, then it may be / and
 * JSON: further settings, as a scheduler_config.json has them, and eta. */
static void parse(char *name, struct sampler_config *c) {
    char *part[6], *at = name;
    for (int i = 0; i < 6; i++) {
        assert_non_null(at);
        part[i] = at;
        at = strchr(at, '/');
        if (at) *at++ = 0;
    }
    assert_int_equal(noise_training_read(NULL, &c->training, NULL), KADR_OK);
    json_t *json = json_pack("{s:s,s:s}", "timestep_spacing", part[2], "prediction_type", part[3]);
    c->eta = -1;
    if (at) {
        json_t *more = json_loads(at, 0, NULL);
        assert_int_equal(json_object_update(json, more), 0);
        json_decref(more);
        assert_int_equal(json_get_real(json, "case", "eta", &c->eta, NULL), KADR_OK);
    }
    assert_int_equal(noise_training_read(json, &c->training, NULL), KADR_OK);
    json_decref(json);
    c->sampler = part[0];
    c->schedule = part[1];
    c->steps = (int)strtol(part[4], NULL, 10);
    c->strength = strtod(part[5], NULL);
    c->count = COUNT;
    c->noise.normals = normals;
}

static double run_case(const struct safetensors_tensor *t) {
    char name[256], times_name[264];
    snprintf(name, sizeof name, "%s", t->name);
    snprintf(times_name, sizeof times_name, "times/%s", t->name);
    struct sampler_config c = {0};
    parse(name, &c);
    size_t evaluations = (size_t)t->dim[0];
    float *want = mem_array(m, evaluations * COUNT, sizeof(float)), times[64];
    float noise[COUNT], clean[COUNT], out[COUNT];
    read_floats(t->name, want, evaluations * COUNT);
    read_floats(times_name, times, evaluations);
    read_floats("noise", noise, COUNT);
    read_floats("clean", clean, COUNT);
    struct sampler *s;
    kadr_error err;
    if (sampler_open(&s, m, &c, &err)) fail_msg("%s: %s", t->name, err.message);
    if (c.strength < 1) sampler_start_from(s, clean, noise);
    else sampler_start(s, noise);
    struct sampler_eval e;
    double worst = 0;
    size_t n = 0;
    for (; sampler_next(s, &e); n++) {
        assert_true(n < evaluations);
        assert_int_equal(e.evaluations, evaluations);
        assert_int_equal(e.evaluation, n);
        if (fabsf(e.timestep - times[n]) > 1e-4f * (times[n] + 1))
            fail_msg("%s: time %zu is %g, expected %g", t->name, n, e.timestep, times[n]);
        model(&e, out);
        sampler_give(s, out);
        double difference = 0, norm = 0;
        for (int i = 0; i < COUNT; i++) {
            double d = sampler_latents(s)[i] - want[n * COUNT + (size_t)i];
            difference += d * d;
            norm += (double)want[n * COUNT + (size_t)i] * want[n * COUNT + (size_t)i];
        }
        double error = sqrt(difference / norm);
        if (!(error <= 1e-4)) fail_msg("%s: evaluation %zu is off by %g", t->name, n, error);
        if (error > worst) worst = error;
    }
    assert_int_equal(n, evaluations);
    sampler_close(s);
    mem_free(want);
    return worst;
}

static void trajectories(void **unused) {
    (void)unused;
    int cases = 0;
    double worst = 0;
    for (size_t i = 0; i < file.count; i++) {
        const struct safetensors_tensor *t = &file.tensors[i];
        if (t->rank != 2) continue;
        double e = run_case(t);
        worst = e > worst ? e : worst;
        cases++;
    }
    print_message("    %d trajectories, worst error %.1e\n", cases, worst);
    assert_true(cases >= 290);
}

/* Noise that is asked for again is the same, and every sampler of the registry has a golden. */
static void registry(void **unused) {
    (void)unused;
    struct sample_name name;
    size_t n = 0;
    for (; sampler_at(n, &name); n++) {
        bool tested = false;
        for (size_t i = 0; i < file.count && !tested; i++)
            tested = strncmp(file.tensors[i].name, name.name, strlen(name.name)) == 0 &&
                     file.tensors[i].name[strlen(name.name)] == '/';
        if (!tested) fail_msg("%s has no trajectory", name.name);
        assert_true(name.about[0] != 0);
    }
    assert_true(n >= 9);
}

static void bad_requests(void **unused) {
    (void)unused;
    struct sampler_config c = {.sampler = "nonsense", .steps = 3, .strength = 1, .count = COUNT};
    struct sampler *s;
    kadr_error err;
    noise_training_read(NULL, &c.training, NULL);
    assert_int_equal(sampler_open(&s, m, &c, &err), KADR_EUSAGE);
    const char *const pairs[][2] = {
        {"euler", "nonsense"}, {"ddim", "karras"}, {"ddim", "sgm_uniform"}, {"lcm", "trailing"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        c.sampler = pairs[i][0];
        c.schedule = pairs[i][1];
        assert_int_equal(sampler_open(&s, m, &c, &err), KADR_EUSAGE);
        assert_non_null(strstr(err.message, pairs[i][1]));
    }
    c.schedule = "model";
    c.training.zero_terminal_snr = true;
    c.sampler = "ddim";
    assert_int_equal(sampler_open(&s, m, &c, &err), KADR_EMODEL);
    c.training.zero_terminal_snr = false;
    c.sampler = "lcm";
    c.steps = 51;
    assert_int_equal(sampler_open(&s, m, &c, &err), KADR_EUSAGE);
    json_t *json = json_pack("{s:s}", "beta_schedule", "sigmoid");
    assert_int_equal(noise_training_read(json, &c.training, &err), KADR_EMODEL);
    assert_non_null(strstr(err.message, "sigmoid"));
    json_decref(json);
    c.steps = 4;
    for (uint64_t n = 1; n <= 5; n++) {
        mem_fail_at(m, n);
        assert_int_equal(sampler_open(&s, m, &c, &err), KADR_EMEMORY);
    }
    mem_fail_at(m, 0);
}

/* The most steps that are taken give numbers, and one more is refused: sampler_check says so of
 * whatever sampler_open does. */
static void most_steps(void **unused) {
    (void)unused;
    struct sample_name name;
    float noise[COUNT], out[COUNT];
    read_floats("noise", noise, COUNT);
    for (size_t i = 0; sampler_at(i, &name); i++)
        for (const struct sample_name *schedule = sampler_schedule_names(); schedule->name;
             schedule++) {
            struct sampler_config c = {.sampler = name.name,
                                       .schedule = schedule->name,
                                       .steps = 1,
                                       .strength = 1,
                                       .count = COUNT,
                                       .eta = -1,
                                       .noise = {normals, NULL}};
            struct sampler *s;
            struct sampler_eval e;
            noise_training_read(NULL, &c.training, NULL);
            if (sampler_check(&c, NULL)) continue; /* they do not go together */
            for (c.steps = 1000; sampler_check(&c, NULL); c.steps--)
                assert_int_equal(sampler_open(&s, m, &c, NULL), KADR_EUSAGE);
            assert_true(c.steps == 999 || c.steps == 998 || c.steps == 50);
            assert_int_equal(sampler_open(&s, m, &c, NULL), KADR_OK);
            sampler_start(s, noise);
            while (sampler_next(s, &e)) {
                model(&e, out);
                sampler_give(s, out);
            }
            for (int k = 0; k < COUNT; k++)
                if (!isfinite(sampler_latents(s)[k]))
                    fail_msg("%s, %s, %d steps: no number", name.name, schedule->name, c.steps);
            sampler_close(s);
        }
}

/* A strength that leaves no step leaves the picture as it was. */
static void no_steps(void **unused) {
    (void)unused;
    struct sampler_config c = {
        .sampler = "euler", .steps = 3, .strength = 0.1, .count = COUNT, .eta = -1};
    noise_training_read(NULL, &c.training, NULL);
    float clean[COUNT], noise[COUNT];
    read_floats("noise", noise, COUNT);
    read_floats("clean", clean, COUNT);
    struct sampler *s;
    struct sampler_eval e;
    assert_int_equal(sampler_open(&s, m, &c, NULL), KADR_OK);
    sampler_start_from(s, clean, noise);
    assert_false(sampler_next(s, &e));
    assert_memory_equal(sampler_latents(s), clean, sizeof clean);
    sampler_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(trajectories), cmocka_unit_test(registry),
                                       cmocka_unit_test(bad_requests), cmocka_unit_test(most_steps),
                                       cmocka_unit_test(no_steps)};
    return cmocka_run_group_tests(tests, open_file, close_file);
}
