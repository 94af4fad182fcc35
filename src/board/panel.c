/* panel.c: see panel.h. */
#include "board/panel.h"

#include "base/file.h"
#include "board/script.h"
#include "draw/cast.h"
#include "image/image.h"
#include "request/settings.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- Settings -------------------------------------------------------------------------------- */
/* Panel 3 takes seed + 2, and 12A another than 12: by the number, so that a panel can be put in
 * without changing others. */
uint64_t panel_seed(const json_t *doc, size_t i, uint64_t base) {
    char *end, text[24];
    const char *number = document_number(document_panel(doc, i), text);
    unsigned long n = strtoul(number, &end, 10);
    if (end == number || !n || n > 1000000000) return base + i;
    return base + n - 1 + (*end ? XXH64(end, strlen(end), 0) % 900000 * 1000 + 100000 : 0);
}

kadr_status document_seed(json_t *doc, uint64_t *seed, kadr_error *err) {
    const json_t *own = json_object_get(doc, "seed");
    if (json_is_integer(own)) *seed = (uint64_t)json_integer_value(own);
    else if (json_object_set_new(doc, "seed", json_integer((json_int_t)*seed)))
        return err_nomem(err, "a board", 0);
    return KADR_OK;
}

json_t *panel_words(struct mem *m, const json_t *panel) {
    struct board b = {0};
    struct script script = {.board = &b, .mem = m, .name = ""};
    const char *shot = document_text(panel, "shot"), *scene = document_text(panel, "scene");
    struct board_panel p = {.action = document_text(panel, "action"),
                            .shot = *shot ? shot : NULL,
                            .scene = *scene ? scene : NULL};
    json_t *words = NULL;
    if (!*p.action && !p.scene) return json_string("");
    arena_init(&b.arena, m);
    script_write_prompt(&script, &p);
    if (p.prompt) words = json_string(p.prompt);
    else if (script.status != KADR_EMEMORY) words = json_string("");
    arena_free(&b.arena);
    return words;
}

kadr_status document_free_prompts(struct mem *m, json_t *doc, kadr_error *err) {
    for (size_t i = 0; i < document_count(doc); i++) {
        json_t *panel = document_panel(doc, i), *words = panel_words(m, panel);
        if (!words) return err_nomem(err, "a board", 0);
        if (json_equal(words, json_object_get(panel, "prompt"))) json_object_del(panel, "prompt");
        json_decref(words);
    }
    return KADR_OK;
}

/* The panel's words and the board's style behind them; NULL when there are none. */
static json_t *full_prompt(struct mem *m, const json_t *doc, const json_t *panel) {
    json_t *words = NULL, *full = NULL;
    const char *prompt = document_text(panel, "prompt"), *style = document_text(doc, "style");
    if (!*prompt) {
        words = panel_words(m, panel);
        prompt = words ? json_string_value(words) : "";
    }
    size_t n = strlen(prompt);
    while (*style && n && strchr(". ,\n", prompt[n - 1])) n--;
    if (n || *style)
        full = json_sprintf("%.*s%s%s", (int)n, prompt, *style && n ? ", " : "", style);
    json_decref(words);
    return full;
}

json_t *document_settings(const json_t *doc) {
    const char *negative = document_text(doc, "negative");
    json_t *settings = json_object();
    bool bad = *negative && json_object_set_new(settings, "negative", json_string(negative));
    if (json_is_object(json_object_get(doc, "overrides")))
        bad |= json_object_update(settings, json_object_get(doc, "overrides")) != 0;
    if (!bad) return settings;
    json_decref(settings);
    return NULL;
}

kadr_status panel_settings(struct mem *m, const json_t *doc, size_t i, uint64_t base, json_t **out,
                           kadr_error *err) {
    const json_t *panel = document_panel(doc, i), *seed = json_object_get(panel, "seed");
    const json_t *overrides = json_object_get(panel, "overrides");
    json_t *cast = json_object_get(panel, "cast"), *settings = json_object();
    const char *negative = document_text(panel, "negative");
    json_t *prompt = full_prompt(m, doc, panel);
    *out = NULL;
    if (!prompt) {
        json_decref(settings);
        return err_set(err, KADR_EUSAGE, "nothing to draw; expected a prompt or an action");
    }
    uint64_t number =
        json_is_integer(seed) ? (uint64_t)json_integer_value(seed) : panel_seed(doc, i, base);
    bool bad = json_object_set_new(settings, "prompt", prompt) ||
               json_object_set_new(settings, "seed", json_integer((json_int_t)number)) ||
               (*negative && json_object_set_new(settings, "negative", json_string(negative)));
    if (json_is_string(cast)) bad |= json_object_set_new(settings, "cast", json_pack("[O]", cast));
    else if (json_array_size(cast)) bad |= json_object_set(settings, "cast", cast);
    if (json_is_object(overrides)) bad |= json_object_update(settings, (json_t *)overrides) != 0;
    if (!bad) *out = settings;
    else json_decref(settings);
    return bad ? err_nomem(err, "a panel", 0) : KADR_OK;
}

