/* text.c: see text.h. */
#include "draw/text.h"
#include "weights/safetensors.h"

#include <stdio.h>
#include <string.h>

static const char *const components[2] = {"text_encoder", "text_encoder_2"};

static kadr_status tokenize(struct arena *a, const struct draw_model *model, const char *text,
                            struct prompt *out, kadr_error *err) {
    return prompt_read(a, model->tokenizer, text, false, model->embedding, model->embeddings, out,
                       err);
}

/* What the text of the branch is; NULL: none, and it is to be zeros. */
static const char *negative_of(const struct draw_model *model, const kadr_request *rq) {
    if (rq->negative) return rq->negative;
    bool zeros = model->zeros_for_empty;
    if (strcmp(rq->empty, "zeros") == 0) zeros = true;
    if (strcmp(rq->empty, "text") == 0) zeros = false;
    return zeros ? NULL : "";
}

kadr_status text_tokenize(struct arena *a, const struct log *log, const struct draw_model *model,
                          const kadr_request *rq, struct text_request *out, kadr_error *err) {
    memset(out, 0, sizeof *out);
    const char *text[BRANCHES] = {negative_of(model, rq), rq->prompt};
    out->used[BRANCH_POSITIVE] = true;
    out->used[BRANCH_NEGATIVE] = rq->guidance > 1;
    for (int b = 0; b < BRANCHES; b++) {
        if (!out->used[b]) continue;
        const char *script = text[b] ? prompt_unreadable(text[b]) : NULL;
        if (script)
            log_print(log, LOG_WARN,
                      "the prompt has %s letters, which the model cannot read; say it in English",
                      script);
        out->zeros[b] = !text[b];
        kadr_status st = text[b] ? tokenize(a, model, text[b], &out->prompt[b], err) : KADR_OK;
        if (st) return st;
        if ((int64_t)out->prompt[b].chunks > out->chunks)
            out->chunks = (int64_t)out->prompt[b].chunks;
    }
    return KADR_OK;
}

int64_t text_samples(const struct text_request *text) {
    int64_t n = 0;
    for (int b = 0; b < BRANCHES; b++)
        if (text->used[b] && !text->zeros[b]) n += (int64_t)text->prompt[b].chunks;
    return n;
}

static int64_t branches_of(const struct text_request *text) {
    return text->used[BRANCH_NEGATIVE] ? 2 : 1;
}

size_t text_embeds_bytes(const struct draw_model *model, const struct text_request *text) {
    int64_t row = text->chunks * CLIP_TOKENS * model->unet.cross + model->unet.pooled;
    return (size_t)(branches_of(text) * row) * sizeof(float);
}

kadr_status text_embeds_make(struct text_embeds *e, struct mem *m, const struct draw_model *model,
                             const struct text_request *text, kadr_error *err) {
    *e = (struct text_embeds){.branches = branches_of(text), .tokens = text->chunks * CLIP_TOKENS};
    e->hidden = mem_array(m, (size_t)(e->branches * e->tokens * model->unet.cross), sizeof(float));
    e->pooled = mem_array(m, (size_t)(e->branches * model->unet.pooled), sizeof(float));
    if (e->hidden && e->pooled) return KADR_OK;
    text_embeds_free(e);
    return err_nomem(err, "prompt embeddings", text_embeds_bytes(model, text));
}

void text_embeds_free(struct text_embeds *e) {
    mem_free(e->hidden);
    mem_free(e->pooled);
    e->hidden = e->pooled = NULL;
}

/* Weights of tokens, and the mean put back as it was. */
static void emphasize(float *hidden, const float *weight, int64_t width) {
    double before = 0, after = 0;
    bool neutral = true;
    for (int t = 0; t < CLIP_TOKENS; t++) neutral = neutral && weight[t] == 1.0f;
    if (neutral) return;
    for (int64_t i = 0; i < CLIP_TOKENS * width; i++) {
        before += hidden[i];
        hidden[i] *= weight[i / width];
        after += hidden[i];
    }
    if (after == 0) return;
    float back = (float)(before / after);
    for (int64_t i = 0; i < CLIP_TOKENS * width; i++) hidden[i] *= back;
}

/* Calls `each` for every chunk that the encoders see, in the order of their batch. */
struct chunk_at {
    int branch;    /* of guidance */
    int64_t row;   /* branch in the embeddings */
    int64_t chunk; /* within the prompt */
    int64_t sample;
};
static bool next_chunk(const struct text_request *text, struct chunk_at *at) {
    for (;;) {
        if (at->branch >= BRANCHES) return false;
        bool seen = text->used[at->branch] && !text->zeros[at->branch];
        if (seen && ++at->chunk < (int64_t)text->prompt[at->branch].chunks) {
            at->sample++;
            return true;
        }
        if (text->used[at->branch]) at->row++;
        at->branch++;
        at->chunk = -1;
    }
}
#define FIRST_CHUNK ((struct chunk_at){0, 0, -1, -1})

