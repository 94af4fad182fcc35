/* main.c: kadr-pages, which `kadr board` runs: one board, one file. Says what went wrong on
 * standard error; the exit status is the kadr_status.
 *
 *     kadr-pages pdf BOARD OUT LAYOUT PAPER
 *     kadr-pages sheet BOARD OUT FIRST COUNT       panels counted from 0
 *     kadr-pages webp|mp4 BOARD OUT WIDTH off|burnt|track
 */
#include "pages/pages.h"
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY ((size_t)4 << 30) /* no board comes near it */

static enum captions captions_of(const char *word) {
    return !strcmp(word, "off")     ? CAPTIONS_OFF
           : !strcmp(word, "burnt") ? CAPTIONS_BURNT
                                    : CAPTIONS_TRACK;
}

static kadr_status make(struct pages *p, char **word, kadr_error *err) {
    const char *kind = word[1], *out = word[3];
    const struct animatic_style film = {(int)strtol(word[4], NULL, 10), captions_of(word[5])};
    if (!strcmp(kind, "pdf")) return pages_pdf(p, out, (struct pdf_style){word[4], word[5]}, err);
    if (!strcmp(kind, "sheet"))
        return pages_sheet(p, out, strtoull(word[4], NULL, 10), strtoull(word[5], NULL, 10), err);
    if (!strcmp(kind, "webp")) return pages_webp(p, out, film, err);
    if (!strcmp(kind, "mp4")) return pages_mp4(p, out, film, err);
    return err_set(err, KADR_EUSAGE, "kadr-pages: no kind \"%.20s\"", kind);
}

int main(int argc, char **argv) {
    kadr_error err = {0};
    struct timeline t;
    if (argc != 6) {
        fprintf(stderr, "kadr-pages makes pages for `kadr board`; see `kadr help board`\n");
        return KADR_EUSAGE;
    }
    struct mem *m = mem_open(MEMORY);
    kadr_status status = m ? timeline_open(&t, m, argv[2], &err) : KADR_EMEMORY;
    if (status == KADR_OK) {
        struct pages p = {m, &t, 0};
        status = make(&p, argv, &err);
        if (status == KADR_OK && p.unknown)
            fprintf(stderr,
                    "%u letters have no font on this machine and show as boxes; fonts-noto or the "
                    "like has them\n",
                    p.unknown);
        timeline_close(&t);
    }
    if (status != KADR_OK) fprintf(stderr, "%s\n", err.message);
    mem_close(m);
    return (int)status;
}
