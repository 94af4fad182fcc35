/* console.c: messages and the progress line on standard error. */
#include "cli/console.h"

#include "base/sys.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LINE_EVERY 0.1 /* seconds between two states of the progress line */

void console_open(struct console *c) {
    const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    bool dumb = !term || !strcmp(term, "dumb");
    *c = (struct console){.terminal = isatty(STDERR_FILENO) && !dumb};
    c->colour = c->terminal && !(no_colour && *no_colour);
}

void console_log(void *user, kadr_log_level level, const char *line) {
    static const struct {
        const char *word, *colour;
    } look[] = {[KADR_LOG_ERROR] = {"error: ", "\033[31;1m"},
                [KADR_LOG_WARN] = {"warning: ", "\033[33m"},
                [KADR_LOG_INFO] = {"", ""},
                [KADR_LOG_DEBUG] = {"debug: ", "\033[2m"}};
    struct console *c = user;
    if (c->quiet && level != KADR_LOG_ERROR) return;
    console_clear(c);
    fprintf(stderr, "kadr: %s%s%s%s\n", c->colour ? look[level].colour : "", look[level].word,
            c->colour && *look[level].colour ? "\033[0m" : "", line);
}

void console_say(struct console *c, const char *format, ...) {
    if (c->quiet) return;
    va_list args;
    console_clear(c);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void console_clear(struct console *c) {
    if (c->line) fputs("\r\033[K", stderr);
    c->line = false;
}

static int columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col == 0) return 80;
    return size.ws_col;
}

/* "12 s", "3 min 05 s", "2 h 10 min" */
static void print_left(char *to, size_t size, double seconds) {
    int s = seconds < 1e6 ? (int)(seconds + 0.5) : 1000000;
    if (s < 60) snprintf(to, size, "%d s", s);
    else if (s < 3600) snprintf(to, size, "%d min %02d s", s / 60, s % 60);
    else snprintf(to, size, "%d h %02d min", s / 3600, s / 60 % 60);
}

void console_line(struct console *c, const char *text) {
    double now = sys_seconds();
    if (!c->terminal || c->quiet || (c->line && now - c->shown < LINE_EVERY)) return;
    fprintf(stderr, "\r%.*s\033[K", columns() - 1, text);
    fflush(stderr);
    c->line = true;
    c->shown = now;
}

void console_progress(struct console *c, const kadr_progress *p) {
    char line[256], left[32];
    int n = 0;
    if (p->pictures > 1)
        n = snprintf(line, sizeof line, "picture %zu of %zu  ", p->picture + 1, p->pictures);
    n += snprintf(line + n, sizeof line - (size_t)n, "%.40s", p->stage);
    if (p->steps > 0)
        n += snprintf(line + n, sizeof line - (size_t)n, "  step %d of %d", p->step, p->steps);
    if (p->seconds_per_step > 0)
        n += snprintf(line + n, sizeof line - (size_t)n, "  %.3g s a step", p->seconds_per_step);
    if (p->seconds_left > 0) {
        print_left(left, sizeof left, p->seconds_left);
        n += snprintf(line + n, sizeof line - (size_t)n, "  %s left", left);
    }
    console_line(c, line);
}
