/* drift.c: --retry-drift: pictures in which a character has drifted from its cast are drawn again
 * with other seeds. Every version stays; the nearest gets the name that was asked for. */
#include "cli/cli.h"

#include "base/file.h"
#include "draw/cast.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct version {
    const char *path;
    struct likeness like;
};

kadr_status cli_measure(struct cli *cli, const kadr_request *rq, const char *path,
                        struct likeness *v, kadr_error *err) {
    kadr_status status = KADR_OK;
    *v = (struct likeness){2, 1};
    for (size_t i = 0; i < rq->cast.count && status == KADR_OK; i++) {
        char *entry = arena_strdup(&cli->arena, rq->cast.item[i]);
        const char *cast;
        double likeness, threshold;
        if (!entry) return err_nomem(err, "a cast", 64);
        status = cast_find(&cli->arena, rq->cast_folder, cast_split(entry).name, &cast, err);
        if (status == KADR_OK)
            status = cli_likeness(cli, cast, &path, 1, &likeness, &threshold, err);
        if (status != KADR_OK || likeness - threshold >= v->margin) continue;
        v->margin = likeness - threshold;
        v->likeness = likeness;
    }
    return status;
}

static kadr_status deliver(struct drawing *d, const kadr_picture *p) {
    const struct version *v = d->user;
    return result_write(d->cli, p, v->path, d->pictures, &d->error);
}

/* Draws version `n` (from 2) beside `path`. */
static kadr_status draw_again(struct cli *cli, const char *path, uint64_t seed, int n,
                              json_t *pictures, struct version *out, kadr_error *err) {
    int stem = (int)(strlen(path) - strlen(file_extension(path)) - 1);
    const char *number = arena_printf(&cli->arena, "%" PRIu64, seed);
    out->path = arena_printf(&cli->arena, "%.*s-v%d.png", stem, path, n);
    kadr_request *rq = kadr_request_copy(cli->rq);
    kadr_status status = rq && number && out->path ? KADR_OK : err_nomem(err, "a request", 64);
    if (status == KADR_OK) status = kadr_request_set(rq, "seed", number, err);
    if (status == KADR_OK) status = kadr_request_set(rq, "count", "1", err);
    struct drawing d = {.cli = cli, .pictures = pictures, .deliver = deliver, .user = out};
    if (status == KADR_OK) status = drawing_run(&d, &rq, 1, err);
    kadr_request_free(rq);
    return status == KADR_OK ? cli_measure(cli, cli->rq, out->path, &out->like, err) : status;
}

static kadr_status rename_one(struct cli *cli, const char *from, const char *to, const char *ending,
                              kadr_error *err) {
    int a = (int)(strlen(from) - 4), b = (int)(strlen(to) - 4); /* both end in .png */
    const char *old = arena_printf(&cli->arena, "%.*s%s", a, from, ending);
    const char *new = arena_printf(&cli->arena, "%.*s%s", b, to, ending);
    if (!old || !new) return err_nomem(err, "a path", 64);
    return rename(old, new) ? err_errno(err, "cannot rename", old) : KADR_OK;
}

/* The best version takes the asked name, the first becomes -v1. */
static kadr_status put_first(struct cli *cli, const char *path, const char *best, kadr_error *err) {
    static const char *const endings[] = {".png", ".kadr.json"};
    int stem = (int)(strlen(path) - 4);
    const char *first = arena_printf(&cli->arena, "%.*s-v1.png", stem, path);
    kadr_status status = first ? KADR_OK : err_nomem(err, "a path", 64);
    for (size_t i = 0; i < 2 && status == KADR_OK; i++) {
        status = rename_one(cli, path, first, endings[i], err);
        if (status == KADR_OK) status = rename_one(cli, best, path, endings[i], err);
    }
    return status;
}

kadr_status cli_retry_drift(struct cli *cli, const char *path, uint64_t seed, json_t *pictures,
                            kadr_error *err) {
    struct version first = {.path = path}, best;
    kadr_status status = cli_measure(cli, cli->rq, path, &first.like, err);
    best = first;
    for (int n = 2; n < cli->rq->retry_drift + 2 && best.like.margin < 0 && status == KADR_OK;
         n++) {
        struct version v;
        uint64_t count = cli->rq->count > 1 ? (uint64_t)cli->rq->count : 1;
        uint64_t other = seed + (uint64_t)(n - 1) * count;
        status = draw_again(cli, path, other, n, pictures, &v, err);
        if (status == KADR_OK && v.like.margin > best.like.margin) best = v;
    }
    if (status == KADR_OK && best.path != path) status = put_first(cli, path, best.path, err);
    if (status != KADR_OK) return status;
    console_say(&cli->console, "%s: likeness %.2f%s%s", path, best.like.likeness,
                best.path != path ? ", the nearest of several versions" : "",
                best.like.margin < 0 ? ": the character has drifted" : "");
    return KADR_OK;
}
