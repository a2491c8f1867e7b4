#include "snapshot/snap_packs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "comm/base/file.h"
#include "snapshot/snap_pack.h"

/* Puts the array of one pack behind *bytes [*count], which grows. */
static enum err append(const char *path, uint8_t **bytes, size_t *count)
{
    struct snap_pack_shape shape;
    struct file_map map;

    ERR_TRY(file_map(path, &map));
    enum err status = snap_pack_read_shape(map.bytes, map.count, &shape);
    if (status == ERR_OK && shape.bytes > SIZE_MAX - *count - 1) {
        status = ERR_FAIL(ERR_CORRUPT, "%" PRIu64 " bytes", shape.bytes);
    }
    if (status == ERR_OK) {
        uint8_t *more = realloc(*bytes, *count + shape.bytes + 1);
        status = more == NULL ? ERR_FAIL(ERR_NO_MEMORY, "%" PRIu64 " bytes", shape.bytes) : ERR_OK;
        *bytes = more == NULL ? *bytes : more;
    }
    if (status == ERR_OK) {
        status = snap_pack_read(map.bytes, map.count, *bytes + *count, shape.bytes);
    }
    *count += status == ERR_OK ? shape.bytes : 0;
    file_unmap(&map);
    return status == ERR_OK ? ERR_OK : err_context_(status, "%s", path);
}

enum err snap_packs_read(const char *folder, const char *name, uint8_t **bytes_out,
                         size_t *count_out)
{
    char path[FILE_PATH_BYTES_MAX];
    char pack[256];
    uint8_t *bytes = NULL;
    size_t count = 0;

    for (int member = 0;; member++) {
        snprintf(pack, sizeof(pack), "%s" SNAP_PACK_ENDING "%d", name, member);
        enum err status = file_path(path, folder, pack);
        if (status == ERR_OK && member > 0 && !file_exists(path)) {
            break;
        }
        if (status == ERR_OK) {
            status = append(path, &bytes, &count);
        }
        if (status != ERR_OK) {
            free(bytes);
            return status;
        }
    }
    *bytes_out = bytes;
    *count_out = count;
    return ERR_OK;
}
