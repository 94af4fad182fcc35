/* checkpoint.c: see checkpoint.h. A file is a head and the sampler's floats. */
#include "draw/checkpoint.h"
#include "base/file.h"
#include <string.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static const char magic[16] = "kadr checkpoint";
#define FORM 1

struct head {
    char magic[16];
    uint32_t form, floats;
    uint64_t id, hash; /* of the floats */
    struct sampler_state state;
    uint64_t check; /* of all above */
};

static uint64_t check_of(const struct head *h) {
    return XXH3_64bits(h, offsetof(struct head, check));
}

static kadr_status write_one(struct file_writer *w, const struct checkpoint *c, struct mem *m,
                             kadr_error *err) {
    struct head h;
    size_t count;
    const float *floats = sampler_floats(c->sampler, &count);
    memset(&h, 0, sizeof h); /* padding too: it is hashed */
    memcpy(h.magic, magic, sizeof magic);
    h.form = FORM;
    h.floats = (uint32_t)count;
    h.id = c->id;
    h.hash = XXH3_64bits(floats, count * sizeof *floats);
    sampler_get_state(c->sampler, &h.state);
    h.check = check_of(&h);
    kadr_status status = file_writer_begin(w, m, c->path, err);
    if (status == KADR_OK) status = file_writer_add(w, &h, sizeof h, err);
    if (status == KADR_OK) status = file_writer_add(w, floats, count * sizeof *floats, err);
    return status;
}

/* All are written before the first takes the place of the one before. */
kadr_status checkpoints_save(const struct checkpoint *list, size_t count, struct mem *m,
                             kadr_error *err) {
    struct file_writer *w = mem_array(m, count, sizeof *w);
    kadr_status status = w ? KADR_OK : err_nomem(err, "checkpoints", count * sizeof *w);
    for (size_t i = 0; w && i < count; i++) w[i].fd = -1;
    for (size_t i = 0; status == KADR_OK && i < count; i++)
        if (list[i].path) status = write_one(&w[i], &list[i], m, err);
    for (size_t i = 0; status == KADR_OK && i < count; i++)
        if (list[i].path) status = file_writer_commit(&w[i], err);
    for (size_t i = 0; w && i < count; i++) file_writer_abort(&w[i]);
    mem_free(w);
    return status;
}

static bool read_one(const struct checkpoint *c, struct mem *m, struct sampler_state *state) {
    struct file f;
    struct head h;
    size_t count;
    float *floats = sampler_floats(c->sampler, &count);
    size_t bytes = count * sizeof *floats;
    if (!c->path || !file_exists(c->path)) return false;
    if (file_open(&f, m, c->path, KADR_EIO, NULL) != KADR_OK) return false;
    bool good = f.size == sizeof h + bytes && file_read_at(&f, 0, &h, sizeof h, NULL) == KADR_OK &&
                !memcmp(h.magic, magic, sizeof magic) && h.form == FORM && h.floats == count &&
                h.id == c->id && h.check == check_of(&h) &&
                file_read_at(&f, sizeof h, floats, bytes, NULL) == KADR_OK &&
                XXH3_64bits(floats, bytes) == h.hash && sampler_set_state(c->sampler, &h.state);
    *state = h.state;
    file_close(&f);
    return good;
}

bool checkpoints_load(const struct checkpoint *list, size_t count, struct mem *m) {
    struct sampler_state first = {0}, state = {0};
    for (size_t i = 0; i < count; i++) {
        if (!read_one(&list[i], m, i ? &state : &first)) return false;
        if (i && (state.step != first.step || state.phase != first.phase)) return false;
    }
    return count > 0;
}

void checkpoint_remove(const struct checkpoint *c) {
    if (c->path) unlink(c->path);
}
