/* child.c: see child.h. It is fed through a socket, so that one that ended early gives us an error
 * and not a signal. What it says is taken while it is fed: neither can wait for the other. */
#include "base/child.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS says it to the socket */
#endif

extern char **environ;

static void shut(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static bool keep_from_others(int fd) {
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static bool make_ends(int feed[2], int say[2], bool fed) {
    if (fed) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, feed) || !keep_from_others(feed[0]) ||
            !keep_from_others(feed[1]))
            return false;
#ifdef SO_NOSIGPIPE
        int on = 1;
        if (setsockopt(feed[0], SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on)) return false;
#endif
    } else if ((feed[1] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0) return false;
    return pipe(say) == 0 && keep_from_others(say[0]) && keep_from_others(say[1]);
}

static int spawn(pid_t *pid, const char *const *argv, int in, int out) {
    posix_spawn_file_actions_t actions;
    int code = posix_spawn_file_actions_init(&actions);
    if (code) return code;
    code = posix_spawn_file_actions_adddup2(&actions, in, 0);
    for (int to = 1; !code && to <= 2; to++)
        code = posix_spawn_file_actions_adddup2(&actions, out, to);
    if (!code) code = posix_spawnp(pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

kadr_status child_start(struct child *c, struct mem *m, const char *const *argv, bool fed,
                        kadr_error *err) {
    int feed[2] = {-1, -1}, say[2] = {-1, -1};
    *c = (struct child){.in = -1, .out = -1};
    buf_init(&c->said, m);
    kadr_status status = KADR_OK;
    if (!make_ends(feed, say, fed)) status = err_errno(err, "cannot feed", argv[0]);
    if (status == KADR_OK && (errno = spawn(&c->pid, argv, feed[1], say[1])) != 0)
        status = err_errno(err, "cannot start", argv[0]);
    shut(&feed[1]);
    shut(&say[1]);
    c->in = feed[0];
    c->out = say[0];
    if (status != KADR_OK) {
        c->pid = 0;
        child_close(c);
    }
    return status;
}

/* Takes what it said; false: it has no more to say. */
static bool listen_once(struct child *c) {
    char text[4096];
    ssize_t n = read(c->out, text, sizeof text);
    if (n < 0) return errno == EINTR;
    size_t room = c->said.size < CHILD_SAID ? CHILD_SAID - c->said.size : 0;
    buf_add(&c->said, text, (size_t)n < room ? (size_t)n : room);
    return n > 0;
}

kadr_status child_feed(struct child *c, const void *data, size_t size, kadr_error *err) {
    const char *at = data;
    while (size) {
        struct pollfd wait[2] = {{c->in, POLLOUT, 0}, {c->out, POLLIN, 0}};
        if (poll(wait, 2, -1) < 0 && errno != EINTR) return err_errno(err, "feeding", "a program");
        if (wait[1].revents && !listen_once(c)) shut(&c->out);
        if (!wait[0].revents) continue;
        ssize_t n = send(c->in, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n < 0) return err_errno(err, "feeding", "a program");
        at += n;
        size -= (size_t)n;
    }
    return KADR_OK;
}

kadr_status child_end(struct child *c, int *code, kadr_error *err) {
    int how = 0;
    shut(&c->in);
    while (c->out >= 0 && listen_once(c)) continue;
    while (waitpid(c->pid, &how, 0) < 0)
        if (errno != EINTR) return err_errno(err, "waiting for", "a program");
    c->pid = 0;
    *code = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
    return KADR_OK;
}

void child_close(struct child *c) {
    shut(&c->in);
    shut(&c->out);
    if (c->pid > 0) {
        kill(c->pid, SIGKILL);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR) continue;
    }
    c->pid = 0;
    buf_free(&c->said);
}
