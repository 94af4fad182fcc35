/* model.c: where models lie. A name is, in this order: a path that exists, "mini" (the model that
 * comes with kadr), a name in the model folder or the Hugging Face cache. */
#include "cli/cli.h"

#include "base/file.h"
#include "hub/hub.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MINI "mini"

/* The model that comes with kadr: in ../share/kadr/models from the program, or, where it was built
 * and not installed, in the folder that the build wrote into `kadr.models` beside it. */
static char *mini_path(struct cli *cli) {
    struct arena *a = &cli->arena;
    const char *folder = cli_program_folder(cli);
    char *note = NULL;
    size_t size;
    if (!folder) return NULL;
    char *found = arena_printf(a, "%s../share/kadr/models/%s", folder, MINI);
    if (found && file_is_folder(found)) return found;
    const char *beside = arena_printf(a, "%skadr.models", folder);
    if (!beside || !file_exists(beside)) return NULL;
    if (file_read_all(cli->mem, beside, PATH_MAX, KADR_EIO, &note, &size, NULL) != KADR_OK)
        return NULL;
    note[strcspn(note, "\n")] = 0;
    found = arena_printf(a, "%s/%s", note, MINI);
    mem_free(note);
    return found && file_is_folder(found) ? found : NULL;
}

kadr_status cli_model_file(struct cli *cli, const char *name, const char **path, kadr_error *err) {
    char *found;
    bool here = file_exists(name) || file_is_folder(name);
    *path = here ? name : strcmp(name, MINI) ? NULL : mini_path(cli);
    if (*path) return KADR_OK;
    kadr_status status = hub_find_model(cli->mem, name, &found, err);
    if (status != KADR_OK) return status;
    *path = arena_strdup(&cli->arena, found);
    mem_free(found);
    return *path ? KADR_OK : err_nomem(err, "a path", strlen(name));
}

kadr_status cli_find_model(struct cli *cli, kadr_request *rq, kadr_error *err) {
    static const struct request_origin origin = {.source = SOURCE_FALLBACK};
    kadr_status status = KADR_OK;
    const char *path;
    if (!rq->model) status = request_set_from(rq, OPTION_model, MINI, &origin, err);
    if (status == KADR_OK) status = cli_model_file(cli, rq->model, &path, err);
    if (status == KADR_OK) status = request_set_model_path(rq, path, err);
    return status == KADR_OK ? cli_find_casts(cli, rq, err) : status;
}
