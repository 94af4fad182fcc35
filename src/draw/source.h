/* source.h: lets the executor read weights from the weights room. */
#ifndef KADR_DRAW_SOURCE_H
#define KADR_DRAW_SOURCE_H

#include "run/run.h"
#include "weights/weights.h"

/* Borrows `w`. */
struct run_source draw_source(struct weights *w);

#endif
