/*
 * comm/base/err.h - the one error type of this tree, and its message chain.
 *
 * A function that can fail returns `enum err` and nothing else; results go
 * through out-parameters, which are written on success only.
 *
 * The code says who is affected, so that a caller can choose a recovery without
 * reading the text (see err_scope()). The text says what happened: the place
 * that detects a failure records it with ERR_FAIL(), every caller on the way up
 * may add one line of context, and the one place that handles the error prints
 * the chain. Nobody else logs it.
 *
 * The chain lives in fixed thread-local storage: recording an error never
 * allocates, so it works when memory is what ran out.
 *
 * Threads: each thread has its own chain.
 */
#ifndef COMM_BASE_ERR_H
#define COMM_BASE_ERR_H

#include <assert.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum err {
    ERR_OK = 0,

    /* Only the call failed. Fix its input, or try again. */
    ERR_INVALID = -1,   /* an argument is outside its documented range */
    ERR_NO_MEMORY = -2, /* host or device memory ran out */
    ERR_IO = -3,        /* a file operation failed; the message holds the errno text */
    ERR_CORRUPT = -4,   /* bytes do not match their checksum or their format */
    ERR_MISSING = -5,   /* a file or a folder that was named does not exist */
    ERR_CONFIG = -6,    /* a setting is unknown, of the wrong type, or fits no other */
    ERR_USAGE = -7,     /* the command line, or the way the ranks were started, is wrong */

    /* The group is unusable. Every rank leaves it, regroups and restores. */
    ERR_PEER_LOST = -40,  /* a named rank is gone */
    ERR_COLLECTIVE = -41, /* the library reports an error, or the group was broken before */
    ERR_TIMEOUT = -42,    /* a deadline passed; who is late is not known */

    /* This process is unusable. It exits and the supervisor starts another. */
    ERR_DEVICE = -60,
    ERR_DIFFERS = -61, /* what ranks must have the same, this one or another has otherwise */

    /* No process can go on. The run stops and a person is told. */
    ERR_BEYOND_REPAIR = -80,
    ERR_HALTED = -82,     /* somebody asked for it; the state is on disk */
    ERR_NOT_FINITE = -81, /* a loss or a gradient is NaN or infinite: a restart meets it again */
};

enum err_scope { ERR_SCOPE_CALL, ERR_SCOPE_GROUP, ERR_SCOPE_PROCESS, ERR_SCOPE_RUN };

/*
 * The smallest thing that has to be replaced after `code`, if nobody on the way
 * up has another way out (an older snapshot, say). `code` != ERR_OK.
 */
enum err_scope err_scope(enum err code);

/* A constant lower-case phrase such as "deadline passed"; never NULL. */
const char *err_phrase(enum err code);

/*
 * Copies this thread's chain into `text`, outermost context first, parts joined
 * by ": ", always NUL-terminated, truncated with "..." if it does not fit. It is one line:
 * control characters of what a message quotes are spaces.
 */
void err_text(char *text, size_t text_bytes);

/* "file:line" of the ERR_FAIL() that began this thread's chain, for developers; "" if none. */
const char *err_place(void);

/* Forgets the chain. A handler calls this once it has dealt with the error. */
void err_clear(void);

/* Implementation of the macros below. */
enum err err_fail_(const char *file, int line, enum err code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
enum err err_context_(enum err code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A failure is never ERR_OK; said here, where a static analyser sees it. */
static inline enum err err_failed_(enum err code)
{
    assert(code != ERR_OK);
    return code;
}

#define ERR_MUST_CHECK __attribute__((warn_unused_result))

/* Starts a chain: `return ERR_FAIL(ERR_IO, "open %s: %s", path, strerror(errno));` */
#define ERR_FAIL(code, ...) err_failed_(err_fail_(__FILE__, __LINE__, (code), __VA_ARGS__))

/* Returns a failure of `call` to the caller unchanged. */
#define ERR_TRY(call)                                                                              \
    do {                                                                                           \
        const enum err err_try_ = (call);                                                          \
        if (err_try_ != ERR_OK) {                                                                  \
            return err_try_;                                                                       \
        }                                                                                          \
    } while (0)

/* The same, with one line of context: `ERR_TRY_AS(load(p), "restore step %ld", step);` */
#define ERR_TRY_AS(call, ...)                                                                      \
    do {                                                                                           \
        const enum err err_try_ = (call);                                                          \
        if (err_try_ != ERR_OK) {                                                                  \
            return err_failed_(err_context_(err_try_, __VA_ARGS__));                               \
        }                                                                                          \
    } while (0)

/* For functions that must undo earlier steps; `status` is set before the jump. */
#define ERR_GOTO(label, status, call)                                                              \
    do {                                                                                           \
        (status) = (call);                                                                         \
        if ((status) != ERR_OK) {                                                                  \
            goto label;                                                                            \
        }                                                                                          \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
