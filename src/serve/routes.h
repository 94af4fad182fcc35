/* routes.h: what the table of routes names from other files. */
#ifndef KADR_SERVE_ROUTES_H
#define KADR_SERVE_ROUTES_H

#include "serve/inside.h"

json_t *routes_models(const struct serve *s);

/* ---- openai.c: as OpenAI's images API */
void openai_generate(struct call *c);
void openai_models(struct call *c);

#endif
