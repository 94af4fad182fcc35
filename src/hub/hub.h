/* hub.h: models by name. A name is looked for in the model folder ($XDG_DATA_HOME/kadr/models) and,
 * as OWNER/NAME[/FILE][@REVISION], in the Hugging Face cache, where kadr pull and other programs
 * put what they download:
 *
 *     char *path;
 *     hub_find_model(mem, "stabilityai/stable-diffusion-xl-base-1.0", &path, err);
 *     ... mem_free(path);
 */
#ifndef KADR_HUB_HUB_H
#define KADR_HUB_HUB_H

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"

/* The folder or .safetensors file that `name` means: a path that exists is itself. KADR_EMODEL when
 * there is none, with the places that were looked at. *path: mem_free it. */
kadr_status hub_find_model(struct mem *m, const char *name, char **path, kadr_error *err);

/* What there is by name, in both places; nothing is opened. */
struct hub_model {
    const char *name; /* hub_find_model finds it by this */
    const char *path;
    uint64_t bytes;  /* of the file, or of all files in the folder */
    bool unfinished; /* a download that was broken off: nothing to be found yet; path is NULL */
};
/* Sorted by name within each place. Places that are not there or cannot be read hold nothing. */
kadr_status hub_list(struct arena *a, struct hub_model **models, size_t *count, kadr_error *err);
/* Works out `bytes` of what lies at `path`. */
void hub_measure(struct arena *a, struct hub_model *model);

/* $XDG_DATA_HOME/kadr/models, else ~/.local/share/kadr/models; NULL without either or when memory
 * is refused. mem_free it. */
char *hub_model_folder(struct mem *m);
/* The same for $XDG_DATA_HOME/kadr/casts. */
char *hub_cast_folder(struct mem *m);

#endif
