/*
 * Fuzz target: snap_layout_read() on arbitrary bytes.
 *
 * Property: it either refuses, or gives a layout whose terms, written, are the very same bytes, and
 * in which every member has a place.
 */
#include <stdlib.h>
#include <string.h>

#include "snapshot/snap_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct snap_layout *layout = NULL;
    char text[256];
    int members = 0;

    if (snap_layout_read(bytes, count, &layout) != ERR_OK) {
        err_clear();
        return 0;
    }
    for (int g = 0; g < layout->group_count; g++) {
        members += layout->groups[g].member_count;
    }
    snap_layout_describe(layout, text, sizeof(text));
    if (layout->byte_count != count || memcmp(layout->bytes, bytes, count) != 0 ||
        members != layout->rank_count) {
        abort();
    }
    snap_layout_close(layout);
    return 0;
}
