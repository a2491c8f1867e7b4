/*
 * Fuzz target: snap_plan_parse() on arbitrary bytes.
 *
 * Property: a plan is refused, or written by snap_plan_write() and read back it is the same plan, all
 * of whose files are named plainly and end within 2^63 bytes.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/snap_plan.h"
#include "tests/support/fuzz_folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const size_t compared_bytes = offsetof(struct snap_plan, file_count) + sizeof(int);
    static struct snap_plan plan, again;
    char path[FILE_PATH_BYTES_MAX];

    if (snap_plan_parse((const char *)bytes, count, "input", &plan) != ERR_OK) {
        err_clear();
        return 0;
    }
    for (int i = 0; i < plan.file_count; i++) {
        const struct snap_extent *file = &plan.files[i];
        if (file->name[0] == '.' || strchr(file->name, '/') != NULL ||
            file->at + file->bytes > INT64_MAX) {
            abort();
        }
    }
    fuzz_folder_path(path, "any");
    *strrchr(path, '/') = '\0';
    if (snap_plan_write(&plan, path) != ERR_OK || snap_plan_read(path, &again) != ERR_OK ||
        memcmp(&plan, &again, compared_bytes) != 0) {
        abort();
    }
    return 0;
}
