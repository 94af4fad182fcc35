/* convert.c: scripts become documents, and documents Storyboarder's files and back. */
#include "board/document.h"
#include "request/request.h"
#include <stdio.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- From a script --------------------------------------------------------------------------- */
/* Five signs as Storyboarder has them, the same for the same panel of the same script. */
json_t *document_make_uid(const char *number, json_t *taken) {
    char uid[6] = {0};
    for (uint64_t salt = 0;; salt++) {
        uint64_t hash = XXH64(number, strlen(number), salt);
        for (int i = 0; i < 5; i++, hash /= 36)
            uid[i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[hash % 36];
        if (json_object_get(taken, uid)) continue;
        json_object_set_new(taken, uid, json_true());
        return json_string(uid);
    }
}

static json_t *speeches(const struct board_panel *p, struct mem *m) {
    struct buf b;
    buf_init(&b, m);
    for (size_t i = 0; i < p->speech_count; i++) {
        const struct board_speech *s = &p->speeches[i];
        if (i) buf_putc(&b, '\n');
        if (s->character) buf_puts(&b, s->character);
        if (s->extension) buf_printf(&b, " (%s)", s->extension);
        if (s->parenthetical) buf_printf(&b, " (%s)", s->parenthetical);
        if (s->character) buf_puts(&b, ": ");
        if (s->text) buf_puts(&b, s->text);
    }
    json_t *text = buf_ok(&b) ? json_string(b.data) : NULL;
    buf_free(&b);
    return text;
}

static json_t *joined(const char *const *texts, size_t count, struct mem *m) {
    struct buf b;
    buf_init(&b, m);
    for (size_t i = 0; i < count; i++) buf_printf(&b, "%s%s", i ? "\n" : "", texts[i]);
    json_t *text = buf_ok(&b) ? json_string(b.data) : NULL;
    buf_free(&b);
    return text;
}

/* A script's overrides with the types that settings have in JSON. The camera is ours. */
static json_t *overrides(const struct board_panel *p) {
    kadr_request *rq = kadr_request_new();
    json_t *typed = NULL, *only = json_object();
    if (!rq || !only) goto end;
    for (size_t i = 0; i < p->override_count; i++)
        if (kadr_request_set(rq, p->overrides[i].name, p->overrides[i].value, NULL)) goto end;
    typed = request_to_json(rq);
    for (size_t i = 0; i < p->override_count; i++)
        if (strcmp(p->overrides[i].name, "cast") != 0) /* stands in a field of its own */
            json_object_set(only, p->overrides[i].name,
                            json_object_get(typed, p->overrides[i].name));
end:
    json_decref(typed);
    kadr_request_free(rq);
    return only;
}

/* "anna@left, bo" -> a list. A comma inside of a region does not part. */
static void add_casts(json_t *list, const char *text) {
    while (*text) {
        text += strspn(text, " ,");
        size_t size = 0;
        bool region = false;
        for (; text[size] && (region || (text[size] != ',' && text[size] != ' ')); size++) {
            if (text[size] == '@') region = true;
            else if (region && text[size] == ' ') break;
            else if (region && text[size] == ',' && !strchr("0123456789.", text[size + 1])) break;
        }
        if (size) json_array_append_new(list, json_stringn(text, size));
        text += size;
    }
}

static void set_text(json_t *o, const char *key, const char *text) {
    if (text) json_object_set_new(o, key, json_string(text));
}

/* The prompt in English, and who plays. */
static void translate(json_t *panel, const struct board_panel *p, const json_t *glossary,
                      struct mem *m) {
    struct buf prompt, unused;
    json_t *casts = json_array();
    buf_init(&prompt, m);
    buf_init(&unused, m);
    if (p->cast) add_casts(casts, p->cast);
    glossary_apply(glossary, p->prompt, &prompt, casts);
    for (size_t i = 0; i < p->speech_count; i++)
        if (p->speeches[i].character)
            glossary_apply(glossary, p->speeches[i].character, &unused, casts);
    if (buf_ok(&prompt)) set_text(panel, "prompt", prompt.data);
    if (json_array_size(casts)) json_object_set(panel, "cast", casts);
    json_decref(casts);
    buf_free(&prompt);
    buf_free(&unused);
}

static json_t *panel_of(const struct board_panel *p, const json_t *glossary, json_t *uids,
                        struct mem *m) {
    json_t *panel = json_object(), *more = overrides(p);
    if (!panel || !more) {
        json_decref(panel);
        json_decref(more);
        return NULL;
    }
    json_object_set_new(panel, "uid", document_make_uid(p->number, uids));
    set_text(panel, "number", p->number);
    set_text(panel, "shot", p->shot);
    set_text(panel, "scene", p->scene);
    set_text(panel, "sceneNumber", p->scene_number);
    set_text(panel, "section", p->section);
    set_text(panel, "synopsis", p->synopsis);
    set_text(panel, "transition", p->transition);
    set_text(panel, "camera", p->camera);
    if (p->duration > 0) json_object_set_new(panel, "duration", json_real(p->duration * 1000));
    set_text(panel, "action", p->action);
    json_object_set_new(panel, "dialogue", speeches(p, m));
    json_object_set_new(panel, "notes", joined(p->notes, p->note_count, m));
    translate(panel, p, glossary, m);
    if (json_object_get(more, "seed")) {
        json_object_set(panel, "seed", json_object_get(more, "seed"));
        json_object_del(more, "seed");
    }
    if (json_object_size(more)) json_object_set(panel, "overrides", more);
    json_decref(more);
    return panel;
}

static bool is_key(const char *key, const char *want) {
    return !strcasecmp(key, want);
}

json_t *document_of_board(const struct board *b, const char *script) {
    json_t *doc =
        json_pack("{s:i, s:s, s:f, s:i, s:i}", "kadr_board", DOCUMENT_FORM, "script", script,
                  "aspectRatio", 16.0 / 9, "fps", 24, "defaultBoardTiming", DOCUMENT_TIMING);
    json_t *boards = json_array(), *uids = json_object(), *glossary = json_object();
    for (size_t i = 0; doc && i < b->title_count; i++) {
        const char *key = b->titles[i].key, *value = b->titles[i].value;
        if (!value) continue;
        if (is_key(key, "title")) set_text(doc, "title", value);
        if (is_key(key, "style")) set_text(doc, "style", value);
        if (is_key(key, "negative")) set_text(doc, "negative", value);
        if (!is_key(key, "glossary")) continue;
        json_decref(glossary);
        glossary = glossary_read(value);
    }
    bool good = doc && boards && uids && glossary;
    for (size_t i = 0; good && i < b->count; i++)
        if (b->panels[i].scene) good = glossary_add_time(glossary, b->panels[i].scene);
    if (good && json_object_size(glossary)) json_object_set(doc, "glossary", glossary);
    for (size_t i = 0; good && i < b->count; i++)
        good =
            !json_array_append_new(boards, panel_of(&b->panels[i], glossary, uids, b->arena.mem));
    if (good) json_object_set(doc, "boards", boards);
    json_decref(boards);
    json_decref(uids);
    json_decref(glossary);
    if (good) return doc;
    json_decref(doc);
    return NULL;
}

/* ---- Storyboarder ---------------------------------------------------------------------------- */
/* What a .storyboarder file has under "kadr" because Storyboarder does not know it. */
static const char *const ours[] = {
    "prompt",     "negative", "seed",     "cast",  "overrides",   "camera",
    "versions",   "pending",  "approved", "scene", "section",     "synopsis",
    "transition", "number",   "shot",     "url",   "sceneNumber",
};
static const char *const ours_above[] = {"kadr_board", "script", "style", "negative", "glossary",
                                         "removed",    "seed",   "title", "overrides"};

/* Moves a panel's or the document's own fields into its "kadr". */
static void put_away(json_t *object, const char *const *keys, size_t count) {
    json_t *away = json_object();
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_object_get(object, keys[i]);
        if (!value) continue;
        json_object_set(away, keys[i], value);
        json_object_del(object, keys[i]);
    }
    json_object_set_new(object, "kadr", away);
}

