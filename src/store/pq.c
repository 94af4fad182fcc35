/* pq.c: see pq.h. */
#include "store/pq.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

static struct pq table; /* written once */
static bool loaded;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static kadr_status load(kadr_error *err) {
    static const char *const names[] = {"libpq.so.5", "libpq.5.dylib",
                                        "/opt/homebrew/opt/libpq/lib/libpq.5.dylib",
                                        "/usr/local/opt/libpq/lib/libpq.5.dylib"};
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return err_set(err, KADR_EOTHER,
                       "a store at postgresql:// needs libpq, which is not installed: apt-get "
                       "install libpq5 on Debian and Ubuntu, brew install libpq on macOS");
    const struct {
        const char *name;
        void *place;
    } functions[] = {
#define X(name) {#name, &table.name},
        PQ_FUNCTIONS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(library, functions[i].name);
        if (!function)
            return err_set(err, KADR_EOTHER,
                           "libpq has no %s; expected that of PostgreSQL 10 "
                           "or later: install a newer one",
                           functions[i].name);
        *(void **)functions[i].place = function;
    }
    return KADR_OK;
}

kadr_status pq_load(const struct pq **out, kadr_error *err) {
    pthread_mutex_lock(&mutex);
    kadr_status st = loaded ? KADR_OK : load(err);
    loaded = !st;
    pthread_mutex_unlock(&mutex);
    *out = &table;
    return st;
}
