/* otio.c: OpenTimelineIO's JSON. */
#include "export/export.h"
#include "export/text.h"

static double rate_of(const struct timeline *t) {
    return (double)t->rate.number / (double)t->rate.divisor;
}

static json_t *time_of(const struct timeline *t, int64_t frames) {
    return json_pack("{s:s, s:f, s:f}", "OTIO_SCHEMA", "RationalTime.1", "rate", rate_of(t),
                     "value", (double)frames);
}

static json_t *range_of(const struct timeline *t, int64_t frames) {
    return json_pack("{s:s, s:o, s:o}", "OTIO_SCHEMA", "TimeRange.1", "start_time", time_of(t, 0),
                     "duration", time_of(t, frames));
}

static json_t *media_of(const struct timeline *t, const struct shot *s, struct mem *m) {
    struct buf url;
    if (!s->url) return json_pack("{s:s, s:{}}", "OTIO_SCHEMA", "MissingReference.1", "metadata");
    buf_init(&url, m);
    text_url(&url, t, s);
    json_t *media = json_pack("{s:s, s:s, s:s, s:o, s:{}}", "OTIO_SCHEMA", "ExternalReference.1",
                              "name", s->url, "target_url", buf_ok(&url) ? url.data : "",
                              "available_range", range_of(t, s->end - s->first), "metadata");
    buf_free(&url);
    return media;
}

static json_t *markers_of(const struct timeline *t, const struct shot *s) {
    if (!*s->dialogue) return json_array();
    return json_pack("[{s:s, s:s, s:s, s:s, s:o, s:{}}]", "OTIO_SCHEMA", "Marker.2", "name",
                     "dialogue", "comment", s->dialogue, "color", "GREEN", "marked_range",
                     range_of(t, s->end - s->first), "metadata");
}

/* What the panel says, but for its history. */
static json_t *metadata_of(const struct shot *s) {
    json_t *all = json_copy((json_t *)s->panel);
    json_object_del(all, "versions");
    json_object_del(all, "pending");
    return json_pack("{s:o}", "kadr", all);
}

static json_t *clip_of(const struct timeline *t, const struct shot *s, struct mem *m) {
    return json_pack("{s:s, s:s, s:b, s:[], s:o, s:o, s:o, s:{s:o}, s:s}", "OTIO_SCHEMA", "Clip.2",
                     "name", s->number, "enabled", 1, "effects", "markers", markers_of(t, s),
                     "metadata", metadata_of(s), "source_range", range_of(t, s->end - s->first),
                     "media_references", "DEFAULT_MEDIA", media_of(t, s, m),
                     "active_media_reference_key", "DEFAULT_MEDIA");
}

kadr_status export_otio(struct timeline *t, struct buf *out, kadr_error *err) {
    json_t *clips = json_array();
    bool ok = clips;
    for (size_t i = 0; ok && i < t->count; i++)
        ok = !json_array_append_new(clips, clip_of(t, &t->shots[i], out->mem));
    json_t *whole = json_pack(
        "{s:s, s:s, s:{}, s:n, s:{s:s, s:s, s:{}, s:n, s:[], s:[], s:b, s:[{s:s, s:s, s:s, s:{}, "
        "s:n, s:[], s:[], s:b, s:o}]}}",
        "OTIO_SCHEMA", "Timeline.1", "name", t->title, "metadata", "global_start_time", "tracks",
        "OTIO_SCHEMA", "Stack.1", "name", "tracks", "metadata", "source_range", "effects",
        "markers", "enabled", 1, "children", "OTIO_SCHEMA", "Track.1", "name", "panels", "kind",
        "Video", "metadata", "source_range", "effects", "markers", "enabled", 1, "children", clips);
    ok = ok && json_put(out, whole, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    json_decref(whole);
    return ok ? KADR_OK : err_nomem(err, "a timeline", out->size);
}

kadr_status export_storyboarder(struct timeline *t, struct buf *out, kadr_error *err) {
    json_t *whole = document_to_storyboarder(t->doc);
    bool ok = json_put(out, whole, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    json_decref(whole);
    return ok ? KADR_OK : err_nomem(err, "a board", out->size);
}
