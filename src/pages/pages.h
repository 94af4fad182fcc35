/* pages.h: boards as people look at them: PDF, contact sheet, animatic. Drawn with cairo and pango,
 * so in any script that the machine has a font for.
 *
 * This room is a program of its own, `kadr-pages`, which `kadr board` runs: cairo and pango with
 * what they need take 5 MiB of a process before they do anything, and kadr's memory belongs to
 * models.
 *
 *     struct timeline t;
 *     status = timeline_open(&t, mem, "out/board.json", err);
 *     struct pages p = {mem, &t, 0};
 *     status = pages_pdf(&p, "out/board.pdf", (struct pdf_style){"2x3", "a4"}, err);
 *     if (p.unknown) say(...);   // letters that no font here has
 *
 * Files are written atomically. Not thread-safe.
 */
#ifndef KADR_PAGES_PAGES_H
#define KADR_PAGES_PAGES_H

#include "export/timeline.h"

struct pages {
    struct mem *mem;
    struct timeline *t;
    unsigned unknown; /* letters so far that no font has */
};

/* ---- PDF: pages of cells, one or more a panel: what a panel's text does not find room for flows
 * to the next cell. */
struct pdf_style {
    const char *layout; /* "2x3": across x down; also "1x3", the text beside, and "1x1" */
    const char *paper;  /* "a4", "letter" */
};
kadr_status pages_pdf(struct pages *p, const char *path, struct pdf_style style, kadr_error *err);

/* ---- Contact sheet: PNG of `count` panels from `first`, long texts cut short. */
kadr_status pages_sheet(struct pages *p, const char *path, size_t first, size_t count,
                        kadr_error *err);

/* ---- Animatic: the panels one after the other, as long as each lasts. */
enum captions { CAPTIONS_OFF, CAPTIONS_BURNT, CAPTIONS_TRACK };
struct animatic_style {
    int width; /* most pixels of its width */
    enum captions captions;
};
/* Animated WebP; it has no subtitle tracks: CAPTIONS_TRACK is CAPTIONS_BURNT. */
kadr_status pages_webp(struct pages *p, const char *path, struct animatic_style style,
                       kadr_error *err);
/* MP4 by the program ffmpeg; KADR_EUSAGE when that is not installed. */
kadr_status pages_mp4(struct pages *p, const char *path, struct animatic_style style,
                      kadr_error *err);

#endif
