/* value.h: one value of an option as text, checked and turned into what a request holds; seen by no
 * other room. */
#ifndef KADR_REQUEST_VALUE_H
#define KADR_REQUEST_VALUE_H

#include "base/buf.h"
#include "request/request.h"

struct value {
    const char *text; /* TEXT, FILE, CHOICE, LIST: points into what was parsed or into `choices` */
    int64_t integer;
    double real;
    bool truth;
    uint64_t bytes;
};

/* KADR_EUSAGE with "NAME: expected ..., got ..." */
kadr_status value_parse(const kadr_option *o, const char *text, struct value *out, kadr_error *err);

/* Shortest text that value_parse reads as the same number. */
void value_print_real(struct buf *b, double real);
void value_print_bytes(struct buf *b, uint64_t bytes);

#endif
