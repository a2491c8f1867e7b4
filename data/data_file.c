#include "data/data_file.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* The first allocation, and the most that one gzread() is asked for. */
static const size_t FIRST_BYTES = (size_t)1 << 20;
static const size_t READ_BYTES_MAX = (size_t)1 << 28;

/* Compressed bytes zlib reads at once. */
enum { GZIP_BUFFER_BYTES = 1 << 17 };

/* NULL and errno if it cannot be opened. */
static gzFile open_one(const char *folder, const char *name, const char *suffix,
                       struct data_file *file)
{
    const int length = snprintf(file->path, sizeof(file->path), "%s/%s%s", folder, name, suffix);

    if (length < 0 || (size_t)length >= sizeof(file->path)) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    errno = 0; /* gzopen() leaves it alone when memory ran out */
    return gzopen(file->path, "rbe");
}

static enum err open_failed(const char *folder, const char *name, const char *cure,
                            const char *path)
{
    switch (errno) {
    case 0: return ERR_FAIL(ERR_NO_MEMORY, "%s: no memory to read it", path);
    case ENOENT:
    case ENOTDIR:
        return ERR_FAIL(ERR_MISSING, "%s/%s: no such file, nor with .gz; %s", folder, name, cure);
    case ENAMETOOLONG:
        return ERR_FAIL(ERR_INVALID, "%.100s.../%.100s: the path is longer than %d bytes", folder,
                        name, DATA_FILE_PATH_BYTES_MAX - 1);
    default: return ERR_FAIL(ERR_IO, "open %s: %s", path, strerror(errno));
    }
}

static enum err read_failed(gzFile from, const char *path)
{
    int code = Z_OK;
    const char *text = gzerror(from, &code);

    if (code == Z_ERRNO) {
        return ERR_FAIL(ERR_IO, "read %s: %s", path, strerror(errno));
    }
    if (code == Z_MEM_ERROR) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s: no memory to inflate it", path);
    }
    return ERR_FAIL(ERR_CORRUPT, "%s: damaged gzip stream (%s)", path, text);
}

/* Makes room for more, up to `bytes_max` + 1: the one byte too many must be seen to be refused. */
static enum err grow(struct data_file *file, size_t bytes_max, size_t *room)
{
    const size_t most = bytes_max + 1;
    size_t wanted = FIRST_BYTES;

    if (*room > 0) {
        wanted = *room > most / 2 ? most : 2 * *room;
    }
    wanted = wanted > most ? most : wanted;
    uint8_t *bytes = realloc(file->bytes, wanted);
    if (bytes == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s: no memory for %zu bytes", file->path, wanted);
    }
    file->bytes = bytes;
    *room = wanted;
    return ERR_OK;
}

static enum err read_all(gzFile from, size_t bytes_max, struct data_file *file)
{
    size_t room = 0;

    gzbuffer(from, GZIP_BUFFER_BYTES);
    for (;;) {
        if (file->count > bytes_max) {
            return ERR_FAIL(ERR_CORRUPT, "%s: more than %zu bytes, which is the most expected",
                            file->path, bytes_max);
        }
        if (file->count == room) {
            ERR_TRY(grow(file, bytes_max, &room));
        }
        const size_t free_bytes = room - file->count;
        const size_t ask = free_bytes < READ_BYTES_MAX ? free_bytes : READ_BYTES_MAX;
        const int got = gzread(from, file->bytes + file->count, (unsigned)ask);
        int code = Z_OK;
        gzerror(from, &code);
        /* A stream that ends too early gives what there is, and only the code tells. */
        if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) {
            return read_failed(from, file->path);
        }
        if (got == 0) {
            return ERR_OK;
        }
        file->count += (size_t)got;
    }
}

/* Reads what was opened, and closes it; `file` is freed where that fails. */
static enum err finish_open(gzFile from, size_t bytes_max, struct data_file *file,
                            struct data_file **file_out)
{
    const enum err status = read_all(from, bytes_max, file);

    gzclose_r(from);
    if (status != ERR_OK) {
        data_file_close(file);
        return status;
    }
    *file_out = file;
    return ERR_OK;
}

enum err data_file_open(const char *folder, const char *name, size_t bytes_max, const char *cure,
                        struct data_file **file_out)
{
    assert(folder != NULL && name != NULL && cure != NULL && file_out != NULL);
    assert(bytes_max >= 1 && bytes_max < SIZE_MAX);
    struct data_file *file = calloc(1, sizeof(*file));

    if (file == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s/%s: no memory to read it", folder, name);
    }
    gzFile from = open_one(folder, name, "", file);
    if (from == NULL && errno == ENOENT) {
        from = open_one(folder, name, ".gz", file);
    }
    if (from == NULL) {
        const enum err status = open_failed(folder, name, cure, file->path);
        data_file_close(file);
        return status;
    }
    return finish_open(from, bytes_max, file, file_out);
}

static enum err path_failed(const char *path)
{
    switch (errno) {
    case 0: return ERR_FAIL(ERR_NO_MEMORY, "%s: no memory to read it", path);
    case ENOENT:
    case ENOTDIR: return ERR_FAIL(ERR_MISSING, "%s: no such file", path);
    default: return ERR_FAIL(ERR_IO, "open %s: %s", path, strerror(errno));
    }
}

enum err data_file_open_path(const char *path, size_t bytes_max, struct data_file **file_out)
{
    assert(path != NULL && file_out != NULL && bytes_max >= 1 && bytes_max < SIZE_MAX);
    if (strlen(path) >= DATA_FILE_PATH_BYTES_MAX) {
        return ERR_FAIL(ERR_INVALID, "%.100s...: the path is longer than %d bytes", path,
                        DATA_FILE_PATH_BYTES_MAX - 1);
    }
    struct data_file *file = calloc(1, sizeof(*file));
    if (file == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s: no memory to read it", path);
    }
    snprintf(file->path, sizeof(file->path), "%s", path);
    errno = 0; /* gzopen() leaves it alone when memory ran out */
    gzFile from = gzopen(path, "rbe");
    if (from == NULL) {
        const enum err status = path_failed(path);
        data_file_close(file);
        return status;
    }
    return finish_open(from, bytes_max, file, file_out);
}

void data_file_close(struct data_file *file)
{
    if (file == NULL) {
        return;
    }
    free(file->bytes);
    free(file);
}
