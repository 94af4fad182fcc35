/* options.c: the table that options.def makes, and the search in it. */
#include "request/request.h"

#include <string.h>

#define MAKE (KADR_FOR_GENERATE | KADR_FOR_BOARD | KADR_FOR_PLAN | KADR_FOR_BENCH)
#define SETTING (KADR_IN_SETTINGS | KADR_IN_CONFIG)

static const kadr_option option_table[] = {
#define X(type, field, name, letter, low, high, fallback, choices, value, group, use, help)        \
    {name, letter, KADR_##type, low, high, fallback, choices, value, help, group, use},
#include "request/options.def"
#undef X
};

const kadr_option *kadr_options(size_t *count) {
    if (count) *count = OPTIONS;
    return option_table;
}

const kadr_option *request_option_at(enum option_id id) {
    return &option_table[id];
}

int request_option(const char *name) {
    for (int i = 0; i < OPTIONS; i++)
        if (!strcmp(option_table[i].name, name)) return i;
    return -1;
}

/* Edits (insert, delete, replace, swap of neighbours) from one word to another; words are cut at
 * WORD letters, which is longer than any name. */
#define WORD 40
static int edits(const char *a, const char *b) {
    int row[3][WORD + 1];
    int n = (int)strnlen(a, WORD), m = (int)strnlen(b, WORD);
    for (int j = 0; j <= m; j++) row[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < best) best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

/* Smaller is nearer; a beginning of the candidate is as near as one edit. */
static int distance(const char *word, const char *candidate) {
    size_t n = strlen(word);
    if (n >= 2 && !strncmp(word, candidate, n)) return 1;
    return edits(word, candidate);
}

static int farthest(const char *word) {
    return 1 + (int)(strnlen(word, WORD) / 4);
}

const char *request_nearest(const char *word, const char *const *words, size_t count) {
    const char *found = NULL;
    int best = farthest(word) + 1;
    for (size_t i = 0; i < count; i++) {
        int d = distance(word, words[i]);
        if (d < best) best = d, found = words[i];
    }
    return found;
}

const char *request_nearest_option(const char *name, unsigned use) {
    const char *words[OPTIONS];
    size_t count = 0;
    for (int i = 0; i < OPTIONS; i++)
        if (option_table[i].use & use) words[count++] = option_table[i].name;
    return request_nearest(name, words, count);
}
