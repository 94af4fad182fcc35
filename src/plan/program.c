/* program.c: see program.h. */
#include "plan/program.h"

#include <string.h>

void program_init(struct program *p, struct mem *m) {
    memset(p, 0, sizeof *p);
    arena_init(&p->arena, m);
}

void program_free(struct program *p) {
    arena_free(&p->arena);
    p->segment_count = p->buffer_count = p->buffer_room = 0;
    p->buffers = NULL;
}

int program_find(const struct program *p, const char *name) {
    for (int i = 0; i < p->buffer_count; i++)
        if (strcmp(p->buffers[i].name, name) == 0) return i;
    return -1;
}

void program_hold(struct program *p, int buffer, int first, int last) {
    struct program_buffer *b = &p->buffers[buffer];
    if (first < b->first) b->first = first;
    if (last > b->last) b->last = last;
}

/* *buffer: the one that the input or output is bound to. */
static kadr_status bind(struct program *p, const struct tensor *t, int segment, int lanes,
                        int *buffer, kadr_error *err) {
    int i = program_find(p, t->name);
    *buffer = i >= 0 ? i : p->buffer_count;
    if (i >= 0) {
        if (p->buffers[i].bytes != tensor_bytes(t))
            return err_set(err, KADR_EOTHER,
                           "program: %s is %zu bytes in one graph and %zu in another", t->name,
                           p->buffers[i].bytes, tensor_bytes(t));
        struct program_buffer *b = &p->buffers[i];
        b->carried = b->made = b->made && t->role == TENSOR_INPUT && lanes == b->lanes;
        program_hold(p, i, segment, segment);
        if (lanes > b->lanes) b->lanes = lanes;
        return KADR_OK;
    }
    if (p->buffer_count == p->buffer_room) {
        int room = p->buffer_room ? p->buffer_room * 2 : 64;
        struct program_buffer *more = arena_array(&p->arena, (size_t)room, sizeof *more);
        if (!more) return err_nomem(err, "program", (size_t)room * sizeof *more);
        if (p->buffer_count) memcpy(more, p->buffers, (size_t)p->buffer_count * sizeof *more);
        p->buffers = more;
        p->buffer_room = room;
    }
    p->buffers[p->buffer_count++] = (struct program_buffer){.name = t->name,
                                                            .bytes = tensor_bytes(t),
                                                            .lanes = lanes,
                                                            .first = segment,
                                                            .last = segment,
                                                            .made = t->role == TENSOR_OUTPUT};
    return KADR_OK;
}

int program_add(struct program *p, const char *stage, const struct graph *g, int lanes, int repeats,
                kadr_error *err) {
    if (graph_status(g, err) || graph_cut_check(g, err)) return -1;
    if (p->segment_count == PROGRAM_SEGMENTS) {
        err_set(err, KADR_EOTHER, "program: more than %d segments", PROGRAM_SEGMENTS);
        return -1;
    }
    int index = p->segment_count;
    struct segment *s = &p->segments[index];
    *s = (struct segment){.stage = stage, .graph = g, .lanes = lanes, .repeats = repeats};
    s->buffer = arena_array(&p->arena, (size_t)g->tensor_count + 1, sizeof *s->buffer);
    if (!s->buffer) {
        err_nomem(err, "program", (size_t)g->tensor_count * sizeof *s->buffer);
        return -1;
    }
    for (int i = 0; i < g->tensor_count; i++) {
        s->buffer[i] = -1;
        if (g->tensors[i].role != TENSOR_TEMP &&
            bind(p, &g->tensors[i], index, lanes, &s->buffer[i], err))
            return -1;
    }
    s->needs.weight_bytes = arena_array(&p->arena, (size_t)g->weight_count + 1, sizeof(size_t));
    s->needs.part_bytes = arena_array(&p->arena, (size_t)g->weight_count + 1, sizeof(size_t));
    if (!s->needs.weight_bytes || !s->needs.part_bytes) {
        err_nomem(err, "program", (size_t)g->weight_count * sizeof(size_t));
        return -1;
    }
    p->segment_count++;
    return index;
}
