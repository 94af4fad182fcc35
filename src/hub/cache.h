/* cache.h: the Hugging Face cache, laid out as huggingface_hub has it, so that what one program
 * downloads serves all:
 *
 *     models--OWNER--NAME/refs/REVISION        the commit that a branch or tag meant last
 *     models--OWNER--NAME/snapshots/COMMIT/    the files of that commit, links into
 *     models--OWNER--NAME/blobs/HASH           each content once
 */
#ifndef KADR_HUB_CACHE_H
#define KADR_HUB_CACHE_H

#include "base/arena.h"

/* HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub. NULL: no home, or no memory. */
const char *cache_folder(struct arena *a);
/* HF_HOME and its fallbacks, where the token lies. NULL likewise. */
const char *cache_home(struct arena *a);

/* Parts between single slashes, none of them hidden or "..": no way through folders. */
bool cache_is_path(const char *name);
/* As a hub names models: NAME or OWNER/NAME of letters, digits, '-', '_' and '.'. */
bool cache_is_repository(const char *name);
/* A branch, a tag, a commit, refs/pr/7. */
bool cache_is_revision(const char *revision);
/* 40 small hexadecimal digits. */
bool cache_is_commit(const char *text);

/* The folder of OWNER/NAME in `cache`; NULL when memory is refused. */
char *cache_repository(struct arena *a, const char *cache, const char *name);
/* What `revision` of a repository's folder means: what its ref says, or itself where that is a
 * snapshot. Without one (NULL) main, or else the only snapshot there is. NULL when there is none.
 */
const char *cache_commit(struct arena *a, const char *repository, const char *revision);

/* Whether a variable of Hugging Face's is switched on: 1, ON, YES or TRUE. */
bool cache_switch(const char *variable);

#endif
