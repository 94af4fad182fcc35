/* err.h: errors. A fallible function returns kadr_status and fills the caller's kadr_error:
 *
 *     if (size > limit)
 *         return err_set(err, KADR_EMODEL, "%s: header of %zu bytes, expected at most %zu", path,
 * size, limit);
 *
 * The message names the file, the place in it and what was expected; it has no newline and no
 * trailing full stop. Text that came from outside is made printable by err_set (control bytes and
 * broken UTF-8 become '?'), so it may be passed with %s. `err` may be NULL.
 */
#ifndef KADR_BASE_ERR_H
#define KADR_BASE_ERR_H

#include "kadr.h"
#include <stdarg.h>

/* Stores status and message, returns status. */
kadr_status err_set(kadr_error *err, kadr_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for "no memory": what could not be allocated, and how much. Returns KADR_EMEMORY. */
kadr_status err_nomem(kadr_error *err, const char *what, size_t size);

/* The same for a failed system call: "what path: strerror(errno)". Returns KADR_EIO. */
kadr_status err_errno(kadr_error *err, const char *what, const char *path);

/* Puts "text: " in front of the message that is there: callers add where they were. Returns the
 * status that is stored. */
kadr_status err_context(kadr_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
