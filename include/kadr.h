/* kadr.h: draw storyboards with Stable Diffusion XL inside a stated amount of memory.
 *
 *     #include <kadr.h>
 *     #include <stdio.h>
 *
 *     static int keep(void *path, const kadr_picture *picture) {
 *         return kadr_picture_write(picture, path, NULL) != KADR_OK;
 *     }
 *
 *     int main(int argc, char **argv) {
 *         kadr_error err = {0};
 *         kadr_config config = {.memory = (uint64_t)2 << 30};
 *         kadr_observer observer = {.user = "fox.png", .picture = keep};
 *         kadr_context *ctx = NULL;
 *         kadr_request *rq = kadr_request_new();
 *         const char *model = argc > 1 ? argv[1] : "models/mini";
 *         if (!rq) return KADR_EMEMORY;
 *         kadr_status status = kadr_open(&config, &ctx, &err);
 *         if (!status) status = kadr_request_set(rq, "model", model, &err);
 *         if (!status) status = kadr_request_set(rq, "prompt", "a red fox in the snow", &err);
 *         if (!status) status = kadr_request_set(rq, "seed", "7", &err);
 *         if (!status) status = kadr_draw(ctx, &rq, 1, &observer, &err);
 *         if (status) fprintf(stderr, "%s\n", err.message);
 *         kadr_request_free(rq);
 *         kadr_close(ctx);
 *         return status;
 *     }
 *
 * cc fox.c $(pkg-config --cflags --libs kadr)
 *
 * A library reads no configuration: what is not set comes from the preset, the model and the
 * fallbacks. Nothing here keeps state outside of the objects it is given.
 */
#ifndef KADR_H
#define KADR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && !defined(_WIN32)
#define KADR_API __attribute__((visibility("default")))
#else
#define KADR_API
#endif

/* What a fallible function returns. The number is also the exit status of the program. */
#define KADR_STATUS_MAP(X)                                                                         \
    X(KADR_OK, 0, "done")                                                                          \
    X(KADR_EOTHER, 1, "something unexpected failed")                                               \
    X(KADR_EUSAGE, 2, "the request is wrong")                                                      \
    X(KADR_EMODEL, 3, "the model is missing, broken or of the wrong kind")                         \
    X(KADR_EMEMORY, 4, "it does not fit into the memory allowed")                                  \
    X(KADR_EIO, 5, "reading or writing failed")                                                    \
    X(KADR_EINTERRUPTED, 130, "interrupted")

typedef enum kadr_status {
#define KADR_STATUS_ENUM(name, value, text) name = value,
    KADR_STATUS_MAP(KADR_STATUS_ENUM)
#undef KADR_STATUS_ENUM
} kadr_status;

/* Caller-owned. Filled by a function that fails: which file, which place in it, what was expected
 * and what to do next, as one UTF-8 line without a newline. Untouched on success. */
typedef struct kadr_error {
    kadr_status status;
    char message[1024];
} kadr_error;

/* ---- Context ---------------------------------------------------------------------------------
 * Threads, the memory ledger and the model that was used last. Several contexts may live in one
 * process and be used from different threads; one context is used by one thread at a time
 * (kadr_interrupt excepted, which any thread or a signal handler may call). */
typedef struct kadr_context kadr_context;

typedef enum kadr_log_level {
    KADR_LOG_ERROR,
    KADR_LOG_WARN,
    KADR_LOG_INFO,
    KADR_LOG_DEBUG
} kadr_log_level;

typedef struct kadr_config {
    uint64_t memory;  /* most bytes the whole process may take; 0: decided from what is free */
    uint64_t reserve; /* of it, what the rest of the process may come to take while this draws:
                         part of every plan */
    int threads;      /* 0: as many as there are processors */
    kadr_log_level log_level;
    void (*log)(void *user, kadr_log_level level, const char *line); /* NULL: silence */
    void *user;
    /* File in which is remembered how fast this machine is, for predictions of time; made when it
     * is missing. NULL: nothing is measured or remembered, and predictions are guesses. Borrowed
     * until kadr_close. */
    const char *machine;
} kadr_config;

/* `config` may be NULL for the defaults. */
KADR_API kadr_status kadr_open(const kadr_config *config, kadr_context **out, kadr_error *err);
KADR_API void kadr_close(kadr_context *ctx); /* idempotent on NULL */

/* Makes the drawing that runs in `ctx` end with KADR_EINTERRUPTED at the next operation.
 * Async-signal-safe. Stays in force until kadr_draw returns. */
KADR_API void kadr_interrupt(kadr_context *ctx);

