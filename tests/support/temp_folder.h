/* tests/support/temp_folder.h - a folder of a test's own, and files in it. */
#ifndef TESTS_SUPPORT_TEMP_FOLDER_H
#define TESTS_SUPPORT_TEMP_FOLDER_H

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

struct temp_folder {
    char path[256];
};

/* The file that includes this defines _POSIX_C_SOURCE 200809L before its first include. */
static inline void temp_folder_open(struct temp_folder *folder)
{
    const char *base = getenv("TMPDIR");

    snprintf(folder->path, sizeof(folder->path), "%s/offramp_test_......",
             base == NULL ? "/tmp" : base);
    memset(strrchr(folder->path, '.') - 5, 'X', 6); /* what mkdtemp() replaces */
    ck_assert_ptr_nonnull(mkdtemp(folder->path));
}

/* Removes the folder with its files; it holds no folders. */
static inline void temp_folder_close(const struct temp_folder *folder)
{
    DIR *entries = opendir(folder->path);
    char path[1024];

    ck_assert_ptr_nonnull(entries);
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", folder->path, entry->d_name);
            unlink(path);
        }
    }
    closedir(entries);
    ck_assert_int_eq(rmdir(folder->path), 0);
}

static inline void temp_folder_write(const struct temp_folder *folder, const char *name,
                                     const void *bytes, size_t count)
{
    char path[1024];

    snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, count, file), count);
    ck_assert_int_eq(fclose(file), 0);
}

#endif
