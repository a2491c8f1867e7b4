#define _XOPEN_SOURCE 700
#include "comm/base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum err file_path(char path[FILE_PATH_BYTES_MAX], const char *folder, const char *name)
{
    const int length = snprintf(path, FILE_PATH_BYTES_MAX, "%s/%s", folder, name);

    if (length < 0 || length >= FILE_PATH_BYTES_MAX) {
        return ERR_FAIL(ERR_INVALID, "path of %d bytes in %.60s..., at most %d fit", length, folder,
                        FILE_PATH_BYTES_MAX - 1);
    }
    return ERR_OK;
}

static enum err io_error(const char *doing, const char *path)
{
    return ERR_FAIL(errno == ENOENT ? ERR_MISSING : ERR_IO, "%s: %s: %s", path, doing,
                    strerror(errno));
}

enum err file_map(const char *path, struct file_map *map_out)
{
    static const uint8_t nothing[1];
    struct stat status;
    void *bytes = NULL;

    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return io_error("open", path);
    }
    if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(file);
        return ERR_FAIL(ERR_IO, "%s: not a regular file", path);
    }
    if (status.st_size == 0) {
        close(file);
        *map_out = (struct file_map){nothing, 0};
        return ERR_OK;
    }
    bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    const int mmap_errno = errno;
    close(file);
    if (bytes == MAP_FAILED) {
        errno = mmap_errno;
        return io_error("map", path);
    }
    *map_out = (struct file_map){bytes, (size_t)status.st_size};
    return ERR_OK;
}

void file_unmap(struct file_map *map)
{
    if (map->count > 0) {
        munmap((void *)(uintptr_t)map->bytes, map->count);
    }
    *map = (struct file_map){0};
}

static enum err write_all(int file, const struct file_piece *piece, const char *path)
{
    const uint8_t *bytes = piece->bytes;

    for (size_t done = 0; done < piece->count;) {
        const ssize_t count = write(file, bytes + done, piece->count - done);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return ERR_FAIL(ERR_IO, "%s: write of %zu bytes: %s", path, piece->count,
                            strerror(errno));
        }
        done += (size_t)count;
    }
    return ERR_OK;
}

static enum err write_and_sync(const char *path, const struct file_piece *pieces,
                               size_t piece_count)
{
    enum err status = ERR_OK;

    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) {
        return ERR_FAIL(ERR_IO, "%s: create: %s", path, strerror(errno));
    }
    for (size_t i = 0; i < piece_count && status == ERR_OK; i++) {
        status = write_all(file, &pieces[i], path);
    }
    if (status == ERR_OK && fsync(file) != 0) {
        status = ERR_FAIL(ERR_IO, "%s: fsync: %s", path, strerror(errno));
    }
    if (close(file) != 0 && status == ERR_OK) {
        status = ERR_FAIL(ERR_IO, "%s: close: %s", path, strerror(errno));
    }
    return status;
}

enum err file_write(const char *path, const struct file_piece *pieces, size_t piece_count)
{
    char temporary[FILE_PATH_BYTES_MAX];
    char folder[FILE_PATH_BYTES_MAX];

    assert(path != NULL);
    const int length = snprintf(temporary, sizeof(temporary), "%s.tmp", path);
    if (length < 0 || length >= FILE_PATH_BYTES_MAX) {
        return ERR_FAIL(ERR_INVALID, "path of %d bytes, at most %d fit", length,
                        FILE_PATH_BYTES_MAX - 1);
    }
    enum err status = write_and_sync(temporary, pieces, piece_count);
    if (status == ERR_OK && rename(temporary, path) != 0) {
        status = ERR_FAIL(ERR_IO, "%s: rename: %s", path, strerror(errno));
    }
    if (status != ERR_OK) {
        unlink(temporary);
        return status;
    }
    snprintf(folder, sizeof(folder), "%s", path);
    return file_sync_folder(dirname(folder));
}

enum err file_write_text(const char *path, const char *text)
{
    const struct file_piece piece = {text, strlen(text)};

    return file_write(path, &piece, 1);
}

enum err file_make_folder(const char *path)
{
    char partial[FILE_PATH_BYTES_MAX];
    struct stat status;
    const size_t length = strlen(path);

    if (length == 0 || length >= sizeof(partial)) {
        return ERR_FAIL(ERR_INVALID, "folder name of %zu bytes", length);
    }
    memcpy(partial, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (partial[i] != '/' && partial[i] != '\0') {
            continue;
        }
        partial[i] = '\0';
        if (mkdir(partial, 0777) != 0 && errno != EEXIST) {
            return ERR_FAIL(ERR_IO, "%s: make folder: %s", partial, strerror(errno));
        }
        partial[i] = path[i];
    }
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
        return ERR_FAIL(ERR_IO, "%s: is there and is no folder", path);
    }
    return ERR_OK;
}

enum err file_sync_folder(const char *path)
{
    enum err status = ERR_OK;

    const int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        return ERR_FAIL(ERR_IO, "%s: open folder: %s", path, strerror(errno));
    }
    if (fsync(folder) != 0) {
        status = ERR_FAIL(ERR_IO, "%s: fsync of the folder: %s", path, strerror(errno));
    }
    close(folder);
    return status;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1; /* another may have been faster */
}

enum err file_remove_tree(const char *path)
{
    enum { DESCRIPTORS_MAX = 16 };

    while (nftw(path, remove_one, DESCRIPTORS_MAX, FTW_DEPTH | FTW_PHYS) != 0) {
        if (errno != ENOENT) {
            return ERR_FAIL(ERR_IO, "%s: remove: %s", path, strerror(errno));
        }
        if (!file_exists(path)) {
            break;
        }
    }
    return ERR_OK;
}

bool file_exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

bool file_is_in(const char *folder, const char *name)
{
    char path[FILE_PATH_BYTES_MAX];

    if (file_path(path, folder, name) != ERR_OK) {
        err_clear();
        return false;
    }
    return file_exists(path);
}
