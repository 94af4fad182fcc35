/* fuzz_board.c: scripts from outside, as Fountain and as whatever they look like; and boards. */
#include "board/document.h"
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

/* A board that is taken survives Storyboarder's form and is taken again. */
static void read_document(struct mem *m, const uint8_t *data, size_t size) {
    json_t *doc, *again;
    if (document_parse(&doc, m, (const char *)data, size, "input.json", NULL)) return;
    json_t *theirs = document_to_storyboarder(doc);
    struct buf text;
    buf_init(&text, m);
    if (json_put(&text, theirs, 0)) {
        if (document_parse(&again, m, text.data, text.size, "again.storyboarder", NULL)) abort();
        if (document_count(again) != document_count(doc)) abort();
        if (document_inherit(again, doc, NULL)) abort();
        json_decref(again);
    }
    for (size_t i = 0; i < document_count(doc); i++) document_picture(document_panel(doc, i));
    buf_free(&text);
    json_decref(theirs);
    json_decref(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct mem *m = mem_open((size_t)256 << 20);
    read_script(m, data, size, "input.fountain");
    read_script(m, data, size, "input.txt");
    read_document(m, data, size);
    if (mem_close(m)) abort();
    return 0;
}
