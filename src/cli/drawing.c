/* drawing.c: a drawing watched: progress, previews, and each picture handed on as it exists. */
#include "cli/cli.h"

#include "base/sys.h"

#define PREVIEW_EVERY 2.0 /* seconds between two previews */

static int on_progress(void *user, const kadr_progress *p) {
    struct drawing *d = user;
    double now = sys_seconds();
    console_progress(&d->cli->console, p);
    if (d->cli->rq->preview && p->preview && now - d->previewed >= PREVIEW_EVERY) {
        result_show(d->cli, p->preview, p->preview_width, p->preview_height);
        d->previewed = now;
    }
    return 0;
}

static int on_picture(void *user, const kadr_picture *p) {
    struct drawing *d = user;
    d->status = d->deliver(d, p);
    return d->status != KADR_OK;
}

kadr_status drawing_run(struct drawing *d, kadr_request *const *requests, size_t count,
                        kadr_error *err) {
    const kadr_observer observer = {d, on_progress, on_picture};
    struct work w;
    kadr_status status = work_open(&w, d->cli, err);
    if (status == KADR_OK) status = kadr_draw(w.ctx, requests, count, &observer, err);
    work_close(&w);
    console_clear(&d->cli->console);
    if (d->status == KADR_OK) return status;
    *err = d->error; /* the cause, not that it ended the drawing */
    return d->status;
}
