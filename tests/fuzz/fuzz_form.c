/* Fuzz target: a body of the kind multipart/form-data, with pictures. */
#include "serve_lab.h"
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char head[256];
    snprintf(head, sizeof head,
             "POST /v1/images/edits HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
             "multipart/form-data; boundary=boundary\r\nContent-Length: %zu\r\nConnection: "
             "close\r\n\r\n",
             size);
    serve_lab(head, data, size);
    return 0;
}
