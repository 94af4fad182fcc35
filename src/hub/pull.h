/* pull.h: a model from a Hugging Face-style hub into the Hugging Face cache (cache.h).
 *
 *     const struct pull_request rq = {.name = "OWNER/NAME"};
 *     struct pull_result result;
 *     status = pull(&arena, &rq, &result, err);   // result.path may be opened
 *
 * Only what kadr needs is downloaded. A content is first blobs/SUM.incomplete, which a later call
 * goes on with, whoever began it; it gets its name when its sum is right, and a snapshot gets its
 * links when all contents are there. So whatever ends the program, nothing half is ever found by
 * name. Two programs that want the same content take turns, by the locks of huggingface_hub.
 */
#ifndef KADR_HUB_PULL_H
#define KADR_HUB_PULL_H

#include "base/arena.h"
#include "base/err.h"

struct pull_progress {
    const char *stage; /* "asking", "checking", "downloading", "waiting" (for another program) */
    size_t files, files_done;
    uint64_t bytes, bytes_done;
    double rate;         /* bytes a second; 0: not known yet */
    double seconds_left; /* negative: not known yet */
};

struct pull_request {
    const char *name;         /* OWNER/NAME */
    const char *revision;     /* branch, tag or commit; NULL: main */
    const char *const *files; /* these alone */
    size_t file_count;        /* 0: what kadr needs */
    /* Several times a second; returning true ends it with KADR_EINTERRUPTED. May be NULL. */
    bool (*progress)(void *user, const struct pull_progress *p);
    void *user;
};

struct pull_file {
    const char *name; /* in the model */
    const char *sum;  /* SHA-256, or git's SHA-1 of a small file */
    const char *path; /* in the snapshot */
    uint64_t size;
    bool fetched; /* now; false: it was there */
};

struct pull_result {
    const char *name, *revision, *commit;
    const char *path; /* of the model: a folder, or a file where that is the model */
    struct pull_file *file;
    size_t files;
    uint64_t fetched; /* bytes that came over the network */
};

/* Everything in *result lies in `a`. KADR_EUSAGE: the names are none; KADR_EMODEL: the hub has no
 * such model for us, or one that kadr cannot draw with; KADR_EIO: network, disk, wrong sums.
 * HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE,
 * HF_HUB_DISABLE_IMPLICIT_TOKEN and HF_HUB_DOWNLOAD_TIMEOUT mean what they mean to huggingface_hub.
 */
kadr_status pull(struct arena *a, const struct pull_request *rq, struct pull_result *result,
                 kadr_error *err);

#endif
