/* hub.h: models by name. A name is looked for in the model folder ($XDG_DATA_HOME/kadr/models) and,
 * as OWNER/NAME, in the Hugging Face cache, where other programs put what they download:
 *
 *     char *path;
 *     hub_find_model(mem, "stabilityai/stable-diffusion-xl-base-1.0", &path, err);
 *     ... mem_free(path);
 */
#ifndef KADR_HUB_HUB_H
#define KADR_HUB_HUB_H

#include "base/err.h"
#include "base/mem.h"

/* The folder or .safetensors file that `name` means: a path that exists is itself. KADR_EMODEL when
 * there is none, with the places that were looked at. *path: mem_free it. */
kadr_status hub_find_model(struct mem *m, const char *name, char **path, kadr_error *err);

/* $XDG_DATA_HOME/kadr/models, else ~/.local/share/kadr/models; NULL without either or when memory
 * is refused. mem_free it. */
char *hub_model_folder(struct mem *m);
/* The same for $XDG_DATA_HOME/kadr/casts. */
char *hub_cast_folder(struct mem *m);

#endif
