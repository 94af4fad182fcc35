/* kadr.h: draw storyboards with Stable Diffusion XL inside a stated amount of memory.
 *
 * (The complete example and the drawing functions are added with src/draw.)
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

#ifdef __cplusplus
}
#endif
#endif
