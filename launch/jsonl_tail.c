#define _GNU_SOURCE
#include "launch/jsonl_tail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static enum err read_end(int file, const char *path, size_t bytes_max, struct jsonl_tail *tail)
{
    struct timespec now;
    struct stat info;
    ssize_t got = 0;

    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
        return ERR_FAIL(ERR_IO, "%s: not a regular file", path);
    }
    const size_t size = (size_t)info.st_size;
    const size_t wanted = size < bytes_max ? size : bytes_max;
    tail->text = malloc(wanted + 1);
    if (tail->text == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%zu bytes of %s", wanted, path);
    }
    for (tail->count = 0; tail->count < wanted; tail->count += (size_t)got) {
        got = pread(file, tail->text + tail->count, wanted - tail->count,
                    (off_t)(size - wanted + tail->count));
        if (got < 0 && errno != EINTR) {
            return ERR_FAIL(ERR_IO, "%s: read: %s", path, strerror(errno));
        }
        if (got == 0) {
            break; /* it was cut meanwhile */
        }
        got = got < 0 ? 0 : got;
    }
    if (size > wanted) { /* its first line has its beginning elsewhere */
        const char *end = memchr(tail->text, '\n', tail->count);
        const size_t skipped = end == NULL ? tail->count : (size_t)(end - tail->text) + 1;
        tail->count -= skipped;
        memmove(tail->text, tail->text + skipped, tail->count);
    }
    clock_gettime(CLOCK_REALTIME, &now);
    tail->age_s = (double)(now.tv_sec - info.st_mtim.tv_sec) +
                  1e-9 * (double)(now.tv_nsec - info.st_mtim.tv_nsec);
    tail->age_s = tail->age_s < 0 ? 0 : tail->age_s;
    return ERR_OK;
}

enum err jsonl_tail_read(const char *path, size_t bytes_max, struct jsonl_tail *tail_out)
{
    struct jsonl_tail tail = {.text = NULL};
    const int file = open(path, O_RDONLY | O_CLOEXEC);

    if (file < 0) {
        return ERR_FAIL(errno == ENOENT ? ERR_MISSING : ERR_IO, "%s: open: %s", path,
                        strerror(errno));
    }
    const enum err status = read_end(file, path, bytes_max, &tail);
    close(file);
    if (status != ERR_OK) {
        jsonl_tail_release(&tail);
        return status;
    }
    *tail_out = tail;
    return ERR_OK;
}

void jsonl_tail_release(struct jsonl_tail *tail)
{
    free(tail->text);
    *tail = (struct jsonl_tail){.text = NULL};
}

struct jdoc *jsonl_tail_previous(struct jsonl_tail *tail)
{
    while (tail->count > 0) {
        const char *end = memrchr(tail->text, '\n', tail->count);
        struct jdoc *doc = NULL;
        if (end == NULL) {
            break; /* of lines that were given, or one that has no end yet */
        }
        const size_t length = (size_t)(end - tail->text);
        const char *before = memrchr(tail->text, '\n', length);
        const size_t begin = before == NULL ? 0 : (size_t)(before - tail->text) + 1;
        tail->count = begin;
        if (jdoc_parse(tail->text + begin, length - begin, "a line", &doc) != ERR_OK) {
            err_clear();
        } else if (jdoc_is_object(doc)) {
            return doc;
        }
        jdoc_close(doc);
    }
    return NULL;
}
