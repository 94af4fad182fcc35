/* names.h: the original (LDM, OpenCLIP) names of SDXL's tensors and diffusers' names for the same,
 * as rules that are read in either direction.
 *
 * In a rule, # is a number that both sides share, ~ on the right is the last level minus it, and a
 * final * is the rest of the name.
 */
#ifndef KADR_WEIGHTS_NAMES_H
#define KADR_WEIGHTS_NAMES_H

#include "base/arena.h"

#define NAMES_LEVELS 16
#define NAMES_SIZE 256 /* the longest translated name, with its NUL */

struct name_rule {
    const char *original, *diffusers;
};

struct name_rules {
    const struct name_rule *rule;
    size_t count;
    int last; /* level: what ~ counts from */
};

/* False when no rule fits. `to` has NAMES_SIZE bytes. */
bool names_to_diffusers(const struct name_rules *rules, const char *name, char *to);
bool names_to_original(const struct name_rules *rules, const char *name, char *to);

/* Relative to "first_stage_model." and "vae."; `levels` of the decoder. */
struct name_rules names_vae(int levels);
/* Relative to "conditioner.embedders.1.model." and "text_encoder_2."; fused tensors are not in it.
 */
struct name_rules names_openclip(void);

/* How many blocks a UNet has decides how the original layout numbers them. */
struct unet_layout {
    int levels;
    int layers[NAMES_LEVELS];        /* resnets on the way down */
    bool up_attention[NAMES_LEVELS]; /* on the way up; the level's own place, not reversed */
};
/* Asks whether there is a tensor of that name (relative, in the one or the other layout). */
typedef bool names_has(void *user, const char *name);
struct unet_layout names_layout_original(names_has *has, void *user);
struct unet_layout names_layout_diffusers(names_has *has, void *user);

/* Relative to "model.diffusion_model." and "unet."; rules NULL when memory is refused. */
struct name_rules names_unet(struct arena *a, const struct unet_layout *layout);

#endif
