/* stage.h: runs one network of a model folder on inputs from a file and compares with the outputs
 * in it: what the golden tests share. */
#ifndef KADR_TESTS_STAGE_H
#define KADR_TESTS_STAGE_H

#include "backend/backend.h"
#include "draw/source.h"
#include "run/run.h"
#include "weights/safetensors.h"

struct stage {
    struct mem *mem;
    struct pool *pool;
    void *state;
    struct weights *weights;
    struct graph graph[5]; /* one after the other: conditioning, step */
    int graphs;
    struct program program;
    struct plan_options options; /* set before stage_ready */
    struct plan plan;
    struct run_source source;
    struct run *run;
};

/* Opens a model folder; the caller then describes graph[0..graphs) and calls stage_ready. Failing
 * asserts. */
void stage_open(struct stage *s, const char *folder, enum dtype dtype, int graphs);
void stage_ready(struct stage *s);
void stage_close(struct stage *s);

/* A golden file. */
void golden_open(struct safetensors *file, struct mem *m, const char *path);
/* Copies tensor `name` into the buffer (f32 or i32; I64 is narrowed). */
void golden_put(struct stage *s, const struct safetensors *file, const char *name,
                const char *buffer);
/* A tensor as f32, to be freed with mem_free. */
float *golden_read(struct mem *m, const struct safetensors *file, const char *name, size_t *count);

/* |a - b| / |b|, as vectors (L2). */
double relative_error(const float *a, const float *b, size_t count);

#endif
