/* openapi.h: the API, described for programs. */
#ifndef KADR_SERVE_OPENAPI_H
#define KADR_SERVE_OPENAPI_H

#include "base/json.h"

/* The whole description, an object that the caller owns; NULL: no memory. */
json_t *openapi(void);

#endif