static void *buffer(struct run *run, const char *component, const char *name, int lane) {
    char full[64];
    snprintf(full, sizeof full, "%s.%s", component, name);
    return run_buffer(run, full, lane);
}

static void put_ids(struct run *run, int lane, const struct draw_model *model,
                    const struct text_request *text, int encoder) {
    int32_t *ids = buffer(run, components[encoder], "ids", lane),
            *eos = buffer(run, components[encoder], "eos", lane);
    float *extra = buffer(run, components[encoder], "extra", lane);
    if (extra)
        memcpy(extra, model->extra[encoder],
               (size_t)(model->extra_rows * model->text[encoder].width) * sizeof *extra);
    for (struct chunk_at at = FIRST_CHUNK; next_chunk(text, &at);) {
        const struct prompt_chunk *c = &text->prompt[at.branch].chunk[encoder][at.chunk];
        memcpy(ids + at.sample * CLIP_TOKENS, c->id, sizeof c->id);
        if (eos) eos[at.sample] = clip_text_eos(&model->text[encoder], c->id, CLIP_TOKENS);
    }
}

/* Hidden states of one encoder into their columns, emphasized; pooled states from the first chunks.
 */
static void take_states(struct text_embeds *e, struct run *run, int lane,
                        const struct draw_model *model, const struct text_request *text,
                        int encoder) {
    int64_t width = model->text[encoder].width, cross = model->unet.cross;
    int64_t column = encoder ? model->text[0].width : 0;
    float *hidden = buffer(run, components[encoder], "hidden", lane),
          *skipped = buffer(run, components[encoder], "skipped", lane);
    const float *pooled = buffer(run, components[encoder], "pooled", lane);
    for (struct chunk_at at = FIRST_CHUNK; next_chunk(text, &at);) {
        /* Diffusers' clip_skip is for the positive prompt only. */
        float *from = skipped && at.branch == BRANCH_POSITIVE ? skipped : hidden;
        from += at.sample * CLIP_TOKENS * width;
        emphasize(from, text->prompt[at.branch].chunk[encoder][at.chunk].weight, width);
        float *to = e->hidden + (at.row * e->tokens + at.chunk * CLIP_TOKENS) * cross + column;
        for (int64_t t = 0; t < CLIP_TOKENS; t++)
            memcpy(to + t * cross, from + t * width, (size_t)width * sizeof *to);
        if (pooled && at.chunk == 0)
            memcpy(e->pooled + at.row * model->unet.pooled, pooled + at.sample * model->unet.pooled,
                   (size_t)model->unet.pooled * sizeof *pooled);
    }
}

static void put_lengths(struct text_embeds *e, const struct text_request *text) {
    int row = 0;
    for (int b = 0; b < BRANCHES; b++) {
        if (!text->used[b]) continue;
        /* Zeros are as long as the other prompt, as in diffusers. */
        int64_t chunks = text->zeros[b] ? text->chunks : (int64_t)text->prompt[b].chunks;
        e->lengths[row++] = (int32_t)(chunks * CLIP_TOKENS);
    }
}

kadr_status text_encode(struct text_embeds *const *embeds, const struct text_request *const *texts,
                        size_t count, struct run *run, const struct stages *stages,
                        const struct draw_model *model, kadr_error *err) {
    for (int encoder = 0; encoder < 2; encoder++) {
        for (size_t i = 0; i < count; i++) put_ids(run, (int)i, model, texts[i], encoder);
        int segment = stages->segment[encoder ? STAGE_TEXT_2 : STAGE_TEXT];
        kadr_status st = run_segment(run, segment, 0, false, err);
        if (st) return st;
        for (size_t i = 0; i < count; i++)
            take_states(embeds[i], run, (int)i, model, texts[i], encoder);
    }
    for (size_t i = 0; i < count; i++) put_lengths(embeds[i], texts[i]);
    return KADR_OK;
}

kadr_status text_embeds_save(const struct text_embeds *e, struct mem *m,
                             const struct draw_model *model, const char *path, kadr_error *err) {
    struct safetensors_out t[4];
    size_t n = 0;
    for (int64_t b = 0; b < e->branches; b++) {
        bool negative = e->branches == 2 && b == 0;
        t[n++] =
            (struct safetensors_out){.name = negative ? "negative_prompt_embeds" : "prompt_embeds",
                                     .dtype = SAFETENSORS_F32,
                                     .rank = 3,
                                     .dim = {1, e->lengths[b], model->unet.cross},
                                     .data = e->hidden + b * e->tokens * model->unet.cross};
        t[n++] = (struct safetensors_out){.name = negative ? "negative_pooled" : "pooled",
                                          .dtype = SAFETENSORS_F32,
                                          .rank = 2,
                                          .dim = {1, model->unet.pooled},
                                          .data = e->pooled + b * model->unet.pooled};
    }
    return safetensors_write(m, path, t, n, NULL, err);
}
