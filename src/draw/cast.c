/* cast.c: see cast.h. */
#include "draw/cast.h"
#include "base/file.h"
#include "model/describe.h"
#include "request/request.h"
#include "weights/weights.h"

#include <stdio.h>
#include <string.h>

#define PIECE 2048 /* values on the stack while converting */
#define THUMBNAIL 256

static const struct safetensors_tensor *part(const struct cast *c, const char *attention,
                                             const char *what) {
    char name[192];
    return safetensors_find(&c->file, describe_label(name, sizeof name, "%s.%s", attention, what));
}

const char *cast_text(const struct cast *c, const char *key) {
    return safetensors_metadata(&c->file, key);
}

static kadr_status check_head(const struct cast *c, const char *path, kadr_error *err) {
    const char *format = cast_text(c, "format"), *version = cast_text(c, "version");
    if (!format || strcmp(format, "kadr cast") != 0)
        return err_set(err, KADR_EMODEL, "%s: no cast; expected a file that `kadr cast add` made",
                       path);
    if (!version || strcmp(version, "1") != 0)
        return err_set(err, KADR_EMODEL,
                       "%s: a cast of version %s; expected version 1 (a newer kadr wrote it?)",
                       path, version ? version : "?");
    return KADR_OK;
}

/* How many tokens the cast has: the rows of the first keys that come. */
static kadr_status count_tokens(struct cast *c, const char *path, kadr_error *err) {
    for (size_t i = 0; i < c->file.count; i++) {
        const struct safetensors_tensor *t = &c->file.tensors[i];
        size_t n = strlen(t->name);
        if (n > 2 && strcmp(t->name + n - 2, ".k") == 0 && t->rank == 2) c->tokens = t->dim[0];
        if (n > 9 && strcmp(t->name + n - 9, ".uncond_k") == 0 && t->rank == 2)
            c->uncond_tokens = t->dim[0];
    }
    if (c->tokens < 1 || c->tokens > CAST_TOKENS || c->uncond_tokens < 1 ||
        c->tokens % c->uncond_tokens)
        return err_set(err, KADR_EMODEL,
                       "%s: %lld tokens and %lld unconditional ones; expected 1 to %d, and a "
                       "multiple of the others",
                       path, (long long)c->tokens, (long long)c->uncond_tokens, CAST_TOKENS);
    return KADR_OK;
}

kadr_status cast_open(struct cast *c, struct mem *m, const char *path, kadr_error *err) {
    *c = (struct cast){0};
    kadr_status st = safetensors_open(&c->file, m, path, err);
    if (st) return st;
    st = check_head(c, path, err);
    if (!st) st = count_tokens(c, path, err);
    if (st) cast_close(c);
    return st;
}

void cast_close(struct cast *c) {
    safetensors_close(&c->file);
}

/* Why the layout is another one. */
static kadr_status other_layout(const struct cast *c, const char *model, const char *what,
                                kadr_error *err) {
    const char *made_for = cast_text(c, "model");
    return err_set(err, KADR_EMODEL,
                   "%s: made for %s, whose attentions are laid out otherwise than those of %s "
                   "(%s); make the cast again with -m %s",
                   c->file.file.path, made_for ? made_for : "another model", model, what, model);
}

kadr_status cast_check(const struct cast *c, const struct unet_config *unet, const char *model,
                       kadr_error *err) {
    static const char *const parts[] = {"k", "v", "uncond_k", "uncond_v"};
    struct unet_transformer at = {0};
    char attention[128], what[256];
    size_t used = 0, all = 0;
    while (unet_next_transformer(unet, &at))
        for (int i = 0; i < at.depth * 4; i++, used++) {
            unet_attention_name(attention, sizeof attention, &at, i / 4);
            const struct safetensors_tensor *t = part(c, attention, parts[i % 4]);
            int64_t rows = i % 4 < 2 ? c->tokens : c->uncond_tokens;
            describe_label(what, sizeof what, "%s of %s", t ? "another width" : "nothing",
                           attention);
            if (!t || (t->rank == 2 && t->dim[1] != at.width))
                return other_layout(c, model, what, err);
            if (t->dtype != SAFETENSORS_F16 || t->rank != 2 || t->dim[0] != rows)
                return err_set(err, KADR_EMODEL, "%s: tensor %s: expected F16 [%lld, %lld]",
                               c->file.file.path, t->name, (long long)rows, (long long)at.width);
        }
    for (size_t i = 0; i < c->file.count; i++)
        all += strstr(c->file.tensors[i].name, ".attn2.") != NULL;
    if (all == used) return KADR_OK;
    describe_label(what, sizeof what, "%zu attentions, not %zu", all / 4, used / 4);
    return other_layout(c, model, what, err);
}

