/* draw.c: the thread that draws the queue, part by part. Panels of a board that wait one behind the
 * other, and parts of one job, are drawn in one go where the plan says that it pays: then all of
 * them are read for once. Each stays a claim of its own, whose picture is kept as soon as it is
 * there; one that is cancelled drops out, one that fails is drawn alone, to be told why. */
#include "serve/inside.h"

#include "base/sys.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

struct drawing {
    struct serve *s;
    struct store_claim claim[SHARES_MOST];
    kadr_request *request[SHARES_MOST]; /* NULL: it makes a cast, or nothing is left */
    int64_t pictures[SHARES_MOST];      /* of the whole job */
    size_t count;
    size_t failed; /* whose picture could not be kept, */
    kadr_status status;
    kadr_error error; /* and why */
};

/* Pictures of a claim that are to be drawn. */
static int64_t left_of(const struct store_claim *c) {
    return c->count - c->done;
}

/* ---- Now ------------------------------------------------------------------------------------- */
bool now_draws(const struct now *n) {
    for (size_t i = 0; i < n->count; i++)
        if (!n->share[i].over) return true;
    return false;
}

const struct share *now_share(const struct now *n, int64_t job) {
    const struct share *found = NULL;
    for (size_t i = 0; i < n->count; i++) {
        const struct share *one = &n->share[i];
        if (one->claim.job != job) continue;
        if (one->picture >= 0 && !one->over) return one;
        found = one;
    }
    return found;
}

/* Of a job, or of one claim. */
static void drop(struct serve *s, int64_t job, const struct store_claim *claim) {
    struct now *n = &s->now;
    bool any = false;
    for (size_t i = 0; i < n->count; i++) {
        const struct store_claim *c = &n->share[i].claim;
        bool is = claim ? c->part == claim->part && c->attempt == claim->attempt : c->job == job;
        if (is) n->share[i].over = any = true;
    }
    if (any && !now_draws(n)) kadr_interrupt(s->ctx);
}

void now_drop(struct serve *s, int64_t job) {
    drop(s, job, NULL);
}

void now_skip(struct serve *s, int64_t job) {
    const struct share *one = now_share(&s->now, job);
    if (!one || one->over || one->picture < 0) return;
    s->now.skip = job;
    kadr_interrupt(s->ctx);
}

bool now_look(struct serve *s, const struct share *one, struct image *im) {
    const struct now *n = &s->now;
    if (!n->preview || one->look < 0 ||
        image_make(im, s->mem, n->preview_width, n->preview_height, 3, NULL))
        return false;
    memcpy(im->data, n->preview + (size_t)one->look * image_bytes(im), image_bytes(im));
    return true;
}

void now_keep(struct serve *s) {
    struct store_claim claim[SHARES_MOST];
    bool held[SHARES_MOST];
    size_t count = 0;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < s->now.count; i++)
        if (!s->now.share[i].over) claim[count++] = s->now.share[i].claim;
    s->now.doubt = false;
    pthread_mutex_unlock(&s->mutex);
    if (!count || store_renew(s->store, claim, count, s->config.lease, held, NULL)) return;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < count; i++)
        if (!held[i]) drop(s, 0, &claim[i]);
    pthread_mutex_unlock(&s->mutex);
}

/* Shares of the drawing from `first` on; those before stay as they are. */
static void begin_now(struct serve *s, const struct drawing *d, size_t first) {
    pthread_mutex_lock(&s->mutex);
    if (!first) {
        mem_free(s->now.preview);
        s->now = (struct now){0};
    }
    for (size_t i = first; i < d->count; i++) {
        struct share *one = &s->now.share[i];
        const struct store_claim *c = &d->claim[i];
        *one = (struct share){.claim = *c, .pictures = d->pictures[i], .picture = -1, .look = -1};
        if (!i) one->picture = c->first + c->done;
        one->claim.request = one->claim.about = NULL;
    }
    s->now.count = d->count;
    s->busy = sys_seconds();
    pthread_mutex_unlock(&s->mutex);
}

static bool is_over(struct serve *s, size_t i) {
    pthread_mutex_lock(&s->mutex);
    bool over = s->now.share[i].over;
    pthread_mutex_unlock(&s->mutex);
    return over;
}

