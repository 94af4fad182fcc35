/* board.c: from a script to a board: which form it is in, and what every panel needs in the end. */
#include "board/board.h"
#include "base/file.h"
#include "board/script.h"
#include <stdlib.h>
#include <string.h>

static bool is_named_fountain(const char *name) {
    const char *ending = file_extension(name);
    return !strcmp(ending, "fountain") || !strcmp(ending, "spmd");
}

static int by_number(const void *a, const void *b) {
    const struct board_panel *const *p = a, *const *q = b;
    int order = strcmp((*p)->number, (*q)->number);
    if (order) return order;
    return (*p > *q) - (*p < *q);
}

static void check_numbers(struct script *s) {
    struct board *b = s->board;
    struct board_panel **sorted = mem_array(s->mem, b->count, sizeof(struct board_panel *));
    if (!sorted) {
        script_nomem(s);
        return;
    }
    for (size_t i = 0; i < b->count; i++) sorted[i] = &b->panels[i];
    qsort(sorted, b->count, sizeof *sorted, by_number);
    for (size_t i = 1; i < b->count && !s->status; i++)
        if (!strcmp(sorted[i - 1]->number, sorted[i]->number))
            script_fail_at(s, sorted[i]->place,
                           "a second panel of number %s; the first is in line %d",
                           sorted[i]->number, sorted[i - 1]->place.line);
    mem_free(sorted);
}

/* What the script left to us: numbers and prompts. */
static void finish(struct script *s) {
    struct board *b = s->board;
    if (!b->count) script_fail(s, 0, "no panels; expected a paragraph of text for each");
    for (size_t i = 0; i < b->count && !s->status; i++) {
        struct board_panel *p = &b->panels[i];
        if (!p->number) p->number = arena_printf(&b->arena, "%zu", i + 1);
        if (!p->number) script_nomem(s);
        else if (!p->prompt) script_write_prompt(s, p);
    }
    if (!s->status) check_numbers(s);
}

kadr_status board_parse(struct board *b, struct mem *m, const void *text, size_t size,
                        const char *name, kadr_error *err) {
    struct script s;
    memset(b, 0, sizeof *b);
    arena_init(&b->arena, m);
    script_open(&s, b, m, text, size, name, err);
    bool fountain = !s.status && (is_named_fountain(name) || script_is_fountain(&s));
    if (!s.status) (fountain ? script_mask_boneyard : script_mask_comments)(&s);
    if (!s.status) script_mask_notes(&s);
    if (!s.status) (fountain ? script_read_fountain : script_read_plain)(&s);
    if (!s.status) finish(&s);
    script_close(&s);
    if (s.status) board_free(b);
    return s.status;
}

kadr_status board_read(struct board *b, struct mem *m, const char *path, kadr_error *err) {
    char *text = NULL;
    size_t size = 0;
    memset(b, 0, sizeof *b);
    arena_init(&b->arena, m);
    kadr_status status = file_read_all(m, path, BOARD_BYTES, KADR_EIO, &text, &size, err);
    if (!status) status = board_parse(b, m, text, size, path, err);
    mem_free(text);
    return status;
}

void board_free(struct board *b) {
    arena_free(&b->arena);
    *b = (struct board){.arena = b->arena};
}

const char *board_override_of(const struct board_panel *p, const char *name) {
    for (size_t i = p->override_count; i > 0; i--)
        if (!strcmp(p->overrides[i - 1].name, name)) return p->overrides[i - 1].value;
    return NULL;
}
