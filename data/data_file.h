/*
 * data/data_file.h - one input file as bytes in memory, inflated if it is gzip.
 *
 * Memory: grows with the bytes that are really there, at most twice their number
 * and never beyond the caller's bound, so neither a header nor a small file that
 * inflates without end can exhaust it.
 * Threads: any, on different files.
 */
#ifndef DATA_DATA_FILE_H
#define DATA_DATA_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

enum { DATA_FILE_PATH_BYTES_MAX = 4096 };

struct data_file {
    char path[DATA_FILE_PATH_BYTES_MAX]; /* the file that was found */
    uint8_t *bytes;                      /* [count], inflated; owned by the file */
    size_t count;
};

/*
 * Reads `folder`/`name` or, where that does not exist, `folder`/`name`.gz. Which
 * of them is compressed is told by the contents, not by the name. At most
 * `bytes_max` >= 1 bytes (inflated); `cure` ends the message about a missing file.
 * The caller owns *file_out and ends it with data_file_close().
 *
 * Errors: ERR_MISSING; ERR_IO if it cannot be read; ERR_CORRUPT if the gzip stream
 * is damaged or cut short, or holds more than `bytes_max`; ERR_INVALID if the path
 * is too long; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_file_open(const char *folder, const char *name, size_t bytes_max,
                                       const char *cure, struct data_file **file_out);

/* The same of the file `path`, by no other name. */
ERR_MUST_CHECK enum err data_file_open_path(const char *path, size_t bytes_max,
                                            struct data_file **file_out);

/* Frees a file. NULL is allowed. */
void data_file_close(struct data_file *file);

#endif
