/* panel.h: what a panel of a document says is to be drawn, as settings under the names of options,
 * and what tells whether that is drawn already.
 *
 *     json_t *shared = document_settings(doc), *own = NULL;
 *     status = panel_settings(doc, i, base, &own, err);
 *     ... a request with panel_usual, by panel_set `shared` over it, and `own` over that ...
 *     status = panel_hash(mem, rq, hash, err);   // unlike that of any version: draw it
 */
#ifndef KADR_BOARD_PANEL_H
#define KADR_BOARD_PANEL_H

#include "board/document.h"
#include "request/request.h"

/* What the board says for all panels: its "negative" and "overrides". NULL when memory is refused.
 */
json_t *document_settings(const json_t *doc);

/* The board's seed in *seed: the document's own, or with none *seed, which becomes the document's.
 */
kadr_status document_seed(json_t *doc, uint64_t *seed, kadr_error *err);

/* The seed of panel i without one of its own: by the board's, `base`, and by the panel's number. */
uint64_t panel_seed(const json_t *doc, size_t i, uint64_t base);

/* The words for the model that a panel without "prompt" gets: made of its shot, action and scene,
 * as those of a script. "" when there are none, NULL when memory is refused. The caller owns it. */
json_t *panel_words(struct mem *m, const json_t *panel);
/* Takes "prompt" away where it is what panel_words makes: so it follows what is changed. */
kadr_status document_free_prompts(struct mem *m, json_t *doc, kadr_error *err);

/* Panel i's own settings: prompt with the board's style, negative, seed, cast, overrides.
 * KADR_EUSAGE: nothing to draw. The caller owns *out. */
kadr_status panel_settings(struct mem *m, const json_t *doc, size_t i, uint64_t base, json_t **out,
                           kadr_error *err);

/* What a board takes unless told otherwise: 16:9, where the model has no size of its own. */
kadr_status panel_usual(kadr_request *rq, kadr_error *err);
/* Puts settings of a board or a panel into a request: what request_from_json takes, and "preset"
 * and "aspect". KADR_EUSAGE: which is wrong. */
kadr_status panel_set(kadr_request *rq, const json_t *settings, const struct request_origin *origin,
                      kadr_error *err);

/* Makes a request whose model is found one of half its steps and, where both sides then still have
 * 128 pixels, of half its size. */
kadr_status panel_draft(kadr_request *rq, kadr_error *err);

/* Of the settings, of what decides some of them later, and of the files that are drawn with. What a
 * picture begins from when it is revised or finished is not asked before it is set: the panel's
 * content is the same. */
#define PANEL_HASH 33
kadr_status panel_hash(struct mem *m, const kadr_request *rq, char hash[PANEL_HASH],
                       kadr_error *err);

#endif
