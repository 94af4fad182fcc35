/* Fuzz target: what comes over a connection, as it is. */
#include "serve_lab.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    serve_lab("", data, size);
    return 0;
}
