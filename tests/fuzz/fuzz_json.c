/* Fuzz target: JSON bodies. The first byte says whose. */
#include "serve_lab.h"
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const path[] = {
        "/api/v1/jobs",      "/sdapi/v1/txt2img",      "/sdapi/v1/img2img",   "/sdapi/v1/png-info",
        "/sdapi/v1/options", "/v1/images/generations", "/api/v1/jobs/1/move", "/api/v1/boards"};
    char head[256];
    if (!size) return 0;
    snprintf(head, sizeof head,
             "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\nConnection: close\r\n\r\n",
             path[*data % 8], size - 1);
    serve_lab(head, data + 1, size - 1);
    return 0;
}
