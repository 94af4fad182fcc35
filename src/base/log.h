/* log.h: messages for people who watch, never part of a result. The embedder says where they go. */
#ifndef KADR_BASE_LOG_H
#define KADR_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log {
    enum log_level level; /* more talkative ones are dropped */
    void (*write)(void *user, enum log_level level, const char *line);
    void *user;
};

/* `log` may be NULL: silence. */
void log_print(const struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
