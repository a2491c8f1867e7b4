#define _GNU_SOURCE
#include "launch/run_holder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/base/file.h"

static int begun = -1, held = -1; /* the files that this process has locked */

static bool write_text(int file, const char *text)
{
    const size_t length = strlen(text);

    return ftruncate(file, 0) == 0 && pwrite(file, text, length, 0) == (ssize_t)length;
}

/* A new file under that name, locked before anybody sees it. */
static void put(const char *output_dir, const char *text)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[FILE_PATH_BYTES_MAX];
    char partial[FILE_PATH_BYTES_MAX];

    if (file_path(path, output_dir, RUN_HOLDER_FILE) != ERR_OK ||
        file_path(partial, output_dir, RUN_HOLDER_FILE ".tmp") != ERR_OK) {
        err_clear();
        return;
    }
    unlink(partial);
    const int file = open(partial, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0) {
        return;
    }
    (void)fcntl(file, F_OFD_SETLK, &whole); /* where there are no locks, it tells who it was */
    if (!write_text(file, text) || rename(partial, path) != 0) {
        unlink(partial);
        close(file);
        return;
    }
    if (held >= 0) {
        close(held);
    }
    held = file;
}

void run_holder_begin(const char *output_dir)
{
    struct flock share = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    char path[FILE_PATH_BYTES_MAX];

    if (begun >= 0) {
        return;
    }
    if (file_path(path, output_dir, RUN_HOLDER_START_FILE) != ERR_OK) {
        err_clear();
        return;
    }
    begun = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (begun >= 0) {
        (void)fcntl(begun, F_OFD_SETLK, &share);
    }
}

void run_holder_take(const char *output_dir, struct jdoc *about)
{
    struct jdoc *doc = about == NULL ? jdoc_object() : about;
    char host[256] = "";
    char *text = NULL;

    gethostname(host, sizeof(host) - 1);
    jdoc_set_int(doc, "process", (int64_t)getpid());
    jdoc_set_text(doc, "host", host);
    jdoc_set_int(doc, "since", (int64_t)time(NULL));
    if (jdoc_text(doc, 2, &text) != ERR_OK) {
        err_clear();
    } else {
        put(output_dir, text);
    }
    free(text);
    jdoc_close(doc);
}

bool run_holder_lives(const char *output_dir, const char *name)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[FILE_PATH_BYTES_MAX];

    if (file_path(path, output_dir, name) != ERR_OK) {
        err_clear();
        return false;
    }
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    const bool lives = fcntl(file, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
    close(file);
    return lives;
}
