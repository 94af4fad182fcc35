/* cast.h: a character's looks as a small file (NAME.cast, safetensors inside): what an image
 * encoder and an IP-Adapter made of reference pictures, as keys and values of every cross-attention
 * of the UNet. Neither encoder nor adapter is needed to draw with it, and it serves every
 * checkpoint of the same layout of attentions.
 *
 * Tensors   ATTENTION.k, .v f16 [t, width] and .uncond_k, .uncond_v f16 [u, width] for each
 *           cross-attention, named as in model/unet.h; t is u times the number of references, or u
 *           thumbnail u8 [h, w, 3]; looks f16 [references * cells, width], see
 *           cast_look in cast_parts.h
 * Metadata  format "kadr cast", version "1", and texts for people
 */
#ifndef KADR_DRAW_CAST_H
#define KADR_DRAW_CAST_H

#include "image/image.h"
#include "model/unet.h"
#include "weights/safetensors.h"

#define CAST_EXTENSION "cast"
#define CAST_TOKENS 4096 /* no cast has more */
/* The likeness below which a character is taken for another, where a cast says none of its own:
 * measured with the mini model. */
#define CAST_THRESHOLD 0.7

struct cast {
    struct safetensors file;
    int64_t tokens, uncond_tokens;
};

/* KADR_EMODEL when it is no cast or a damaged one. */
kadr_status cast_open(struct cast *c, struct mem *m, const char *path, kadr_error *err);
void cast_close(struct cast *c); /* idempotent on a zeroed or closed one */

/* An entry of the option `cast` (see casting.h) cut into its parts, in place; NULL: not there. */
struct cast_entry {
    char *name, *region, *steps, *blocks;
    bool has_scale;
    double scale;
};
struct cast_entry cast_split(char *entry);

/* The file of a cast's name, in `a` or `name` itself. `folder` may be NULL. */
kadr_status cast_find(struct arena *a, const char *folder, const char *name, const char **path,
                      kadr_error *err);

/* Whether it was made for that layout of attentions; KADR_EMODEL says what differs. `model` stands
 * in the message. */
kadr_status cast_check(const struct cast *c, const struct unet_config *unet, const char *model,
                       kadr_error *err);

/* `c->tokens` rows of keys or values of an attention, as `dtype`; the unconditional ones are
 * repeated to as many. The cast was checked. */
kadr_status cast_read(const struct cast *c, const char *attention, char which, bool uncond,
                      int64_t width, enum dtype dtype, void *to, kadr_error *err);

/* "name", "kind", "licence", ...; NULL: not there. */
const char *cast_text(const struct cast *c, const char *key);
/* The small picture inside. */
kadr_status cast_thumbnail(const struct cast *c, struct mem *m, struct image *out, kadr_error *err);

#endif
