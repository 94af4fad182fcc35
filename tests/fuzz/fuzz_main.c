/* fuzz_main.c: runs a fuzz target where libFuzzer is not: every seed as it is, then mutations of
 * them. What run number n does depends on n and the seeds alone, so a failure comes again; the
 * input that failed is left in the file `crash-input`. Takes libFuzzer's words: -runs=N and
 * -seed_inputs=FILE,FILE,...; others are ignored.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST ((size_t)1 << 16) /* bytes of an input */
#define SEEDS 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_set_death_callback(void (*)(void)) __attribute__((weak));

struct input {
    uint8_t *data;
    size_t size;
};

static struct input seeds[SEEDS];
static size_t seed_count;
static const uint8_t *volatile running; /* for who asks after a crash */
static volatile size_t running_size;
static uint64_t random_state;

static uint64_t draw(void) { /* splitmix64 */
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static size_t below(size_t n) {
    return n ? (size_t)(draw() % n) : 0;
}

static void keep_input(void) {
    int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || !running) return;
    if (write(fd, running, running_size) == (ssize_t)running_size) {
        static const char said[] = "the input is in crash-input\n";
        if (write(2, said, sizeof said - 1) < 0) _exit(1);
    }
    close(fd);
}

static void on_signal(int number) {
    keep_input();
    signal(number, SIG_DFL);
    raise(number);
}

static void run_one(const uint8_t *data, size_t size) {
    /* A copy of exactly its size: reading behind the end is noticed. */
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) abort();
    memcpy(copy, data, size);
    running = copy;
    running_size = size;
    LLVMFuzzerTestOneInput(copy, size);
    running = NULL;
    free(copy);
}

static void read_seed(const char *path) {
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(MOST);
    if (!f || !data || seed_count == SEEDS) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    seeds[seed_count++] = (struct input){data, fread(data, 1, MOST, f)};
    fclose(f);
}

/* Replaces `cut` bytes at `at` with `size` others, as far as there is room. */
static void exchange(struct input *in, size_t at, size_t cut, const void *bytes, size_t size) {
    if (in->size - cut + size > MOST) return;
    memmove(in->data + at + size, in->data + at + cut, in->size - at - cut);
    memcpy(in->data + at, bytes, size);
    in->size += size - cut;
}

static const char *const words[] = {
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "1e999",
    "nan",
    "\"\"",
    "null",
    "[]",
    "{}",
    "\n",
    "\n\n",
    ":",
    "(",
    "[[",
    "BREAK",
    "\xF0\x9F",
    "\xC3\xA9",
    "\xED\xA0\x80",
    "\\u0000",
};

static void mutate_once(struct input *in) {
    uint8_t chunk[256];
    size_t at = below(in->size + 1), left = in->size - at, n;
    switch (below(8)) {
    case 0:
        if (left) in->data[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        if (left) in->data[at] = (uint8_t)draw();
        break;
    case 2: exchange(in, at, below(left + 1) % 64, "", 0); break;
    case 3: { /* a word, over as many bytes or between them */
        const char *word = words[below(sizeof words / sizeof *words)];
        n = strlen(word);
        exchange(in, at, below(2) && left >= n ? n : 0, word, n);
        break;
    }
    case 4: { /* a piece of another seed */
        const struct input *from = &seeds[below(seed_count)];
        size_t begin = below(from->size);
        n = below(from->size - begin + 1) % sizeof chunk;
        exchange(in, at, below(2) && left >= n ? n : 0, from->data + begin, n);
        break;
    }
    case 5: /* the same again, several times */
        n = below(left + 1) % 32;
        memcpy(chunk, in->data + at, n);
        for (size_t i = below(64); i > 0; i--) exchange(in, at, 0, chunk, n);
        break;
    case 6: /* a big number */
        if (left >= 4) memset(in->data + at, below(2) ? 0xFF : 0x7F, 1 + below(4));
        break;
    case 7:
        if (!below(8)) in->size = at;
        break;
    }
}

int main(int argc, char **argv) {
    static uint8_t data[MOST];
    unsigned long runs = 1000;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-runs=", 6) == 0) runs = strtoul(argv[i] + 6, NULL, 10);
        if (strncmp(argv[i], "-seed_inputs=", 13) != 0) continue;
        for (char *path = argv[i] + 13, *comma; path; path = comma ? comma + 1 : NULL) {
            comma = strchr(path, ',');
            if (comma) *comma = 0;
            read_seed(path);
        }
    }
    if (!seed_count) {
        fprintf(stderr, "%s: no seeds\n", argv[0]);
        return 1;
    }
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(keep_input);
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    for (size_t i = 0; i < seed_count; i++) run_one(seeds[i].data, seeds[i].size);
    for (unsigned long n = 0; n < runs; n++) {
        random_state = n;
        const struct input *from = &seeds[below(seed_count)];
        struct input in = {data, from->size};
        memcpy(data, from->data, from->size);
        for (size_t i = 1 + below(8); i > 0; i--) mutate_once(&in);
        run_one(in.data, in.size);
    }
    for (size_t i = 0; i < seed_count; i++) free(seeds[i].data);
    printf("%zu seeds and %lu mutations\n", seed_count, runs);
    return 0;
}
