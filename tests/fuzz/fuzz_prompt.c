/* fuzz_prompt.c: prompts. Whatever is written, chunks have the right form and both encoders as many
 * of them; a textual inversion stands in the way.
 */
#include "model/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mem *lasting;
static struct tokenizer *tokenizers[PROMPT_ENCODERS];

static void leave(void) {
    for (int i = 0; i < PROMPT_ENCODERS; i++) tokenizer_close(tokenizers[i]);
    mem_close(lasting);
}

static void arrive(void) {
    kadr_error err;
    lasting = mem_open(0);
    if (tokenizer_open_shipped(lasting, TOKENIZER_SDXL_1, NULL, &tokenizers[0], &err) ||
        tokenizer_open_shipped(lasting, TOKENIZER_SDXL_2, NULL, &tokenizers[1], &err))
        abort();
    atexit(leave);
}

static void check(const struct prompt *p, int32_t most) {
    if (p->chunks < 1) abort();
    for (int e = 0; e < PROMPT_ENCODERS; e++)
        for (size_t i = 0; i < p->chunks; i++) {
            const struct prompt_chunk *c = &p->chunk[e][i];
            if (c->used < 0 || c->used > PROMPT_ROOM) abort();
            if (c->id[0] != tokenizer_bos(tokenizers[e])) abort();
            if (c->id[c->used + 1] != tokenizer_eos(tokenizers[e])) abort();
            for (int k = 0; k < PROMPT_TOKENS; k++) {
                if (c->id[k] < 0 || c->id[k] >= most || !isfinite(c->weight[k])) abort();
                if ((k == 0 || k > c->used) && c->weight[k] != 1) abort();
            }
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!lasting) arrive();
    int32_t first = tokenizer_size(tokenizers[0]);
    const struct prompt_embedding embeddings[] = {
        {.name = "style", .vectors = 3, .first = {first, first}},
        {.name = "style two", .vectors = 75, .first = {first + 3, first + 3}}};
    struct mem *m = mem_open((size_t)256 << 20);
    struct arena a;
    struct prompt p;
    kadr_error err = {0};
    arena_init(&a, m);
    bool plain = size && data[0] == '-';
    char *text = arena_strndup(&a, (const char *)data, size);
    if (!text) abort();
    kadr_status st = prompt_read(&a, tokenizers, text, plain, embeddings, 2, &p, &err);
    if (!st) check(&p, first + 78);
    else if (st != KADR_EUSAGE || !err.message[0]) abort();
    prompt_unreadable(text);
    arena_free(&a);
    if (mem_close(m)) abort();
    return 0;
}
