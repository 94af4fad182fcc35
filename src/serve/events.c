/* events.c: server-sent events. A short history is kept, so that a page that was away for a moment
 * (Last-Event-ID) misses nothing. */
#include "serve/inside.h"

#include <inttypes.h>
#include <string.h>

void events_wake(struct serve *s) {
    struct call *c = s->events.waiting;
    s->events.waiting = NULL;
    while (c) {
        struct call *next = c->next_waiting;
        c->waits = false;
        MHD_resume_connection(c->http);
        c = next;
    }
}

void events_publish(struct serve *s, const char *type, const json_t *data) {
    struct events *e = &s->events;
    struct buf b;
    buf_init(&b, s->mem);
    buf_printf(&b, "id: %" PRIu64 "\nevent: %s\ndata: ", e->next, type);
    bool whole = json_put(&b, data, JSON_COMPACT);
    buf_puts(&b, "\n\n");
    char *text = whole ? buf_take(&b) : NULL;
    buf_free(&b);
    if (text) {
        char **slot = &e->text[e->next++ % EVENTS_KEPT];
        mem_free(*slot);
        *slot = text;
        if (e->next - e->first > EVENTS_KEPT) e->first = e->next - EVENTS_KEPT;
    }
    events_wake(s);
}

void serve_publish(struct serve *s, const char *type, json_t *data) {
    pthread_mutex_lock(&s->mutex);
    events_publish(s, type, data);
    pthread_mutex_unlock(&s->mutex);
    json_decref(data);
}

void events_free(struct events *e) {
    for (size_t i = 0; i < EVENTS_KEPT; i++) mem_free(e->text[i]);
}

ssize_t events_read(void *user, uint64_t pos, char *to, size_t room) {
    struct call *c = user;
    struct serve *s = c->serve;
    struct events *e = &s->events;
    ssize_t given = 0;
    (void)pos;
    pthread_mutex_lock(&s->mutex);
    if (c->seen < e->first) c->seen = e->first, c->offset = 0;
    if (s->stopping) given = MHD_CONTENT_READER_END_OF_STREAM;
    else if (c->seen == e->next) call_wait(c);
    else {
        const char *text = e->text[c->seen % EVENTS_KEPT] + c->offset;
        size_t n = strlen(text);
        if (n > room) n = room;
        memcpy(to, text, n);
        c->offset += n;
        if (!text[n]) c->seen++, c->offset = 0;
        given = (ssize_t)n;
    }
    pthread_mutex_unlock(&s->mutex);
    return given;
}
