/* text.h: prompts -> what the UNet is conditioned on. */
#ifndef KADR_DRAW_TEXT_H
#define KADR_DRAW_TEXT_H

#include "draw/model.h"
#include "draw/stages.h"
#include "model/prompt.h"

/* The two sides of guidance, in the order in which they lie in a batch. */
enum branch { BRANCH_NEGATIVE, BRANCH_POSITIVE, BRANCHES };

/* What a request says, tokenized for both encoders. */
struct text_request {
    bool used[BRANCHES];  /* without guidance there is no negative branch */
    bool zeros[BRANCHES]; /* no text at all: embeddings are zeros */
    struct prompt prompt[BRANCHES];
    int64_t chunks; /* of the longer branch */
};

/* Everything lives in `a`. Warns about letters that CLIP cannot read. */
kadr_status text_tokenize(struct arena *a, const struct log *log, const struct draw_model *model,
                          const kadr_request *rq, struct text_request *out, kadr_error *err);

/* How many chunks the encoders see. */
int64_t text_samples(const struct text_request *text);

/* Embeddings of all used branches, negative first. */
struct text_embeds {
    int64_t branches, tokens; /* tokens: of the longer branch */
    float *hidden;            /* [branches, tokens, cross] */
    float *pooled;            /* [branches, pooled] */
    int32_t lengths[BRANCHES];
};
kadr_status text_embeds_make(struct text_embeds *e, struct mem *m, const struct draw_model *model,
                             const struct text_request *text, kadr_error *err);
void text_embeds_free(struct text_embeds *e); /* idempotent */
size_t text_embeds_bytes(const struct draw_model *model, const struct text_request *text);

/* Writes prompt_embeds, pooled and, with guidance, negative_prompt_embeds and negative_pooled. */
kadr_status text_embeds_save(const struct text_embeds *e, struct mem *m,
                             const struct draw_model *model, const char *path, kadr_error *err);

/* Runs both encoders, for the prompts of `count` pictures at once. */
kadr_status text_encode(struct text_embeds *const *embeds, const struct text_request *const *texts,
                        size_t count, struct run *run, const struct stages *stages,
                        const struct draw_model *model, kadr_error *err);

#endif
