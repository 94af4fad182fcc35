/* log.c: see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void log_print(const struct log *log, enum log_level level, const char *format, ...) {
    if (!log || !log->write || level > log->level) return;
    char line[2048];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    log->write(log->user, level, line);
}
