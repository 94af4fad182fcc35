/* model.h: an opened model: where its weights are, what its configurations say, its tokenizers.
 * Nothing but headers, configurations and vocabularies is in memory. */
#ifndef KADR_DRAW_MODEL_H
#define KADR_DRAW_MODEL_H

#include "base/log.h"
#include "draw/machine.h"
#include "model/clip_text.h"
#include "model/prompt.h"
#include "model/tokenizer.h"
#include "model/unet.h"
#include "model/vae.h"
#include "request/request.h"
#include "sample/sample.h"
#include "weights/weights.h"

struct draw_model {
    struct mem *mem;
    char *key;               /* path, VAE, LoRAs and embeddings that it was opened with */
    struct weights *weights; /* NULL: a model on paper, which can be planned and not drawn with */
    struct tokenizer *tokenizer[2];
    struct clip_text_config text[2];
    struct unet_config unet;
    struct vae_config vae;
    struct noise_training training;
    struct arena arena;                 /* owns what follows */
    struct prompt_embedding *embedding; /* textual inversions, by the names that prompts use */
    size_t embeddings;
    int64_t extra_rows;   /* vectors of all of them: rows behind the encoders' tables */
    float *extra[2];      /* [extra_rows, width of the encoder] */
    bool zeros_for_empty; /* an absent negative prompt is zeros (force_zeros_for_empty_prompt) */
};

/* Opens what `rq` (resolved as far as the model's name goes) asks for. `opened` (may be NULL): its
 * file as draw_model_defaults opened it, which is taken, and *opened NULL then. */
kadr_status draw_model_open(struct mem *m, const struct log *log, const kadr_request *rq,
                            struct weights **opened, struct draw_model **out, kadr_error *err);
void draw_model_close(struct draw_model *model); /* `model` may be NULL */

/* SDXL's full shape as a packed model, on paper: to be planned with where there is none. */
kadr_status draw_model_on_paper(struct mem *m, struct draw_model **out, kadr_error *err);

/* A model's own defaults: kadr.json in its folder or packed file; NULL: it has none. The caller
 * owns *out (json_decref), and the packed file that was opened (weights_close); NULL: none was. */
kadr_status draw_model_defaults(struct mem *m, const struct log *log, const char *path,
                                struct weights **opened, json_t **out, kadr_error *err);

/* Small: of fewer than 2^28 parameters. */
enum machine_scale draw_model_scale(const struct draw_model *model);

/* In what a model is computed unless something else is asked for: a packed one in what it was
 * packed for, others in bf16, large ones in int8 (docs/performance.md says why). Neither the
 * machine nor the budget has a say: they may not change a picture. */
enum dtype draw_model_precision(const struct draw_model *model);

/* Whether it is the one that `rq` asks for. */
bool draw_model_serves(const struct draw_model *model, const kadr_request *rq);

#endif
