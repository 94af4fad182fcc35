/* glossary.c: names and words of a script's language become English words and casts. A word of the
 * glossary stands for itself as a whole word, whatever its case; one that ends in * for every word
 * that begins so, since names are declined in many languages. */
#include "base/utf8.h"
#include "board/document.h"
#include "board/script.h"
#include <string.h>
#include <strings.h>

json_t *glossary_read(const char *lines) {
    json_t *all = json_object();
    while (all && *lines) {
        size_t size = strcspn(lines, "\n");
        const char *equals = memchr(lines, '=', size), *end = lines + size;
        if (equals) {
            const char *key = lines, *key_end = equals, *text = equals + 1;
            while (key < key_end && *key == ' ') key++;
            while (key_end > key && key_end[-1] == ' ') key_end--;
            const char *cast = memmem(text, (size_t)(end - text), "cast:", 5);
            const char *text_end = cast ? cast : end;
            while (text < text_end && *text == ' ') text++;
            while (text_end > text && strchr(" ;,", text_end[-1])) text_end--;
            json_t *entry = json_object();
            if (text_end > text)
                json_object_set_new(entry, "text", json_stringn(text, (size_t)(text_end - text)));
            if (cast) {
                for (cast += 5; cast < end && *cast == ' ';) cast++;
                json_object_set_new(entry, "cast", json_stringn(cast, (size_t)(end - cast)));
            }
            if (key_end > key) json_object_setn_new(all, key, (size_t)(key_end - key), entry);
            else json_decref(entry);
        }
        lines = end + (*end != 0);
    }
    return all;
}

/* Russian headings' times of day. */
static const char *const times[][2] = {
    {"день", "day"},     {"утро", "morning"}, {"вечер", "evening"}, {"ночь", "night"},
    {"рассвет", "dawn"}, {"закат", "sunset"}, {"сумерки", "dusk"},  {"полдень", "noon"},
};

static bool is_letter(uint32_t c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= 0xC0 && c != 0xD7 && c != 0xF7 && !(c >= 0x2000 && c <= 0x206F) &&
            !(c >= 0x3000 && c <= 0x303F) && c != UTF8_BROKEN);
}

/* How many bytes of `text` the key takes, or 0. `text` begins a word. */
static size_t match(const char *text, const char *end, const char *key) {
    const char *at = text, *key_end = key + strlen(key);
    bool open = key_end > key && key_end[-1] == '*';
    if (open) key_end--;
    if (key == key_end) return 0;
    while (key < key_end) {
        uint32_t want = letter_to_lower(utf8_next(&key, key_end));
        if (at == end || letter_to_lower(utf8_next(&at, end)) != want) return 0;
    }
    while (at < end) {
        const char *next = at;
        if (!is_letter(utf8_next(&next, end))) break;
        if (!open) return 0;
        at = next;
    }
    return (size_t)(at - text);
}

/* A character plays once: what its note says of it goes before what the glossary does. */
static void add_cast(json_t *casts, const char *cast) {
    size_t i, name = strcspn(cast, ":@ ");
    json_t *one;
    json_array_foreach(casts, i, one) {
        const char *there = json_string_value(one);
        if (strcspn(there, ":@ ") == name && !strncasecmp(there, cast, name)) return;
    }
    json_array_append_new(casts, json_string(cast));
}

/* The longest entry that matches here; *size: of what it takes. */
static const json_t *longest(const json_t *glossary, const char *text, const char *end,
                             size_t *size) {
    const json_t *best = NULL;
    const char *key;
    json_t *entry;
    *size = 0;
    json_object_foreach((json_t *)glossary, key, entry) {
        size_t n = match(text, end, key);
        if (n <= *size) continue;
        *size = n;
        best = entry;
    }
    return best;
}

void glossary_apply(const json_t *glossary, const char *text, struct buf *out, json_t *casts) {
    const char *end = text + strlen(text);
    bool inside = false;
    while (text < end) {
        size_t size = 0;
        const json_t *entry = inside ? NULL : longest(glossary, text, end, &size);
        if (entry) {
            const json_t *words = json_is_object(entry) ? json_object_get(entry, "text") : entry;
            const char *cast = json_string_value(json_object_get(entry, "cast"));
            if (json_is_string(words)) buf_puts(out, json_string_value(words));
            else buf_add(out, text, size);
            if (cast) add_cast(casts, cast);
            text += size;
            inside = true;
            continue;
        }
        const char *next = text;
        inside = is_letter(utf8_next(&next, end));
        buf_add(out, text, (size_t)(next - text));
        text = next;
    }
}

bool glossary_add_time(json_t *glossary, const char *scene) {
    struct heading h = {0};
    size_t taken;
    if (!heading_read(scene, true, &h) || !h.time_size) return true;
    const char *end = h.time + h.time_size;
    if (longest(glossary, h.time, end, &taken) && taken == h.time_size) return true;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (match(h.time, end, times[i][0]) == h.time_size)
            return !json_object_set_new(glossary, times[i][0],
                                        json_pack("{s:s}", "text", times[i][1]));
    return true;
}
