/* board.h: what the commands of kadr board share: a board and its folder.
 *
 * A folder has board.json, the board as it was drawn last, and the pictures that it names. What is
 * drawn comes from a file; when that is another one than the folder's board.json, what the folder
 * has of its panels (versions, the approved one) is taken over. */
#ifndef KADR_CLI_BOARD_H
#define KADR_CLI_BOARD_H

#include "board/document.h"
#include "cli/cli.h"

struct story {
    struct cli *cli;
    const char *file;   /* as the user named it */
    const char *folder; /* NULL until story_folder */
    const char *path;   /* the folder's board.json */
    json_t *doc;
    bool saved; /* by this run: the backup exists */
};

/* Reads `file`: a script, a board, or a folder with board.json. */
kadr_status story_open(struct story *s, struct cli *cli, const char *file, kadr_error *err);
void story_close(struct story *s);
/* Finds or makes the folder where the board is drawn, and takes over what it has. */
kadr_status story_folder(struct story *s, kadr_error *err);
kadr_status story_save(struct story *s, kadr_error *err);
/* A panel by its number, KADR_EUSAGE: none. */
kadr_status story_panel(const struct story *s, const char *number, size_t *at, kadr_error *err);
/* The path of what lies in the folder; NULL when memory is refused. */
const char *story_file(const struct story *s, const char *name);
/* sheet.png of the board in the file `board`, and sheet-2.png and so on, in `folder`; their paths
 * are appended to `sheets`. */
kadr_status story_sheets(const struct story *s, const char *board, const char *folder,
                         json_t *sheets, kadr_error *err);

/* board_draw.c */
kadr_status board_draw(struct story *s, kadr_error *err);
kadr_status board_revise(struct story *s, const char *number, kadr_error *err);

/* board_export.c: the files that were asked for, or all, into the folder of -o or the board's. */
kadr_status board_export(struct story *s, kadr_error *err);

#endif
