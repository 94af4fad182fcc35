/* curl.c: see curl.h. */
#include "hub/curl.h"

#include <dlfcn.h>

kadr_status curl_load(struct curl *c, kadr_error *err) {
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.4.dylib",
                                        "/usr/lib/libcurl.4.dylib"};
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return err_set(err, KADR_EOTHER,
                       "kadr pull needs libcurl, which is not installed: apt-get install libcurl4 "
                       "on Debian and Ubuntu, brew install curl on macOS");
    *c = (struct curl){.library = library};
    const struct {
        const char *name;
        void *place;
    } functions[] = {
#define X(name) {#name, &c->name},
        CURL_FUNCTIONS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(library, functions[i].name);
        if (!function)
            return err_set(err, KADR_EOTHER,
                           "libcurl has no %s; expected version 7.66 or later: install a newer one",
                           functions[i].name);
        *(void **)functions[i].place = function;
    }
    if (c->curl_global_init(CURL_GLOBAL_DEFAULT))
        return err_set(err, KADR_EOTHER, "libcurl does not start");
    return KADR_OK;
}