static void take_back(json_t *object, json_t *kept) {
    const char *key;
    json_t *value;
    json_incref(kept);
    json_object_del(object, "kadr");
    json_object_foreach(kept, key, value) if (strcmp(key, "boards") != 0)
        json_object_set(object, key, value);
    json_decref(kept);
}

json_t *document_to_storyboarder(const json_t *doc) {
    char text[24];
    json_t *file = json_deep_copy(doc);
    double time = 0;
    if (!file) return NULL;
    for (size_t i = 0; i < document_count(file); i++) {
        json_t *panel = document_panel(file, i);
        const char *picture = document_picture(panel), *number = document_number(panel, text);
        json_t *url = json_string(picture ? picture : "");
        json_t *shot = json_string(number), *theirs = json_object_get(panel, "storyboarder");
        json_incref(theirs);
        json_object_del(panel, "storyboarder");
        double length = document_seconds(doc, panel) * 1000;
        put_away(panel, ours, sizeof ours / sizeof *ours);
        json_object_set_new(panel, "url", url);
        json_object_set_new(panel, "shot", shot);
        json_object_set_new(panel, "number", json_integer((json_int_t)i + 1));
        json_object_set_new(panel, "time", json_real(time));
        if (!json_object_get(panel, "newShot")) json_object_set_new(panel, "newShot", json_true());
        if (theirs && !picture) json_object_update(panel, theirs);
        if (theirs) json_object_set(json_object_get(panel, "kadr"), "storyboarder", theirs);
        json_decref(theirs);
        time += length;
    }
    put_away(file, ours_above, sizeof ours_above / sizeof *ours_above);
    if (!json_object_get(file, "version"))
        json_object_set_new(file, "version", json_string("3.0.0"));
    return file;
}

