/* stage.c: see stage.h. */
#include "stage.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void must(kadr_status st, const kadr_error *err) {
    if (st) fail_msg("%s", err->message);
}

void stage_open(struct stage *s, const char *folder, enum dtype dtype, int graphs) {
    kadr_error err = {0};
    memset(s, 0, sizeof *s);
    s->mem = mem_open(0);
    assert_non_null(s->mem);
    must(pool_open(&s->pool, s->mem, 2, &err), &err);
    const struct backend_config config = {s->mem, s->pool, cpu_flags()};
    must(backend_cpu.open(&config, &s->state, &err), &err);
    must(weights_open(s->mem, NULL, folder, &s->weights, &err), &err);
    s->graphs = graphs;
    for (int i = 0; i < graphs; i++) graph_init(&s->graph[i], s->mem, "golden", dtype);
    program_init(&s->program, s->mem);
}

void stage_ready(struct stage *s) {
    kadr_error err = {0};
    for (int i = 0; i < s->graphs; i++)
        if (program_add(&s->program, "golden", &s->graph[i], 1, 1, &err) < 0)
            fail_msg("%s", err.message);
    s->source = draw_source(s->weights);
    must(run_prepare(&backend_cpu, s->state, &s->source, &s->program, &err), &err);
    must(plan_make(&s->plan, s->mem, &s->program, &s->options, &err), &err);
    const struct run_config config = {.backend = &backend_cpu,
                                      .state = s->state,
                                      .source = &s->source,
                                      .program = &s->program,
                                      .plan = &s->plan};
    must(run_open(&s->run, s->mem, &config, &err), &err);
}

void stage_close(struct stage *s) {
    run_close(s->run);
    plan_free(&s->plan);
    program_free(&s->program);
    for (int i = 0; i < s->graphs; i++) graph_free(&s->graph[i]);
    weights_close(s->weights);
    backend_cpu.close(s->state);
    pool_close(s->pool);
    assert_int_equal(mem_close(s->mem), 0);
}

void golden_open(struct safetensors *file, struct mem *m, const char *path) {
    kadr_error err = {0};
    must(safetensors_open(file, m, path, &err), &err);
}

static const struct safetensors_tensor *find(const struct safetensors *file, const char *name) {
    const struct safetensors_tensor *t = safetensors_find(file, name);
    if (!t) fail_msg("no tensor %s in the golden file", name);
    return t;
}

void golden_put(struct stage *s, const struct safetensors *file, const char *name,
                const char *buffer) {
    const struct safetensors_tensor *t = find(file, name);
    void *to = run_buffer(s->run, buffer, 0);
    int index = program_find(&s->program, buffer);
    if (!to) fail_msg("no buffer %s", buffer);
    size_t room = s->program.buffers[index].bytes, wide = t->dtype == SAFETENSORS_I64 ? 2 : 1;
    if (t->size != room * wide)
        fail_msg("%s: %zu bytes for a buffer of %zu", name, (size_t)t->size, room);
    kadr_error err = {0};
    if (wide == 1) {
        must(file_read_at(&file->file, t->begin, to, room, &err), &err);
        return;
    }
    for (size_t i = 0; i < room / 4; i++) {
        int64_t v;
        must(file_read_at(&file->file, t->begin + i * 8, &v, 8, &err), &err);
        ((int32_t *)to)[i] = (int32_t)v;
    }
}

float *golden_read(struct mem *m, const struct safetensors *file, const char *name, size_t *count) {
    const struct safetensors_tensor *t = find(file, name);
    assert_int_equal(t->dtype, SAFETENSORS_F32);
    kadr_error err = {0};
    float *x = mem_alloc(m, (size_t)t->size);
    assert_non_null(x);
    must(file_read_at(&file->file, t->begin, x, (size_t)t->size, &err), &err);
    *count = (size_t)t->size / 4;
    return x;
}

double relative_error(const float *a, const float *b, size_t count) {
    double d = 0, n = 0;
    for (size_t i = 0; i < count; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        n += (double)b[i] * b[i];
    }
    return sqrt(d / (n > 0 ? n : 1));
}
