/* tar.h: files put into an archive (POSIX ustar), which every system opens.
 *
 *     status = file_writer_begin(&w, mem, "board.tar", err);
 *     status = tar_add_file(&w, mem, "board-1/board.json", path, err);
 *     status = tar_end(&w, err);
 */
#ifndef KADR_SERVE_TAR_H
#define KADR_SERVE_TAR_H

#include "base/file.h"

/* `name`: at most 99 bytes, NULL when memory was refused for it; `data` may be NULL for no bytes.
 */
kadr_status tar_add(struct file_writer *w, const char *name, const void *data, size_t size,
                    kadr_error *err);
kadr_status tar_add_file(struct file_writer *w, struct mem *m, const char *name, const char *path,
                         kadr_error *err);
kadr_status tar_end(struct file_writer *w, kadr_error *err);

#endif
