/* plan_svg.h: a plan as a picture. */
#ifndef KADR_DRAW_PLAN_SVG_H
#define KADR_DRAW_PLAN_SVG_H

#include "base/buf.h"
#include "draw/jobs.h"

/* Appends an SVG: memory upwards, the run's segments from left to right, a rectangle for everything
 * that has a place. The job's plan must be a recorded one. `budget` 0: none is drawn. */
void plan_svg(struct buf *to, const struct job *job, uint64_t budget);

#endif