/* ---- Requests --------------------------------------------------------------------------------
 * What is to be drawn: named values, under the names of the command line's long options ("prompt",
 * "width", "steps", ...). The list of all of them, with types, ranges and help, is kadr_options. */
typedef struct kadr_request kadr_request;

typedef enum kadr_option_type {
    KADR_TEXT,   /* any UTF-8 */
    KADR_FILE,   /* a path */
    KADR_INT,    /* low..high */
    KADR_REAL,   /* low..high */
    KADR_BOOL,   /* true/false */
    KADR_CHOICE, /* one of the names in `choices` */
    KADR_BYTES,  /* a size in memory with binary units: 512M, 1.5G */
    KADR_LIST    /* text; may be given several times */
} kadr_option_type;

/* Which commands take an option, and where else it may stand. */
enum kadr_option_use {
    KADR_FOR_GENERATE = 1 << 0,
    KADR_FOR_BOARD = 1 << 1,
    KADR_FOR_TOKENS = 1 << 2,
    KADR_FOR_INSPECT = 1 << 3,
    KADR_FOR_PLAN = 1 << 4,
    KADR_FOR_PACK = 1 << 5,
    KADR_FOR_BENCH = 1 << 6,
    KADR_FOR_DOCTOR = 1 << 7,
    KADR_FOR_CAST = 1 << 8,
    KADR_FOR_SERVE = 1 << 9,
    KADR_FOR_MODELS = 1 << 10,
    KADR_FOR_PULL = 1 << 11,
    KADR_FOR_WORK = 1 << 12,
    KADR_IN_SETTINGS = 1 << 16, /* decides the pixels: stands in a picture's settings */
    KADR_IN_CONFIG = 1 << 17    /* may stand in kadr.ini and the environment */
};

typedef struct kadr_option {
    const char *name; /* "width": --width, kadr.ini's key, JSON's and the API's field */
    char letter;      /* 'W': -W; 0: none */
    kadr_option_type type;
    double low, high;     /* inclusive range of numbers */
    const char *fallback; /* value when nothing says otherwise; NULL: none */
    const char *choices;  /* "a|b|c" or NULL */
    const char *value;    /* what the value is called in help: "PIXELS" */
    const char *help;     /* one sentence */
    const char *group;    /* heading under which help lists it */
    unsigned use;         /* enum kadr_option_use */
} kadr_option;

KADR_API const kadr_option *kadr_options(size_t *count);

/* A new request that knows nothing but the fallbacks. NULL when memory is refused. */
KADR_API kadr_request *kadr_request_new(void);
KADR_API kadr_request *kadr_request_copy(const kadr_request *rq);
KADR_API void kadr_request_free(kadr_request *rq);

/* Sets, or for a KADR_LIST appends, a value given as text. An unknown name, a value out of range or
 * of the wrong form is KADR_EUSAGE, says what was expected and leaves the request as it was.
 * `value` NULL: back to unset. */
KADR_API kadr_status kadr_request_set(kadr_request *rq, const char *name, const char *value,
                                      kadr_error *err);
/* The value as text (a list: its entries joined by newlines), or NULL when unset. Valid until the
 * next call on `rq`. */
KADR_API const char *kadr_request_get(const kadr_request *rq, const char *name);

/* ---- Drawing --------------------------------------------------------------------------------- */
/* Operations of one kind ("linear", "conv", "attention", ...) that were computed. */
typedef struct kadr_operations {
    const char *kind;
    double seconds, flops; /* flops: multiply-adds times two, of products; else 0 */
    uint64_t count;
} kadr_operations;

typedef struct kadr_progress {
    const char *stage;        /* "encode", "denoise", "decode"; "pack", "verify" */
    size_t picture, pictures; /* which of how many, from 0 */
    size_t together;          /* so many are at work, `picture` the first of them */
    int step, steps;          /* within the picture */
    double seconds_per_step;  /* of late; 0: unknown yet */
    double seconds_left;      /* for everything; 0: unknown yet */
    uint64_t bytes_read;      /* of weights so far, by the run at hand */
    double seconds_reading;   /* that reading and unpacking them took, beside the arithmetic */
    const kadr_operations *operations; /* by kind, all so far, by the run at hand; or NULL */
    size_t operation_kinds;            /* how many there are */
    const uint8_t *preview; /* small RGB pictures of what is emerging, `together` of them one after
                               the other; or NULL */
    int preview_width, preview_height;
} kadr_progress;

