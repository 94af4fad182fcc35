/* text.h: texts as the formats want them. */
#ifndef KADR_EXPORT_TEXT_H
#define KADR_EXPORT_TEXT_H

#include "export/timeline.h"

/* Inside XML and HTML: content, or a value between double quotes; signs that XML forbids become
 * U+FFFD. */
void text_xml(struct buf *out, const char *text);
/* Line breaks become blanks. */
void text_line(struct buf *out, const char *text);
/* The shot's picture as file:///..., or as the board names it where the timeline travels. */
void text_url(struct buf *out, const struct timeline *t, const struct shot *s);

#endif
