/* a1111.h: what the files of AUTOMATIC1111's API share. docs/serve.md tells which of its fields are
 * understood. */
#ifndef KADR_SERVE_A1111_H
#define KADR_SERVE_A1111_H

#include "serve/inside.h"

/* How a redrawn part goes back into the picture that it was cut from. */
struct a1111_paste {
    char
        overlay[UPLOAD_NAME]; /* upload: that picture, transparent where it was redrawn; "": none */
    int x, y, width, height;  /* where the drawing lies in it */
};

/* A call's own, for its answer. */
struct a1111 {
    bool send; /* the pictures with the answer */
    struct image_style style;
    char model[200];    /* by name; "": the default */
    json_t *parameters; /* their request, with what they did not say */
    struct a1111_paste paste;
};

/* a1111.json: "txt2img", "img2img", "schedulers", "options", "cmd_flags". NULL: no memory. */
json_t *a1111_data(const char *what);
/* A truth, which they also write as 0 and 1. */
bool a1111_truth(const json_t *theirs, const char *name);
/* Their options with what was set; never NULL but without memory. */
json_t *a1111_options(struct serve *s);

/* ---- a1111_fields.c: theirs -> ours ---------------------------------------------------------- */
/* `theirs` has all fields. Fills in a->send, a->style. */
kadr_status a1111_translate(struct serve *s, const json_t *theirs, bool from_picture,
                            struct a1111 *a, json_t **ours, kadr_error *err);
/* Takes <lora:NAME:WEIGHT> out of a prompt, into `loras` as "NAME:WEIGHT"; mem_free. */
kadr_status a1111_take_loras(struct mem *m, const char *prompt, json_t *loras, char **rest,
                             kadr_error *err);

/* ---- a1111_picture.c: pictures to begin from and their masks --------------------------------- */
/* Into `ours`: "init" and "mask" as uploads; a->paste. */
kadr_status a1111_pictures(struct serve *s, const json_t *theirs, struct a1111 *a, json_t *ours,
                           kadr_error *err);
/* The bytes of a base64 text, with or without "data:image/...;base64,"; mem_free. */
kadr_status a1111_bytes(struct mem *m, const json_t *text, const char *what, uint8_t **data,
                        size_t *size, kadr_error *err);
/* Lays a drawing into the picture that it is a part of. */
kadr_status a1111_put_back(struct serve *s, const struct a1111_paste *paste, struct image *im,
                           kadr_error *err);

/* ---- inpaint.c: pixels of inpainting, pure functions ------------------------------------------
 * Masks are RGB pictures of one grey. */
/* Pillow's resize_image of A1111: 0 stretches, 1 fills and cuts, 2 fits and repeats the edges. */
kadr_status inpaint_resize(const struct image *im, struct mem *m, int mode, int width, int height,
                           struct image *out, kadr_error *err);
/* Gaussian blur by sigma `across` and `down`, in place. */
kadr_status inpaint_blur(struct image *im, struct mem *m, double across, double down,
                         kadr_error *err);
/* What is masked becomes a blur of what lies around it. */
kadr_status inpaint_fill(struct image *im, const struct image *mask, struct mem *m,
                         kadr_error *err);
struct inpaint_box {
    int x0, y0, x1, y1;
};
/* What is not black, with `padding`, in the shape width : height as far as the picture goes; false:
 * all is black. */
bool inpaint_box_of(const struct image *mask, int padding, int width, int height,
                    struct inpaint_box *box);

#endif