/* Whether anything is left to be drawn in this go. */
static bool end_share(struct serve *s, size_t i) {
    pthread_mutex_lock(&s->mutex);
    s->now.share[i].over = true;
    bool more = now_draws(&s->now);
    pthread_mutex_unlock(&s->mutex);
    return more;
}

/* ---- Progress -------------------------------------------------------------------------------- */
json_t *draw_progress(const struct now *n, const struct share *one) {
    return json_pack("{s:I, s:s, s:I, s:i, s:i, s:f, s:b}", "job", (json_int_t)one->claim.job,
                     "stage", n->stage, "picture", (json_int_t)one->picture, "step", n->step,
                     "steps", n->steps, "seconds_left", n->seconds_left, "preview",
                     n->preview && one->look >= 0);
}

static void keep_previews(struct serve *s, const kadr_progress *p) {
    size_t size = (size_t)p->preview_width * (size_t)p->preview_height * 3 * p->together;
    uint8_t *copy = mem_alloc(s->mem, size);
    mem_free(s->now.preview);
    s->now.preview = copy;
    if (copy) memcpy(copy, p->preview, size);
    s->now.preview_width = p->preview_width;
    s->now.preview_height = p->preview_height;
}

/* The drawing's picture number `at`, counted over all shares: whose it is, and its number there. */
static struct share *share_of(struct now *n, size_t at, int64_t *number) {
    for (size_t i = 0; i < n->count; i++) {
        size_t left = (size_t)left_of(&n->share[i].claim);
        *number = n->share[i].claim.first + n->share[i].claim.done + (int64_t)at;
        if (at < left) return &n->share[i];
        at -= left;
    }
    return NULL;
}

/* Who is at work, and what emerges of it. */
static void place_pictures(struct serve *s, const kadr_progress *p) {
    struct now *n = &s->now;
    size_t size = (size_t)p->preview_width * (size_t)p->preview_height * 3;
    bool anew = p->preview || !strcmp(p->stage, "encode");
    for (size_t i = 0; i < n->count; i++) {
        n->share[i].picture = -1;
        if (anew) n->share[i].look = -1;
    }
    for (size_t i = 0; i < p->together; i++) {
        int64_t number;
        struct share *one = share_of(n, p->picture + i, &number);
        if (!one) break;
        kadr_progress own = *p;
        if (one->picture < 0) {
            one->picture = number;
            if (p->preview) one->look = (int64_t)i;
        }
        if (!p->preview) continue;
        own.preview = p->preview + i * size;
        watches_keep(s, one->claim.job, number, &own);
    }
}

static int on_progress(void *user, const kadr_progress *p) {
    struct serve *s = ((struct drawing *)user)->s;
    struct now *n = &s->now;
    pthread_mutex_lock(&s->mutex);
    size_t length = strnlen(p->stage, sizeof n->stage - 1);
    memcpy(n->stage, p->stage, length);
    n->stage[length] = 0;
    n->step = p->step;
    n->steps = p->steps;
    n->seconds_left = p->seconds_left;
    if (p->preview) keep_previews(s, p);
    place_pictures(s, p);
    n->news = true;
    for (size_t i = 0; i < n->count && !store_is_shared(s->store); i++) {
        if (n->share[i].picture < 0 || n->share[i].over) continue;
        json_t *told = draw_progress(n, &n->share[i]);
        events_publish(s, "progress", told);
        json_decref(told);
    }
    bool end = !now_draws(n) || s->stopping;
    pthread_mutex_unlock(&s->mutex);
    return end;
}

/* ---- Pictures -------------------------------------------------------------------------------- */
/* The settings with what the client said instead of where this server keeps it. mem_free. */
static char *settings_told(struct mem *m, const char *request, const char *settings) {
    static const char *const key[] = {"init", "mask", "lora"};
    struct buf b;
    json_t *own = json_loads(settings, 0, NULL), *said = json_loads(request, 0, NULL);
    for (size_t i = 0; i < sizeof key / sizeof *key; i++)
        if (json_object_get(own, key[i]))
            json_object_set(own, key[i], json_object_get(said, key[i]));
    buf_init(&b, m);
    char *told = said && json_put(&b, own, REQUEST_JSON_FLAGS) ? buf_take(&b) : NULL;
    buf_free(&b);
    json_decref(said);
    json_decref(own);
    return told;
}

