/* export.h: a board as the files that editors open.
 *
 * Each appends the whole file to `out`, in whose ledger it works. Formats that tell a picture's
 * size or hold it read the picture: one that is missing is an error that names the panel.
 */
#ifndef KADR_EXPORT_EXPORT_H
#define KADR_EXPORT_EXPORT_H

#include "export/timeline.h"

/* SubRip: each panel's dialogue while it is seen. */
kadr_status export_srt(struct timeline *t, struct buf *out, kadr_error *err);
/* CMX 3600 edit decision list: one video event a shot, its picture as FROM CLIP NAME. */
kadr_status export_edl(struct timeline *t, struct buf *out, kadr_error *err);
/* FCPXML 1.8 (Final Cut Pro, DaVinci Resolve): a spine of stills with notes, the dialogue as
 * markers. developer.apple.com/documentation/professional-video-applications/fcpxml-reference */
kadr_status export_fcpxml(struct timeline *t, struct buf *out, kadr_error *err);
/* OpenTimelineIO, Timeline.1: a track of clips, the dialogue as markers, what else a panel says as
 * metadata. opentimelineio.readthedocs.io */
kadr_status export_otio(struct timeline *t, struct buf *out, kadr_error *err);
/* What Storyboarder opens, beside the pictures. */
kadr_status export_storyboarder(struct timeline *t, struct buf *out, kadr_error *err);
/* A page for browsers, whole in one file. */
kadr_status export_html(struct timeline *t, struct buf *out, kadr_error *err);

#endif
