/* draw_plan.c: the plans of SDXL's own graphs at full shape, on paper: for every size, way of
 * guidance and budget nothing is overwritten while it is wanted (replay.h), the same is planned
 * twice, and what fits is no larger than allowed. Says how long the planner took at most. */
#include "../plan/replay.h"
#include "base/sys.h"
#include "draw/stages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

struct paper {
    struct mem *mem;
    struct pool *pool;
    void *cpu;
    struct draw_model *model;
    double longest; /* seconds of one plan */
    int plans, spilled, tried, placed;
};

/* No plan looks at more choices than this, or has the blocks of more of them placed. */
#define TRIED_MOST 40
#define PLACED_MOST 8

static struct stages_shape shape_of(int width, int height, int pictures, bool serial, int cache) {
    struct stages_shape s;
    memset(&s, 0, sizeof s);
    s.dtype = DTYPE_BF16;
    s.width = width;
    s.height = height;
    s.branches = 2;
    s.pictures = pictures;
    s.serial = serial;
    s.steps = 12;
    s.guide_to = 1;
    s.cache = cache;
    s.chunks = 1;
    s.text_samples = 2;
    return s;
}

/* Returns the bytes of the plan. */
static size_t check(struct paper *p, const struct stages_shape *shape, size_t budget) {
    const struct plan_options options = {.budget = budget, .keep = budget > 2048 * MIB};
    struct stages s;
    struct plan again;
    kadr_error err = {0};
    assert_int_equal(stages_open(&s, p->mem, p->model, shape, &options, &backend_cpu, p->cpu, &err),
                     KADR_OK);
    double from = sys_seconds();
    assert_int_equal(plan_make(&again, p->mem, &s.program, &options, &err), KADR_OK);
    double seconds = sys_seconds() - from;
    if (seconds > p->longest) p->longest = seconds;
    assert_int_equal(again.bytes, s.plan.bytes);
    assert_int_equal(again.scratch, s.plan.scratch);
    replay_plan(&s.program, &s.plan);
    size_t bytes = s.plan.bytes;
    assert_true(again.tried <= TRIED_MOST && again.placed <= PLACED_MOST);
    if (again.tried > p->tried) p->tried = again.tried;
    if (again.placed > p->placed) p->placed = again.placed;
    p->plans++;
    p->spilled += s.plan.scratch > 0;
    plan_free(&again);
    stages_close(&s);
    return bytes;
}

static void every_size_and_budget(void **state) {
    static const int sides[][2] = {{1024, 1024}, {832, 1216}, {768, 768}, {512, 512}};
    static const size_t budgets[] = {0, 4096 * MIB, 1024 * MIB, 512 * MIB, 176 * MIB};
    struct paper *p = *state;
    bool all = getenv("KADR_LONG") != NULL;
    for (size_t i = 0; i < (all ? 4 : 2); i++)
        for (int way = 0; way < (all ? 4 : 2); way++) {
            const struct stages_shape s =
                shape_of(sides[i][0], sides[i][1], way == 2 ? 6 : 1, way > 0, way == 3 ? 3 : 0);
            for (size_t k = 0; k < sizeof budgets / sizeof *budgets; k++) {
                size_t bytes = check(p, &s, budgets[k]);
                if (budgets[k] >= 512 * MIB && s.pictures == 1) assert_true(bytes <= budgets[k]);
            }
            size_t least = check(p, &s, 1);
            assert_true(check(p, &s, least) <= least);
        }
    print_message(
        "%d plans, %d with a scratch file; the longest took %.0f ms, looked at most at %d "
        "choices and placed %d\n",
        p->plans, p->spilled, p->longest * 1e3, p->tried, p->placed);
    assert_true(p->spilled > 0 && p->spilled < p->plans);
}

static int open_paper(void **state) {
    static struct paper p;
    kadr_error err = {0};
    *state = &p;
    p.mem = mem_open(0);
    if (pool_open(&p.pool, p.mem, 2, &err)) return 1;
    const struct backend_config config = {p.mem, p.pool, cpu_flags()};
    return backend_cpu.open(&config, &p.cpu, &err) || draw_model_on_paper(p.mem, &p.model, &err);
}

static int close_paper(void **state) {
    struct paper *p = *state;
    draw_model_close(p->model);
    backend_cpu.close(p->cpu);
    pool_close(p->pool);
    return mem_close(p->mem) != 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_size_and_budget)};
    return cmocka_run_group_tests(tests, open_paper, close_paper);
}
