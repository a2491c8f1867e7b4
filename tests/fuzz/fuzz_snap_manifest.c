/*
 * Fuzz target: snap_disk_verify() of a folder with two files and arbitrary bytes as its manifest.
 *
 * Property: it is refused; or it names the file that is needed, and is refused as soon as one bit of
 * that is another.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "snapshot/snap_disk.h"
#include "tests/support/fuzz_folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void write_file(const char *name, const void *bytes, size_t count)
{
    char path[FILE_PATH_BYTES_MAX];

    fuzz_folder_path(path, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, count, file) != count || fclose(file) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const struct snap_disk_file needed[] = {{"weights", false}, {"exits", true}};
    char folder[FILE_PATH_BYTES_MAX];

    fuzz_folder_path(folder, "any");
    *strrchr(folder, '/') = '\0';
    write_file("weights", "0123456789", 10);
    write_file("config", "{}", 2);
    write_file("manifest.json", bytes, count);
    if (snap_disk_verify(folder, needed, 2) != ERR_OK) {
        err_clear();
        return 0;
    }
    write_file("weights", "0123456788", 10);
    if (snap_disk_verify(folder, needed, 2) != ERR_CORRUPT) {
        abort();
    }
    err_clear();
    return 0;
}
