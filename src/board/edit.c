/* edit.c: panels put in, moved, taken out. See document.h. */
#include "board/panel.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *document_panel_of(const json_t *doc, const char *uid, size_t *at) {
    for (size_t i = 0; i < document_count(doc); i++) {
        json_t *panel = document_panel(doc, i);
        if (strcmp(document_text(panel, "uid"), uid) != 0) continue;
        if (at) *at = i;
        return panel;
    }
    return NULL;
}

static bool good_uid(const char *uid) {
    size_t n = strlen(uid);
    return n && n <= 16 && strspn(uid, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == n;
}

/* All uids that are or were a panel's, as keys. */
static json_t *uids_of(const json_t *doc) {
    json_t *uids = json_object(), *one;
    size_t i;
    json_array_foreach(json_object_get(doc, "boards"), i, one)
        json_object_set_new(uids, document_text(one, "uid"), json_true());
    json_array_foreach(json_object_get(doc, "removed"), i, one)
        json_object_set_new(uids, document_text(one, "uid"), json_true());
    return uids;
}

kadr_status document_identify(json_t *doc, kadr_error *err) {
    char text[24];
    json_t *seen = json_object(), *taken = uids_of(doc);
    bool bad = !seen || !taken;
    for (size_t i = 0; !bad && i < document_count(doc); i++) {
        json_t *panel = document_panel(doc, i);
        const char *uid = document_text(panel, "uid");
        if (!good_uid(uid) || json_object_get(seen, uid)) {
            bad = json_object_set_new(panel, "uid",
                                      document_make_uid(document_number(panel, text), taken)) != 0;
            uid = document_text(panel, "uid");
        }
        bad |= json_object_set_new(seen, uid, json_true()) != 0;
    }
    json_decref(seen);
    json_decref(taken);
    return bad ? err_nomem(err, "a board", 0) : KADR_OK;
}

/* "2A" behind "2" or "2-x"; the greatest number and one at the end. */
static void new_number(const json_t *doc, size_t at, char number[24]) {
    char text[24];
    unsigned long most = 0, before = 0;
    for (size_t i = 0; i < document_count(doc); i++) {
        unsigned long n = strtoul(document_number(document_panel(doc, i), text), NULL, 10);
        if (n > most) most = n;
        if (i + 1 == at) before = n;
    }
    if (at == document_count(doc) && most < 1000000000) snprintf(number, 24, "%lu", most + 1);
    else snprintf(number, 24, "%lu", before % 1000000000);
    for (unsigned k = 0; document_find(doc, number, NULL); k++) {
        char letters[8] = {(char)('A' + k % 26)};
        if (k >= 26)
            snprintf(letters, sizeof letters, "%c%c%c", 'A' + k / 676 % 26, 'A' + k / 26 % 26,
                     'A' + k % 26);
        snprintf(number, 24, "%lu%s", before % 1000000000, letters);
    }
}

kadr_status document_insert(json_t *doc, size_t at, json_t *panel, kadr_error *err) {
    char number[24];
    json_t *taken = uids_of(doc);
    new_number(doc, at, number);
    bool bad = !taken || json_object_set_new(panel, "number", json_string(number)) ||
               json_object_set_new(panel, "uid", document_make_uid(number, taken)) ||
               json_array_insert(json_object_get(doc, "boards"), at, panel);
    json_decref(taken);
    return bad ? err_nomem(err, "a panel", 0) : KADR_OK;
}

void document_move(json_t *doc, size_t from, size_t to) {
    json_t *boards = json_object_get(doc, "boards");
    json_t *panel = json_incref(json_array_get(boards, from));
    json_array_remove(boards, from);
    json_array_insert_new(boards, to, panel);
}

kadr_status document_remove(json_t *doc, size_t at, kadr_error *err) {
    json_t *removed = json_object_get(doc, "removed");
    if (document_count(doc) < 2) return err_set(err, KADR_EUSAGE, "a board has one panel at least");
    if (!json_is_array(removed)) {
        removed = json_array();
        json_object_set_new(doc, "removed", removed);
    }
    if (json_array_append(removed, document_panel(doc, at)) ||
        json_array_remove(json_object_get(doc, "boards"), at))
        return err_nomem(err, "a board", 0);
    return KADR_OK;
}

kadr_status document_renumber(json_t *doc, kadr_error *err) {
    uint64_t base = 0;
    char number[24];
    bool bad = document_seed(doc, &base, err) != KADR_OK;
    for (size_t i = 0; !bad && i < document_count(doc); i++) {
        json_t *panel = document_panel(doc, i);
        if (!json_is_integer(json_object_get(panel, "seed")))
            bad = json_object_set_new(panel, "seed",
                                      json_integer((json_int_t)panel_seed(doc, i, base))) != 0;
        snprintf(number, sizeof number, "%zu", i + 1);
        bad |= json_object_set_new(panel, "number", json_string(number)) != 0;
    }
    return bad ? err_nomem(err, "a board", 0) : KADR_OK;
}
