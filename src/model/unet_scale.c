/* unet_scale.c: strengths of an image prompt by block, in the form of diffusers'
 * set_ip_adapter_scale: a number, or {"down": {"block_2": [0, 1]}, "mid": 1, "up": 0.5}. What is
 * not named is 0. */
#include "model/describe.h"
#include "model/unet.h"

#include <stdlib.h>
#include <string.h>

static kadr_status bad(const char *where, const char *expected, kadr_error *err) {
    return err_set(err, KADR_EUSAGE, "blocks: %s: expected %s", where, expected);
}

/* A number, or a list of one or of `count`. */
static kadr_status pick(const json_t *v, int index, int count, const char *where, double *out,
                        kadr_error *err) {
    size_t n = json_is_array(v) ? json_array_size(v) : 0;
    if (n == 1) v = json_array_get(v, 0);
    else if (n && n == (size_t)count) v = json_array_get(v, (size_t)index);
    if (!json_is_number(v)) {
        char expected[64];
        describe_label(expected, sizeof expected, "a number or a list of %d", count);
        return bad(where, expected, err);
    }
    *out = json_number_value(v);
    return KADR_OK;
}

kadr_status unet_scale(const struct unet_config *c, const json_t *scale,
                       const struct unet_transformer *t, double *out, kadr_error *err) {
    static const char *const parts[] = {
        [UNET_DOWN] = "down", [UNET_UP] = "up", [UNET_MIDDLE] = "mid"};
    char block[32], where[64];
    *out = 0;
    if (json_is_number(scale)) return pick(scale, 0, 1, "scale", out, err);
    const json_t *part = json_object_get(scale, parts[t->part]);
    if (!part) return KADR_OK;
    if (t->part == UNET_MIDDLE || json_is_number(part))
        return pick(part, 0, 1, parts[t->part], out, err);
    describe_label(block, sizeof block, "block_%d", t->block);
    describe_label(where, sizeof where, "%s.%s", parts[t->part], block);
    const json_t *v = json_object_get(part, block);
    if (!v) return KADR_OK;
    return pick(v, t->index, unet_transformers(c, t->part, t->block), where, out, err);
}

/* Whether the UNet has transformers in the block of that name. */
static bool is_block(const struct unet_config *c, enum unet_part part, const char *name) {
    char own[32];
    for (int i = 0; i < c->levels; i++) {
        describe_label(own, sizeof own, "block_%d", i);
        if (unet_transformers(c, part, i) && strcmp(own, name) == 0) return true;
    }
    return false;
}

kadr_status unet_scale_check(const struct unet_config *c, const json_t *scale, kadr_error *err) {
    const char *key, *block;
    json_t *value, *v;
    if (!json_is_number(scale) && !json_is_object(scale))
        return bad("scale", "a number or {\"down\": ..., \"mid\": ..., \"up\": ...}", err);
    json_object_foreach((json_t *)scale, key, value) {
        bool down = strcmp(key, "down") == 0, up = strcmp(key, "up") == 0;
        if (!down && !up && strcmp(key, "mid") != 0) return bad(key, "down, mid or up", err);
        if ((down || up) && !json_is_number(value) && !json_is_object(value))
            return bad(key, "a number or blocks by name", err);
        json_object_foreach(value, block, v) {
            if ((down || up) && !is_block(c, down ? UNET_DOWN : UNET_UP, block)) {
                char expected[160] = "one of";
                for (int i = 0; i < c->levels; i++)
                    if (unet_transformers(c, down ? UNET_DOWN : UNET_UP, i)) {
                        size_t n = strlen(expected);
                        describe_label(expected + n, sizeof expected - n, " block_%d", i);
                    }
                return bad(block, expected, err);
            }
        }
    }
    struct unet_transformer t = {0};
    double unused;
    kadr_status st = KADR_OK;
    while (!st && unet_next_transformer(c, &t)) st = unet_scale(c, scale, &t, &unused, err);
    return st;
}
