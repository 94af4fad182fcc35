/* pull_none.c: pull where libcurl's or GnuTLS's headers were not there when kadr was built. */
#include "hub/pull.h"

kadr_status pull(struct arena *a, const struct pull_request *rq, struct pull_result *result,
                 kadr_error *err) {
    (void)a, (void)rq;
    *result = (struct pull_result){0};
    return err_set(err, KADR_EOTHER,
                   "this kadr was built without libcurl and GnuTLS and cannot download. Install "
                   "libcurl4-openssl-dev and libgnutls28-dev (Debian, Ubuntu) or curl and gnutls "
                   "(Homebrew), run meson setup --wipe build, and build again");
}
