/* replay.h: the checker of plans. It walks units, lanes and operations as the executor does, and
 * writes into maps of the arena and of the scratch file, page by page, who owns it; nobody may find
 * another's mark where his own must still be. It shares nothing with the planner but the walk. */
#ifndef KADR_TESTS_REPLAY_H
#define KADR_TESTS_REPLAY_H

#include "plan/plan.h"

/* Fails the test that calls it when something of the plan is overwritten while it is wanted, lies
 * outside, or is not computed exactly once. The plan fits or has no budget. */
void replay_plan(const struct program *p, const struct plan *plan);

#endif
