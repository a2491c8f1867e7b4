/*
 * comm/base/file.h - files that are whole or absent.
 *
 * Threads: any, on different paths.
 */
#ifndef COMM_BASE_FILE_H
#define COMM_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

enum { FILE_PATH_BYTES_MAX = 4096 };

/* "folder/name" into path[FILE_PATH_BYTES_MAX]. Errors: ERR_INVALID if it does not fit. */
ERR_MUST_CHECK enum err file_path(char path[FILE_PATH_BYTES_MAX], const char *folder,
                                  const char *name);

/* A file mapped read-only. `bytes` is not NULL even if `count` is 0. */
struct file_map {
    const uint8_t *bytes;
    size_t count;
};

/* Errors: ERR_MISSING if there is no such file, ERR_IO otherwise. End it with file_unmap(). */
ERR_MUST_CHECK enum err file_map(const char *path, struct file_map *map_out);
void file_unmap(struct file_map *map);

struct file_piece {
    const void *bytes;
    size_t count;
};

/*
 * Writes the pieces, one after the other, as the file `path`: to "path.tmp", fsync,
 * rename, fsync of the folder. After a crash the old content or the new one is
 * there, never a mixture. Errors: ERR_IO, with nothing left of the new content.
 */
ERR_MUST_CHECK enum err file_write(const char *path, const struct file_piece *pieces,
                                   size_t piece_count);

/* file_write() of a NUL-terminated text. */
ERR_MUST_CHECK enum err file_write_text(const char *path, const char *text);

/* Makes the folder and its parents. No error if it is there. Errors: ERR_IO. */
ERR_MUST_CHECK enum err file_make_folder(const char *path);

/* fsync of a folder, so that names made or changed in it survive a power cut. Errors: ERR_IO. */
ERR_MUST_CHECK enum err file_sync_folder(const char *path);

/*
 * Removes a folder and all in it, or a file. No error if it is absent, nor if others remove it at
 * the same time. Errors: ERR_IO.
 */
ERR_MUST_CHECK enum err file_remove_tree(const char *path);

bool file_exists(const char *path);
bool file_is_in(const char *folder, const char *name); /* false also for a path that is too long */

#endif
