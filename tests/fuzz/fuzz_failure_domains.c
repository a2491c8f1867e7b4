/*
 * Fuzz target: failure_domains_parse() on arbitrary bytes.
 *
 * Property: it either refuses, or finds for a host the same domain whatever is asked beside it.
 */
#include <stdlib.h>

#include "launch/failure_domains.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const char *const names[] = {"a", "node1", ""};
    const char *const text = (const char *)bytes;
    uint64_t first = 0, alone = 0, both = 0;

    if (failure_domains_parse(text, count, "racks", names, 1, &first) != ERR_OK ||
        failure_domains_parse(text, count, "racks", names + 1, 2, &alone) != ERR_OK ||
        failure_domains_parse(text, count, "racks", names, 3, &both) != ERR_OK) {
        err_clear();
        return 0;
    }
    if (both != (first != 0 ? first : alone)) {
        abort();
    }
    return 0;
}
