/* serve_lab.c: see serve_lab.h. The server is the real one, with threads, store and desk; only
 * models are nowhere to be found, so that nothing is ever drawn. Bytes come over a socket pair. */
#include "serve_lab.h"

#include "serve/inside.h"
#include <arpa/inet.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct serve *server;

static kadr_status no_models(void *user, bool measured, json_t **list, kadr_error *err) {
    (void)user, (void)measured, (void)err;
    *list = json_array();
    return KADR_OK;
}

static kadr_status no_pages(void *user, const char *kind, const char *board, const char *to,
                            const char *first, const char *second, kadr_error *err) {
    (void)user, (void)kind, (void)board, (void)to, (void)first, (void)second;
    return err_set(err, KADR_EUSAGE, "no pages here");
}

static kadr_status no_model(void *user, bool board, kadr_request *rq, kadr_error *err) {
    (void)user, (void)board, (void)rq;
    return err_set(err, KADR_EMODEL, "no model here");
}

static char folder[] = "/tmp/kadr-fuzz-XXXXXX";

static int drop(const char *path, const struct stat *is, int kind, struct FTW *at) {
    (void)is, (void)kind, (void)at;
    return remove(path);
}

static void clean(void) {
    nftw(folder, drop, 16, FTW_DEPTH | FTW_PHYS);
}

static void start(void) {
    struct mem *m = mem_open(0);
    struct store *store;
    kadr_error err;
    const struct store_place place = {.where = folder};
    signal(SIGPIPE, SIG_IGN);
    atexit(clean);
    if (!m || !mkdtemp(folder) || store_open(&store, m, &place, &err)) abort();
    const struct serve_config config = {.mem = m,
                                        .store = store,
                                        .listens = true,
                                        .draw = {.memory = (uint64_t)1 << 30, .threads = 1},
                                        .models = no_models,
                                        .pages = no_pages,
                                        .prepare = no_model};
    if (serve_open(&server, &config, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
}

static void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t n = send(fd, data, size, 0);
        if (n <= 0) return; /* it has heard enough */
        data += n;
        size -= (size_t)n;
    }
}

void serve_lab(const char *head, const void *body, size_t size) {
    static char answer[1 << 16];
    const struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int pair[2];
    size_t got = 0;
    ssize_t n;
    if (!server) start();
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) abort();
    if (MHD_add_connection(server->daemon[0], pair[1], (const struct sockaddr *)&from,
                           sizeof from) != MHD_YES)
        abort();
    send_all(pair[0], head, strlen(head));
    send_all(pair[0], body, size);
    /* Without a head of ours nobody knows where a request ends; who hears the end gives no answer
     * to what takes a while. */
    if (!*head) shutdown(pair[0], SHUT_WR);
    while ((n = recv(pair[0], answer + got, sizeof answer - 1 - got, 0)) > 0)
        if ((got += (size_t)n) == sizeof answer - 1) got = 16;
    answer[got] = 0;
    close(pair[0]);
    /* An unknown version of HTTP is answered with 505 by libmicrohttpd. */
    if (!strncmp(answer, "HTTP/1.1 5", 10) && strncmp(answer, "HTTP/1.1 505", 12) != 0) {
        fprintf(stderr, "%.200s\n", answer);
        abort();
    }
}
