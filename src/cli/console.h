/* console.h: standard error as people see it: messages, and on a terminal one line that says how
 * far the drawing is. Results never go here. */
#ifndef KADR_CLI_CONSOLE_H
#define KADR_CLI_CONSOLE_H

#include "kadr.h"
#include <stdbool.h>

struct console {
    bool quiet;    /* errors only */
    bool terminal; /* standard error is one */
    bool colour;
    bool line;    /* the progress line is on the screen */
    double shown; /* when it was */
};

/* Terminal and colours by what standard error is, TERM and NO_COLOR. */
void console_open(struct console *c);

/* A message of that level, as the library's log gives them; `user` is a struct console. */
void console_log(void *user, kadr_log_level level, const char *line);
void console_say(struct console *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

void console_progress(struct console *c, const kadr_progress *p);
void console_line(struct console *c, const char *text); /* any other text in its place */
void console_clear(struct console *c);                  /* takes the progress line away */

#endif