/* Storyboarder's own number, shot and url stay in "storyboarder"; a panel is called by its shot
 * where that is a number unlike any other ("1A"), else by its place. */
static void take_panel(json_t *panel, size_t i, json_t *numbers) {
    char text[24];
    const char *shot = document_text(panel, "shot");
    size_t size = strlen(shot);
    bool good =
        size && size <= 16 && !json_object_get(numbers, shot) &&
        strspn(shot, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-") == size;
    snprintf(text, sizeof text, "%zu", i + 1);
    for (int k = 0; !good && k < 26 && json_object_get(numbers, text); k++)
        snprintf(text, sizeof text, "%zu%c", i + 1, 'A' + k);
    json_t *number = json_string(good ? shot : text), *theirs = json_object();
    static const char *const keys[] = {"number", "shot", "url"};
    for (size_t k = 0; k < 3; k++) {
        json_t *value = json_object_get(panel, keys[k]);
        if (value) json_object_set(theirs, keys[k], value);
        json_object_del(panel, keys[k]);
    }
    json_object_set_new(numbers, json_string_value(number), json_true());
    json_object_set_new(panel, "number", number);
    json_object_set_new(panel, "storyboarder", theirs);
}

json_t *document_from_storyboarder(json_t *file) {
    json_t *doc = json_deep_copy(file), *numbers = json_object();
    if (doc && numbers) {
        take_back(doc, json_object_get(doc, "kadr"));
        for (size_t i = 0; i < document_count(doc); i++) {
            json_t *panel = document_panel(doc, i);
            json_t *kept = json_object_get(panel, "kadr");
            if (!json_is_object(panel)) continue;
            if (json_is_object(kept) && json_object_get(kept, "number")) {
                json_object_del(panel, "shot");
                json_object_del(panel, "url");
                take_back(panel, kept);
            } else take_panel(panel, i, numbers);
        }
        if (!json_object_get(doc, "kadr_board"))
            json_object_set_new(doc, "kadr_board", json_integer(DOCUMENT_FORM));
    }
    json_decref(numbers);
    return doc;
}
