/* pages.c: where the program lies, and kadr-pages beside it, which draws PDF, sheets and films. */
#include "cli/cli.h"

#include "base/child.h"
#include "base/file.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGES "kadr-pages"

/* The program's own file with links followed; NULL when it cannot be told. */
static char *program_path(struct arena *a, const char *called) {
    char real[PATH_MAX];
    if (strchr(called, '/')) return realpath(called, real) ? arena_strdup(a, real) : NULL;
    const char *path = getenv("PATH");
    for (size_t n; path && *path; path += n + (path[n] == ':')) {
        n = strcspn(path, ":");
        const char *candidate = arena_printf(a, "%.*s/%s", (int)n, path, called);
        if (candidate && !access(candidate, X_OK) && file_exists(candidate))
            return realpath(candidate, real) ? arena_strdup(a, real) : NULL;
    }
    return NULL;
}

const char *cli_program_folder(struct cli *cli) {
    char *program = program_path(&cli->arena, cli->program);
    if (program) program[file_name(program) - program] = 0;
    return program;
}

/* Beside the program where it was built, in libexec where it was installed. */
static const char *pages_program(struct cli *cli) {
    static const char *const places[] = {"", "../libexec/kadr/"};
    const char *folder = cli_program_folder(cli);
    for (size_t i = 0; folder && i < sizeof places / sizeof *places; i++) {
        const char *path = arena_printf(&cli->arena, "%s%s" PAGES, folder, places[i]);
        if (path && file_exists(path)) return path;
    }
    return NULL;
}

kadr_status cli_pages(struct cli *cli, const char *kind, const char *board, const char *to,
                      const char *first, const char *second, kadr_error *err) {
    struct child c;
    int code = 0;
    const char *const argv[] = {pages_program(cli), kind, board, to, first, second, NULL};
    if (!argv[0])
        return err_set(err, KADR_EOTHER, "%s: its program " PAGES " is not beside kadr", to);
    kadr_status status = child_start(&c, cli->mem, argv, false, err);
    if (status != KADR_OK) return status;
    status = child_end(&c, &code, err);
    size_t n = buf_ok(&c.said) ? c.said.size : 0;
    while (n && c.said.data[n - 1] == '\n') n--;
    if (status == KADR_OK && code)
        status = err_set(err, code < 128 ? (kadr_status)code : KADR_EOTHER, "%.*s", (int)n,
                         n ? c.said.data : "it was ended by a signal");
    else if (n) console_say(&cli->console, "%s: %.*s", to, (int)n, c.said.data);
    child_close(&c);
    return status;
}
