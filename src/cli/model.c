/* model.c: where models lie. A name is, in this order: a path that exists, "mini" (the model that
 * comes with kadr), a name in the model folder or the Hugging Face cache. */
#include "cli/cli.h"

#include "base/file.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MINI "mini"

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

/* The folder of the shipped models: ../share/kadr/models from the program, or, where it was built
 * and not installed, what the build wrote into `kadr.models` beside it. */
static char *mini_path(struct cli *cli) {
    struct arena *a = &cli->arena;
    char *program = program_path(a, cli->program), *note = NULL;
    size_t size;
    if (!program) return NULL;
    program[file_name(program) - program] = 0;
    char *found = arena_printf(a, "%s../share/kadr/models/%s", program, MINI);
    if (found && file_is_folder(found)) return found;
    const char *beside = arena_printf(a, "%skadr.models", program);
    if (!beside || !file_exists(beside)) return NULL;
    if (file_read_all(cli->mem, beside, PATH_MAX, KADR_EIO, &note, &size, NULL) != KADR_OK)
        return NULL;
    note[strcspn(note, "\n")] = 0;
    found = arena_printf(a, "%s/%s", note, MINI);
    mem_free(note);
    return found && file_is_folder(found) ? found : NULL;
}

const char *cli_model_file(struct cli *cli, const char *name) {
    if (file_exists(name) || file_is_folder(name)) return name;
    return strcmp(name, MINI) ? NULL : mini_path(cli);
}

kadr_status cli_find_model(struct cli *cli, kadr_request *rq, kadr_error *err) {
    static const struct request_origin origin = {.source = SOURCE_FALLBACK};
    if (!rq->model) {
        kadr_status status = request_set_from(rq, OPTION_model, MINI, &origin, err);
        if (status != KADR_OK) return status;
    }
    const char *path = cli_model_file(cli, rq->model);
    if (path) return request_set_model_path(rq, path, err);
    if (!strcmp(rq->model, MINI))
        return err_set(err, KADR_EMODEL,
                       "the model that comes with kadr was not found beside the program; name one "
                       "with -m");
    return err_set(err, KADR_EMODEL, "%s: expected a model folder, a .safetensors file or a name",
                   rq->model);
}
