/*
 * tests/support/fuzz_folder.h - a file of a fuzz target's own, in memory where the system
 * has a folder for that. The file that includes this defines _GNU_SOURCE first.
 */
#ifndef TESTS_SUPPORT_FUZZ_FOLDER_H
#define TESTS_SUPPORT_FUZZ_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/base/file.h"

static char fuzz_folder[64];

static inline void fuzz_folder_remove(void)
{
    (void)!file_remove_tree(fuzz_folder);
}

/* "folder/name" into path; the folder is made at the first call and removed at exit. */
static inline void fuzz_folder_path(char path[FILE_PATH_BYTES_MAX], const char *name)
{
    if (fuzz_folder[0] == '\0') {
        const int in_memory = access("/dev/shm", W_OK) == 0;
        snprintf(fuzz_folder, sizeof(fuzz_folder), "%s/offramp_fuzz_XXXXXX",
                 in_memory ? "/dev/shm" : "/tmp");
        if (mkdtemp(fuzz_folder) == NULL || atexit(fuzz_folder_remove) != 0) {
            abort();
        }
    }
    if (file_path(path, fuzz_folder, name) != ERR_OK) {
        abort();
    }
}

#endif
