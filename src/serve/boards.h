/* boards.h: what the files about boards share.
 *
 * A board is a document of the store (kind "board", named by its number), as src/board has them,
 * without what was drawn: that is found by the jobs that were ordered for the board, so drawing
 * never changes a document, and nothing that a user writes meets what the queue does. board_open
 * puts both together. */
#ifndef KADR_SERVE_BOARDS_H
#define KADR_SERVE_BOARDS_H

#include "board/panel.h"
#include "serve/inside.h"

struct board_state {
    int64_t id, version;
    int64_t changed; /* milliseconds since 1970 */
    json_t
        *doc; /* panels have "versions" ({"version","picture","url","hash",...}; a version's number
                 is its picture's), "url" and "picture" of the one that counts, "jobs" that wait or
                 run ({"job","state","hash"}), and "error" of the last one when that failed */
};

/* KADR_EMODEL: there is no such board. */
kadr_status board_open(struct serve *s, int64_t id, struct board_state *b, kadr_error *err);
void board_close(struct board_state *b); /* idempotent */

/* The panel c->name of a board; answers and gives false when there is none. */
bool board_panel(struct call *c, const struct board_state *b, size_t *at);

/* Changes the document of board c->number by `change`, on whatever version is there, checks it,
 * keeps it and tells of it. `change` may run several times. */
struct board_edit {
    struct call *call;
    json_t *body;  /* of the call */
    json_t *panel; /* a reference to what the answer tells of; NULL: none */
    int64_t version;
};
typedef kadr_status board_change(struct board_edit *e, json_t *doc, kadr_error *err);
kadr_status board_edit(struct board_edit *e, board_change *change, kadr_error *err);

#endif
