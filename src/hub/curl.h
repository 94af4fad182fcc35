/* curl.h: libcurl, loaded when it is first used: a program that draws shall not carry it (3 MiB),
 * and one without it still runs. Functions are called through the table under their own names. */
#ifndef KADR_HUB_CURL_H
#define KADR_HUB_CURL_H

#include "base/err.h"

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#define CURL_FUNCTIONS(X)                                                                          \
    X(curl_global_init)                                                                            \
    X(curl_easy_init)                                                                              \
    X(curl_easy_cleanup)                                                                           \
    X(curl_easy_setopt)                                                                            \
    X(curl_easy_getinfo)                                                                           \
    X(curl_easy_strerror)                                                                          \
    X(curl_slist_append)                                                                           \
    X(curl_slist_free_all)                                                                         \
    X(curl_multi_init)                                                                             \
    X(curl_multi_cleanup)                                                                          \
    X(curl_multi_add_handle)                                                                       \
    X(curl_multi_remove_handle)                                                                    \
    X(curl_multi_perform)                                                                          \
    X(curl_multi_poll)                                                                             \
    X(curl_multi_info_read)                                                                        \
    X(curl_url)                                                                                    \
    X(curl_url_cleanup)                                                                            \
    X(curl_url_set)                                                                                \
    X(curl_url_get)                                                                                \
    X(curl_free)

struct curl {
    void *library; /* stays loaded */
#define X(name) __typeof__(name) *name;
    CURL_FUNCTIONS(X)
#undef X
};

/* KADR_EOTHER, and what to install, where it is not there. */
kadr_status curl_load(struct curl *c, kadr_error *err);

#endif