kadr_status cast_read(const struct cast *c, const char *attention, char which, bool uncond,
                      int64_t width, enum dtype dtype, void *to, kadr_error *err) {
    char name[16];
    const struct safetensors_tensor *t = part(
        c, attention, describe_label(name, sizeof name, "%s%c", uncond ? "uncond_" : "", which));
    size_t count = (size_t)(c->tokens * width), size = dtype_size(dtype);
    size_t own = uncond ? (size_t)(c->uncond_tokens * width) : count;
    float piece[PIECE];
    for (size_t at = 0; at < count;) {
        size_t from = at % own, n = own - from < PIECE ? own - from : PIECE;
        kadr_status st = safetensors_read_f32(&c->file, t, from, n, piece, err);
        if (st) return st;
        weights_convert(piece, n, dtype, (char *)to + at * size);
        at += n;
    }
    return KADR_OK;
}

/* Cuts "KEY=VALUE" off the end of an entry. */
static char *cut(char *entry, const char *key) {
    char *at = strstr(entry, key);
    if (!at) return NULL;
    *at = 0;
    return at + strlen(key);
}

struct cast_entry cast_split(char *entry) {
    struct cast_entry e = {.name = entry};
    /* Each cuts whatever follows, so both are cut before either is read. */
    e.blocks = cut(entry, " blocks=");
    e.steps = cut(e.blocks ? e.blocks : entry, " steps=");
    if (!e.steps) e.steps = cut(entry, " steps=");
    for (size_t n = strlen(entry); n && entry[n - 1] == ' ';) entry[--n] = 0;
    char *at = strrchr(entry, '@');
    if (at) {
        *at = 0;
        e.region = at + 1;
    }
    char *colon = strrchr(entry, ':');
    e.has_scale = colon && request_parse_real(colon + 1, &e.scale);
    if (e.has_scale) *colon = 0;
    return e;
}

/* NAME.cast in the folder, in small letters where it is not there as it stands (scripts have names
 * of characters in capitals); or a path. */
kadr_status cast_find(struct arena *a, const char *folder, const char *name, const char **path,
                      kadr_error *err) {
    *path = name;
    if (strcmp(file_extension(name), CAST_EXTENSION) == 0) return KADR_OK;
    if (!folder)
        return err_set(err, KADR_EUSAGE,
                       "cast %s: no folder of casts is named; set cast-folder or give a path that "
                       "ends in ." CAST_EXTENSION,
                       name);
    char *small = arena_strdup(a, name);
    if (!small || !*name || strchr(name, '/') || *name == '.')
        return err_set(err, KADR_EUSAGE,
                       "cast: \"%s\": expected NAME[:SCALE][@REGION] [steps=0-1] [blocks=style]",
                       name);
    for (char *p = small; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + 32);
    const char *names[2] = {name, small};
    for (int i = 0; i < 2; i++) {
        *path = arena_printf(a, "%s/%s." CAST_EXTENSION, folder, names[i]);
        if (*path && file_exists(*path)) return KADR_OK;
    }
    return err_set(err, KADR_EUSAGE,
                   "cast %s: there is none of that name in %s; `kadr cast list` shows them, `kadr "
                   "cast add %s PICTURE` makes one",
                   name, folder, small);
}

kadr_status cast_thumbnail(const struct cast *c, struct mem *m, struct image *out,
                           kadr_error *err) {
    const struct safetensors_tensor *t = safetensors_find(&c->file, "thumbnail");
    if (!t || t->dtype != SAFETENSORS_U8 || t->rank != 3 || t->dim[2] != 3 || t->dim[0] < 1 ||
        t->dim[0] > THUMBNAIL || t->dim[1] < 1 || t->dim[1] > THUMBNAIL)
        return err_set(err, KADR_EMODEL, "%s: no thumbnail of U8 [height, width, 3]",
                       c->file.file.path);
    kadr_status st = image_make(out, m, (int)t->dim[1], (int)t->dim[0], 3, err);
    if (!st) st = file_read_at(&c->file.file, t->begin, out->data, (size_t)t->size, err);
    if (st) image_free(out);
    return st;
}
