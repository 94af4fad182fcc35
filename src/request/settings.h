/* settings.h: option values as JSON; seen by no other room. */
#ifndef KADR_REQUEST_SETTINGS_H
#define KADR_REQUEST_SETTINGS_H

#include "request/request.h"

/* KADR_EUSAGE for a value of another type, or out of range. A null changes nothing. */
kadr_status request_set_json(kadr_request *rq, enum option_id id, const json_t *value,
                             const struct request_origin *origin, kadr_error *err);

#endif
