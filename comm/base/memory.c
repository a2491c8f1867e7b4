#define _DEFAULT_SOURCE
#include "comm/base/memory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

static const size_t HUGE_PAGE_BYTES = (size_t)2 << 20;
static const size_t CACHE_LINE_BYTES = 64;

enum err memory_open(size_t bytes, const char *what, void **block_out)
{
    assert(what != NULL && block_out != NULL);
    /* Small blocks would waste most of a huge page each. */
    const size_t unit = bytes < HUGE_PAGE_BYTES ? CACHE_LINE_BYTES : HUGE_PAGE_BYTES;
    const size_t whole = (bytes + unit - 1) / unit * unit;
    void *block = bytes > SIZE_MAX - unit ? NULL : aligned_alloc(unit, whole > 0 ? whole : unit);

    if (block == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s: no memory for %zu bytes", what, bytes);
    }
    if (unit == HUGE_PAGE_BYTES) {
        madvise(block, whole, MADV_HUGEPAGE); /* advice: a refusal only costs time */
    }
    memset(block, 0, whole > 0 ? whole : unit);
    *block_out = block;
    return ERR_OK;
}

enum err memory_open_f32(int64_t count, const char *what, float **block_out)
{
    void *block = NULL;

    assert(count >= 0);
    if ((uint64_t)count > SIZE_MAX / sizeof(float)) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s: no memory for %" PRId64 " floats", what, count);
    }
    ERR_TRY(memory_open((size_t)count * sizeof(float), what, &block));
    *block_out = block;
    return ERR_OK;
}

void memory_close(void *block)
{
    free(block);
}

int64_t memory_peak_bytes(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}