/* Waits a second when the store could not take something, unless the server ends. */
static bool again(struct serve *s, kadr_status status) {
    struct timespec until;
    if (status != KADR_EIO) return false;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    pthread_mutex_lock(&s->mutex);
    int waited = 0;
    while (!s->stopping && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&s->work, &s->mutex, &until);
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->mutex);
    return !stopping;
}

/* What was drawn is not thrown away because the database is full, locked or cannot be reached. */
static kadr_status keep(struct serve *s, const struct store_claim *claim,
                        const struct store_picture *p, int64_t *id, kadr_error *err) {
    kadr_status st = store_add_picture(s->store, claim, p, id, err);
    if (st == KADR_EIO) serve_complain(s, st, err);
    while (again(s, st)) st = store_add_picture(s->store, claim, p, id, err);
    return st;
}

static kadr_status keep_picture(struct drawing *d, const kadr_picture *picture, kadr_error *err) {
    struct serve *s = d->s;
    const struct store_claim *c = &d->claim[picture->request];
    int64_t id = 0, number = c->first + c->done + (int64_t)picture->index;
    char *settings = settings_told(s->mem, c->request, picture->settings);
    char *path = store_picture_path(s->store, c, number);
    kadr_picture p = *picture;
    p.settings = settings;
    const kadr_request *rq = d->request[picture->request];
    const struct store_picture kept = {.number = number,
                                       .seed = (int64_t)p.seed,
                                       .width = p.width,
                                       .height = p.height,
                                       .prompt = rq->prompt,
                                       .settings = settings,
                                       .parameters = p.parameters,
                                       .latents = rq->save_latents != NULL};
    kadr_status st =
        path && settings ? kadr_picture_write(&p, path, err) : err_nomem(err, "a path", 0);
    if (!st) st = keep(s, c, &kept, &id, err);
    mem_free(path);
    mem_free(settings);
    if (!st)
        link_tell(s, "picture",
                  json_pack("{s:I, s:I, s:I}", "id", (json_int_t)id, "job", (json_int_t)c->job,
                            "number", (json_int_t)number));
    return st;
}

/* Of a share that is over nothing is kept, the others go on. */
static int on_picture(void *user, const kadr_picture *picture) {
    struct drawing *d = user;
    size_t i = picture->request;
    const struct store_claim *c = &d->claim[i];
    if (is_over(d->s, i)) return 0;
    d->status = keep_picture(d, picture, &d->error);
    d->failed = i;
    if (d->status == KADR_EINTERRUPTED) {
        d->status = KADR_OK;
        return !end_share(d->s, i);
    }
    if (!d->status && (int64_t)picture->index + 1 == left_of(c)) {
        end_share(d->s, i);
        if (d->count > 1) link_tell_job(d->s, c->job);
    }
    return d->status != KADR_OK;
}

/* ---- What is drawn --------------------------------------------------------------------------- */
static void set_number(kadr_request *rq, enum option_id id, int64_t number, kadr_status *st,
                       kadr_error *err) {
    static const struct request_origin origin = {.source = SOURCE_FLAG};
    json_t *value = json_integer(number);
    if (!*st) *st = request_set_json(rq, id, value, &origin, err);
    json_decref(value);
}

/* A board's draft keeps its latents: the final picture begins from them. */
static bool is_draft(const struct store_claim *c) {
    json_t *about = c->about ? json_loads(c->about, 0, NULL) : NULL;
    bool draft = c->count == 1 && json_is_true(json_object_get(about, "draft"));
    json_decref(about);
    return draft;
}

static kadr_status keep_latents(struct drawing *d, size_t i, kadr_error *err) {
    const struct store_claim *c = &d->claim[i];
    if (!is_draft(c)) return KADR_OK;
    char *path = store_latents_path(d->s->store, c, c->first);
    kadr_status st = path ? kadr_request_set(d->request[i], "save-latents", path, err)
                          : err_nomem(err, "a path", 0);
    mem_free(path);
    return st;
}