typedef struct kadr_picture {
    size_t request; /* index into the requests given to kadr_draw */
    size_t index;   /* which of that request's count, from 0 */
    int width, height;
    const uint8_t *rgb;     /* height * width * 3, top row first */
    uint64_t seed;          /* that draws exactly this one */
    const char *parameters; /* settings in A1111's form */
    const char *settings;   /* settings as kadr's JSON: everything that determines the pixels */
    const char *report; /* JSON about this run: seconds, planned and measured peak; not part of the
                           picture */
    const float *latents; /* [latent_channels, height/8, width/8], before the VAE */
    int latent_channels, latent_height, latent_width;
} kadr_picture;

typedef struct kadr_observer {
    void *user;
    /* Either may be NULL. What they are given is valid during the call. A return value other than 0
     * ends the drawing with KADR_EINTERRUPTED. They are called on the thread that called kadr_draw.
     */
    int (*progress)(void *user, const kadr_progress *p);
    int (*picture)(void *user, const kadr_picture *p);
} kadr_observer;

/* Draws the pictures of `count` requests; each is handed to the observer as soon as it exists. The
 * whole run is planned first: what does not fit is refused with KADR_EMEMORY before anything is
 * computed. */
KADR_API kadr_status kadr_draw(kadr_context *ctx, kadr_request *const *requests, size_t count,
                               const kadr_observer *observer, kadr_error *err);

/* PNG with the settings inside, written atomically. */
KADR_API kadr_status kadr_picture_write(const kadr_picture *picture, const char *path,
                                        kadr_error *err);

/* ---- Packed models ---------------------------------------------------------------------------
 * One file with everything as it is computed with, in the order of its use: it starts without
 * conversion and is read straight into place, past the page cache. */

/* Packs the model of `rq` (with its "vae" and "lora"; "weights" says bf16 or f32) into `path`,
 * which ends in ".kadr", atomically. The observer's progress counts tensors. */
KADR_API kadr_status kadr_pack(kadr_context *ctx, const kadr_request *rq, const char *path,
                               const kadr_observer *observer, kadr_error *err);
/* Reads a packed model and compares all checksums; KADR_EMODEL names what is damaged. */
KADR_API kadr_status kadr_verify(kadr_context *ctx, const char *path, const kadr_observer *observer,
                                 kadr_error *err);

/* ---- Casts: characters ------------------------------------------------------------------------
 * A cast is a small file with a character's looks, made once of reference pictures, that the option
 * "cast" names. */

/* Makes the cast `name` of 1 to 32 reference pictures for the model of `rq` (with its "adapter",
 * "image-encoder", "crop" and "references") and writes it to `path`, which ends in ".cast",
 * atomically. The observer's progress counts pictures. */
KADR_API kadr_status kadr_cast_make(kadr_context *ctx, const kadr_request *rq, const char *name,
                                    const char *const *pictures, size_t count, const char *path,
                                    const kadr_observer *observer, kadr_error *err);

/* How near what pictures show comes to the cast in the file `cast`, -1 to 1 (the same), into
 * likeness[count]: the mean, over the parts of a reference, of the largest cosine to what the image
 * encoder sees in a window of the picture; of all references and windows the largest.
 * `rq` names the model, adapter and encoder as for kadr_cast_make; another encoder than the cast
 * was made with is KADR_EMODEL. */
KADR_API kadr_status kadr_cast_likeness(kadr_context *ctx, const kadr_request *rq, const char *cast,
                                        const char *const *pictures, size_t count, double *likeness,
                                        kadr_error *err);

/* ---- Looking ---------------------------------------------------------------------------------
 * Each gives a JSON text that the caller frees with kadr_free. */

/* {"encoders":[{"ids":[...],"weights":[...],"chunks":[...],"cut":"..."},...]}: how the model of
 * `rq` reads `text`. plain: no weight syntax. */
KADR_API kadr_status kadr_tokens(kadr_context *ctx, const kadr_request *rq, const char *text,
                                 int plain, char **json, kadr_error *err);
/* A model (kind, components, tensors, sizes, dtypes), a picture (its settings) or a cast. */
KADR_API kadr_status kadr_inspect(kadr_context *ctx, const char *path, char **json,
                                  kadr_error *err);
/* What the requests would take: stages, peaks, bytes, verdict. Computes and reads nothing but
 * headers. */
KADR_API kadr_status kadr_plan(kadr_context *ctx, kadr_request *const *requests, size_t count,
                               char **json, kadr_error *err);
/* What this machine can do: {"machine":{...},"recommended":PRESET,"classes":[...],"presets":[...]},
 * measured in about a second. With the model of `rq`, or SDXL as such when it names none. */
KADR_API kadr_status kadr_doctor(kadr_context *ctx, const kadr_request *rq, char **json,
                                 kadr_error *err);
KADR_API void kadr_free(void *p);

/* "0.1.0" */
KADR_API const char *kadr_version(void);

#ifdef __cplusplus
}
#endif
#endif
