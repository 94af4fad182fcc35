/* pq.h: libpq, PostgreSQL's client library, loaded when it is first used: a program that draws for
 * itself shall not carry it and what it brings, and one without it still runs. Functions are called
 * through the table under their own names. */
#ifndef KADR_STORE_PQ_H
#define KADR_STORE_PQ_H

#include "base/err.h"
#include <libpq-fe.h>

#define PQ_FUNCTIONS(X)                                                                            \
    X(PQconnectdbParams)                                                                           \
    X(PQconninfoParse)                                                                             \
    X(PQconninfoFree)                                                                              \
    X(PQfinish)                                                                                    \
    X(PQstatus)                                                                                    \
    X(PQsocket)                                                                                    \
    X(PQerrorMessage)                                                                              \
    X(PQsetNoticeProcessor)                                                                        \
    X(PQexec)                                                                                      \
    X(PQexecParams)                                                                                \
    X(PQresultStatus)                                                                              \
    X(PQclear)                                                                                     \
    X(PQntuples)                                                                                   \
    X(PQgetvalue)                                                                                  \
    X(PQgetlength)                                                                                 \
    X(PQgetisnull)                                                                                 \
    X(PQcmdTuples)                                                                                 \
    X(PQconsumeInput)                                                                              \
    X(PQnotifies)                                                                                  \
    X(PQfreemem)

struct pq {
#define X(name) __typeof__(name) *name;
    PQ_FUNCTIONS(X)
#undef X
};

/* The table; stays loaded until the program ends. Thread-safe. KADR_EOTHER, and what to install,
 * where it is not there. */
kadr_status pq_load(const struct pq **out, kadr_error *err);

#endif