/* A picture that is cut off goes on from its last steps. */
static kadr_status keep_state(struct drawing *d, size_t i, kadr_error *err) {
    char *path = left_of(&d->claim[i]) == 1 ? store_state_path(d->s->store, &d->claim[i]) : NULL;
    kadr_status st = path ? kadr_request_set(d->request[i], "checkpoint", path, err) : KADR_OK;
    mem_free(path);
    return st;
}

static void forget_state(struct serve *s, const struct store_claim *c) {
    char *path = store_state_path(s->store, c);
    if (path) unlink(path);
    mem_free(path);
}

/* The request of claim i for what is left of it: pictures that exist are not drawn again. */
static kadr_status make_request(struct drawing *d, size_t i, kadr_error *err) {
    struct serve *s = d->s;
    const struct store_claim *c = &d->claim[i];
    kadr_request *rq = NULL;
    d->pictures[i] = 1;
    if (casts_is_job(c->request) || !left_of(c)) return KADR_OK;
    kadr_status st = jobs_resolve(s, c->request, c->board, &rq, err);
    if (st) return st;
    d->request[i] = rq;
    d->pictures[i] = rq->count;
    set_number(rq, OPTION_seed, rq->seed + c->first + c->done, &st, err);
    set_number(rq, OPTION_count, left_of(c), &st, err);
    if (!st) st = keep_latents(d, i, err);
    if (!st) st = keep_state(d, i, err);
    return st ? st : s->config.prepare(s->config.user, c->board, rq, err);
}

static void drop_last(struct drawing *d) {
    size_t i = --d->count;
    kadr_request_free(d->request[i]);
    d->request[i] = NULL;
    store_claim_free(&d->claim[i]);
}

/* How many pictures the plan would draw together, were all that are beside like the first. */
static size_t together(struct drawing *d) {
    char *text = NULL;
    json_t *plan = NULL;
    int64_t count = left_of(&d->claim[0]) + d->claim[0].beside;
    kadr_status st = KADR_OK;
    kadr_request *rq = kadr_request_copy(d->request[0]);
    if (!rq) return 1;
    set_number(rq, OPTION_count, count < SHARES_MOST ? count : SHARES_MOST, &st, NULL);
    if (!st) st = kadr_plan(d->s->ctx, &rq, 1, &text, NULL);
    if (!st) st = json_parse(text, strlen(text), "plan", KADR_EOTHER, &plan, NULL);
    const json_t *one = json_array_get(json_object_get(plan, "requests"), 0);
    json_int_t n = json_integer_value(json_object_get(one, "together"));
    json_decref(plan);
    kadr_free(text);
    kadr_request_free(rq);
    return n > 1 ? (size_t)n : 1;
}

/* Claims what is drawn together with the first. What cannot be is given back. */
static void add_company(struct drawing *d) {
    struct serve *s = d->s;
    const struct store_claim *first = &d->claim[0];
    if (!first->beside || !d->request[0]) return;
    size_t most = together(d), left = (size_t)left_of(first), count = 1;
    most = most > left ? most - left + 1 : 1;
    if (most > (size_t)first->beside + 1) most = (size_t)first->beside + 1;
    if (most > SHARES_MOST) most = SHARES_MOST;
    if (most == 1) return;
    store_claim_beside(s->store, s->worker, s->config.lease, d->claim, most, &count, NULL);
    bool good = true;
    while (d->count < count && good) good = !make_request(d, d->count++, NULL);
    if (good) return;
    for (size_t i = d->count; i < count; i++) {
        store_release(s->store, &d->claim[i], NULL);
        store_claim_free(&d->claim[i]);
    }
    store_release(s->store, &d->claim[d->count - 1], NULL); /* and is told alone why */
    drop_last(d);
}

/* ---- What became of it ----------------------------------------------------------------------- */
/* A part that was drawn by itself. What is refused by the store has been told already, or is
 * somebody else's by now. */
static kadr_status give_back(struct serve *s, const struct store_claim *claim, kadr_status status,
                             const kadr_error *why) {
    bool unfit = status == KADR_EMEMORY || status == KADR_EMODEL || status == KADR_EIO;
    if (!status) return store_finish(s->store, claim, NULL, NULL);
    kadr_error told = *why;
    error_hide(s, &told);
    if (unfit && store_is_shared(s->store)) /* others may be larger, or have the model */
        return store_refuse(s->store, claim, s->worker, told.message, NULL);
    return store_finish(s->store, claim, told.message, NULL);
}

