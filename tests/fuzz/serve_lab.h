/* serve_lab.h: a whole server for fuzz targets, which is handed the bytes of one connection. */
#ifndef SERVE_LAB_H
#define SERVE_LAB_H

#include <stddef.h>

/* Gives the bytes to a server that was started by the first call, and waits for its answer. Aborts
 * when that is a failure of the server's own (5xx). */
void serve_lab(const char *head, const void *body, size_t size);

#endif
