/* fuzz_board.c: scripts from outside, as Fountain and as whatever they look like. */
#include "board/board.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_script(struct mem *m, const uint8_t *data, size_t size, const char *name) {
    struct board b;
    kadr_error err;
    if (!board_parse(&b, m, data, size, name, &err)) {
        if (!b.count) abort();
        for (size_t i = 0; i < b.count; i++)
            if (!*b.panels[i].prompt || !*b.panels[i].number || b.panels[i].place.line < 1) abort();
    }
    board_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct mem *m = mem_open((size_t)256 << 20);
    read_script(m, data, size, "input.fountain");
    read_script(m, data, size, "input.txt");
    if (mem_close(m)) abort();
    return 0;
}
