/* tar.c: see tar.h. pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html, "ustar". */
#include "serve/tar.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define BLOCK 512
#define FILE_MOST ((size_t)1 << 30)

struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], changed[12], sum[8], kind, link[100];
    char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};

static const char zeros[2 * BLOCK];

kadr_status tar_add(struct file_writer *w, const char *name, const void *data, size_t size,
                    kadr_error *err) {
    struct header h = {.mode = "0000644", .uid = "0000000", .gid = "0000000", .kind = '0'};
    unsigned sum = 0;
    if (!name) return err_nomem(err, "a name", 0);
    if (strlen(name) >= sizeof h.name || size > FILE_MOST)
        return err_set(err, KADR_EUSAGE, "%s: does not go into an archive", name);
    memcpy(h.name, name, strlen(name));
    snprintf(h.size, sizeof h.size, "%011zo", size);
    snprintf(h.changed, sizeof h.changed, "%011llo", (unsigned long long)time(NULL));
    memcpy(h.magic, "ustar", 6);
    memcpy(h.version, "00", 2);
    /* The sum is made with blanks in its own place. */
    memset(h.sum, ' ', sizeof h.sum);
    for (size_t i = 0; i < sizeof h; i++) sum += ((const unsigned char *)&h)[i];
    snprintf(h.sum, sizeof h.sum, "%06o", sum);
    kadr_status st = file_writer_add(w, &h, sizeof h, err);
    if (!st && size) st = file_writer_add(w, data, size, err);
    size_t over = size % BLOCK;
    return st || !over ? st : file_writer_add(w, zeros, BLOCK - over, err);
}

kadr_status tar_add_file(struct file_writer *w, struct mem *m, const char *name, const char *path,
                         kadr_error *err) {
    char *data = NULL;
    size_t size = 0;
    kadr_status st = file_read_all(m, path, FILE_MOST, KADR_EIO, &data, &size, err);
    if (!st) st = tar_add(w, name, data, size, err);
    mem_free(data);
    return st;
}

kadr_status tar_end(struct file_writer *w, kadr_error *err) {
    kadr_status st = file_writer_add(w, zeros, sizeof zeros, err);
    return st ? st : file_writer_commit(w, err);
}
