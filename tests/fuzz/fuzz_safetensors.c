/* fuzz_safetensors.c: any bytes as a safetensors header. What is accepted must hold what the format
 * promises: tensors inside the data, one after the other. */
#include "weights/safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int by_begin(const void *a, const void *b) {
    const struct safetensors_tensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->size > y->size) - (x->size < y->size);
}

/* The first byte says how much data follows the header. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    struct mem *m = mem_open((size_t)64 << 20);
    struct safetensors s;
    kadr_error err = {0};
    uint64_t follow = data[0], header = 8 + (uint64_t)(size - 1);
    kadr_status st =
        safetensors_parse(&s, m, "fuzz", (const char *)data + 1, size - 1, follow, &err);
    if (st) {
        if (!err.message[0] || err.status != st) abort();
    } else {
        uint64_t at = header;
        for (size_t i = 0; i < s.count; i++)
            if (safetensors_find(&s, s.tensors[i].name) != &s.tensors[i]) abort();
        qsort(s.tensors, s.count, sizeof *s.tensors, by_begin);
        for (size_t i = 0; i < s.count; i++) {
            if (s.tensors[i].begin != at) abort();
            at += s.tensors[i].size;
        }
        if (at != header + follow) abort();
        safetensors_metadata(&s, "format");
        safetensors_close(&s);
    }
    if (mem_close(m)) abort();
    return 0;
}
