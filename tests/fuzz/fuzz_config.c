/* Fuzz target: a configuration, settings inside a picture, or the text of one option. Whatever is
 * accepted must come back as it was: settings that are written, read and written again are equal.
 */
#include "request/request.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void set_option(kadr_request *rq, const char *text) {
    size_t count;
    const kadr_option *o = kadr_options(&count) + (unsigned char)*text % OPTIONS;
    const char *before = kadr_request_get(rq, o->name);
    if (kadr_request_set(rq, o->name, text + 1, NULL) != KADR_OK) {
        if (before != kadr_request_get(rq, o->name)) abort();
        return;
    }
    char *got = mem_strdup(rq->mem, kadr_request_get(rq, o->name));
    kadr_request *again = kadr_request_new();
    if (kadr_request_set(again, o->name, got, NULL) != KADR_OK) abort();
    if (strcmp(kadr_request_get(again, o->name), got)) abort();
    kadr_request_free(again);
    mem_free(got);
}

static void read_settings(kadr_request *rq, const char *text, size_t size) {
    const struct request_origin origin = {.source = SOURCE_PICTURE};
    json_t *settings;
    if (json_parse(text, size, "input", KADR_EUSAGE, &settings, NULL) != KADR_OK) return;
    request_from_json(rq, settings, &origin, KADR_EUSAGE, NULL);
    json_decref(settings);
}

/* Settings survive being written and read. */
static void check_round_trip(const kadr_request *rq) {
    const struct request_origin origin = {.source = SOURCE_PICTURE};
    kadr_request *again = kadr_request_new();
    json_t *first = request_to_json(rq);
    if (request_from_json(again, first, &origin, KADR_EUSAGE, NULL) != KADR_OK) abort();
    json_t *second = request_to_json(again);
    if (!json_equal(first, second)) abort();
    json_decref(first);
    json_decref(second);
    kadr_request_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    kadr_request *rq = kadr_request_new();
    char *text = mem_alloc(rq->mem, size);
    memcpy(text, data + 1, size - 1);
    if (data[0] % 3 == 0)
        request_parse_ini(rq, text, size - 1, "input", SOURCE_USER, KADR_FOR_GENERATE, NULL);
    else if (data[0] % 3 == 1) read_settings(rq, text, size - 1);
    else set_option(rq, text);
    check_round_trip(rq);
    if (request_resolve(rq, NULL, "balanced", NULL) == KADR_OK && (rq->width % 8 || rq->steps < 1))
        abort();
    mem_free(text);
    kadr_request_free(rq);
    return 0;
}
