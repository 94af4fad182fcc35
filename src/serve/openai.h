/* openai.h: what the files of OpenAI's API share. */
#ifndef KADR_SERVE_OPENAI_H
#define KADR_SERVE_OPENAI_H

#include "serve/inside.h"

#define OPENAI_PARTIALS 3 /* previews of a picture in a stream */

/* How the answer is wanted, kept in call->own. */
struct openai {
    bool url, stream, edit;
    int partials;
    struct image_style style;
    size_t told; /* stream: pictures that were sent */
    bool over;
};

/* The picture's base64 in the wanted form, appended. */
kadr_status openai_put_file(struct call *c, const json_t *picture, struct buf *to, kadr_error *err);
const char *openai_format(const struct openai *o); /* "png" */
/* Begins the answer to a job that was submitted as server-sent events. */
void openai_stream(struct call *c);

#endif