kadr_status panel_usual(kadr_request *rq, kadr_error *err) {
    static const struct request_origin usual = {.source = SOURCE_BOARD};
    return request_set_from(rq, OPTION_aspect, "16:9", &usual, err);
}

kadr_status panel_set(kadr_request *rq, const json_t *settings, const struct request_origin *origin,
                      kadr_error *err) {
    static const enum option_id more[] = {OPTION_preset, OPTION_aspect};
    json_t *rest = json_copy((json_t *)settings);
    kadr_status st = rest ? KADR_OK : err_nomem(err, "settings", 0);
    for (size_t i = 0; !st && i < sizeof more / sizeof *more; i++) {
        const char *name = request_option_at(more[i])->name;
        const json_t *value = json_object_get(settings, name);
        if (value) st = request_set_json(rq, more[i], value, origin, err);
        json_object_del(rest, name);
    }
    if (!st) st = request_from_json(rq, rest, origin, KADR_EUSAGE, err);
    json_decref(rest);
    return st;
}

static kadr_status set_number(kadr_request *rq, enum option_id id, int64_t value, kadr_error *err) {
    static const struct request_origin origin = {.source = SOURCE_SCRIPT};
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    return request_set_from(rq, id, text, &origin, err);
}

/* Pixels a side: in smaller pictures no model knows its way. */
#define LEAST_DRAFT 128

kadr_status panel_draft(kadr_request *rq, kadr_error *err) {
    json_t *defaults = NULL;
    kadr_request *full = kadr_request_copy(rq);
    if (!full) return err_nomem(err, "a request", 0);
    kadr_status st = request_model_defaults(request_model_path(rq), &defaults, err);
    if (!st) st = request_resolve(full, defaults, "balanced", err);
    int64_t wide = full->width / 16 * 8, high = full->height / 16 * 8;
    if (!st && wide >= LEAST_DRAFT && high >= LEAST_DRAFT) {
        if (rq->origin[OPTION_aspect].source >= SOURCE_FLAG) /* or it would be said twice */
            st = kadr_request_set(rq, "aspect", NULL, err);
        if (!st) st = set_number(rq, OPTION_width, wide, err);
        if (!st) st = set_number(rq, OPTION_height, high, err);
    }
    if (!st) st = set_number(rq, OPTION_steps, (full->steps + 1) / 2, err);
    json_decref(defaults);
    kadr_request_free(full);
    return st;
}

/* ---- Content --------------------------------------------------------------------------------- */
/* What is in a file that a panel is drawn with. */
static kadr_status add_content(struct mem *m, const char *path, struct buf *to, kadr_error *err) {
    char *data = NULL;
    size_t size = 0;
    kadr_status st = file_read_all(m, path, IMAGE_LIMITS.bytes, KADR_EIO, &data, &size, err);
    if (st) return st;
    buf_printf(to, "|%016" PRIx64, XXH3_64bits(data, size));
    mem_free(data);
    return KADR_OK;
}

static kadr_status add_casts(struct mem *m, const kadr_request *rq, struct buf *to,
                             kadr_error *err) {
    struct arena a;
    kadr_status st = KADR_OK;
    if (!strcmp(rq->identity_lock ? rq->identity_lock : "on", "off")) return KADR_OK;
    arena_init(&a, m);
    for (size_t i = 0; !st && i < rq->cast.count; i++) {
        char *entry = arena_strdup(&a, rq->cast.item[i]);
        const char *path = NULL;
        const struct cast_entry cast = entry ? cast_split(entry) : (struct cast_entry){0};
        st = entry ? cast_find(&a, rq->cast_folder, cast.name, &path, err)
                   : err_nomem(err, "a cast", 0);
        if (!st) st = add_content(m, path, to, err);
        if (!st && cast.region && !strcmp(file_extension(cast.region), "png"))
            st = add_content(m, cast.region, to, err);
    }
    arena_free(&a);
    return st;
}

kadr_status panel_hash(struct mem *m, const kadr_request *rq, char hash[PANEL_HASH],
                       kadr_error *err) {
    struct buf text;
    json_t *settings = request_to_json(rq);
    buf_init(&text, m);
    if (!rq->init) json_object_del(settings, "strength");
    json_put(&text, settings, REQUEST_JSON_FLAGS);
    buf_printf(&text, "|%s|%s", rq->preset ? rq->preset : "", rq->aspect ? rq->aspect : "");
    kadr_status st = settings ? add_casts(m, rq, &text, err) : err_nomem(err, "a hash", 0);
    if (!st && rq->init) st = add_content(m, rq->init, &text, err);
    if (!st && rq->mask) st = add_content(m, rq->mask, &text, err);
    if (!st && !buf_ok(&text)) st = err_nomem(err, "a hash", 0);
    if (!st) {
        XXH128_hash_t h = XXH3_128bits(text.data, text.size);
        snprintf(hash, PANEL_HASH, "%016" PRIx64 "%016" PRIx64, h.high64, h.low64);
    }
    json_decref(settings);
    buf_free(&text);
    return st;
}