struct last {
    struct now now;
    bool stopping;
};

/* What share i was at when the drawing ended. */
static kadr_status end_part(struct drawing *d, size_t i, kadr_status status, const kadr_error *why,
                            const struct last *last) {
    struct store *store = d->s->store;
    const struct store_claim *c = &d->claim[i];
    const struct share *share = &last->now.share[i];
    bool skip = last->now.skip == c->job && share->picture >= 0 && status == KADR_EINTERRUPTED;
    bool own = d->count == 1 || (d->status && d->failed == i);
    bool failed = own && status != KADR_EINTERRUPTED && !last->stopping;
    if (!share->over && !skip && status && !failed) return store_release(store, c, NULL);
    forget_state(d->s, c);
    if (share->over) return KADR_OK; /* drawn, or not ours any more */
    return skip ? store_skip(store, c, NULL) : give_back(d->s, c, status, why);
}

/* True: each of them is to be drawn alone, to find out which has failed. */
static bool end_drawing(struct drawing *d, kadr_status status, const kadr_error *why) {
    struct serve *s = d->s;
    pthread_mutex_lock(&s->mutex);
    const struct last last = {s->now, s->stopping};
    pthread_mutex_unlock(&s->mutex);
    for (size_t i = 0; i < d->count; i++)
        while (again(s, end_part(d, i, status, why, &last))) continue;
    return d->count > 1 && status && status != KADR_EINTERRUPTED && !d->status;
}

static void tell_jobs(const struct drawing *d) {
    for (size_t i = 0; i < d->count; i++) link_tell_job(d->s, d->claim[i].job);
}

/* The claim is freed. With company: with what can be drawn together with it. */
static bool draw_claim(struct serve *s, const struct store_claim *claim, bool company) {
    struct drawing d = {.s = s, .claim = {*claim}, .count = 1};
    const kadr_observer observer = {&d, on_progress, on_picture};
    kadr_error err = {0};
    kadr_status st = make_request(&d, 0, &err);
    begin_now(s, &d, 0);
    if (!st && company) add_company(&d);
    begin_now(s, &d, 1);
    if (d.count > 1) now_keep(s); /* what was cancelled while that was planned */
    tell_jobs(&d);
    if (!st && left_of(claim))
        st = d.request[0] ? kadr_draw(s->ctx, d.request, d.count, &observer, &err)
                          : casts_make(s, claim->request, &observer, &err);
    if (d.status) st = d.status, err = d.error;
    bool alone = end_drawing(&d, st, &err);
    tell_jobs(&d);
    while (d.count) drop_last(&d);
    begin_now(s, &d, 0);
    return alone;
}

void serve_complain(struct serve *s, kadr_status status, const kadr_error *err) {
    if (status && s->config.draw.log)
        s->config.draw.log(s->config.draw.user, KADR_LOG_ERROR, err->message);
}

/* Nothing is in the queue: until something is told, or a second is over. */
static void rest(struct serve *s) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    if (s->config.idle && sys_seconds() - s->busy >= (double)s->config.idle)
        kill(getpid(), SIGTERM); /* who waits for Ctrl-C ends us */
    pthread_mutex_lock(&s->mutex);
    if (!s->stopping) pthread_cond_timedwait(&s->work, &s->mutex, &until);
    pthread_mutex_unlock(&s->mutex);
}

void *draw_run(void *serve) {
    struct serve *s = serve;
    kadr_status before = KADR_OK;
    int alone = 0; /* so many claims have no company */
    sys_name_thread("kadr-draw");
    for (;;) {
        struct store_claim claim = {0};
        kadr_error err;
        pthread_mutex_lock(&s->mutex);
        bool stopping = s->stopping;
        pthread_mutex_unlock(&s->mutex);
        if (stopping) return NULL;
        kadr_status st = store_claim(s->store, s->worker, s->config.lease, &claim, &err);
        if (st != before) serve_complain(s, st, &err); /* once, not every second */
        before = st;
        if (!claim.job) rest(s);
        else if (draw_claim(s, &claim, !alone)) alone = SHARES_MOST;
        else if (alone) alone--;
    }
}
